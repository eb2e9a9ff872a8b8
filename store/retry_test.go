package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bluesky/store/fault"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// inTrouble runs test in a bubble, with a Store of a bucket with the object
// "key" of 10 bytes. Time passes there only while everybody waits.
func inTrouble(t *testing.T, test func(t *testing.T, s *Store, b *fault.Bucket)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := fault.New()
		b.Objects.Set("key", []byte("0123456789"))
		s := New(blob.NewBucket(b), "somewhere")
		defer s.Close()
		s.retry.jitter = func() float64 { return 0.5 }
		test(t, s, b)
	})
}

// took returns the time that fn takes.
func took(fn func()) time.Duration {
	start := time.Now()
	fn()
	return time.Since(start)
}

// reads are the calls that may be repeated, with the operation they are.
var reads = []struct {
	name string
	kind fault.Kind
	do   func(context.Context, *Store) error
}{
	{"get", fault.Get, func(ctx context.Context, s *Store) error {
		data, err := s.Get(ctx, "key", 10)
		if err == nil && string(data) != "0123456789" {
			err = fmt.Errorf("got %q", data)
		}
		return err
	}},
	{"range", fault.Range, func(ctx context.Context, s *Store) error {
		data, err := s.GetRange(ctx, "key", 2, 3)
		if err == nil && string(data) != "234" {
			err = fmt.Errorf("got %q", data)
		}
		return err
	}},
	{"stat", fault.Stat, func(ctx context.Context, s *Store) error {
		_, err := s.Stat(ctx, "key")
		return err
	}},
	{"list", fault.List, func(ctx context.Context, s *Store) error {
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
		inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
			b.Inject(fault.Rules(fault.Rule{Kinds: r.kind, Times: 4, Effect: fault.Fail}))
			d := took(func() {
				if err := r.do(t.Context(), s); err != nil {
					t.Errorf("%s after four failures: %v", r.name, err)
				}
			})
			if want := (150 + 300 + 600 + 1200) * time.Millisecond; d != want {
				t.Errorf("%s took %v, want %v", r.name, d, want)
			}
			b.Inject(fault.Rules(fault.Rule{Kinds: r.kind, Effect: fault.Fail}))
			if err := r.do(t.Context(), s); !errors.Is(err, fault.ErrBroken) {
				t.Errorf("%s with the bucket down: got %v", r.name, err)
			}
			if n, _ := b.Count(r.kind, ""); n != s.retry.attempts {
				t.Errorf("%s: %d attempts, want %d", r.name, n, s.retry.attempts)
			}
		})
	}
}

// Delays double up to a bound, and their upper half is chance.
func TestDelay(t *testing.T) {
	r := defaultRetry()
	whole := []time.Duration{200, 400, 800, 1600, 3200, 5000, 5000} // ms
	for _, part := range []float64{0, 0.25, 0.5} {
		r.jitter = func() float64 { return part }
		for attempt := 1; attempt < 100; attempt++ {
			ms := whole[min(attempt, len(whole))-1] * time.Millisecond
			if got, want := r.delay(attempt), ms/2+time.Duration(part*float64(ms/2)); got != want {
				t.Errorf("attempt %d, jitter %v: %v, want %v", attempt, part, got, want)
			}
		}
	}
	seen := map[time.Duration]bool{}
	for range 100 {
		d := defaultRetry().delay(3)
		if d < 400*time.Millisecond || d > 800*time.Millisecond {
			t.Errorf("%v", d)
		}
		seen[d] = true
	}
	if len(seen) < 50 {
		t.Errorf("of 100 delays %d differ", len(seen))
	}
}

// A bucket that takes long to fail is not asked as often.
func TestPatience(t *testing.T) {
	for _, r := range reads {
		inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
			b.Inject(func(op fault.Op) fault.Effect {
				if op.Kind == r.kind {
					time.Sleep(50 * time.Second) // of the bubble
				}
				return fault.Fail
			})
			if err := r.do(t.Context(), s); !errors.Is(err, fault.ErrBroken) {
				t.Errorf("%s: %v", r.name, err)
			}
			if n, _ := b.Count(r.kind, ""); n != 3 {
				t.Errorf("%s: %d attempts of 50 s within %v, want 3", r.name, n, s.retry.patience)
			}
		})
	}
}

// A bucket that does not answer is given up, and asked again: the drivers know
// no time-outs.
func TestSilence(t *testing.T) {
	for _, r := range reads {
		inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
			never := make(chan struct{})
			b.Inject(fault.Rules(fault.Rule{Kinds: r.kind, Times: 1, Effect: fault.Wait(never)}))
			d := took(func() {
				if err := r.do(t.Context(), s); err != nil {
					t.Errorf("%s: %v", r.name, err)
				}
			})
			if want := s.retry.silence + 150*time.Millisecond; d != want {
				t.Errorf("%s: took %v, want %v", r.name, d, want)
			}
			b.Inject(fault.Rules(fault.Rule{Effect: fault.Wait(never)}))
			err := r.do(t.Context(), s)
			if err == nil || !strings.Contains(err.Error(), "has sent nothing for 1m0s") || errors.Is(err, context.Canceled) {
				t.Errorf("%s: got %v", r.name, err)
			}
		})
	}
}

// A body that comes slowly is not given up.
func TestSlowBody(t *testing.T) {
	inTrouble(t, func(t *testing.T, _ *Store, b *fault.Bucket) {
		s := New(blob.NewBucket(lame{b}), "somewhere")
		defer s.Close()
		d := took(func() {
			if data, err := s.Get(t.Context(), "key", 10); string(data) != "0123456789" {
				t.Errorf("got %q, %v", data, err)
			}
		})
		if n, _ := b.Count(fault.Get, ""); n != 1 || d < 10*50*time.Second {
			t.Errorf("%d attempts in %v", n, d)
		}
	})
}

// A lame bucket gives a byte every 50 seconds.
type lame struct{ *fault.Bucket }

func (b lame) NewRangeReader(ctx context.Context, key string, off, n int64, o *driver.ReaderOptions) (driver.Reader, error) {
	r, err := b.Bucket.NewRangeReader(ctx, key, off, n, o)
	return lameReader{r, ctx}, err
}

type lameReader struct {
	driver.Reader
	ctx context.Context
}

func (r lameReader) Read(p []byte) (int, error) {
	select {
	case <-time.After(50 * time.Second): // of the bubble
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
	return r.Reader.Read(p[:1])
}

// What changes the bucket is asked for once, whatever comes of it.
func TestWritesAreNotRepeated(t *testing.T) {
	for _, effect := range []fault.Effect{
		fault.Fail, fault.Lose, fault.Delay(0), fault.Refuse,
		fault.Fail.With(fault.Coded(gcerrors.Internal)), fault.Fail.With(fault.Coded(gcerrors.ResourceExhausted)),
		fault.Fail.With(fault.Coded(gcerrors.DeadlineExceeded)), fault.Fail.With(syscall.ECONNRESET),
	} {
		inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
			b.Inject(fault.Rules(fault.Rule{Kinds: fault.Writes, Effect: effect}))
			d := took(func() {
				for name, err := range map[string]error{
					"create": s.PutNew(t.Context(), "new", nil),
					"put":    s.Put(t.Context(), "newer", nil),
					"delete": s.Delete(t.Context(), "key"),
				} {
					if err == nil {
						t.Errorf("%v: %s: no error", effect, name)
					}
				}
			})
			if n, _ := b.Count(fault.Any, ""); n != 3 || d != 0 {
				t.Errorf("%v: %d operations in %v, want each once: %v", effect, n, d, b.Log())
			}
		})
	}
}

func TestClassification(t *testing.T) {
	tests := []struct {
		err  error
		want bool
	}{
		{fault.Coded(gcerrors.NotFound), false},
		{fault.Coded(gcerrors.AlreadyExists), false},
		{fault.Coded(gcerrors.PermissionDenied), false},
		{fault.Coded(gcerrors.InvalidArgument), false},
		{fault.Coded(gcerrors.Unimplemented), false},
		{fault.Coded(gcerrors.FailedPrecondition), false},
		{fault.Coded(gcerrors.Canceled), false},
		{fault.Coded(gcerrors.Unknown), true},
		{fault.Coded(gcerrors.Internal), true},
		{fault.Coded(gcerrors.ResourceExhausted), true},
		{fault.Coded(gcerrors.DeadlineExceeded), true},
		{fault.ErrBroken, true},
		{io.ErrUnexpectedEOF, true},
		{os.NewSyscallError("read", syscall.ECONNRESET), true},
		{os.NewSyscallError("open", syscall.ESTALE), true},
		{os.NewSyscallError("open", syscall.EMFILE), true},
		{os.NewSyscallError("read", syscall.ETIMEDOUT), true},
		{os.NewSyscallError("read", syscall.EIO), false},
		{os.NewSyscallError("write", syscall.ENOSPC), false},
		{os.NewSyscallError("open", syscall.ELOOP), false},
		{fmt.Errorf("range: %w", ErrShort), false},
		{fmt.Errorf("size: %w", ErrTooLarge), false},
		{fmt.Errorf("sync: %w", ErrNotDurable), false},
	}
	for _, tt := range tests {
		for _, r := range reads {
			inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
				b.Inject(fault.Rules(fault.Rule{Kinds: r.kind, Effect: fault.Fail.With(tt.err)}))
				err := r.do(t.Context(), s)
				n, _ := b.Count(r.kind, "")
				if want := map[bool]int{false: 1, true: s.retry.attempts}[tt.want]; n != want || err == nil {
					t.Errorf("%v, %s: %d attempts, error %v, want %d", tt.err, r.name, n, err, want)
				}
				if got := MayPass(fmt.Errorf("reading: %w", err)); got != tt.want {
					t.Errorf("%v, %s: MayPass %v, want %v", err, r.name, got, tt.want)
				}
			})
		}
	}
}

// What the store itself says will not pass either.
func TestMayPassOfTheStore(t *testing.T) {
	inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
		_, missing := s.Get(t.Context(), "missing", 10)
		_, large := s.Get(t.Context(), "key", 9)
		_, short := s.GetRange(t.Context(), "key", 5, 6)
		taken := s.PutNew(t.Context(), "key", nil)
		bad := s.PutNew(t.Context(), "KEY", nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		canceled := s.PutNew(ctx, "new", nil)
		s.Close()
		closed := s.PutNew(t.Context(), "new", nil)
		for _, err := range []error{missing, large, short, taken, bad, canceled, closed, nil, errors.New("another's")} {
			if MayPass(err) {
				t.Errorf("%v may pass", err)
			}
		}
	})
}

func TestCancelEndsTheWaiting(t *testing.T) {
	for _, r := range reads {
		inTrouble(t, func(t *testing.T, s *Store, b *fault.Bucket) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			b.Inject(fault.Rules(fault.Rule{Effect: fault.Fail}))
			d := took(func() {
				if err := r.do(ctx, s); !errors.Is(err, fault.ErrBroken) {
					t.Errorf("%s: got %v, want the bucket's error", r.name, err)
				}
			})
			if n, _ := b.Count(r.kind, ""); n != 1 || d != 100*time.Millisecond {
				t.Errorf("%s: %d attempts in %v", r.name, n, d)
			}
			if err := s.Pause(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("pause: %v", err)
			}
		})
	}
}
