package refcount

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"bluesky/object"
	"bluesky/pack"
)

// A Space is a space map: how much of each segment is live. It reads the pages
// of the base that a question needs, each with its hash in the page above, and
// holds the root page, and 48 bytes for each segment in the deltas. It is immutable and safe for
// concurrent use; [Space.Change] makes the next.
type Space struct {
	repository object.RepositoryID
	bucket     pack.ReaderAt
	base       Ref
	tree       tree
	root       []byte
	changed    []Usage   // what the deltas say, in ascending order
	totals     [2]Totals // by class
	empty      bool      // there is no base
}

// OpenSpace reads what is needed of a list of tables, oldest first: the root of
// the first, which is the base, in one range, and the deltas. An empty list is a map
// without segments.
//
// The error wraps [ErrCorrupt], [ErrVersion], or what bucket returned.
func OpenSpace(ctx context.Context, bucket pack.ReaderAt, repository object.RepositoryID, list []Ref) (*Space, error) {
	s := &Space{repository: repository, bucket: bucket, tree: newTree(0, fanOut), empty: len(list) == 0}
	for i, ref := range list {
		open := s.openDelta
		if i == 0 {
			open = s.openBase
		}
		if err := open(ctx, ref); err != nil {
			return nil, fmt.Errorf("space map: table %s: %w", ref.Name, err)
		}
	}
	return s, nil
}

// rootGuess is the end of the root page of a map of the usual fan-out, at most.
const rootGuess = preludeSize + spaceHeaderSize + fanOut*entrySize

func (s *Space) openBase(ctx context.Context, ref Ref) error {
	head, err := s.read(ctx, ref, 0, min(ref.Size, rootGuess))
	if err != nil {
		return err
	}
	p, err := decodePrelude(head, ref.Size)
	if err != nil {
		return err
	}
	if err := p.want(TypeSpace, s.repository, ref.Name); err != nil {
		return err
	}
	if s.tree, err = decodeSpaceHeader(head[preludeSize:], &p, formBase); err != nil {
		return err
	}
	level, end := s.tree.root()
	if more := end - int64(len(head)); more > 0 {
		rest, err := s.read(ctx, ref, int64(len(head)), more)
		if err != nil {
			return err
		}
		head = append(head, rest...)
	}
	if object.HashBytes("space root", head[:end]) != ref.Hash {
		return corruptf("its root is not the registered one")
	}
	s.base, s.root = ref, head[preludeSize+spaceHeaderSize:end]
	rows, entries, err := decodePage(s.root, level)
	if err != nil {
		return err
	}
	sums := entryOf(object.Hash{}, rows, entries).summary
	s.totals = [2]Totals{sums[0].Totals, sums[1].Totals}
	return nil
}

func (s *Space) openDelta(ctx context.Context, ref Ref) error {
	data, err := s.read(ctx, ref, 0, ref.Size)
	if err != nil {
		return err
	}
	d, err := decodeSpaceDelta(Table{ref, data}, s.repository)
	if err != nil {
		return err
	}
	s.totals, s.changed = d.totals, mergeUsages(s.changed, d.rows)
	return nil
}

// mergeUsages merges two ascending lists; of equal keys the newer one holds.
func mergeUsages(old, newer []Usage) []Usage {
	out := make([]Usage, 0, len(old)+len(newer))
	for len(old) > 0 && len(newer) > 0 {
		c := old[0].Compare(newer[0].Key)
		if c < 0 {
			out, old = append(out, old[0]), old[1:]
			continue
		}
		if c == 0 {
			old = old[1:]
		}
		out, newer = append(out, newer[0]), newer[1:]
	}
	return append(append(out, old...), newer...)
}

func (s *Space) read(ctx context.Context, ref Ref, offset, n int64) ([]byte, error) {
	if n < 0 {
		return nil, corruptf("%d bytes", ref.Size)
	}
	data, err := s.bucket.GetRange(ctx, ref.Name.Key(), offset, n)
	if err == nil && int64(len(data)) != n {
		err = corruptf("%d of %d bytes at offset %d", len(data), n, offset)
	}
	return data, err
}

func decodePage(page []byte, level int) (rows []Usage, entries []entry, err error) {
	if level == 0 {
		rows, err = decodeUsages(page, false)
	} else {
		entries, err = decodeEntries(page)
	}
	return rows, entries, err
}

// Totals returns the sums over the segments of a class. No page is read for
// them; [Space.All] compares them with the segments.
func (s *Space) Totals(class object.Class) Totals {
	if !class.Valid() {
		return Totals{}
	}
	return s.totals[class-1]
}

// A Query asks for segments of a class, 0 for all, for which at least one of its
// other fields holds; those that are zero do not.
type Query struct {
	Class   object.Class
	Dead    bool   // there is no live byte
	Below   uint32 // the utilisation is below; [One] is all
	Smaller uint32 // the segment has fewer bytes
	Wasting uint32 // of the body at least so many bytes are not live
}

// Match reports whether q asks for u.
func (q *Query) Match(u *Usage) bool {
	return (q.Class == 0 || q.Class == u.Class) &&
		(q.Dead && u.Live == 0 || u.Utilisation() < q.Below || u.Size < q.Smaller || q.Wasting > 0 && u.Body-u.Live >= q.Wasting)
}

// may reports whether q may ask for a segment below e.
func (q *Query) may(e *entry) bool {
	for i := range e.summary {
		s := &e.summary[i]
		if s.Segments > 0 && (q.Class == 0 || q.Class == object.Class(i+1)) &&
			(q.Dead && s.Dead > 0 || s.leastUtilisation < q.Below || s.leastSize < q.Smaller || q.Wasting > 0 && s.mostWaste >= q.Wasting) {
			return true
		}
	}
	return false
}

// Candidates goes through the segments that q asks for, in ascending order of
// their keys, and reads only pages that held one when the base was written. It
// holds at most 1 MiB of pages for each level of the tree. It ends with the first error,
// which wraps [ErrCorrupt] or what the bucket returned.
func (s *Space) Candidates(ctx context.Context, q Query) iter.Seq2[Usage, error] {
	return s.merged(ctx, func(all []entry, i int) bool { return q.may(&all[i]) }, q.Match)
}

// All goes through all segments, in ascending order of their keys. Errors are as
// those of [Space.Candidates]; segments that do not add up to the totals are one, at the end.
func (s *Space) All(ctx context.Context) iter.Seq2[Usage, error] {
	return func(yield func(Usage, error) bool) {
		var sums [2]Totals
		everything := s.merged(ctx, func([]entry, int) bool { return true }, func(*Usage) bool { return true })
		for u, err := range everything {
			if err == nil {
				sums[u.Class-1].add(&u, 1)
			}
			if !yield(u, err) || err != nil {
				return
			}
		}
		if sums != s.totals {
			yield(Usage{}, corruptf("space map: segments of %+v, and totals of %+v", sums, s.totals))
		}
	}
}

// Get returns those of keys that are in the map. It reads each page that it
// needs once.
func (s *Space) Get(ctx context.Context, keys []Key) (map[Key]Usage, error) {
	keys = slices.Clone(keys)
	slices.SortFunc(keys, Key.Compare)
	want := func(all []entry, i int) bool {
		at, found := slices.BinarySearchFunc(keys, all[i].first, Key.Compare)
		return found || at < len(keys) && (i+1 == len(all) || keys[at].Compare(all[i+1].first) < 0)
	}
	out := map[Key]Usage{}
	match := func(u *Usage) bool { _, found := slices.BinarySearchFunc(keys, u.Key, Key.Compare); return found }
	for u, err := range s.merged(ctx, want, match) {
		if err != nil {
			return nil, err
		}
		out[u.Key] = u
	}
	return out, nil
}

// merged goes through the segments that match: those in the wanted pages of the
// base, but as the deltas have them, and those that the deltas add.
func (s *Space) merged(ctx context.Context, want func(all []entry, i int) bool, match func(*Usage) bool) iter.Seq2[Usage, error] {
	return func(yield func(Usage, error) bool) {
		changed := s.changed
		give := func(u *Usage) bool { return u.removed() || !match(u) || yield(*u, nil) }
		err := s.scan(ctx, want, func(u *Usage) bool {
			for len(changed) > 0 && changed[0].Compare(u.Key) <= 0 {
				next := &changed[0]
				changed = changed[1:]
				if !give(next) {
					return false
				}
				if next.Key == u.Key {
					return true // the delta holds
				}
			}
			return give(u)
		})
		if errors.Is(err, errStop) {
			return
		}
		if err != nil {
			yield(Usage{}, fmt.Errorf("space map: table %s: %w", s.base.Name, err))
			return
		}
		for i := range changed {
			if !give(&changed[i]) {
				return
			}
		}
	}
}

// errStop ends a scan because its caller wants no more.
var errStop = errors.New("stop")

// A scanner goes through rows of the base.
type scanner struct {
	*Space
	want   func(all []entry, i int) bool
	give   func(*Usage) bool
	last   *Key // of the row before
	hasher pageHasher
}

// scan gives the rows of the pages below entries that want wants, in ascending
// order, until give returns false, which is errStop.
func (s *Space) scan(ctx context.Context, want func(all []entry, i int) bool, give func(*Usage) bool) error {
	if s.empty {
		return nil
	}
	level, _ := s.tree.root()
	rows, entries, err := decodePage(s.root, level)
	if err != nil {
		return err
	}
	c := scanner{Space: s, want: want, give: give, hasher: newPageHasher()}
	return c.page(ctx, level, 0, rows, entries)
}

// page gives the rows below page n of a level, which holds rows or entries.
func (c *scanner) page(ctx context.Context, level int, n int64, rows []Usage, entries []entry) error {
	for i := range rows {
		if c.last != nil && c.last.Compare(rows[i].Key) >= 0 {
			return corruptf("segment %s is out of order", rows[i].Name)
		}
		c.last = &rows[i].Key
		if !c.give(&rows[i]) {
			return errStop
		}
	}
	var wanted []int
	for i := range entries {
		if c.want(entries, i) {
			wanted = append(wanted, i)
		}
	}
	for len(wanted) > 0 {
		k := c.span(level-1, n, wanted)
		if err := c.pages(ctx, level-1, n*c.tree.fanOut, wanted[:k], entries); err != nil {
			return err
		}
		wanted = wanted[k:]
	}
	return nil
}

// Pages that stand close together are read in one range: 32 KiB more cost less
// than one more request. maxSpan bounds the memory.
const (
	maxGap  = 32 << 10
	maxSpan = 1 << 20
)

// span returns how many of the wanted pages, the children of page n, are read in
// one range.
func (c *scanner) span(level int, n int64, wanted []int) int {
	start, length := c.tree.page(level, n*c.tree.fanOut+int64(wanted[0]))
	end := start + length
	for k := 1; k < len(wanted); k++ {
		offset, length := c.tree.page(level, n*c.tree.fanOut+int64(wanted[k]))
		if offset-end > maxGap || offset+length-start > maxSpan {
			return k
		}
		end = offset + length
	}
	return len(wanted)
}

// pages reads the wanted pages of a level in one range, and gives what is below
// them. entries describe the pages from first on.
func (c *scanner) pages(ctx context.Context, level int, first int64, wanted []int, entries []entry) error {
	start, _ := c.tree.page(level, first+int64(wanted[0]))
	offset, length := c.tree.page(level, first+int64(wanted[len(wanted)-1]))
	data, err := c.read(ctx, c.base, start, offset+length-start)
	if err != nil {
		return err
	}
	for _, i := range wanted {
		n := first + int64(i)
		offset, length := c.tree.page(level, n)
		page := data[offset-start : offset-start+length]
		if c.hasher.of(page) != entries[i].hash {
			return corruptf("page %d of level %d differs from its hash", n, level)
		}
		rows, below, err := decodePage(page, level)
		if err != nil {
			return fmt.Errorf("page %d of level %d: %w", n, level, err)
		}
		if entryOf(entries[i].hash, rows, below) != entries[i] {
			return corruptf("page %d of level %d is not what the page above says", n, level)
		}
		if err := c.page(ctx, level, n, rows, below); err != nil {
			return err
		}
	}
	return nil
}
