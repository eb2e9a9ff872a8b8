package index

import (
	"bytes"
	"fmt"
	"sort"
	"testing"

	"bluesky/object"
)

const million = 1_000_000

// BenchmarkRun looks up ids in a run of a million rows.
func BenchmarkRun(b *testing.B) {
	m := newMaker(1)
	r := m.bare(b, million)
	hits, misses := make([]object.ID, 1<<16), m.ids(1<<16)
	for i := range hits {
		hits[i] = r.id(m.rand.IntN(r.Len()))
	}
	for _, c := range []struct {
		name string
		ids  []object.ID
		want bool
	}{{"hit", hits, true}, {"miss", misses, false}} {
		b.Run("Has/"+c.name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				if r.Has(c.ids[i%len(c.ids)]) != c.want {
					b.Fatal("wrong answer")
				}
			}
		})
		b.Run("Lookup/"+c.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if (r.Lookup(c.ids[i%len(c.ids)]) != nil) != c.want {
					b.Fatal("wrong answer")
				}
			}
		})
	}
}

// BenchmarkSearch compares search with halving alone.
func BenchmarkSearch(b *testing.B) {
	for _, n := range []int{20_000, million} {
		m := newMaker(1)
		r := m.bare(b, n)
		ids := m.ids(1 << 16)
		halve := func(id object.ID) int {
			return sort.Search(n, func(i int) bool { return bytes.Compare(r.rows[i*rowSize:][:idSize], id[:]) >= 0 })
		}
		b.Run(fmt.Sprintf("%d/proportion", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				search(r.rows, ids[i%len(ids)])
			}
		})
		b.Run(fmt.Sprintf("%d/halving", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				halve(ids[i%len(ids)])
			}
		})
	}
}

// BenchmarkIndex looks up ids in a million rows that stand in ever more runs.
func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{1, 4, 20, 500} {
		m := newMaker(1)
		var runs []*Run
		for range n {
			runs = append(runs, m.bare(b, million/n))
		}
		x := New(parts(runs, make([]uint64, n)), nil)
		hits, misses := make([]object.ID, 1<<16), m.ids(1<<16)
		for i := range hits {
			r := runs[m.rand.IntN(n)]
			hits[i] = r.id(m.rand.IntN(r.Len()))
		}
		for _, c := range []struct {
			name string
			ids  []object.ID
			want bool
		}{{"hit", hits, true}, {"miss", misses, false}} {
			b.Run(fmt.Sprintf("Has/%d-runs/%s", n, c.name), func(b *testing.B) {
				x.patience = 0 // the table is there from the start
				for i := 0; b.Loop(); i++ {
					if x.Has(c.ids[i%len(c.ids)]) != c.want {
						b.Fatal("wrong answer")
					}
				}
			})
		}
		b.Run(fmt.Sprintf("Lookup/%d-runs/hit", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if len(x.Lookup(hits[i%len(hits)])) != 1 {
					b.Fatal("wrong answer")
				}
			}
		})
		b.Run(fmt.Sprintf("NoTable/%d-runs/miss", n), func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				for _, r := range runs {
					if r.Has(misses[i%len(misses)]) {
						b.Fatal("wrong answer")
					}
				}
			}
		})
	}
}

// BenchmarkTable makes the table of fingerprints of a million rows.
func BenchmarkTable(b *testing.B) {
	m := newMaker(1)
	members := []member{{run: m.bare(b, million)}}
	b.ReportAllocs()
	for b.Loop() {
		newFingerprints(members, []int{0})
	}
}

// BenchmarkEncode sorts and encodes a million rows.
func BenchmarkEncode(b *testing.B) {
	m := newMaker(1)
	r := m.bare(b, million)
	rows := make([]Row, 0, million)
	for row := range r.Rows() {
		rows = append(rows, row)
	}
	m.rand.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
	builder := Builder{repository: repository, segments: r.Segments(), rows: make([]Row, million)}
	b.SetBytes(r.Size())
	b.ReportAllocs()
	for b.Loop() {
		copy(builder.rows, rows)
		if _, _, err := builder.Encode(repository, RunName{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDecode verifies a run of a million rows, as each OpenFile does.
func BenchmarkDecode(b *testing.B) {
	r := newMaker(1).bare(b, million)
	b.SetBytes(r.Size())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(r.data, repository, RunName{}); err != nil {
			b.Fatal(err)
		}
	}
}
