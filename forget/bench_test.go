package forget

import (
	"math/rand/v2"
	"testing"
	"time"
)

// BenchmarkApply applies a usual policy to 10,000 snapshots of a line.
func BenchmarkApply(b *testing.B) {
	w := newWorld(rand.New(rand.NewPCG(1, 0)))
	for range 10_000 {
		w.wait(2 * time.Hour)
		w.add(testLine(1, 1), w.now)
	}
	policy := Policy{Keep: [len(Spans)]Count{Daily: 7, Weekly: 5, Monthly: 12, Yearly: 10}}
	policy = policy.WithFloor(DefaultFloor)
	b.ReportAllocs()
	for b.Loop() {
		Apply(w.log, &policy)
	}
}
