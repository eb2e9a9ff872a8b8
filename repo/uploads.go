package repo

import (
	"context"
	"sync"
)

// uploads runs a bounded number of uploads in the background. Work gets its
// ticket when it is detached from the open segment, before it waits for a slot,
// so that whoever waits for all earlier work misses none of it.
type uploads struct {
	slots chan struct{}

	mu      sync.Mutex
	changed *sync.Cond          // a ticket was closed
	tickets uint64              // given out
	open    map[uint64]struct{} // and not closed
}

func newUploads(slots int) *uploads {
	u := &uploads{slots: make(chan struct{}, slots), open: map[uint64]struct{}{}}
	u.changed = sync.NewCond(&u.mu)
	return u
}

// ticket announces work that start will be called for.
func (u *uploads) ticket() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tickets++
	u.open[u.tickets] = struct{}{}
	return u.tickets
}

func (u *uploads) closeTicket(ticket uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.open, ticket)
	u.changed.Broadcast()
}

// start runs fn once a slot is free, and returns then.
func (u *uploads) start(ctx context.Context, ticket uint64, fn func()) error {
	select {
	case u.slots <- struct{}{}:
	case <-ctx.Done():
		u.closeTicket(ticket)
		return context.Cause(ctx)
	}
	go func() {
		defer u.closeTicket(ticket)
		defer func() { <-u.slots }()
		fn()
	}()
	return nil
}

// wait returns when all work with a ticket given out so far has ended.
func (u *uploads) wait() {
	u.mu.Lock()
	defer u.mu.Unlock()
	last := u.tickets
	for u.pending(last) {
		u.changed.Wait()
	}
}

// pending reports whether a ticket up to last is open. It needs u.mu.
func (u *uploads) pending(last uint64) bool {
	for ticket := range u.open {
		if ticket <= last {
			return true
		}
	}
	return false
}
