package repair

import (
	"testing"
	"time"
)

// TestSubsetsOfMany: whoever can write to the bucket can put many small segments
// there, that no run names. They cost a repair little, whatever it looks for.
func TestSubsetsOfMany(t *testing.T) {
	s := &search{pool: make([]piece, 200_000)}
	all := make([]int, len(s.pool))
	for i := range s.pool {
		s.pool[i].weight = 2 * (1 + uint64(i))
		all[i] = i
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		s.subsets(all, s.sum(all)/2|1, func([]int) bool { return true }) // no sum is odd
		s.subsets(all, 100_001, func([]int) bool { return true })
	}()
	select {
	case <-done:
	case <-time.After(time.Minute): // it would take many minutes
		t.Fatal("the search for a sum does not come to its end")
	}
}
