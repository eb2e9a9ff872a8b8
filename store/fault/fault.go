// Package fault is a bucket that misbehaves as a test asks: the model of what a
// repository has to live with.
//
// A [Bucket] stands in front of a driver of gocloud.dev/blob, by default one in
// memory. It numbers the operations that reach it, asks a [Plan] what becomes of
// each, does that, and keeps a log. Plans are scripts ([Rules]), chance from a
// seed ([Random]), one operation after the other ([Sweep]), or any function.
//
// What a bucket may do, and what must cost nobody more than an error:
//
//   - refuse an operation, for now or for good ([Fail], [Refuse]);
//   - do it, and lose the reply ([Lose]);
//   - report a failure, and execute the write later, when its caller has long
//     read back that nothing is there, or has died ([Delay]);
//   - break off the body of a read, with an error or without ([BreakOff], [Short]);
//   - show in a listing only later what was put ([Stale]);
//   - take any time ([Slow], [Wait]).
//
// What it must never do, and what has to be noticed before it does harm:
//
//   - give other bytes than were put ([Flip]), or fewer ([Truncate]);
//   - say that an object is absent which is there ([Absent]), if only for a
//     while after an acknowledged put ([Lag]);
//   - leave something out of a listing, or give it twice ([Omit], [Repeat]).
//
// What is not modelled, because nothing could live with it: an exclusive create
// with two winners, and an acknowledged put that is lost. Lasting damage a test
// makes itself, with [Memory.Set].
//
// The condition of an exclusive create is judged when it is executed: a delayed
// one whose name is taken by then does nothing.
package fault

import (
	"context"
	"sync"

	"gocloud.dev/blob/driver"
)

// A Bucket passes operations on to a driver, except for faults. It implements
// driver.Bucket and may be used concurrently.
type Bucket struct {
	// Objects are what is in the bucket, past all faults. It is nil for a Bucket
	// over another driver.
	Objects *Memory

	under driver.Bucket

	mu     sync.Mutex
	plan   Plan           // guarded by mu
	log    []*Op          // guarded by mu: the operations since Inject
	parked []*parked      // guarded by mu: writes that are executed later
	hidden map[string]int // guarded by mu: for how many operations reads do not see a key
}

var _ driver.Bucket = (*Bucket)(nil)

// New returns an empty Bucket in memory.
func New() *Bucket { return Over(NewMemory()) }

// Over returns a Bucket with the given objects.
func Over(m *Memory) *Bucket {
	b := Wrap(m)
	b.Objects = m
	return b
}

// Wrap returns a Bucket in front of another driver, which it closes.
func Wrap(under driver.Bucket) *Bucket { return &Bucket{under: under, hidden: map[string]int{}} }

// Inject asks plan from now on what becomes of each operation; nil lets all be.
// It begins a new log, whose first operation has the number 1. Writes that were
// delayed before stay so.
func (b *Bucket) Inject(plan Plan) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.plan, b.log = plan, nil
}

// do does one operation: fn, or what the plan makes of it. It returns the effect
// for whoever has more to do for it.
func (b *Bucket) do(ctx context.Context, op Op, fn func() error) (Effect, error) {
	b.pass()
	entry, effect := b.enter(op)
	err := b.execute(ctx, op, effect, fn)
	b.mu.Lock()
	defer b.mu.Unlock()
	entry.Err = err
	return effect, err
}

// enter numbers and logs an operation, and asks what becomes of it.
func (b *Bucket) enter(op Op) (*Op, Effect) {
	entry := op
	entry.Data = nil
	b.mu.Lock()
	b.log = append(b.log, &entry)
	entry.N = len(b.log)
	op.N, op.Effect = entry.N, Effect{}
	plan := b.plan
	b.mu.Unlock()
	if plan == nil {
		return &entry, Effect{}
	}
	effect := plan(op) // without the lock: it may use the bucket
	if effect.Kinds()&op.Kind == 0 {
		effect = Effect{}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	entry.Effect = effect
	return &entry, effect
}

func (b *Bucket) execute(ctx context.Context, op Op, e Effect, fn func() error) error {
	if err := e.wait(ctx); err != nil {
		return err
	}
	switch e.how {
	case refuse, absent:
		return e.err
	case delay:
		b.park(e.n, fn)
		return e.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if op.Kind&Reads != 0 && b.conceals(op) {
		return errAbsent
	}
	err := fn()
	switch {
	case e.how == lose:
		return e.err
	case e.how == lag && err == nil:
		b.conceal(op.Key, e.n)
	}
	return err
}

// Close implements driver.Bucket. Delayed writes stay delayed.
func (b *Bucket) Close() error { return b.under.Close() }

// As implements driver.Bucket: there are no types to give.
func (b *Bucket) As(any) bool { return false }

// ErrorAs implements driver.Bucket: errors.As serves.
func (b *Bucket) ErrorAs(error, any) bool { return false }

// Copy implements driver.Bucket: nothing in a repository is copied in place.
func (b *Bucket) Copy(context.Context, string, string, *driver.CopyOptions) error {
	return errUnimplemented
}

// SignedURL implements driver.Bucket.
func (b *Bucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errUnimplemented
}
