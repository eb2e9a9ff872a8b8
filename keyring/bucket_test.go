package keyring

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

// faulty is a bucket in memory that refuses some operations.
type faulty struct {
	mu      sync.Mutex
	objects map[string][]byte
	ops     int
	struck  bool                                 // an operation was refused
	before  func(op int, kind, key string) error // refuses an operation
	after   func(op int, kind, key string) error // does it, and loses the reply
	turn    func(context.Context) (end func())   // waits until an operation may begin
	removes bool                                 // key slots may be deleted: no init runs any more
	flip    string                               // what is read of objects with this prefix has a flipped bit
}

func newFaulty() *faulty { return &faulty{objects: map[string][]byte{}} }

var (
	errAbsent = errors.New("absent")
	errTaken  = errors.New("taken")
)

// open opens m.
func (m *faulty) open(t testing.TB) *store.Store {
	st := store.New(blob.NewBucket(m), "memory")
	t.Cleanup(func() { st.Close() })
	return st
}

// failAt makes operation k from now on fail, before it is done or after; 0 none.
func (m *faulty) failAt(k int, lost bool) { m.arm(k, lost, false) }

// stopAt is failAt, and all later operations fail too, as for a process that is
// killed.
func (m *faulty) stopAt(k int, lost bool) { m.arm(k, lost, true) }

func (m *faulty) arm(k int, lost, forever bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ops, m.struck = 0, false
	m.before = func(op int, _, _ string) error {
		if op == k && !lost || op > k && k > 0 && forever {
			m.struck = true
			return errRefused
		}
		return nil
	}
	m.after = func(op int, _, _ string) error {
		if op == k && lost {
			m.struck = true
			return errRefused
		}
		return nil
	}
}

// hit reports whether an operation was refused.
func (m *faulty) hit() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.struck
}

// do does one operation, in one step.
func (m *faulty) do(ctx context.Context, kind, key string, fn func() error) error {
	if m.turn != nil {
		defer m.turn(ctx)()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ops++
	if m.before != nil {
		if err := m.before(m.ops, kind, key); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	err := fn()
	if m.after != nil {
		if lost := m.after(m.ops, kind, key); lost != nil {
			return lost
		}
	}
	return err
}

func (m *faulty) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, errAbsent):
		return gcerrors.NotFound
	case errors.Is(err, errTaken):
		return gcerrors.FailedPrecondition
	case errors.Is(err, errRefused):
		return gcerrors.PermissionDenied // not repeated
	}
	return gcerrors.Unknown
}

// errRefused is what a fault says.
var errRefused = errors.New("refused by the test")

func (m *faulty) As(any) bool             { return false }
func (m *faulty) ErrorAs(error, any) bool { return false }
func (m *faulty) Close() error            { return nil }

func (m *faulty) Attributes(ctx context.Context, key string) (a *driver.Attributes, err error) {
	err = m.do(ctx, "stat", key, func() error {
		data, ok := m.objects[key]
		if !ok {
			return errAbsent
		}
		a = &driver.Attributes{Size: int64(len(data)), ModTime: time.Unix(1, 0)}
		return nil
	})
	return a, err
}

func (m *faulty) ListPaged(ctx context.Context, o *driver.ListOptions) (page *driver.ListPage, err error) {
	err = m.do(ctx, "list", o.Prefix, func() error {
		page = &driver.ListPage{}
		for _, key := range slices.Sorted(maps.Keys(m.objects)) {
			if strings.HasPrefix(key, o.Prefix) {
				page.Objects = append(page.Objects, &driver.ListObject{Key: key, Size: int64(len(m.objects[key])), ModTime: time.Unix(1, 0)})
			}
		}
		return nil
	})
	return page, err
}

type memoryReader struct {
	*bytes.Reader
	attributes driver.ReaderAttributes
}

func (r *memoryReader) Attributes() *driver.ReaderAttributes { return &r.attributes }
func (r *memoryReader) As(any) bool                          { return false }
func (r *memoryReader) Close() error                         { return nil }

func (m *faulty) NewRangeReader(ctx context.Context, key string, off, n int64, _ *driver.ReaderOptions) (r driver.Reader, err error) {
	err = m.do(ctx, "get", key, func() error {
		data, ok := m.objects[key]
		if !ok {
			return errAbsent
		}
		size := int64(len(data))
		if m.flip != "" && strings.HasPrefix(key, m.flip) {
			data = bytes.Clone(data)
			data[size/4] ^= 1
		}
		data = data[min(off, size):]
		if n >= 0 {
			data = data[:min(n, int64(len(data)))]
		}
		r = &memoryReader{bytes.NewReader(data), driver.ReaderAttributes{Size: size, ModTime: time.Unix(1, 0)}}
		return nil
	})
	return r, err
}

type memoryWriter struct {
	m    *faulty
	ctx  context.Context
	key  string
	new  bool
	data bytes.Buffer
}

func (m *faulty) NewTypedWriter(ctx context.Context, key, _ string, o *driver.WriterOptions) (driver.Writer, error) {
	return &memoryWriter{m: m, ctx: ctx, key: key, new: o.IfNotExist}, nil
}

func (w *memoryWriter) Write(p []byte) (int, error) { return w.data.Write(p) }

func (w *memoryWriter) Close() error {
	return w.m.do(w.ctx, "put", w.key, func() error {
		if _, ok := w.m.objects[w.key]; ok && w.new {
			return errTaken
		}
		w.m.objects[w.key] = w.data.Bytes()
		return nil
	})
}

func (m *faulty) Copy(context.Context, string, string, *driver.CopyOptions) error {
	return errors.ErrUnsupported
}

func (m *faulty) Delete(ctx context.Context, key string, _ *driver.DeleteOptions) error {
	return m.do(ctx, "delete", key, func() error {
		if !strings.HasPrefix(key, "state/") && !(m.removes && strings.HasPrefix(key, "keys/")) { // what init has probed the bucket with
			return errors.New("an init deletes nothing else: " + key)
		}
		if _, ok := m.objects[key]; !ok {
			return errAbsent
		}
		delete(m.objects, key)
		return nil
	})
}

func (m *faulty) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errors.ErrUnsupported
}
