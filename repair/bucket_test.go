package repair

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bluesky/store"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

var (
	errAbsent  = errors.New("absent")
	errTaken   = errors.New("taken")
	errRefused = errors.New("refused by the test")
)

// A bucket keeps objects and their times in memory, and can be told to fail.
type bucket struct {
	driver.Bucket // nil: what is not below is not called

	mu      sync.Mutex
	objects map[string][]byte
	times   map[string]time.Time
	clock   int64
	hook    func(kind, key string) // before each operation

	ops, at       int  // operation number at fails, 0 for none
	lost, forever bool // after it was done; and all later ones
	struck        bool

	unreadable map[string]error // what reading an object gives, until it is put again
}

func newBucket() *bucket {
	return &bucket{objects: map[string][]byte{}, times: map[string]time.Time{}}
}

func (b *bucket) open(t testing.TB) *store.Store {
	st := store.New(blob.NewBucket(b), "memory")
	t.Cleanup(func() { st.Close() })
	return st
}

// onEach has fn called before each operation, without a lock held.
func (b *bucket) onEach(fn func(kind, key string)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hook = fn
}

// fail makes operation n from now on fail, 0 for none; before it is done or
// after, and all later ones too or not.
func (b *bucket) fail(n int, lost, forever bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops, b.at, b.lost, b.forever, b.struck = 0, n, lost, forever, false
}

// copy returns a bucket with the same objects and no faults.
func (b *bucket) copy() *bucket {
	return &bucket{objects: maps.Clone(b.objects), times: maps.Clone(b.times), clock: b.clock}
}

func (b *bucket) names(prefix string) []string {
	keys := slices.Sorted(maps.Keys(b.objects))
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) })
}

// do does one operation in one step.
func (b *bucket) do(ctx context.Context, kind, key string, fn func() error) error {
	b.mu.Lock()
	hook := b.hook
	b.mu.Unlock()
	if hook != nil {
		hook(kind, key)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ops++
	fails := b.at > 0 && (b.ops == b.at || b.forever && b.ops > b.at)
	b.struck = b.struck || fails
	if fails && (!b.lost || b.ops > b.at) {
		return errRefused
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := fn()
	if fails {
		return errRefused
	}
	return err
}

func (b *bucket) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, errAbsent):
		return gcerrors.NotFound
	case errors.Is(err, errTaken):
		return gcerrors.FailedPrecondition
	case errors.Is(err, errRefused):
		return gcerrors.PermissionDenied // reads that fail so are not repeated
	}
	return gcerrors.Unknown
}

func (b *bucket) As(any) bool             { return false }
func (b *bucket) ErrorAs(error, any) bool { return false }
func (b *bucket) Close() error            { return nil }

func (b *bucket) Attributes(ctx context.Context, key string) (a *driver.Attributes, err error) {
	err = b.do(ctx, "stat", key, func() error {
		data, ok := b.objects[key]
		if !ok {
			return errAbsent
		}
		a = &driver.Attributes{Size: int64(len(data)), ModTime: b.times[key]}
		return nil
	})
	return a, err
}

func (b *bucket) ListPaged(ctx context.Context, o *driver.ListOptions) (page *driver.ListPage, err error) {
	err = b.do(ctx, "list", o.Prefix, func() error {
		page = &driver.ListPage{}
		for _, key := range b.names(o.Prefix) {
			page.Objects = append(page.Objects, &driver.ListObject{Key: key, Size: int64(len(b.objects[key])), ModTime: b.times[key]})
		}
		return nil
	})
	return page, err
}

type reader struct {
	*bytes.Reader
	attributes driver.ReaderAttributes
}

func (r *reader) Attributes() *driver.ReaderAttributes { return &r.attributes }
func (r *reader) As(any) bool                          { return false }
func (r *reader) Close() error                         { return nil }

func (b *bucket) NewRangeReader(ctx context.Context, key string, off, n int64, _ *driver.ReaderOptions) (r driver.Reader, err error) {
	err = b.do(ctx, "get", key, func() error {
		data, ok := b.objects[key]
		if !ok {
			return errAbsent
		}
		if err := b.unreadable[key]; err != nil {
			return err
		}
		size := int64(len(data))
		data = data[min(off, size):]
		if n >= 0 {
			data = data[:min(n, int64(len(data)))]
		}
		r = &reader{bytes.NewReader(data), driver.ReaderAttributes{Size: size, ModTime: b.times[key]}}
		return nil
	})
	return r, err
}

type upload struct {
	b    *bucket
	ctx  context.Context
	key  string
	new  bool
	data bytes.Buffer
}

func (b *bucket) NewTypedWriter(ctx context.Context, key, _ string, o *driver.WriterOptions) (driver.Writer, error) {
	return &upload{b: b, ctx: ctx, key: key, new: o.IfNotExist}, nil
}

func (w *upload) Write(p []byte) (int, error) { return w.data.Write(p) }

func (w *upload) Close() error {
	return w.b.do(w.ctx, "put", w.key, func() error {
		if _, ok := w.b.objects[w.key]; ok && w.new {
			return errTaken
		}
		delete(w.b.unreadable, w.key)
		w.b.clock++
		w.b.objects[w.key], w.b.times[w.key] = w.data.Bytes(), time.Unix(w.b.clock, 0)
		return nil
	})
}

// Delete is for what init has probed the bucket with; a repair deletes nothing.
func (b *bucket) Delete(ctx context.Context, key string, _ *driver.DeleteOptions) error {
	return b.do(ctx, "delete", key, func() error {
		if !strings.HasPrefix(key, "state/") {
			return errors.New("nothing else is deleted: " + key)
		}
		delete(b.objects, key)
		return nil
	})
}
