package check

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"

	"github.com/zeebo/blake3"
	"golang.org/x/sync/errgroup"
)

// readSize is the most bytes of one read of a segment that is opened.
const readSize = 4 << 20

// readData reads the segments that the options choose, of those that have a
// header, whole.
func (c *checker) readData(ctx context.Context) error {
	if c.keys != nil {
		c.lengths = &blockLengths{}
	}
	phase := "read all data"
	list := slices.DeleteFunc(slices.Clone(c.segments), func(s *segment) bool { return s.absent })
	c.counts.wanted = volume{uint64(len(list)), sumSizes(list)}
	if !c.options.ReadData {
		phase = "read a part of the data"
		list = c.options.Subset.choose(list, c.options.Random)
	}
	c.counts.whole, c.chosen = volume{uint64(len(list)), sumSizes(list)}, true
	for _, s := range list {
		s.whole = true
	}
	err := c.eachSegment(ctx, phase, func(s *segment) bool { return s.whole },
		func(ctx context.Context, s *segment) error {
			if c.keys != nil {
				return c.openSegment(ctx, s)
			}
			return c.verifySegment(ctx, s)
		})
	if c.lengths != nil {
		c.lengths.sort()
	}
	return err
}

// eachSegment calls fn for the segments that want reports, several at once. The
// steps of the phase are bytes.
func (c *checker) eachSegment(ctx context.Context, phase string, want func(*segment) bool, fn func(context.Context, *segment) error) error {
	total := uint64(0)
	for _, s := range c.segments {
		if want(s) {
			total += uint64(s.Size)
		}
	}
	c.progress.Phase(phase, total)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, min(readers, runtime.GOMAXPROCS(0))))
	for _, s := range c.segments {
		if !want(s) {
			continue
		}
		g.Go(func() error {
			defer c.progress.Step(uint64(s.Size))
			return fn(gctx, s)
		})
	}
	return g.Wait()
}

// verifySegment compares all sums and hashes of a segment, without the key.
func (c *checker) verifySegment(ctx context.Context, s *segment) error {
	report, err := pack.Verify(ctx, c, s.Ref())
	if err == nil || c.leaveTaken(ctx, s, err) {
		return nil
	}
	c.book.breakSegment(s.Name)
	return c.failed(ctx, s.Name.Key(), c.withoutCopy(s, report.Damaged), err)
}

// openSegment compares all sums and hashes of a segment, opens every object and
// recomputes its id.
func (c *checker) openSegment(ctx context.Context, s *segment) error {
	o := opener{c: c, s: s, whole: object.NewHasher("segment")}
	err := o.run(ctx)
	if err == nil && len(o.bad) == 0 || c.leaveTaken(ctx, s, errors.Join(err, o.why)) {
		return nil
	}
	c.book.breakSegment(s.Name)
	ids := c.withoutCopy(s, o.bad)
	text := fmt.Sprintf("%d of its objects are damaged, the first is %s", len(o.bad), firstShort(o.bad))
	switch {
	case err == nil && !slices.ContainsFunc(ids, func(id object.ID) bool { return !c.book.isLost(id) }) && len(ids) > 0:
		return nil // all of them were reported before
	case err == nil:
		err = fmt.Errorf("%w: %s: %w", object.ErrCorrupt, text, o.why)
	case len(o.bad) > 0:
		err = fmt.Errorf("%s: %w", text, err)
	}
	return c.failed(ctx, s.Name.Key(), ids, err)
}

// leaveTaken reports whether err comes of a cleaner that has taken s meanwhile.
func (c *checker) leaveTaken(ctx context.Context, s *segment, err error) bool {
	taken := c.isTaken(ctx, repo.SegmentName(s.Name), err)
	if taken {
		c.takenWhole.Add(1)
	}
	return taken
}

func firstShort(ids []object.ID) string {
	if len(ids) == 0 {
		return "none"
	}
	return ids[0].Short()
}

// An opener reads one segment from its start to its end.
type opener struct {
	c     *checker
	s     *segment
	whole *blake3.Hasher
	plain []byte // memory of the object before

	bad []object.ID
	why error // of the first of bad
}

func (o *opener) run(ctx context.Context) error {
	h, err := pack.ReadHeader(ctx, o.c, o.s.Ref())
	if err != nil {
		return err
	}
	o.whole.Write(h.Encode())
	all := make([]int, len(h.Objects))
	for i := range all {
		all[i] = i
	}
	if err := h.ReadMany(ctx, o.c, all, pack.Coalesce{Max: readSize}, o.item); err != nil {
		return err
	}
	trailer, err := o.c.GetRange(ctx, h.Name.Key(), h.Size()-pack.TrailerSize, pack.TrailerSize)
	switch {
	case err != nil:
		return err
	case len(o.bad) > 0:
		return nil
	case object.Hash(trailer) != o.s.Hash || object.HashSum(o.whole) != o.s.Hash:
		return fmt.Errorf("%w: it differs from its hash", object.ErrCorrupt)
	}
	return nil
}

func (o *opener) item(it pack.Item) error {
	err := it.Err
	if err == nil {
		o.whole.Write(it.Object.Bytes)
		var plain []byte
		if plain, err = o.c.keys.Open(o.plain[:0], it.Session, &it.Object); err == nil {
			o.plain = plain
			o.c.counts.opened.Add(1)
			o.c.lengths.add(it.Object.Kind, it.Object.ID, len(plain))
		}
	}
	if err != nil {
		if o.why == nil {
			o.why = err
		}
		o.bad = append(o.bad, it.Object.ID)
	}
	return nil
}

// blockLengths are the lengths of the payloads of all blocks, by the first half
// of their ids. A nil one takes none and has none.
type blockLengths struct {
	mu     sync.Mutex
	blocks []blockLength
}

type blockLength struct {
	id     [16]byte
	length uint32
}

func (l *blockLengths) add(kind object.Kind, id object.ID, n int) {
	if l == nil || kind != object.KindBlock {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocks = append(l.blocks, blockLength{[16]byte(id[:]), uint32(n)})
}

func (l *blockLengths) sort() {
	slices.SortFunc(l.blocks, func(a, b blockLength) int { return slices.Compare(a.id[:], b.id[:]) })
}

// of returns the length of a block that was opened.
func (l *blockLengths) of(id object.ID) (uint64, bool) {
	if l == nil {
		return 0, false
	}
	i, ok := slices.BinarySearchFunc(l.blocks, id, func(b blockLength, id object.ID) int {
		return slices.Compare(b.id[:], id[:len(b.id)])
	})
	if !ok {
		return 0, false
	}
	return uint64(l.blocks[i].length), true
}
