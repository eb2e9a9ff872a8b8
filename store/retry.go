package store

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"time"

	"gocloud.dev/gcerrors"
)

// A retry says how often and how patiently a read is repeated. The clouds'
// clients repeat requests themselves, in milliseconds; this is for what lasts
// longer, and for bodies that break off, which most of them do not resume.
type retry struct {
	attempts int
	base     time.Duration                              // before the second attempt; doubles after each
	max      time.Duration                              // but never beyond this
	jitter   func() float64                             // in [0,1): which part of the upper half of a delay
	sleep    func(context.Context, time.Duration) error // returns ctx's error when it ends first
}

func defaultRetry() retry {
	return retry{
		attempts: 5,
		base:     200 * time.Millisecond,
		max:      5 * time.Second,
		jitter:   rand.Float64,
		sleep:    sleep,
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// repeat calls read until it succeeds, fails for good, or has had its attempts.
// It returns the last error of read, also when ctx ended the waiting.
func repeat[T any](ctx context.Context, r retry, read func() (T, error)) (T, error) {
	delay := r.base
	for attempt := 1; ; attempt++ {
		value, err := read()
		if err == nil || attempt == r.attempts || ctx.Err() != nil || !retryable(err) {
			return value, err
		}
		if r.sleep(ctx, delay/2+time.Duration(r.jitter()*float64(delay/2))) != nil {
			return value, err
		}
		delay = min(2*delay, r.max)
	}
}

// passing are the errors of the system that may be over at the next attempt;
// with Temporary's, which are interrupted calls, time-outs and too many open
// files.
var passing = []syscall.Errno{
	syscall.ECONNABORTED, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH,
	syscall.ENETUNREACH, syscall.EPIPE, syscall.ESTALE,
}

// retryable reports whether a read that failed with err is worth repeating.
// What nobody can classify is: a read harms nothing, and throttling, time-outs
// and server errors reach us without a code.
func retryable(err error) bool {
	if errors.Is(err, ErrShort) || errors.Is(err, ErrTooLarge) {
		return false
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
	for _, e := range passing {
		if errno == e {
			return true
		}
	}
	return errno.Temporary()
}
