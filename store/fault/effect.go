package fault

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// Errors that faults give.
var (
	// ErrRefused says that something will not work however often it is tried.
	ErrRefused = errors.New("refused by the test")
	// ErrBroken says nothing about why, as most that goes wrong on a network.
	ErrBroken = errors.New("broken by the test")
)

var (
	errAbsent        = errors.New("no such object")
	errTaken         = errors.New("the object exists")
	errUnimplemented = errors.New("not supported by buckets of tests")
)

// Coded returns an error that gocloud.dev gives the code, as those of a cloud
// have one.
func Coded(code gcerrors.ErrorCode) error { return coded(code) }

type coded gcerrors.ErrorCode

func (c coded) Error() string { return fmt.Sprintf("%v, says the test", gcerrors.ErrorCode(c)) }

// ErrorCode implements driver.Bucket.
func (b *Bucket) ErrorCode(err error) gcerrors.ErrorCode {
	var code coded
	switch {
	case errors.As(err, &code):
		return gcerrors.ErrorCode(code)
	case errors.Is(err, errAbsent):
		return gcerrors.NotFound
	case errors.Is(err, errTaken):
		return gcerrors.FailedPrecondition
	case errors.Is(err, ErrRefused):
		return gcerrors.PermissionDenied
	case errors.Is(err, errUnimplemented):
		return gcerrors.Unimplemented
	case errors.Is(err, ErrBroken):
		return gcerrors.Unknown
	}
	return b.under.ErrorCode(err)
}

type how uint8

const (
	none how = iota
	refuse
	lose
	delay
	lag
	slow
	breakOff
	short
	flip
	truncate
	absent
	stale
	omit
	repeat
)

// names and kinds of what can be done; what an effect cannot be done to stays as
// it is.
var hows = [...]struct {
	name  string
	kinds Kind
}{
	none:     {"no fault", 0},
	refuse:   {"refused", Any},
	lose:     {"reply lost", Any},
	delay:    {"delayed", Writes},
	lag:      {"lagging", Create | Put},
	slow:     {"slow", Any},
	breakOff: {"broken off", Get | Range},
	short:    {"short", Get | Range},
	flip:     {"flipped", Get | Range},
	truncate: {"truncated", Get | Range | Stat},
	absent:   {"absent", Get | Range | Stat | Delete},
	stale:    {"stale", List},
	omit:     {"omitting", List},
	repeat:   {"repeating", List},
}

// An Effect is what becomes of an operation. Effects can be compared.
type Effect struct {
	how   how
	err   error
	n     int64
	delay time.Duration
	gate  <-chan struct{}
}

// Effects without a parameter.
var (
	None   = Effect{}                             // the operation is done
	Refuse = Effect{how: refuse, err: ErrRefused} // not done, for good: no use in trying again
	Fail   = Effect{how: refuse, err: ErrBroken}  // not done, with an error that may pass
	Lose   = Effect{how: lose, err: ErrBroken}    // done, and reported as failed
	Absent = Effect{how: absent, err: errAbsent}  // not done: there is no such object, it says
)

// Delay reports a write as failed and executes it n operations later. With n = 0
// only [Bucket.Settle] does.
func Delay(n int) Effect { return Effect{how: delay, err: ErrBroken, n: int64(n)} }

// Lag does a put that reads do not see for the next n operations; other creates
// of the key find it taken.
func Lag(n int) Effect { return Effect{how: lag, n: int64(n)} }

// Slow does the operation after a time, which passes at once in a bubble of
// testing/synctest, or fails when its context ends before.
func Slow(d time.Duration) Effect { return Effect{how: slow, delay: d} }

// Wait does the operation once gate is closed, or fails when its context ends
// before.
func Wait(gate <-chan struct{}) Effect { return Effect{how: slow, gate: gate} }

// BreakOff ends a body with [ErrBroken] after n bytes, modulo its length.
func BreakOff(n int64) Effect { return Effect{how: breakOff, err: ErrBroken, n: n} }

// Short ends a body after n bytes, modulo its length, as if that were all.
func Short(n int64) Effect { return Effect{how: short, n: n} }

// Flip inverts bit n, modulo their number, of what a read gives.
func Flip(n int64) Effect { return Effect{how: flip, n: n} }

// Truncate shows an object as if it had n bytes, modulo its length.
func Truncate(n int64) Effect { return Effect{how: truncate, n: n} }

// Stale shows the first n entries, modulo their number, of a page of a listing,
// and that nothing follows.
func Stale(n int64) Effect { return Effect{how: stale, n: n} }

// Omit leaves entry n, modulo their number, out of a page of a listing.
func Omit(n int64) Effect { return Effect{how: omit, n: n} }

// Repeat gives entry n, modulo their number, twice.
func Repeat(n int64) Effect { return Effect{how: repeat, n: n} }

// With returns e with another error, for effects that have one.
func (e Effect) With(err error) Effect {
	if e.err != nil {
		e.err = err
	}
	return e
}

// with returns e with another parameter, for effects where it may be any.
func (e Effect) with(n int64) Effect {
	switch e.how {
	case breakOff, short, flip, truncate, stale, omit, repeat:
		e.n = n
	}
	return e
}

// Kinds returns the kinds of operations that e can become of.
func (e Effect) Kinds() Kind { return hows[e.how].kinds }

func (e Effect) String() string {
	s := hows[e.how].name
	switch {
	case e.how == refuse && errors.Is(e.err, ErrBroken):
		s = "failed"
	case e.delay != 0:
		s += fmt.Sprintf(" (%v)", e.delay)
	case e.n != 0:
		s += fmt.Sprintf(" (%d)", e.n)
	}
	return s
}

// wait passes the time that e takes.
func (e Effect) wait(ctx context.Context) error {
	if e.how != slow {
		return nil
	}
	gate := e.gate
	if gate == nil {
		timer := time.NewTimer(e.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	select {
	case <-gate:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// page makes of a page of a listing what e makes of it.
func (e Effect) page(p *driver.ListPage) {
	if len(p.Objects) == 0 {
		return
	}
	i := int(e.n % int64(len(p.Objects)))
	switch e.how {
	case stale:
		p.Objects, p.NextPageToken = p.Objects[:i], nil
	case omit:
		p.Objects = slices.Delete(p.Objects, i, i+1)
	case repeat:
		p.Objects = slices.Insert(p.Objects, i, p.Objects[i])
	}
}
