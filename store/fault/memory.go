package fault

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// A Memory is a bucket in memory that does all it is asked to, each operation in
// one step. It implements driver.Bucket.
type Memory struct {
	mu      sync.Mutex
	objects map[string]object // guarded by mu
}

// An object's bytes are never changed.
type object struct {
	data    []byte
	modTime time.Time
}

var _ driver.Bucket = (*Memory)(nil)

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{objects: map[string]object{}} }

// Clone returns a Memory with the objects of now.
func (m *Memory) Clone() *Memory { return &Memory{objects: m.now()} }

func (m *Memory) now() map[string]object {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.objects)
}

// All returns all objects by key. Their bytes must not be changed.
func (m *Memory) All() map[string][]byte {
	all := map[string][]byte{}
	for key, o := range m.now() {
		all[key] = o.data
	}
	return all
}

// Keys returns the keys that begin with prefix, sorted.
func (m *Memory) Keys(prefix string) []string {
	keys := slices.Sorted(maps.Keys(m.now()))
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) })
}

// Get returns a copy of an object, nil if there is none.
func (m *Memory) Get(key string) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Clone(m.objects[key].data)
}

// Set makes or replaces an object; it keeps data.
func (m *Memory) Set(key string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = object{data, time.Now()}
}

// SetTime makes an object that is there one of the given time, which is that of
// its put otherwise.
func (m *Memory) SetTime(key string, at time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o, ok := m.objects[key]; ok {
		m.objects[key] = object{o.data, at}
	}
}

// Remove removes an object, if it is there.
func (m *Memory) Remove(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
}

func (m *Memory) find(key string) (object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return object{}, errAbsent
	}
	return o, nil
}

// Attributes implements driver.Bucket.
func (m *Memory) Attributes(_ context.Context, key string) (*driver.Attributes, error) {
	o, err := m.find(key)
	if err != nil {
		return nil, err
	}
	return &driver.Attributes{Size: int64(len(o.data)), ModTime: o.modTime}, nil
}

// ListPaged implements driver.Bucket. The token of a page is its first key.
func (m *Memory) ListPaged(_ context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	if o.Delimiter != "" {
		return nil, errUnimplemented
	}
	all, page := m.now(), &driver.ListPage{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if !strings.HasPrefix(key, o.Prefix) || key < string(o.PageToken) {
			continue
		}
		if o.PageSize > 0 && len(page.Objects) == o.PageSize {
			page.NextPageToken = []byte(key)
			break
		}
		page.Objects = append(page.Objects, &driver.ListObject{Key: key, Size: int64(len(all[key].data)), ModTime: all[key].modTime})
	}
	return page, nil
}

// NewRangeReader implements driver.Bucket.
func (m *Memory) NewRangeReader(_ context.Context, key string, off, n int64, _ *driver.ReaderOptions) (driver.Reader, error) {
	o, err := m.find(key)
	if err != nil {
		return nil, err
	}
	size := int64(len(o.data))
	data := o.data[min(off, size):]
	if n >= 0 {
		data = data[:min(n, int64(len(data)))]
	}
	return &reader{bytes.NewReader(data), driver.ReaderAttributes{Size: size, ModTime: o.modTime}, io.EOF}, nil
}

// A memoryWriter collects an object; Close puts it into place.
type memoryWriter struct {
	bytes.Buffer
	ctx       context.Context
	memory    *Memory
	key       string
	exclusive bool
}

// NewTypedWriter implements driver.Bucket.
func (m *Memory) NewTypedWriter(ctx context.Context, key, _ string, o *driver.WriterOptions) (driver.Writer, error) {
	return &memoryWriter{ctx: ctx, memory: m, key: key, exclusive: o.IfNotExist}, nil
}

func (w *memoryWriter) Close() error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	if _, taken := w.memory.objects[w.key]; taken && w.exclusive {
		return errTaken
	}
	w.memory.objects[w.key] = object{w.Bytes(), time.Now()}
	return nil
}

// Delete implements driver.Bucket.
func (m *Memory) Delete(_ context.Context, key string, _ *driver.DeleteOptions) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; !ok {
		return errAbsent
	}
	delete(m.objects, key)
	return nil
}

// ErrorCode implements driver.Bucket.
func (m *Memory) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, errAbsent):
		return gcerrors.NotFound
	case errors.Is(err, errTaken):
		return gcerrors.FailedPrecondition
	case errors.Is(err, errUnimplemented):
		return gcerrors.Unimplemented
	case errors.Is(err, context.Canceled):
		return gcerrors.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return gcerrors.DeadlineExceeded
	}
	return gcerrors.Unknown
}

// As implements driver.Bucket.
func (m *Memory) As(any) bool { return false }

// ErrorAs implements driver.Bucket.
func (m *Memory) ErrorAs(error, any) bool { return false }

// Close implements driver.Bucket; the Memory stays usable.
func (m *Memory) Close() error { return nil }

// Copy implements driver.Bucket.
func (m *Memory) Copy(context.Context, string, string, *driver.CopyOptions) error {
	return errUnimplemented
}

// SignedURL implements driver.Bucket.
func (m *Memory) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errUnimplemented
}
