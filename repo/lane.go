package repo

import (
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
	create  func() *pack.Builder

	mu      sync.Mutex
	builder *pack.Builder   // of the open segment, nil if there is none
	spare   []*pack.Builder // empty, with memory to reuse
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
	return &lane{
		class:   class,
		uploads: newUploads(slots),
		create:  func() *pack.Builder { return pack.NewBuilder(c.ID, class, target) },
	}
}

// add puts o into the open segment. It returns the segment that had no room
// for o, if there was one, for the caller to ship.
func (l *lane) add(o object.Sealed, row object.Session) (*filled, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var full *filled
	if l.builder != nil && l.builder.Len() > 0 && !l.builder.Fits(o) {
		full = l.detach()
	}
	if l.builder == nil {
		l.builder = l.empty()
	}
	return full, l.builder.Add(o, row)
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

// empty needs l.mu.
func (l *lane) empty() *pack.Builder {
	if n := len(l.spare); n > 0 {
		b := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return b
	}
	return l.create()
}

// recycle keeps the memory of b, whose segment is uploaded, for another one.
func (l *lane) recycle(b *pack.Builder) {
	b.Reset()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.spare) < dataUploads {
		l.spare = append(l.spare, b)
	}
}
