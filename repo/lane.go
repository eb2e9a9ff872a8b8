package repo

import (
	"context"
	"sync"

	"bluesky/object"
	"bluesky/pack"
)

// Uploads under way at once; each holds one segment in memory.
const (
	dataUploads = 1
	metaUploads = 1
)

// A lane fills the segments of one class.
type lane struct {
	class   object.Class
	uploads *uploads
	// free are the builders that neither are open nor hold a segment that is
	// being uploaded; nil stands for one that was not made yet. So there are
	// never more than were put here at first, whoever waits for what.
	free   chan *pack.Builder
	create func() *pack.Builder

	mu      sync.Mutex
	builder *pack.Builder // of the open segment, nil if there is none
	retired bool          // builders are not kept
}

// filled is a segment that takes no more objects, on its way to the bucket.
type filled struct {
	builder *pack.Builder
	ticket  uint64
}

func newLane(c Config, class object.Class) *lane {
	target, slots := c.Segment.DataTarget, dataUploads
	if class == object.ClassMeta {
		target, slots = c.Segment.MetaTarget, metaUploads
	}
	l := &lane{
		class:   class,
		uploads: newUploads(slots),
		free:    make(chan *pack.Builder, slots+1),
		create:  func() *pack.Builder { return pack.NewBuilder(c.ID, class, target) },
	}
	for range cap(l.free) {
		l.free <- nil
	}
	return l
}

// add puts o into the open segment. If that has no room for o, it adds nothing
// and returns the segment, for the caller to ship before it tries again: who
// holds a segment must not wait for a builder.
func (l *lane) add(ctx context.Context, o object.Sealed, row object.Session) (*filled, error) {
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	defer l.mu.Unlock()
	if l.builder.Len() > 0 && !l.builder.Fits(o) {
		return l.detach(), nil
	}
	return nil, l.builder.Add(o, row)
}

// open returns with l.mu locked and a segment open, unless there is an error.
func (l *lane) open(ctx context.Context) error {
	l.mu.Lock()
	for l.builder == nil {
		l.mu.Unlock()
		var b *pack.Builder
		select {
		case b = <-l.free:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if b == nil {
			b = l.create()
		}
		l.mu.Lock()
		if l.builder != nil { // somebody was faster
			l.free <- b
			break
		}
		l.builder = b
	}
	return nil
}

// take detaches the open segment, nil if it holds nothing.
func (l *lane) take() *filled {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.builder == nil || l.builder.Len() == 0 {
		return nil
	}
	return l.detach()
}

// detach needs l.mu.
func (l *lane) detach() *filled {
	full := &filled{l.builder, l.uploads.ticket()}
	l.builder = nil
	return full
}

// recycle frees b, whose segment is uploaded, for another one.
func (l *lane) recycle(b *pack.Builder) {
	l.mu.Lock()
	if l.retired {
		b = nil
	}
	l.mu.Unlock()
	if b != nil {
		b.Reset()
	}
	l.free <- b
}

// retire gives back the memory of the segments that are neither open nor being
// uploaded, from now on.
func (l *lane) retire() {
	l.mu.Lock()
	l.retired = true
	l.mu.Unlock()
	for range cap(l.free) {
		select {
		case <-l.free:
			l.free <- nil
		default:
			return
		}
	}
}
