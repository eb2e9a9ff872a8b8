package repair

import (
	"cmp"
	"slices"
	"sort"
)

// maxSteps bounds how many ways a search for sums goes.
const maxSteps = 1 << 21

// subsets yields subsets of list that have the weight: first those that take in,
// or leave out, the fewest. It gives up after maxSteps.
func (s *search) subsets(list []int, weight uint64, yield func([]int) bool) bool {
	total := s.sum(list)
	if weight > total {
		return true
	}
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(a, b int) int { return cmp.Compare(s.pool[b].weight, s.pool[a].weight) })
	weights := make([]uint64, len(list))
	for i, at := range list {
		weights[i] = s.pool[at].weight
	}
	sub := newSubsetter(weights)
	target, leaveOut := weight, total-weight < weight
	if leaveOut {
		target = total - weight
	}
	return sub.run(target, func(chosen []bool) bool {
		var set []int
		for i, at := range list {
			if chosen[i] != leaveOut {
				set = append(set, at)
			}
		}
		return yield(set)
	})
}

// A subsetter finds subsets of a given sum.
type subsetter struct {
	weights []uint64 // descending
	sums    []uint64 // of the first 0, 1, 2, … of them
	steps   int      // that are left; each takes about the same time, however many weights there are
}

func newSubsetter(weights []uint64) *subsetter {
	b := &subsetter{weights: weights, sums: make([]uint64, len(weights)+1), steps: maxSteps}
	for i, w := range weights {
		b.sums[i+1] = b.sums[i] + w
	}
	return b
}

// run yields the subsets, by how many they are.
func (b *subsetter) run(target uint64, yield func(chosen []bool) bool) bool {
	chosen := make([]bool, len(b.weights))
	for n := 0; n <= len(b.weights) && b.steps > 0; n++ {
		if !b.choose(0, n, target, chosen, yield) {
			return false
		}
	}
	return true
}

// choose completes chosen by n of the weights from i on.
func (b *subsetter) choose(i, n int, target uint64, chosen []bool, yield func([]bool) bool) bool {
	if n == 0 {
		return target != 0 || yield(chosen)
	}
	all := len(b.weights)
	// Of descending weights, the last n are the least.
	if b.steps--; b.steps < 0 || i+n > all || target < b.sums[all]-b.sums[all-n] {
		return true
	}
	i += sort.Search(all-i, func(k int) bool { return b.weights[i+k] <= target })
	for ; i+n <= all && target <= b.sums[i+n]-b.sums[i]; i++ { // the next n are the most
		chosen[i] = true
		more := b.choose(i+1, n-1, target-b.weights[i], chosen, yield)
		chosen[i] = false
		if !more {
			return false
		}
		if b.steps < 0 {
			return true
		}
	}
	return true
}
