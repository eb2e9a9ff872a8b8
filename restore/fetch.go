package restore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/store"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// connections is how many segments are read at once by default.
const connections = 8

// coalesce says what one read of a segment takes: reading a quarter of a MiB in
// vain costs about what another request does. Larger reads would take no less
// processor time, and each MiB more takes twelve of memory, with what the heap
// may grow by: as many reads are under way as there are connections.
var coalesce = pack.Coalesce{Gap: 256 << 10, Max: 2 << 20}

// A block is wanted by one or more uses.
type block struct {
	id    object.ID
	first int32 // of its uses
}

// A fetch gets the blocks of one window.
type fetch struct {
	*restorer
	uses   []use
	blocks []block

	// strikes counts reads in a row that failed for reasons that have nothing
	// to do with the data, such as a network.
	strikes atomic.Int32
}

// maxStrikes is when a repository counts as out of reach.
const maxStrikes = 16

// fetch reads every block of uses, once, and writes it to all of them. What
// cannot be had is noted with the files that need it.
//
// Blocks are read in bulk first, a segment at a time. Those that this does not
// get are looked up again if a segment is gone, since a cleaner may have moved
// them, and in the end asked for one by one, in all places where the index has a
// copy (R9).
func (s *restorer) fetch(uses []use) error {
	f := &fetch{restorer: s, uses: uses}
	f.group()
	all := make([]int32, len(f.blocks))
	for i := range all {
		all[i] = int32(i)
	}
	left := all
	for state, reload := s.repo.State(), 0; ; reload++ {
		used, rest, moved, err := f.bulk(state, left)
		if err != nil {
			return err
		}
		left = rest
		if !moved || reload == maxReloads {
			return f.singly(left)
		}
		newest, err := s.repo.Refresh(s.ctx)
		if err != nil || newest == used {
			return f.singly(left)
		}
		state = newest
	}
}

// maxReloads is how often a window is read again from a newer state.
const maxReloads = 3

// group finds the blocks that the uses want, in the order in which the walk met
// them.
func (f *fetch) group() {
	known := make(map[object.ID]int32, len(f.uses))
	last := make([]int32, 0, len(f.uses))
	for i := range f.uses {
		u := &f.uses[i]
		u.next = -1
		b, ok := known[u.id]
		if !ok {
			known[u.id] = int32(len(f.blocks))
			f.blocks = append(f.blocks, block{u.id, int32(i)})
			last = append(last, int32(i))
			continue
		}
		f.uses[last[b]].next = int32(i)
		last[b] = int32(i)
	}
}

// A reading is what one goroutine reads of a segment.
type reading struct {
	segment index.Segment
	items   []item // in the end by ascending offset
}

type item struct {
	block  int32
	offset uint32
	sum    object.Sum
}

// bulk reads blocks where state has them, or the newer one that it had to use. It
// returns those that it did not get, and whether that may be because they were
// moved.
func (f *fetch) bulk(state *repo.State, wanted []int32) (used *repo.State, left []int32, moved bool, err error) {
	used, view, err := f.repo.IndexFrom(f.ctx, state)
	if err != nil {
		return nil, nil, false, fmt.Errorf("index: %w", err)
	}
	var mu sync.Mutex
	miss := func(blocks []item, gone bool) {
		mu.Lock()
		defer mu.Unlock()
		for _, it := range blocks {
			left = append(left, it.block)
		}
		moved = moved || gone
	}
	var order []*reading
	bySegment := map[pack.Name]*reading{}
	for _, b := range wanted {
		places := view.Lookup(f.blocks[b].id)
		if len(places) == 0 {
			miss([]item{{block: b}}, true)
			continue
		}
		at := &places[0]
		r := bySegment[at.Segment.Name]
		if r == nil {
			r = &reading{segment: at.Segment}
			bySegment[at.Segment.Name] = r
			order = append(order, r)
		}
		r.items = append(r.items, item{b, at.Row.Offset, at.Row.Sum})
	}
	pieces := cut(order)
	err = f.parallel(len(pieces), func(i int) {
		rest, gone := f.readSegment(pieces[i])
		miss(rest, gone)
		pieces[i].items = nil
	})
	return used, left, moved, err
}

// maxItems is how many blocks of a segment one goroutine takes. A segment may
// hold as many files as take minutes to make, so several share it.
const maxItems = 2048

// cut sorts what is wanted of each segment by offset, and parts what is a lot.
func cut(order []*reading) []*reading {
	var pieces []*reading
	for _, r := range order {
		slices.SortFunc(r.items, func(a, b item) int { return cmp.Compare(a.offset, b.offset) })
		for items := range slices.Chunk(r.items, maxItems) {
			pieces = append(pieces, &reading{r.segment, items})
		}
	}
	return pieces
}

// parallel calls fn for 0 to n−1, several at a time, until the run has ended.
func (f *fetch) parallel(n int, fn func(int)) error {
	var g errgroup.Group
	limit := f.options.Connections
	if limit <= 0 {
		limit = connections
	}
	g.SetLimit(limit)
	for i := range n {
		if f.ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			if f.ctx.Err() == nil {
				fn(i)
			}
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	return context.Cause(f.ctx)
}

// readSegment reads and writes what r wants. It returns what it did not get, and
// whether that is because something is gone.
func (f *fetch) readSegment(r *reading) (left []item, gone bool) {
	header, source, err := f.repo.Header(f.ctx, &r.segment)
	if err != nil {
		f.strike(err)
		return r.items, isGone(err)
	}
	var ordinals []int
	var items []item
	for _, it := range r.items {
		i, ok := header.Locate(f.blocks[it.block].id, it.offset)
		if !ok || header.Objects[i].Sum != it.sum {
			left = append(left, it)
			continue
		}
		ordinals, items = append(ordinals, i), append(items, it)
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	next := 0
	err = header.ReadMany(f.ctx, source, ordinals, coalesce, func(got pack.Item) error {
		if err := context.Cause(f.ctx); err != nil {
			return err
		}
		it := items[next]
		next++
		if got.Err != nil || got.Object.Kind != object.KindBlock {
			left = append(left, it)
			return nil
		}
		payload, err := f.keys.Open((*buffer)[:0], got.Session, &got.Object)
		if err != nil {
			left = append(left, it)
			return nil
		}
		*buffer = payload
		f.deliver(it.block, payload)
		return nil
	})
	f.strike(err)
	return append(left, items[next:]...), isGone(err)
}

var buffers = sync.Pool{New: func() any { return new([]byte) }}

// deliver writes a block wherever it belongs.
func (f *fetch) deliver(b int32, payload []byte) {
	for i := f.blocks[b].first; i >= 0; i = f.uses[i].next {
		u := &f.uses[i]
		end := uint64(u.from) + uint64(u.length)
		switch {
		case end > uint64(len(payload)), u.whole && end != uint64(len(payload)):
			u.file.setErr(fmt.Errorf("block %s has %d bytes, which is not what the file says: %w",
				u.id.Short(), len(payload), object.ErrCorrupt))
		default:
			if err := f.write(u.file, u.at, payload[u.from:end]); err != nil {
				u.file.setErr(err)
				if isFull(err) {
					f.fail(u.file.path(), err) // ends the run
					return
				}
			} else {
				f.wrote(int(u.length))
			}
		}
		f.done(u.file)
	}
}

// singly asks for blocks one by one.
func (f *fetch) singly(left []int32) error {
	slices.Sort(left)
	return f.parallel(len(left), func(i int) {
		b := left[i]
		id := f.blocks[b].id
		_, payload, err := f.source.Object(f.ctx, id, object.KindBlock)
		f.strike(err)
		if err == nil {
			f.deliver(b, payload)
			return
		}
		if f.ctx.Err() != nil {
			return
		}
		err = fmt.Errorf("block %s: %w", id.Short(), err)
		for i := f.blocks[b].first; i >= 0; i = f.uses[i].next {
			f.uses[i].file.setErr(err)
			f.done(f.uses[i].file)
		}
	})
}

// strike counts errors of reading that say nothing about the data. When they
// do not end, the run does: asking for each of a million blocks would take days.
func (f *fetch) strike(err error) {
	if !unreachable(err) {
		f.strikes.Store(0)
		return
	}
	if f.strikes.Add(1) >= maxStrikes {
		f.cancel(fmt.Errorf("the repository cannot be read: %w", err))
	}
}

func unreachable(err error) bool {
	if err == nil {
		return false
	}
	for _, aboutData := range []error{
		object.ErrCorrupt, object.ErrVersion, repo.ErrNotFound, repo.ErrForgotten, store.ErrNotFound, store.ErrShort,
		store.ErrPermission, unix.EIO, context.Canceled,
	} {
		if errors.Is(err, aboutData) {
			return false
		}
	}
	return true
}

func isGone(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, repo.ErrNotFound)
}
