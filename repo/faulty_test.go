package repo

import (
	"bytes"
	"context"
	"errors"
	"io"
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

// What a faulty bucket does with a put.
type fault int

const (
	none   fault = iota
	refuse       // not applied, and an error
	lose         // applied, and an error: the reply was lost
	forget       // applied, and not durable: a power cut takes it back
)

var (
	errFault   = errors.New("a fault was asked for")
	errMissing = errors.New("no such object")
	errTaken   = errors.New("the object exists")
)

// A faulty bucket keeps objects in memory and fails as its hooks say. They are
// called without a lock held.
type faulty struct {
	driver.Bucket // nil: what is not below must not be called

	put  func(key string, data []byte) fault // before a put is applied
	read func(key string) error              // before a read or stat
	list func(key string) bool               // whether a listing shows the object

	mu    sync.Mutex
	blobs map[string][]byte
	puts  []string // keys, in the order in which they were asked for
}

func newFaulty() *faulty { return &faulty{blobs: map[string][]byte{}} }

// open returns a Store of the bucket.
func (f *faulty) open(t testing.TB) *store.Store {
	t.Helper()
	st := store.New(blob.NewBucket(f), "faulty")
	t.Cleanup(func() { st.Close() })
	return st
}

// snapshot returns a bucket with the objects of now and no faults.
func (f *faulty) snapshot() *faulty {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &faulty{blobs: maps.Clone(f.blobs)}
}

func (f *faulty) names(prefix string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys := slices.Sorted(maps.Keys(f.blobs))
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) })
}

func (f *faulty) get(key string) ([]byte, error) {
	if f.read != nil {
		if err := f.read(key); err != nil {
			return nil, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	data, ok := f.blobs[key]
	if !ok {
		return nil, errMissing
	}
	return data, nil
}

func (f *faulty) set(key string, data []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blobs[key] = data
}

func (f *faulty) remove(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.blobs, key)
}

func (f *faulty) Close() error { return nil }

func (f *faulty) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, errMissing):
		return gcerrors.NotFound
	case errors.Is(err, errTaken):
		return gcerrors.FailedPrecondition
	case errors.Is(err, errFault):
		return gcerrors.PermissionDenied // reads that fail so are not repeated
	}
	return gcerrors.Unknown
}

func (f *faulty) As(any) bool             { return false }
func (f *faulty) ErrorAs(error, any) bool { return false }

func (f *faulty) Attributes(_ context.Context, key string) (*driver.Attributes, error) {
	data, err := f.get(key)
	return &driver.Attributes{Size: int64(len(data)), ModTime: time.Unix(1, 0)}, err
}

func (f *faulty) ListPaged(_ context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	now, page := f.snapshot(), &driver.ListPage{}
	for _, key := range now.names(o.Prefix) {
		if f.list == nil || f.list(key) {
			page.Objects = append(page.Objects, &driver.ListObject{Key: key, Size: int64(len(now.blobs[key]))})
		}
	}
	return page, nil
}

func (f *faulty) NewRangeReader(_ context.Context, key string, off, n int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	data, err := f.get(key)
	if err != nil {
		return nil, err
	}
	part := data[min(off, int64(len(data))):]
	if n >= 0 {
		part = part[:min(n, int64(len(part)))]
	}
	return &faultyReader{bytes.NewReader(part), int64(len(data))}, nil
}

type faultyReader struct {
	*bytes.Reader
	size int64
}

func (r *faultyReader) Close() error { return nil }
func (r *faultyReader) As(any) bool  { return false }
func (r *faultyReader) Attributes() *driver.ReaderAttributes {
	return &driver.ReaderAttributes{Size: r.size}
}

func (f *faulty) NewTypedWriter(_ context.Context, key, _ string, o *driver.WriterOptions) (driver.Writer, error) {
	return &faultyWriter{f: f, key: key, exclusive: o.IfNotExist}, nil
}

type faultyWriter struct {
	bytes.Buffer
	f         *faulty
	key       string
	exclusive bool
}

func (w *faultyWriter) Upload(r io.Reader) error {
	_, err := w.ReadFrom(r)
	return err
}

func (w *faultyWriter) Close() error {
	what := none
	if w.f.put != nil {
		what = w.f.put(w.key, w.Bytes())
	}
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	w.f.puts = append(w.f.puts, w.key)
	if what == refuse {
		return errFault
	}
	if _, taken := w.f.blobs[w.key]; taken && w.exclusive {
		return errTaken
	}
	w.f.blobs[w.key] = bytes.Clone(w.Bytes())
	switch what {
	case lose:
		return errFault
	case forget:
		return store.ErrNotDurable
	}
	return nil
}

func (f *faulty) Delete(_ context.Context, key string, _ *driver.DeleteOptions) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.blobs[key]; !ok {
		return errMissing
	}
	delete(f.blobs, key)
	return nil
}
