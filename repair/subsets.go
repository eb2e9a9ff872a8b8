package repair

import (
	"cmp"
	"slices"
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
	sub := subsetter{weights: make([]uint64, len(list)), steps: maxSteps}
	for i, at := range list {
		sub.weights[i] = s.pool[at].weight
	}
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
	steps   int      // that are left
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
	most, least := uint64(0), uint64(0)
	for k := range n { // of descending weights, the next n are the most, the last n the least
		if i+n > len(b.weights) {
			return true
		}
		most += b.weights[i+k]
		least += b.weights[len(b.weights)-1-k]
	}
	if b.steps--; b.steps < 0 || target > most || target < least {
		return true
	}
	for ; i+n <= len(b.weights); i++ {
		if b.weights[i] > target {
			continue
		}
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
