package prune

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/refcount"
)

// A Recounter counts one view: [NewRecounter] takes stock of the rows, then
// [Recounter.Add] takes the header of each segment that [Recounter.Wants] in any
// order, then [Recounter.Tally] has the result. [Recount] does all of it.
//
// Nothing is looked up. Rows of all runs are merged by id, in one pass to find
// the homes and in another to meet the refs, which are sorted by id, in parts
// that go to a file where memory does not hold them. So memory is, for each
// million objects: 4 MB of counts, 4 MB for each million of metadata objects, and
// about 80 bytes for each segment; besides, RecountOptions.Memory, the runs that are
// read (mapped files), and the headers in flight. A file takes 36 bytes for each
// ref at most: equal ones are added up before they go there.
type Recounter struct {
	view    View
	options RecountOptions
	parts   []countedPart
	ranges  int
	refs    *refSorter

	mu    sync.Mutex
	tally Tally // guarded by mu while there are several goroutines
}

// countedPart is what a Recounter knows of a run.
type countedPart struct {
	counted  bool
	counts   []uint32
	segments []countedSegment
	offsets  []uint32 // of the visible home rows of metadata segments, segment by segment
}

// countedSegment is what it knows of a segment. Its numbers are added to
// atomically.
type countedSegment struct {
	visible, protected, fed bool
	first                   uint64 // of its offsets in those of the part
	homes                   uint32 // how many offsets there are
	live                    uint32
	print                   uint64 // of the home rows, see rowPrint
}

// rowPrint tells rows from others, summed up over the home rows of a segment:
// the header must have the same ids at the same offsets.
func rowPrint(id object.ID, offset uint32) uint64 { return idPrefix(&id) * (2*uint64(offset) + 1) }

// NewRecounter finds the home rows of the view, and the roots. The caller closes
// the result.
func NewRecounter(ctx context.Context, v View, options RecountOptions, progress Progress) (*Recounter, error) {
	if options.Memory == 0 {
		options.Memory = 64 << 20
	}
	if options.Readers == 0 {
		options.Readers = 8
	}
	c := &Recounter{view: v, options: options, parts: make([]countedPart, len(v.Runs)), tally: Tally{Fold: options.Fold}}
	rows := 0
	for i, run := range v.Runs {
		c.parts[i].counted = v.State.Runs[i].Cleaned || v.State.Runs[i].Generation <= options.Fold
		rows += run.Len()
	}
	c.ranges = rangesFor(rows)
	c.refs = newRefSorter(options.Folder, options.Memory, c.ranges)
	c.addRoots()
	return c, c.findHomes(ctx, progress)
}

// Close gives back what c has put aside.
func (c *Recounter) Close() error { return c.refs.close() }

// addRoots counts what [repo.State.Roots] yields of generations up to the fold.
func (c *Recounter) addRoots() {
	for s := range c.view.State.AllSnapshots() {
		if s.Generation <= c.options.Fold {
			c.refs.list = append(c.refs.list, refCount{s.ID, 1}, refCount{s.Root, 1})
		}
	}
	for i := range c.refs.list {
		c.refs.note(&c.refs.list[i])
	}
}

// findHomes sets what segments say: which of their rows are homes.
func (c *Recounter) findHomes(ctx context.Context, progress Progress) error {
	progress.Phase("find the home of each object", uint64(c.ranges))
	for i := range c.parts {
		if c.parts[i].counted {
			c.parts[i].prepare(c.view, i)
		}
	}
	return c.eachRange(ctx, progress, func(r int) error {
		var visible, redundant Rows
		for g := range c.groups(r) {
			for i := range g {
				switch at := &g[i]; {
				case !c.parts[at.part].counted:
				case i == 0:
					visible.add(&at.row)
					c.parts[at.part].home(&at.row)
				default:
					visible.add(&at.row)
					redundant.add(&at.row)
				}
			}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.tally.Visible.sum(visible)
		c.tally.Redundant.sum(redundant)
		return nil
	})
}

// prepare makes room for the counts and homes of part i of v.
func (p *countedPart) prepare(v View, i int) {
	run := v.Runs[i]
	p.counts = make([]uint32, run.Len())
	p.segments = make([]countedSegment, run.SegmentCount())
	sizes := make([]uint32, run.SegmentCount())
	meta := make([]bool, run.SegmentCount())
	for n := range p.segments {
		s := v.Index.Segment(i, n)
		p.segments[n].visible = v.Index.ShowsSegment(i, n)
		p.segments[n].protected = v.State.IsUnfinished(s.Session)
		meta[n] = s.Class == object.ClassMeta
	}
	for place := range run.Len() {
		if row := run.Row(place); meta[row.Segment] && v.Index.Shows(i, place) {
			sizes[row.Segment]++
		}
	}
	total := uint64(0)
	for n, size := range sizes {
		p.segments[n].first = total
		total += uint64(size)
	}
	p.offsets = make([]uint32, total)
}

// home takes a home row.
func (p *countedPart) home(row *index.Row) {
	s := &p.segments[row.Segment]
	atomic.AddUint32(&s.live, row.Length)
	if row.Kind.Class() == object.ClassMeta {
		n := atomic.AddUint32(&s.homes, 1) - 1
		p.offsets[s.first+uint64(n)] = row.Offset
		atomic.AddUint64(&s.print, rowPrint(row.ID, row.Offset))
	}
}

// Wants reports whether the refs in the header of a segment count: some home row
// stands in it, and it holds metadata.
func (c *Recounter) Wants(part, ordinal int) bool {
	p := &c.parts[part]
	return p.counted && p.segments[ordinal].homes > 0
}

// Add counts the refs of a segment that c wants, whose verified header is h. It
// keeps nothing of h, and may be called concurrently, for each segment once. The
// error wraps [ErrRecount] where rows and header disagree, or is one of the
// temporary file; nothing that c counts is right then.
func (c *Recounter) Add(part, ordinal int, h *pack.Header) error {
	s := &c.parts[part].segments[ordinal]
	var homes []int
	print := uint64(0)
	for i := range c.homesIn(part, ordinal, h) {
		homes = append(homes, i)
		print += rowPrint(h.Objects[i].ID, h.Objects[i].Offset)
	}
	if len(homes) != int(s.homes) || print != s.print {
		return fmt.Errorf("segment %s: %w: the run and its header disagree", h.Name, ErrRecount)
	}
	if err := c.refs.add(h, homes); err != nil {
		return fmt.Errorf("segment %s: put its refs aside: %w", h.Name, err)
	}
	s.fed = true
	return nil
}

// homesIn goes through the objects of a header whose rows are homes.
func (c *Recounter) homesIn(part, ordinal int, h *pack.Header) iter.Seq[int] {
	p := &c.parts[part]
	s := &p.segments[ordinal]
	offsets := slices.Clone(p.offsets[s.first : s.first+uint64(s.homes)])
	slices.Sort(offsets)
	return func(yield func(int) bool) {
		for i := range h.Objects {
			for len(offsets) > 0 && offsets[0] < h.Objects[i].Offset {
				offsets = offsets[1:] // no object begins there
			}
			if len(offsets) == 0 {
				return
			}
			if offsets[0] == h.Objects[i].Offset && !yield(i) {
				return
			}
		}
	}
}

// Tally returns the result, once all wanted headers were added. c cannot be used
// any more then. The error wraps [ErrRecount] where a header is missing, or what
// was put aside is not what comes back.
func (c *Recounter) Tally(ctx context.Context, progress Progress) (*Tally, error) {
	for i := range c.parts {
		for n := range c.parts[i].segments {
			if c.Wants(i, n) && !c.parts[i].segments[n].fed {
				s := c.view.Index.Segment(i, n)
				return nil, fmt.Errorf("segment %s: %w: its header was not read", s.Name, ErrRecount)
			}
		}
	}
	c.refs.finish()
	progress.Phase("count all references", uint64(c.ranges))
	if err := c.eachRange(ctx, progress, c.join); err != nil {
		return nil, err
	}
	if err := c.refs.balanced(); err != nil {
		return nil, err
	}
	t := &c.tally
	t.Refs = c.refs.total
	t.Dangling, t.Homeless = first(t.Dangling), first(t.Homeless)
	t.Runs = make([][]uint32, len(c.parts))
	for i := range c.parts {
		t.Runs[i] = c.parts[i].counts
	}
	c.addSpace()
	return t, nil
}

func first(list []Dangling) []Dangling {
	slices.SortFunc(list, func(a, b Dangling) int { return a.ID.Compare(b.ID) })
	return list[:min(len(list), maxListed)]
}

// addSpace makes the space map of what segments say.
func (c *Recounter) addSpace() {
	for i := range c.parts {
		for n := range c.parts[i].segments {
			if counted := &c.parts[i].segments[n]; counted.visible {
				s := c.view.Index.Segment(i, n)
				c.tally.Space = append(c.tally.Space, usageOf(&s, uint64(counted.live)))
			}
		}
	}
	slices.SortFunc(c.tally.Space, func(a, b refcount.Usage) int { return a.Key.Compare(b.Key) })
}

// join counts the rows of one range.
func (c *Recounter) join(r int) error {
	refs, err := c.refs.open(r)
	if err != nil {
		return err
	}
	found := Tally{}
	for g := range c.groups(r) {
		id := &g[0].row.ID
		for refs.left() && refs.id().Compare(*id) < 0 {
			if err := refs.take(&found.Dangling, &found.DanglingCount); err != nil {
				return err
			}
		}
		home, n := &g[0], uint64(0)
		if refs.left() && *refs.id() == *id {
			if !c.parts[home.part].counted {
				err = refs.take(&found.Homeless, &found.HomelessCount)
			} else {
				n, err = refs.next()
			}
			if err != nil {
				return err
			}
		}
		if n != uint64(uint32(n)) {
			return fmt.Errorf("object %s: %w: %d refs", id, ErrRecount, n)
		}
		if p := &c.parts[home.part]; p.counted {
			p.counts[home.place] = uint32(n)
			if n == 0 && !p.segments[home.row.Segment].protected {
				found.Garbage.add(&home.row)
			}
		}
	}
	for refs.left() {
		if err := refs.take(&found.Dangling, &found.DanglingCount); err != nil {
			return err
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refs.taken(refs)
	t := &c.tally
	t.Garbage.sum(found.Garbage)
	t.Dangling, t.DanglingCount = append(t.Dangling, found.Dangling...), t.DanglingCount+found.DanglingCount
	t.Homeless, t.HomelessCount = append(t.Homeless, found.Homeless...), t.HomelessCount+found.HomelessCount
	return nil
}
