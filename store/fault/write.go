package fault

import (
	"bytes"
	"context"
	"io"
	"math"

	"gocloud.dev/blob/driver"
)

// A writer collects an object. Close is the one operation of its put.
type writer struct {
	bytes.Buffer
	ctx         context.Context
	bucket      *Bucket
	key         string
	contentType string
	options     driver.WriterOptions
}

// NewTypedWriter implements driver.Bucket.
func (b *Bucket) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	return &writer{ctx: ctx, bucket: b, key: key, contentType: contentType, options: *o}, nil
}

func (w *writer) Close() error {
	op := Op{Kind: Put, Key: w.key, Bytes: int64(w.Len()), Data: w.Bytes()}
	if w.options.IfNotExist {
		op.Kind = Create
	}
	_, err := w.bucket.do(w.ctx, op, w.put)
	return err
}

// put puts the object into the driver below. The context is not that of the
// caller, who may have gone when a delayed put is executed.
func (w *writer) put() error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.ctx))
	defer cancel()
	under, err := w.bucket.under.NewTypedWriter(ctx, w.key, w.contentType, &w.options)
	if err != nil {
		return err
	}
	if u, ok := under.(driver.Uploader); ok {
		err = u.Upload(bytes.NewReader(w.Bytes()))
	} else {
		_, err = io.Copy(under, bytes.NewReader(w.Bytes()))
	}
	if err != nil {
		cancel() // so that Close does not publish a part
		under.Close()
		return err
	}
	return under.Close()
}

// Delete implements driver.Bucket.
func (b *Bucket) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	_, err := b.do(ctx, Op{Kind: Delete, Key: key}, func() error {
		return b.under.Delete(context.WithoutCancel(ctx), key, o)
	})
	return err
}

// A parked write is executed once so many operations have come.
type parked struct {
	left int64
	fn   func() error
}

// park keeps a write until so many operations have come, 0 for Settle alone.
func (b *Bucket) park(after int64, fn func() error) {
	if after == 0 {
		after = math.MaxInt64
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parked = append(b.parked, &parked{after, fn})
}

// pass lets an operation's time pass: what was to be executed before it is, and
// what was hidden comes nearer to being seen.
func (b *Bucket) pass() {
	b.mu.Lock()
	for key := range b.hidden {
		if b.hidden[key]--; b.hidden[key] < 0 {
			delete(b.hidden, key)
		}
	}
	due := b.due(func(p *parked) bool { p.left--; return p.left < 0 })
	b.mu.Unlock()
	for _, p := range due {
		_ = p.fn() // nobody waits for the reply any more
	}
}

// due takes the parked writes out that is says of. It needs b.mu.
func (b *Bucket) due(is func(*parked) bool) []*parked {
	var due, left []*parked
	for _, p := range b.parked {
		if is(p) {
			due = append(due, p)
		} else {
			left = append(left, p)
		}
	}
	b.parked = left
	return due
}

// Settle executes the writes that are delayed, in their order, and shows what is
// hidden. It returns how many writes there were.
func (b *Bucket) Settle() int {
	b.mu.Lock()
	due := b.due(func(*parked) bool { return true })
	clear(b.hidden)
	b.mu.Unlock()
	for _, p := range due {
		_ = p.fn() // nobody waits for the reply any more
	}
	return len(due)
}

// conceal hides a key from reads during the next n operations.
func (b *Bucket) conceal(key string, n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hidden[key] = int(n)
}

func (b *Bucket) concealed(key string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.hidden[key]
	return ok
}

// conceals reports whether a read must not see its object.
func (b *Bucket) conceals(op Op) bool { return op.Kind != List && b.concealed(op.Key) }
