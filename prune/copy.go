package prune

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
)

// An output is a segment of copies that is durable, and that no generation
// names yet.
type output struct {
	segment index.Segment
	header  *pack.Header
	since   uint64 // generation known before its name was chosen
}

// A copier copies live objects out of victims, as they are, into segments of
// its own. What it has made serves until its prune ends, however often it has
// to plan again.
type copier struct {
	repo    *repo.Repo
	session object.SessionID // of the cleaner
	outputs []*output
	where   map[object.ID]copied
	window  []byte // sealed bytes of the objects that are held; the next ones overwrite them

	Read, Written uint64 // bytes
	// Failed are segments that are left alone, because something in them is
	// damaged or cannot be read.
	Failed map[pack.Name]error
}

// copied is where a copy stands.
type copied struct {
	output *output
	object int
}

// coalesceReads says what one read of a victim takes. Gaps are dead bytes.
var coalesceReads = pack.Coalesce{Gap: 128 << 10, Max: 4 << 20}

// windowBytes is how much of live objects is held before it is written, but for
// one that is larger. More need fewer requests where the order of the copies is
// not that of the victims, and more memory.
const windowBytes = 16 << 20

// copy copies what has to be copied of the victims of p, and was not yet, in
// the order in which the newest snapshot refers to it.
func (c *copier) copy(ctx context.Context, p *Plan, progress Progress) error {
	var total uint64
	for _, s := range p.victims {
		total += s.live()
	}
	places, err := p.arrange(ctx)
	if err != nil {
		return err
	}
	progress.Phase("copy live objects", total)
	late := p.deadline()
	for _, class := range []object.Class{object.ClassData, object.ClassMeta} {
		w := &writer{copier: c, class: class, builder: pack.NewBuilder(p.repo.Config().ID, class, p.copyTarget(class)), known: p.state.Generation}
		for window := range c.windows(p.order(class, places)) {
			if late() {
				break
			}
			objects, err := c.read(ctx, p, window)
			if err != nil {
				return err
			}
			for _, o := range objects {
				if o.sealed.Bytes == nil {
					continue // damaged; its segment is let go
				}
				if err := w.add(ctx, &o.sealed, o.session); err != nil {
					return err
				}
				progress.Add(uint64(len(o.sealed.Bytes)))
			}
		}
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// copyTarget returns how large segments of copies become, in bytes: for data half
// of what backups fill. What is copied lay where things die, and will lie there
// again. The shares that are dead differ the more the fewer objects there are in
// a segment, and the next prunes find emptier ones: docs/decisions.md, "Prune".
func (p *Plan) copyTarget(class object.Class) int {
	if class == object.ClassData {
		return int(p.target(class) / 2)
	}
	return int(p.target(class))
}

// deadline returns whether the time that the options give to copying is over.
// What was not copied by then stays.
func (p *Plan) deadline() func() bool {
	begin := p.options.Now()
	return func() bool {
		return p.options.MaxDuration > 0 && p.options.Now().Sub(begin) >= p.options.MaxDuration
	}
}

// An item is an object to copy.
type item struct {
	at      index.Location
	sealed  object.Sealed
	session object.Session
}

// windows gives the objects to copy, a bounded number of bytes at a
// time.
func (c *copier) windows(objects []index.Location) func(func([]item) bool) {
	return func(yield func([]item) bool) {
		var window []item
		var size uint64
		for _, l := range objects {
			if _, done := c.where[l.Row.ID]; done || c.Failed[l.Segment.Name] != nil {
				continue
			}
			if size += uint64(l.Row.Length); size > windowBytes && len(window) > 0 {
				if !yield(window) {
					return
				}
				window, size = nil, uint64(l.Row.Length)
			}
			window = append(window, item{at: l})
		}
		if len(window) > 0 {
			yield(window)
		}
	}
}

// read fills in the sealed bytes of a window, each segment in order of
// offsets, with the refs that its header says. The bytes are valid until the
// next read.
func (c *copier) read(ctx context.Context, p *Plan, window []item) ([]item, error) {
	bySegment := map[pack.Name][]int{}
	var names []pack.Name
	size := 0
	for i := range window {
		size += int(window[i].at.Row.Length)
		name := window[i].at.Segment.Name
		if bySegment[name] == nil {
			names = append(names, name)
		}
		bySegment[name] = append(bySegment[name], i)
	}
	c.hold(size)
	for _, name := range names {
		if err := c.readSegment(ctx, p, window, bySegment[name]); err != nil {
			if ctx.Err() != nil || !isDamage(err) {
				return nil, err
			}
			c.Failed[name] = err
		}
	}
	return window, nil
}

// hold makes room for size bytes. What is nearly a whole window gets the memory
// of one, so that the next windows fit into it too.
func (c *copier) hold(size int) {
	if cap(c.window) < size {
		if size > windowBytes/2 {
			size = max(size, windowBytes)
		}
		c.window = make([]byte, 0, size)
	}
	c.window = c.window[:0]
}

func isDamage(err error) bool { return isLost(err) || errors.Is(err, ErrDamaged) }

func (c *copier) readSegment(ctx context.Context, p *Plan, window []item, members []int) error {
	segment := &window[members[0]].at.Segment
	header, err := p.headers.get(ctx, segment)
	if err != nil {
		return err
	}
	slices.SortFunc(members, func(a, b int) int {
		return cmp.Compare(window[a].at.Row.Offset, window[b].at.Row.Offset)
	})
	ordinals := make([]int, len(members))
	for i, m := range members {
		row := &window[m].at.Row
		ordinal, ok := header.Locate(row.ID, row.Offset)
		if !ok || header.Objects[ordinal].Sum != row.Sum {
			return fmt.Errorf("%w: object %s: the run and the header of segment %s disagree", ErrDamaged, row.ID.Short(), segment.Name)
		}
		ordinals[i] = ordinal
	}
	next := 0
	var damaged error
	err = header.ReadMany(ctx, counting{p.repo.Store(), c}, ordinals, coalesceReads, func(got pack.Item) error {
		w := &window[members[next]]
		next++
		if got.Err != nil {
			damaged = errors.Join(damaged, got.Err)
			return nil
		}
		w.sealed, w.session = got.Object, got.Session
		start := len(c.window)
		c.window = append(c.window, got.Object.Bytes...)
		w.sealed.Refs, w.sealed.Bytes = slices.Clone(got.Object.Refs), c.window[start:]
		return nil
	})
	return errors.Join(err, damaged)
}

// counting counts what is read.
type counting struct {
	store interface {
		GetRange(ctx context.Context, key string, off, n int64) ([]byte, error)
	}
	c *copier
}

func (r counting) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	r.c.Read += uint64(n)
	return r.store.GetRange(ctx, key, off, n)
}

// A writer packs copies of one class.
type writer struct {
	*copier
	class   object.Class
	builder *pack.Builder
	known   uint64 // generation
}

func (w *writer) add(ctx context.Context, o *object.Sealed, session object.Session) error {
	if w.builder.Len() > 0 && !w.builder.Fits(*o) {
		if err := w.flush(ctx); err != nil {
			return err
		}
	}
	return w.builder.Add(*o, session)
}

func (w *writer) flush(ctx context.Context) error {
	if w.builder.Len() == 0 {
		return nil
	}
	defer w.builder.Reset()
	name, err := pack.NewName(w.repo.Random())
	if err != nil {
		return err
	}
	segment, err := w.builder.Finish(name)
	if err != nil {
		return err
	}
	if err := w.repo.PutNamed(ctx, segmentName(name), segment.Bytes); err != nil {
		return err
	}
	w.Written += uint64(len(segment.Bytes))
	out := &output{index.SegmentOf(segment, w.session), segment.Header, w.known}
	w.outputs = append(w.outputs, out)
	for i := range segment.Header.Objects {
		w.where[segment.Header.Objects[i].ID] = copied{out, i}
	}
	return nil
}
