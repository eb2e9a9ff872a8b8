package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"bluesky/store/fault"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

// The clouds refuse a range past the end with a status that has no code here.
func TestRangeRefusedByTheBucket(t *testing.T) {
	inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
		b.Inject(fault.Rules(fault.Rule{Kinds: fault.Range, Effect: fault.Fail}))
		d := took(func() {
			_, err := s.GetRange(t.Context(), "key", 8, 3)
			if want := "get key: shorter than expected: it has 10 bytes, wanted are 3 at 8"; !errors.Is(err, ErrShort) || err.Error() != want {
				t.Errorf("got %v, want %q", err, want)
			}
		})
		if n, _ := b.Count(fault.Range, ""); n != 1 || d != 0 {
			t.Errorf("%d attempts in %v, want ErrShort at once", n, d)
		}
		if _, err := s.GetRange(t.Context(), "key", 7, 3); !errors.Is(err, fault.ErrBroken) || errors.Is(err, ErrShort) {
			t.Errorf("a range inside the object: got %v", err)
		}
	})
}

// A body that breaks off is read again. That it always does says nothing about
// the object, so it is not ErrShort, which is damage to whoever checks.
func TestBodyThatBreaksOff(t *testing.T) {
	for _, effect := range []fault.Effect{fault.BreakOff(2), fault.Short(2), fault.Short(0)} {
		for _, r := range reads[:2] {
			inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
				b.Inject(fault.Rules(fault.Rule{Times: 2, Effect: effect}))
				if err := r.do(t.Context(), s); err != nil {
					t.Errorf("%v, %s: %v", effect, r.name, err)
				}
				if n, _ := b.Count(r.kind, ""); n != 3 {
					t.Errorf("%v, %s: %d attempts", effect, r.name, n)
				}
				b.Inject(fault.Rules(fault.Rule{Effect: effect}))
				err := r.do(t.Context(), s)
				if err == nil || errors.Is(err, ErrShort) || !MayPass(err) {
					t.Errorf("%v, %s always: got %v", effect, r.name, err)
				}
			})
		}
	}
}

// An object that is shorter than asked for is, at once.
func TestTruncatedObject(t *testing.T) {
	inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
		b.Inject(fault.Rules(fault.Rule{Effect: fault.Truncate(4)}))
		if data, err := s.Get(t.Context(), "key", 10); string(data) != "0123" || err != nil {
			t.Errorf("got %q, %v", data, err)
		}
		if _, err := s.GetRange(t.Context(), "key", 2, 3); !errors.Is(err, ErrShort) {
			t.Errorf("range: %v", err)
		}
		if n, _ := b.Count(fault.Any, ""); n != 2 {
			t.Errorf("%d operations", n)
		}
	})
}

// A lying bucket wraps the bodies of another.
type lying struct {
	*fault.Bucket
	body func(driver.Reader) driver.Reader
}

func (b lying) NewRangeReader(ctx context.Context, key string, off, n int64, o *driver.ReaderOptions) (driver.Reader, error) {
	r, err := b.Bucket.NewRangeReader(ctx, key, off, n, o)
	if err != nil {
		return nil, err
	}
	return b.body(r), nil
}

// A lie is a body with bytes behind its end, or another size.
type lie struct {
	driver.Reader
	extra *strings.Reader
	size  int64
}

func (r *lie) Attributes() *driver.ReaderAttributes {
	attrs := *r.Reader.Attributes()
	if r.size != 0 {
		attrs.Size = r.size
	}
	return &attrs
}

func (r *lie) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err == io.EOF {
		return r.extra.Read(p)
	}
	return n, err
}

func TestBucketThatLies(t *testing.T) {
	tests := []struct {
		name  string
		size  int64
		extra string
		want  string
	}{
		{"more bytes than its size", 0, "more", "sent more than"},
		{"huge size", 1 << 60, "", ErrTooLarge.Error()},
		{"no size", -1, "", "does not say how long"},
	}
	for _, tt := range tests {
		inTrouble(t, func(t *testing.T, _ *Store, b *fault.Bucket) {
			s := New(blob.NewBucket(lying{b, func(r driver.Reader) driver.Reader {
				return &lie{r, strings.NewReader(tt.extra), tt.size}
			}}), "somewhere")
			defer s.Close()
			if data, err := s.Get(t.Context(), "key", 1000); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %q, error %v, want %q", tt.name, data, err, tt.want)
			}
			if tt.size != 0 {
				return
			}
			if data, err := s.GetRange(t.Context(), "key", 0, 3); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("range ignored: got %q, error %v", data, err)
			}
		})
	}
}

// A listing that fails in the middle says so, and gives no entry after it.
func TestListingThatBreaksOff(t *testing.T) {
	inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
		for i := range pageSize + 1 {
			b.Objects.Set(fmt.Sprintf("%04d", i), nil)
		}
		b.Inject(fault.Rules(fault.Rule{Kinds: fault.List, After: 1, Effect: fault.Fail}))
		n, failed := 0, 0
		for _, err := range s.List(t.Context(), "") {
			switch {
			case err != nil:
				failed++
			case failed > 0:
				t.Fatal("an entry after the error")
			default:
				n++
			}
		}
		if n != pageSize || failed != 1 {
			t.Errorf("got %d entries and %d errors, want %d and 1", n, failed, pageSize)
		}
	})
}

// A typed bucket refuses objects of another type than the one they have to get.
type typed struct{ *fault.Bucket }

func (b typed) NewTypedWriter(ctx context.Context, key, contentType string, o *driver.WriterOptions) (driver.Writer, error) {
	if contentType != "application/octet-stream" {
		return nil, fmt.Errorf("content type %q", contentType)
	}
	return b.Bucket.NewTypedWriter(ctx, key, contentType, o)
}

func TestContentType(t *testing.T) {
	b := fault.New()
	s := New(blob.NewBucket(typed{b}), "somewhere")
	defer s.Close()
	if err := errors.Join(s.PutNew(t.Context(), "gen/0", []byte("<html>")), s.Put(t.Context(), "gen/1", []byte("{}"))); err != nil {
		t.Error(err)
	}
	if got := b.Objects.Keys(""); !slices.Equal(got, []string{"gen/0", "gen/1"}) {
		t.Errorf("there are %q", got)
	}
}
