package repair

import (
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSubsets compares with trying all subsets.
func TestSubsets(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	found := 0
	for range 300 {
		n := random.IntN(11)
		s := &search{pool: make([]piece, n)}
		list := random.Perm(n)
		for i := range s.pool {
			s.pool[i].weight = 1 + random.Uint64N(12) // many are equal
		}
		weight := random.Uint64N(s.sum(list) + 3)
		want := map[uint]bool{}
		for set := range uint(1) << n {
			sum := uint64(0)
			for i := range n {
				if set>>i&1 == 1 {
					sum += s.pool[i].weight
				}
			}
			if sum == weight {
				want[set] = true
			}
		}
		last := 0
		s.subsets(list, weight, func(set []int) bool {
			bitset := uint(0)
			for _, i := range set {
				bitset |= 1 << i
			}
			if !want[bitset] || bits.OnesCount(bitset) != len(set) {
				t.Errorf("weights %v, %d: got %v, twice or wrong", s.pool, weight, set)
			}
			delete(want, bitset)
			found++
			last = len(set)
			return true
		})
		if len(want) > 0 {
			t.Errorf("weights %v, %d: %d subsets were not found; the last had %d", s.pool, weight, len(want), last)
		}
	}
	t.Logf("%d subsets", found)
}

// TestSubsetsFewestFirst: what is nearly all, or nearly nothing, comes at once.
func TestSubsetsFewestFirst(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s := &search{pool: make([]piece, 200)}
	var all []int
	for i := range s.pool {
		s.pool[i].weight = 100 + random.Uint64N(50)
		all = append(all, i)
	}
	for _, set := range [][]int{{}, {17}, {3, 150}, all, all[1:], slices.Concat(all[:70], all[71:90], all[91:])} {
		tries := 0
		s.subsets(all, s.sum(set), func(got []int) bool {
			tries++
			slices.Sort(got)
			return !slices.Equal(got, set)
		})
		if tries == 0 || tries > maxTries {
			t.Errorf("%d of 200: %d tries", len(set), tries)
		}
	}
}

// TestSubsetsEnd: a search that could go on for ever does not.
func TestSubsetsEnd(t *testing.T) {
	s := &search{pool: make([]piece, 300)}
	var all []int
	for i := range s.pool {
		s.pool[i].weight = 2 * (1000 + uint64(i))
		all = append(all, i)
	}
	s.subsets(all, s.sum(all)/2|1, func(set []int) bool { // no sum is odd
		t.Errorf("%d pieces have an odd sum", len(set))
		return false
	})
}
