package index

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"testing"

	"bluesky/object"
)

// TestSearch compares search with a plain look through all rows, on ids that are
// uniform and on some that were chosen to mislead it, and counts its probes.
func TestSearch(t *testing.T) {
	m := newMaker(1)
	tests := []struct {
		name string
		n    int
		key  func(i int) uint64
	}{
		{"none", 0, nil},
		{"one", 1, func(int) uint64 { return m.rand.Uint64() }},
		{"uniform", 5000, func(int) uint64 { return m.rand.Uint64() }},
		{"all keys the same", 5000, func(int) uint64 { return 1 << 40 }},
		{"all keys zero", 300, func(int) uint64 { return 0 }},
		{"all keys the highest", 300, func(int) uint64 { return ^uint64(0) }},
		{"exponential", 5000, func(int) uint64 { return m.rand.Uint64() >> m.rand.IntN(64) }},
		{"all low but one", 5000, func(i int) uint64 { return uint64(i) | uint64(i/4999)<<63 }},
		{"all high but one", 5000, func(i int) uint64 { return ^(uint64(i) | uint64(i/4999)<<63) }},
		{"two heaps", 5000, func(i int) uint64 { return uint64(i%2)*^uint64(0) ^ m.rand.Uint64()>>50 }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ids := m.ids(tt.n)
			for i := range ids {
				binary.BigEndian.PutUint64(ids[i][:], tt.key(i))
				if i%5 == 4 {
					ids[i] = ids[i-1] // copies
				}
			}
			slices.SortFunc(ids, object.ID.Compare)
			rows := make([]byte, rowSize*len(ids))
			for i := range ids {
				copy(rows[i*rowSize:], ids[i][:])
			}
			asked := append(slices.Clone(ids), m.ids(500)...)
			for i := range ids { // neighbours that are not there
				id := ids[i]
				id[31]++
				asked = append(asked, id)
			}
			asked = append(asked, object.ID{}, object.ID(bytes.Repeat([]byte{0xff}, 32)))
			bound := 2*maxRounds + bits.Len(uint(len(ids)))
			for _, id := range asked {
				want, _ := slices.BinarySearchFunc(ids, id, object.ID.Compare)
				got, probes := search(rows, id)
				if got != want || probes > bound {
					t.Fatalf("search(%s) = %d after %d rows, want %d after at most %d", id.Short(), got, probes, want, bound)
				}
			}
		})
	}
}

// TestSearchIsShort holds search to its claim for uniform ids.
func TestSearchIsShort(t *testing.T) {
	m := newMaker(2)
	r := m.bare(t, 20000)
	total := 0
	const n = 5000
	for range n {
		_, hit := search(r.rows, r.id(m.rand.IntN(r.Len())))
		_, miss := search(r.rows, m.id())
		total += hit + miss
	}
	if mean := float64(total) / (2 * n); mean > 8 {
		t.Errorf("%.1f rows looked at on average, want at most 8; halving takes 15", mean)
	}
}
