package prune

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"

	"bluesky/object"
	"bluesky/pack"
)

// A refCount says how often an id is referred to.
type refCount struct {
	id object.ID
	n  uint32
}

// refSize is the length of a refCount in memory, and in a file.
const refSize = 36

// A refSorter sorts refs. They are gathered in memory; what is there is sorted
// and equal refs are added up each time it is full, and where that does not make
// room it goes to a file, as one ascending list behind the others.
type refSorter struct {
	folder string
	ranges int

	mu     sync.Mutex // guards what follows until finish
	limit  int        // of list
	list   []refCount
	file   *os.File // nil until something goes there
	spills [][]int64
	size   int64
	total  uint64 // refs that were added
	print  uint64 // of them

	gone      uint64 // refs that were taken out; guarded by the mutex of the Recounter
	gonePrint uint64
}

// newRefSorter returns one that takes memory bytes. A list that grows is there
// twice for a moment, so that it may have half of them.
func newRefSorter(folder string, memory int64, ranges int) *refSorter {
	return &refSorter{folder: folder, ranges: ranges, limit: int(max(memory/2/refSize, 1))}
}

// note takes r into the sums by which [refSorter.balanced] tells that nothing was
// lost on the way.
func (s *refSorter) note(r *refCount) {
	s.total += uint64(r.n)
	s.print += uint64(r.n) * idPrefix(&r.id)
}

// add adds the refs of some objects of h.
func (s *refSorter) add(h *pack.Header, objects []int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range objects {
		for _, ref := range h.Ordinals(i) {
			r := refCount{h.RefID(ref), 1}
			s.note(&r)
			if s.list = append(s.list, r); len(s.list) < s.limit {
				continue
			}
			if err := s.makeRoom(); err != nil {
				return err
			}
		}
	}
	return nil
}

// makeRoom makes the list shorter, or lets it become longer where there is no
// folder.
func (s *refSorter) makeRoom() error {
	s.sort()
	switch {
	case len(s.list) <= s.limit/2:
		return nil
	case s.folder == "":
		s.limit *= 2
		return nil
	}
	return s.spill()
}

// sort brings the list into order and adds up what is equal in it.
func (s *refSorter) sort() {
	slices.SortFunc(s.list, func(a, b refCount) int {
		p, q := idPrefix(&a.id), idPrefix(&b.id)
		switch {
		case p < q:
			return -1
		case p > q:
			return 1
		}
		return a.id.Compare(b.id)
	})
	kept := s.list[:0]
	for _, r := range s.list {
		if n := len(kept); n > 0 && kept[n-1].id == r.id && kept[n-1].n+r.n >= r.n { // no overflow
			kept[n-1].n += r.n
			continue
		}
		kept = append(kept, r)
	}
	s.list = kept
}

// spill writes the list, which is sorted, to the file.
func (s *refSorter) spill() error {
	if s.file == nil {
		f, err := os.CreateTemp(s.folder, "recount-") // mode 0600
		if err != nil {
			return err
		}
		s.file = f
		os.Remove(f.Name()) // so that a crash leaves nothing; where that does not work, close does it
	}
	w := bufio.NewWriterSize(s.file, 256<<10)
	fences := s.fences()
	for i, at := range fences {
		fences[i] = s.size + at*refSize
	}
	var b [refSize]byte
	for i := range s.list {
		copy(b[:], s.list[i].id[:])
		binary.LittleEndian.PutUint32(b[32:], s.list[i].n)
		if _, err := w.Write(b[:]); err != nil {
			return err
		}
	}
	s.size += int64(len(s.list)) * refSize
	s.spills = append(s.spills, fences)
	s.list = s.list[:0]
	return w.Flush()
}

// fences returns where each range begins in the list, and its end.
func (s *refSorter) fences() []int64 {
	fences := make([]int64, 0, s.ranges+1)
	for i := range s.list {
		for r := rangeOf(&s.list[i].id, s.ranges); len(fences) <= r; {
			fences = append(fences, int64(i))
		}
	}
	for len(fences) <= s.ranges {
		fences = append(fences, int64(len(s.list)))
	}
	return fences
}

// finish ends the adding.
func (s *refSorter) finish() {
	s.sort()
	s.spills = append(s.spills, s.fences()) // of what is in memory
}

func (s *refSorter) close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if gone := os.Remove(s.file.Name()); gone != nil && !errors.Is(gone, os.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	s.file = nil
	return err
}

// balanced reports an error unless all that was added was taken out.
func (s *refSorter) balanced() error {
	if s.gone != s.total || s.gonePrint != s.print {
		return fmt.Errorf("refs that were put aside have changed: %w: try again with another folder for temporary files", ErrRecount)
	}
	return nil
}

// taken notes what a reader has read.
func (s *refSorter) taken(r *refReader) {
	s.gone += r.gone
	s.gonePrint += r.gonePrint
}

// A refReader goes through the refs of one range by id.
type refReader struct {
	m         merger[*refCursor]
	gone      uint64
	gonePrint uint64
}

// open returns a reader of range r. Readers of several ranges may be used at the
// same time.
func (s *refSorter) open(r int) (*refReader, error) {
	out := &refReader{}
	for i, fences := range s.spills {
		var c *refCursor
		if start, end := fences[r], fences[r+1]; i == len(s.spills)-1 {
			c = &refCursor{list: s.list[start:end], at: -1}
		} else {
			c = &refCursor{file: io.NewSectionReader(s.file, start, end-start), at: -1}
		}
		if err := c.next(); err != nil {
			return nil, err
		}
		if !c.done() {
			out.m = append(out.m, c)
		}
	}
	out.m.init()
	return out, nil
}

// left reports whether there are more refs.
func (r *refReader) left() bool { return len(r.m) > 0 }

// id returns that of the next refs.
func (r *refReader) id() *object.ID { return &r.m[0].list[r.m[0].at].id }

// next returns the number of refs to that id, and goes on to the next one.
func (r *refReader) next() (uint64, error) {
	id, n := *r.id(), uint64(0)
	for r.left() && *r.id() == id {
		n += uint64(r.m[0].list[r.m[0].at].n)
		if err := r.m.next(); err != nil {
			return 0, err
		}
	}
	r.gone += n
	r.gonePrint += n * idPrefix(&id)
	return n, nil
}

// take is next, and lists the id, up to maxListed of them.
func (r *refReader) take(list *[]Dangling, count *uint64) error {
	id := *r.id()
	n, err := r.next()
	*count++
	if len(*list) < maxListed {
		*list = append(*list, Dangling{ID: id, Refs: n})
	}
	return err
}

// readRefs is how many refs of a list in a file are in memory at once.
const readRefs = 512

// A refCursor goes through one ascending list, in memory or in a file.
type refCursor struct {
	list []refCount
	at   int
	file *io.SectionReader // what follows list; nil if nothing does
	raw  []byte
}

func (c *refCursor) done() bool { return c.at >= len(c.list) }

func (c *refCursor) next() error {
	if c.at++; c.at < len(c.list) || c.file == nil {
		return nil
	}
	if c.raw == nil {
		size := min(c.file.Size(), readRefs*refSize)
		c.raw, c.list = make([]byte, size), make([]refCount, size/refSize)
	}
	n, err := io.ReadFull(c.file, c.raw)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read refs that were put aside: %w", err)
	}
	c.at, c.list = 0, c.list[:n/refSize]
	for i := range c.list {
		b := c.raw[i*refSize:]
		c.list[i] = refCount{object.ID(b), binary.LittleEndian.Uint32(b[32:])}
	}
	return nil
}

func (c *refCursor) before(d *refCursor) bool {
	return c.list[c.at].id.Compare(d.list[d.at].id) < 0
}
