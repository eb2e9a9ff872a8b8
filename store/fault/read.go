package fault

import (
	"bytes"
	"context"
	"io"
	"slices"

	"gocloud.dev/blob/driver"
)

// A reader is a body that is in memory.
type reader struct {
	data       *bytes.Reader
	attributes driver.ReaderAttributes
	end        error // behind data
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.data.Read(p)
	if err == io.EOF {
		err = r.end
	}
	return n, err
}

func (r *reader) Attributes() *driver.ReaderAttributes { return &r.attributes }
func (r *reader) As(any) bool                          { return false }
func (r *reader) Close() error                         { return nil }

// NewRangeReader implements driver.Bucket.
func (b *Bucket) NewRangeReader(ctx context.Context, key string, off, n int64, o *driver.ReaderOptions) (driver.Reader, error) {
	op := Op{Kind: Range, Key: key, Bytes: max(n, 0)}
	if n < 0 {
		op.Kind = Get
	}
	var r driver.Reader
	effect, err := b.do(ctx, op, func() (err error) {
		r, err = b.under.NewRangeReader(ctx, key, off, n, o)
		return err
	})
	if err != nil {
		if r != nil {
			r.Close() // only the reply is lost
		}
		return nil, err
	}
	switch effect.how {
	case breakOff, short, flip, truncate:
		return effect.body(r, off)
	}
	return r, nil
}

// body returns what e makes of the body of a read from off on.
func (e Effect) body(r driver.Reader, off int64) (driver.Reader, error) {
	data, err := io.ReadAll(r)
	r.Close() // it was read
	if err != nil {
		return nil, err
	}
	made := &reader{attributes: *r.Attributes(), end: io.EOF}
	made.attributes.Size, data = e.truncated(made.attributes.Size, off, data)
	if length := int64(len(data)); length > 0 {
		switch e.how {
		case breakOff:
			data, made.end = data[:e.n%length], e.err
		case short:
			data = data[:e.n%length]
		case flip:
			data = slices.Clone(data)
			bit := e.n % (8 * length)
			data[bit/8] ^= 1 << (bit % 8)
		}
	}
	made.data = bytes.NewReader(data)
	return made, nil
}

// truncated returns the size that e shows for an object of the given size, and
// what of its bytes from off on lies within.
func (e Effect) truncated(size, off int64, data []byte) (int64, []byte) {
	if e.how != truncate || size == 0 {
		return size, data
	}
	size = e.n % size
	return size, data[:min(max(size-off, 0), int64(len(data)))]
}

// Attributes implements driver.Bucket.
func (b *Bucket) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	var a *driver.Attributes
	effect, err := b.do(ctx, Op{Kind: Stat, Key: key}, func() (err error) {
		a, err = b.under.Attributes(ctx, key)
		return err
	})
	if err != nil {
		return nil, err
	}
	a.Size, _ = effect.truncated(a.Size, 0, nil)
	return a, nil
}

// ListPaged implements driver.Bucket.
func (b *Bucket) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	var page *driver.ListPage
	effect, err := b.do(ctx, Op{Kind: List, Key: o.Prefix}, func() (err error) {
		page, err = b.under.ListPaged(ctx, o)
		return err
	})
	if err != nil {
		return nil, err
	}
	page.Objects = slices.DeleteFunc(page.Objects, func(o *driver.ListObject) bool { return b.concealed(o.Key) })
	effect.page(page)
	return page, nil
}
