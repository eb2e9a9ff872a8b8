package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bluesky/store/local"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// trouble is a bucket whose calls fail as the test says. It takes the place of
// a cloud's.
type trouble struct {
	driver.Bucket
	dir    string
	fail   func(call string, n int) error // asked before the nth call of a kind, from 1
	reader func(driver.Reader) driver.Reader
	calls  map[string]int
	code   gcerrors.ErrorCode // of errTrouble
}

var errTrouble = errors.New("the bucket is in trouble")

func (b *trouble) do(call string) error {
	b.calls[call]++
	return b.fail(call, b.calls[call])
}

func (b *trouble) ErrorCode(err error) gcerrors.ErrorCode {
	if errors.Is(err, errTrouble) {
		return b.code
	}
	return b.Bucket.ErrorCode(err)
}

func (b *trouble) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	if err := b.do("stat"); err != nil {
		return nil, err
	}
	return b.Bucket.Attributes(ctx, key)
}

func (b *trouble) NewRangeReader(ctx context.Context, key string, off, n int64, opts *driver.ReaderOptions) (driver.Reader, error) {
	if err := b.do("read"); err != nil {
		return nil, err
	}
	r, err := b.Bucket.NewRangeReader(ctx, key, off, n, opts)
	if err == nil && b.reader != nil {
		r = b.reader(r)
	}
	return r, err
}

func (b *trouble) ListPaged(ctx context.Context, opts *driver.ListOptions) (*driver.ListPage, error) {
	if err := b.do("list"); err != nil {
		return nil, err
	}
	return b.Bucket.ListPaged(ctx, opts)
}

func (b *trouble) NewTypedWriter(ctx context.Context, key, ct string, opts *driver.WriterOptions) (driver.Writer, error) {
	if ct != contentType {
		return nil, fmt.Errorf("content type %q", ct)
	}
	if err := b.do("write"); err != nil {
		return nil, err
	}
	return b.Bucket.NewTypedWriter(ctx, key, ct, opts)
}

func (b *trouble) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) error {
	if err := b.do("delete"); err != nil {
		return err
	}
	return b.Bucket.Delete(ctx, key, opts)
}

// inTrouble makes a Store with the object "key" of 10 bytes, whose reads do not
// sleep but note how long they would have.
func inTrouble(t *testing.T) (*Store, *trouble, *[]time.Duration) {
	t.Helper()
	dir := t.TempDir()
	drv, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &trouble{Bucket: drv, dir: dir, calls: map[string]int{}, code: gcerrors.Unknown, fail: func(string, int) error { return nil }}
	s := New(blob.NewBucket(b), "somewhere")
	t.Cleanup(func() { s.Close() })
	if err := s.PutNew(t.Context(), "key", []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	clear(b.calls)
	var slept []time.Duration
	s.retry.jitter = func() float64 { return 0.5 }
	s.retry.sleep = func(ctx context.Context, d time.Duration) error {
		slept = append(slept, d)
		return ctx.Err()
	}
	return s, b, &slept
}

// reads are the calls that may be repeated, with the driver's call they make.
var reads = []struct {
	name, call string
	do         func(context.Context, *Store) error
}{
	{"get", "read", func(ctx context.Context, s *Store) error {
		data, err := s.Get(ctx, "key", 10)
		if err == nil && string(data) != "0123456789" {
			err = fmt.Errorf("got %q", data)
		}
		return err
	}},
	{"range", "read", func(ctx context.Context, s *Store) error {
		data, err := s.GetRange(ctx, "key", 2, 3)
		if err == nil && string(data) != "234" {
			err = fmt.Errorf("got %q", data)
		}
		return err
	}},
	{"stat", "stat", func(ctx context.Context, s *Store) error {
		_, err := s.Stat(ctx, "key")
		return err
	}},
	{"list", "list", func(ctx context.Context, s *Store) error {
		n := 0
		for _, err := range s.List(ctx, "") {
			if err != nil {
				return err
			}
			n++
		}
		if n != 1 {
			return fmt.Errorf("%d entries", n)
		}
		return nil
	}},
}

func TestReadsAreRepeated(t *testing.T) {
	for _, r := range reads {
		t.Run(r.name, func(t *testing.T) {
			s, b, slept := inTrouble(t)
			b.fail = func(call string, n int) error {
				if call == r.call && n < 5 {
					return errTrouble
				}
				return nil
			}
			if err := r.do(t.Context(), s); err != nil {
				t.Errorf("after four failures: %v", err)
			}
			want := []time.Duration{150 * time.Millisecond, 300 * time.Millisecond, 600 * time.Millisecond, 1200 * time.Millisecond}
			if !slices.Equal(*slept, want) {
				t.Errorf("slept %v, want %v", *slept, want)
			}
			b.fail = func(string, int) error { return errTrouble }
			clear(b.calls)
			if err := r.do(t.Context(), s); !errors.Is(err, errTrouble) {
				t.Errorf("with the bucket down: got %v", err)
			}
			if b.calls[r.call] != s.retry.attempts {
				t.Errorf("%d attempts, want %d", b.calls[r.call], s.retry.attempts)
			}
		})
	}
}

func TestBackoffIsCapped(t *testing.T) {
	s, b, slept := inTrouble(t)
	s.retry.attempts = 12
	b.fail = func(string, int) error { return errTrouble }
	if _, err := s.Stat(t.Context(), "key"); !errors.Is(err, errTrouble) {
		t.Fatal(err)
	}
	if got := slices.Max(*slept); got > s.retry.max {
		t.Errorf("slept %v, more than %v", got, s.retry.max)
	}
}

func TestWritesAreNotRepeated(t *testing.T) {
	s, b, slept := inTrouble(t)
	b.fail = func(string, int) error { return errTrouble }
	for name, err := range map[string]error{
		"create": s.PutNew(t.Context(), "new", nil),
		"put":    s.Put(t.Context(), "new", nil),
		"delete": s.Delete(t.Context(), "key"),
	} {
		if !errors.Is(err, errTrouble) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if b.calls["write"] != 2 || b.calls["delete"] != 1 || len(*slept) > 0 {
		t.Errorf("got %v, slept %v, want one call each", b.calls, *slept)
	}
}

func TestWhatIsNotRepeated(t *testing.T) {
	for _, code := range []gcerrors.ErrorCode{
		gcerrors.NotFound, gcerrors.PermissionDenied, gcerrors.InvalidArgument, gcerrors.Unimplemented, gcerrors.FailedPrecondition,
	} {
		for _, r := range reads {
			s, b, slept := inTrouble(t)
			b.code = code
			b.fail = func(string, int) error { return errTrouble }
			if err := r.do(t.Context(), s); !errors.Is(err, errTrouble) {
				t.Errorf("%v, %s: got %v", code, r.name, err)
			}
			if b.calls[r.call] != 1 || len(*slept) > 0 {
				t.Errorf("%v, %s: %d calls, slept %v, want one", code, r.name, b.calls[r.call], *slept)
			}
		}
	}
}

func TestRetryable(t *testing.T) {
	tests := []struct {
		err  error
		want bool
	}{
		{errors.New("anything"), true},
		{io.ErrUnexpectedEOF, true},
		{os.NewSyscallError("read", syscall.ECONNRESET), true},
		{os.NewSyscallError("open", syscall.ESTALE), true},
		{os.NewSyscallError("open", syscall.EMFILE), true},
		{os.NewSyscallError("read", syscall.ETIMEDOUT), true},
		{os.NewSyscallError("read", syscall.EIO), false},
		{os.NewSyscallError("open", syscall.ELOOP), false},
		{fmt.Errorf("range: %w", ErrShort), false},
		{fmt.Errorf("size: %w", ErrTooLarge), false},
		{context.Canceled, false},
	}
	for _, tt := range tests {
		if got := retryable(tt.err); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.err, got, tt.want)
		}
	}
}

func TestCancelEndsTheWaiting(t *testing.T) {
	for _, r := range reads {
		s, b, _ := inTrouble(t)
		ctx, cancel := context.WithCancel(t.Context())
		s.retry.sleep = func(context.Context, time.Duration) error {
			cancel()
			return ctx.Err()
		}
		b.fail = func(string, int) error { return errTrouble }
		if err := r.do(ctx, s); !errors.Is(err, errTrouble) || b.calls[r.call] != 1 {
			t.Errorf("%s: got %v after %d calls, want the bucket's error after one", r.name, err, b.calls[r.call])
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sleep(ctx, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("sleep: got %v", err)
	}
}

// The clouds refuse a range past the end with a status that has no code here.
func TestRangeRefusedByTheBucket(t *testing.T) {
	s, b, slept := inTrouble(t)
	b.fail = func(call string, _ int) error {
		if call == "read" {
			return errTrouble
		}
		return nil
	}
	_, err := s.GetRange(t.Context(), "key", 8, 3)
	if !errors.Is(err, ErrShort) || b.calls["read"] != 1 || len(*slept) > 0 {
		t.Errorf("got %v after %v, slept %v, want ErrShort at once", err, b.calls, *slept)
	}
	if want := "get key: shorter than expected: it has 10 bytes, wanted are 3 at 8"; err == nil || err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if _, err := s.GetRange(t.Context(), "key", 7, 3); !errors.Is(err, errTrouble) || errors.Is(err, ErrShort) {
		t.Errorf("a range inside the object: got %v", err)
	}
}

// brokenReader ends early, runs on, or lies about the size.
type brokenReader struct {
	driver.Reader
	limit int64
	extra string
	size  int64
}

func (r *brokenReader) Attributes() *driver.ReaderAttributes {
	attrs := *r.Reader.Attributes()
	if r.size != 0 {
		attrs.Size = r.size
	}
	return &attrs
}

func (r *brokenReader) Read(p []byte) (int, error) {
	if r.limit == 0 {
		n := copy(p, r.extra)
		r.extra = r.extra[n:]
		if n == 0 {
			return 0, io.EOF
		}
		return n, nil
	}
	n, err := r.Reader.Read(p[:min(int64(len(p)), r.limit)])
	r.limit -= int64(n)
	return n, err
}

func TestBodyThatBreaksOff(t *testing.T) {
	s, b, slept := inTrouble(t)
	broken := 2
	b.reader = func(r driver.Reader) driver.Reader {
		if broken--; broken >= 0 {
			return &brokenReader{Reader: r, limit: 2}
		}
		return r
	}
	if data, err := s.Get(t.Context(), "key", 10); err != nil || string(data) != "0123456789" || len(*slept) != 2 {
		t.Errorf("got %q, error %v, %d repetitions", data, err, len(*slept))
	}
	broken = 1000
	if _, err := s.Get(t.Context(), "key", 10); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("get: got %v", err)
	}
	if _, err := s.GetRange(t.Context(), "key", 1, 5); !errors.Is(err, ErrShort) {
		t.Errorf("range: got %v, want ErrShort", err)
	}
}

func TestBucketThatLies(t *testing.T) {
	tests := []struct {
		name   string
		reader brokenReader
		want   string
	}{
		{"more bytes than its size", brokenReader{limit: 10, extra: "more"}, "sent more than"},
		{"huge size", brokenReader{limit: 10, size: 1 << 60}, ErrTooLarge.Error()},
		{"no size", brokenReader{limit: 10, size: -1}, "does not say how long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, b, _ := inTrouble(t)
			b.reader = func(r driver.Reader) driver.Reader {
				broken := tt.reader
				broken.Reader = r
				return &broken
			}
			if data, err := s.Get(t.Context(), "key", 1000); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, error %v, want %q", data, err, tt.want)
			}
		})
	}
	t.Run("range ignored", func(t *testing.T) {
		s, b, _ := inTrouble(t)
		b.reader = func(r driver.Reader) driver.Reader { return &brokenReader{Reader: r, limit: 3, extra: "3456789"} }
		if data, err := s.GetRange(t.Context(), "key", 0, 3); err == nil || !strings.Contains(err.Error(), "sent more than") {
			t.Errorf("got %q, error %v", data, err)
		}
	})
}

// A listing that fails in the middle says so, and gives no entry after it.
func TestListingThatBreaksOff(t *testing.T) {
	s, b, _ := inTrouble(t)
	for i := range pageSize + 1 {
		if err := os.WriteFile(filepath.Join(b.dir, fmt.Sprintf("%04d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.fail = func(call string, n int) error {
		if call == "list" && n > 1 {
			return errTrouble
		}
		return nil
	}
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
}
