package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"time"

	"gocloud.dev/gcerrors"
)

// A retry says how often and how patiently a read is repeated. The clouds'
// clients repeat requests themselves, in milliseconds; this is for what lasts
// longer, and for bodies that break off, which most of them do not resume.
//
// Nothing that changes the bucket is repeated here, not even a deletion: only
// who reads back can tell a lost reply from a refusal.
type retry struct {
	attempts int
	patience time.Duration  // after which no further attempt begins
	silence  time.Duration  // for which an attempt may give nothing before it is given up
	base     time.Duration  // before the second attempt; doubles after each
	max      time.Duration  // but never beyond this
	jitter   func() float64 // in [0,1): which part of the upper half of a delay
}

func defaultRetry() retry {
	return retry{
		attempts: 5,
		patience: 2 * time.Minute,
		silence:  time.Minute,
		base:     200 * time.Millisecond,
		max:      5 * time.Second,
		jitter:   rand.Float64,
	}
}

// delay returns how long to wait behind an attempt, from 1. So many clients
// that failed together come back one by one.
func (r retry) delay(attempt int) time.Duration {
	d := r.max
	if shift := attempt - 1; shift < 30 {
		d = min(r.base<<shift, r.max)
	}
	return d/2 + time.Duration(r.jitter()*float64(d/2))
}

// pause waits behind an attempt, or returns ctx's error when it ends first.
func (r retry) pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(r.delay(attempt))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// repeat calls read until it succeeds, fails for good, or the budget is spent.
// It returns the last error of read, also when ctx ended the waiting.
func repeat[T any](ctx context.Context, r retry, read func(context.Context, *pulse) (T, error)) (T, error) {
	for start, attempt := time.Now(), 1; ; attempt++ {
		value, err := once(ctx, r.silence, read)
		spent := attempt == r.attempts || time.Since(start) >= r.patience
		if err == nil || spent || ctx.Err() != nil || !passing(err) || r.pause(ctx, attempt) != nil {
			return value, err
		}
	}
}

// once calls read with a context that ends when nothing comes for a time:
// drivers wait for as long as they may.
func once[T any](ctx context.Context, silence time.Duration, read func(context.Context, *pulse) (T, error)) (T, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := &silentError{silence}
	p := &pulse{time.AfterFunc(silence, func() { cancel(silent) }), silence}
	defer p.timer.Stop()
	value, err := read(ctx, p)
	if err != nil && context.Cause(ctx) == silent {
		err = silent // and not that of a context of which nobody else knows
	}
	return value, err
}

type silentError struct{ silence time.Duration }

func (e *silentError) Error() string {
	return fmt.Sprintf("the bucket has sent nothing for %v", e.silence)
}

// A pulse tells that an attempt gets on.
type pulse struct {
	timer   *time.Timer
	silence time.Duration
}

// beat is a sign of life.
func (p *pulse) beat() { p.timer.Reset(p.silence) }

// of returns r, whose bytes are signs of life.
func (p *pulse) of(r io.Reader) io.Reader { return &pulseReader{r, p} }

type pulseReader struct {
	io.Reader
	pulse *pulse
}

// pulseSize is the most bytes of one read: a driver may fill what it is given
// before it returns, and nothing is seen of the bytes until then.
const pulseSize = 256 << 10

func (r *pulseReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b[:min(len(b), pulseSize)])
	if n > 0 {
		r.pulse.beat()
	}
	return n, err
}

// MayPass reports whether what a method of a Store failed with may be over when
// it is called again. It does not say that calling again is right: the outcome
// of a write has to be read back before.
func MayPass(err error) bool {
	var e *opError
	return errors.As(err, &e) && e.passing
}

// Pause waits before whatever failed is tried again, the longer the more
// attempts there were, and returns ctx's error when it ends before.
func (s *Store) Pause(ctx context.Context, attempts int) error { return s.retry.pause(ctx, attempts) }

// passingErrnos are the errors of the system that may be over at the next
// attempt; with Temporary's, which are interrupted calls, time-outs and too many
// open files.
var passingErrnos = []syscall.Errno{
	syscall.ECONNABORTED, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH,
	syscall.ENETUNREACH, syscall.EPIPE, syscall.ESTALE,
}

// passing reports whether what failed with err may be over at the next attempt.
// What nobody can classify may: throttling, time-outs and server errors reach us
// without a code, and a read harms nothing.
func passing(err error) bool {
	for _, final := range []error{ErrShort, ErrTooLarge, ErrNotDurable, ErrKey, ErrClosed} {
		if errors.Is(err, final) {
			return false
		}
	}
	switch gcerrors.Code(err) {
	case gcerrors.NotFound, gcerrors.AlreadyExists, gcerrors.InvalidArgument, gcerrors.Unimplemented,
		gcerrors.FailedPrecondition, gcerrors.PermissionDenied, gcerrors.Canceled:
		return false
	}
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return true
	}
	for _, e := range passingErrnos {
		if errno == e {
			return true
		}
	}
	return errno.Temporary()
}
