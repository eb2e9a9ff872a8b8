package restore

import (
	"runtime"
	"sync"
)

// workers is how many files are looked at or made at once: one more than there
// are processors, so that one can wait for a disk.
func workers() int { return runtime.GOMAXPROCS(0) + 1 }

// A pool runs jobs at the same time, so many that the processors are busy.
type pool struct {
	slots chan struct{}
	busy  sync.WaitGroup
}

func newPool() *pool { return &pool{slots: make(chan struct{}, workers())} }

// run calls job in the background, once there is a slot.
func (p *pool) run(job func()) {
	p.slots <- struct{}{}
	p.busy.Go(func() {
		defer func() { <-p.slots }()
		job()
	})
}

// wait returns when all jobs are done.
func (p *pool) wait() { p.busy.Wait() }
