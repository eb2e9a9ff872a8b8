package prune

import (
	"fmt"
	"testing"

	"bluesky/object"
	"bluesky/store"
)

// What it costs to keep waste small: a history of rounds in which a part of
// all files changes, the snapshot before is forgotten, and a prune follows.
// Segments are of 1 MiB, and hold about 30 files of 4 to 64 KiB; leaves are those
// of real trees.
const (
	wasteTarget = 1 << 20
	wasteLeaves = 64 // of 32 files each: 2,048 files, 68 MiB
	wasteFiles  = 32
	wasteRounds = 30
)

func wasteSize(seed uint64, kind object.Kind) int {
	if kind != object.KindBlock {
		return 4<<10 + int(seed%1024)
	}
	return 4<<10 + int(seed*0x9e3779b97f4a7c15>>33)%(60<<10)
}

// A churn replaces n files of a tree.
type churnKind struct {
	name  string
	apply func(b *bed, t *tree, n int) *tree
}

var churns = []churnKind{
	{"uniform", churnUniform},
	{"clustered", churnClustered},
	{"hot", churnHot},
}

// replace returns t with new files in the places that the function gives, one
// after the other.
func (b *bed) replace(t *tree, n int, place func(i int) int) *tree {
	c := &tree{seeds: append([]uint64(nil), t.seeds...)}
	for _, leaf := range t.leaves {
		c.leaves = append(c.leaves, append([]uint64(nil), leaf...))
	}
	width := len(t.leaves[0])
	touched := map[int]bool{}
	for i := range n {
		at := place(i)
		c.leaves[at/width][at%width] = b.fresh()
		touched[at/width] = true
	}
	for leaf := range c.seeds { // in order: the history is the same each time
		if touched[leaf] {
			c.seeds[leaf] = b.fresh()
		}
	}
	return c
}

func (t *tree) files() int { return len(t.leaves) * len(t.leaves[0]) }

// churnUniform replaces files all over the tree.
func churnUniform(b *bed, t *tree, n int) *tree {
	chosen := b.rand.Perm(t.files())
	return b.replace(t, n, func(i int) int { return chosen[i] })
}

// churnClustered replaces neighbours, another place each time.
func churnClustered(b *bed, t *tree, n int) *tree {
	start := b.rand.IntN(t.files())
	return b.replace(t, n, func(i int) int { return (start + i) % t.files() })
}

// churnHot replaces files of a tenth of the tree nine times of ten.
func churnHot(b *bed, t *tree, n int) *tree {
	hot := t.files() / 10
	inside, outside := b.rand.Perm(hot), b.rand.Perm(t.files()-hot)
	return b.replace(t, n, func(i int) int {
		if i%10 == 0 {
			return hot + outside[i]
		}
		return inside[i]
	})
}

// A waste is what a history came to.
type waste struct {
	died, rewritten uint64 // bytes of objects
	space, live     float64
	rounds          int
}

func (w *waste) amplification() float64 { return float64(w.rewritten) / float64(w.died) }

// overhead is the mean of stored over live bytes, after a prune.
func (w *waste) overhead() float64 { return w.space / w.live }

// wasteHistory plays the rounds. check is called after each prune.
func wasteHistory(b *bed, current *tree, change func(*bed, *tree, int) *tree, limit Limit, rounds int, check func(*Result)) *waste {
	b.Helper()
	w := &waste{rounds: rounds}
	options := tight
	options.MaxUnused = limit
	last := b.backUp(current)
	for range rounds {
		current = change(b, current, current.files()/50)
		next := b.backUp(current)
		b.forget(last)
		last = next
		result := b.prune(options)
		w.died += result.DeadBytes
		w.rewritten += result.RepackBytes
		stored, _ := b.stored("seg/")
		w.space += float64(stored)
		w.live += float64(result.ObjectBytes - result.DeadBytes)
		check(result)
	}
	return w
}

func wasteBed(t testing.TB, seed uint64) *bed {
	b := newBedIn(t, store.NewMemory(), seed, wasteTarget)
	b.size = wasteSize
	return b
}

// BenchmarkWaste reports, for each limit, the mean of what is stored over what
// is live (stored/live), and how many bytes are copied for each byte that dies
// (copied/died).
func BenchmarkWaste(bench *testing.B) {
	for _, churn := range churns {
		for _, percent := range []float64{1, 2, 5, 10, 20, 50} {
			bench.Run(fmt.Sprintf("%s/%g%%", churn.name, percent), func(bench *testing.B) {
				var sum waste
				for i := range bench.N {
					b := wasteBed(bench, uint64(i))
					limit := Limit{Percent: percent, IsPercent: true}
					w := wasteHistory(b, b.newTree(wasteLeaves, wasteFiles), churn.apply, limit, wasteRounds, func(*Result) {})
					sum.died += w.died
					sum.rewritten += w.rewritten
					sum.space += w.space
					sum.live += w.live
				}
				bench.ReportMetric(sum.overhead(), "stored/live")
				bench.ReportMetric(sum.amplification(), "copied/died")
			})
		}
	}
}
