package repo

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/store"

	"golang.org/x/sync/singleflight"
)

// segmentMemory bounds what a segmentCache holds, in bytes of headers and
// whole metadata segments.
const segmentMemory = 96 << 20

// A segmentCache reads segments and remembers their headers, and the whole of
// metadata segments, whose objects are small and read together.
type segmentCache struct {
	store *store.Store
	load  singleflight.Group

	mu    sync.Mutex
	used  int64
	known map[pack.Name]*list.Element // of *segmentEntry
	order *list.List                  // most recently used first
}

// A segmentEntry is an open segment.
type segmentEntry struct {
	name   pack.Name
	header *pack.Header
	source pack.ReaderAt // memory for a metadata segment, else the store
	size   int64
}

func newSegmentCache(st *store.Store) *segmentCache {
	return &segmentCache{store: st, known: map[pack.Name]*list.Element{}, order: list.New()}
}

// open returns the segment that seg describes, its header verified.
func (c *segmentCache) open(ctx context.Context, repository object.RepositoryID, seg *index.Segment) (*segmentEntry, error) {
	for {
		e, shared, err := c.try(ctx, repository, seg)
		// Who shares another's read shares its end: one that was canceled says
		// nothing about this caller.
		if shared && err != nil && ctx.Err() == nil && errors.Is(err, context.Canceled) {
			continue
		}
		return e, err
	}
}

// try is one try of open. Shared says that several callers have its result.
func (c *segmentCache) try(ctx context.Context, repository object.RepositoryID, seg *index.Segment) (e *segmentEntry, shared bool, err error) {
	if e := c.hit(seg.Name); e != nil {
		return e, false, nil
	}
	v, err, shared := c.load.Do(string(seg.Name[:]), func() (any, error) {
		e, err := c.read(ctx, seg)
		if err != nil {
			return nil, err
		}
		if e.header.Repository != repository {
			return nil, fmt.Errorf("segment %s: %w: it belongs to repository %s", seg.Name, object.ErrCorrupt, e.header.Repository)
		}
		c.keep(e)
		return e, nil
	})
	if err != nil {
		return nil, shared, err
	}
	return v.(*segmentEntry), shared, nil
}

func (c *segmentCache) read(ctx context.Context, seg *index.Segment) (*segmentEntry, error) {
	e := &segmentEntry{name: seg.Name, source: c.store}
	if seg.Class == object.ClassMeta {
		switch data, err := c.store.Get(ctx, seg.Name.Key(), int64(seg.Size)); {
		case err == nil:
			e.source, e.size = memory(data), int64(len(data))
		case errors.Is(err, store.ErrTooLarge): // with bytes behind: ranges still have what was written
		default:
			return nil, fmt.Errorf("segment %s: %w", seg.Name, err)
		}
	}
	var err error
	if e.header, err = pack.ReadHeader(ctx, e.source, seg.Ref()); err != nil {
		return nil, err
	}
	// What a header holds in memory is about what it takes in the segment,
	// and 4 bytes for each ref.
	e.size += 2 * int64(seg.HeaderLength)
	return e, nil
}

func (c *segmentCache) hit(name pack.Name) *segmentEntry {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.known[name]
	if !ok {
		return nil
	}
	c.order.MoveToFront(el)
	return el.Value.(*segmentEntry)
}

func (c *segmentCache) keep(e *segmentEntry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[e.name]; ok {
		return
	}
	c.known[e.name] = c.order.PushFront(e)
	c.used += e.size
	for c.used > segmentMemory && c.order.Len() > 1 {
		old := c.order.Remove(c.order.Back()).(*segmentEntry)
		delete(c.known, old.name)
		c.used -= old.size
	}
}

// memory is a whole segment as a pack.ReaderAt.
type memory []byte

// GetRange returns a copy of the range, as the interface asks.
func (m memory) GetRange(_ context.Context, _ string, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > int64(len(m)) || n > int64(len(m))-off {
		return nil, fmt.Errorf("%w: %d bytes at offset %d of %d", object.ErrCorrupt, n, off, len(m))
	}
	return append(make([]byte, 0, n), m[off:off+n]...), nil
}
