package refcount

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"bluesky/index"
	"bluesky/object"
)

const benchRows = 1000000

// benchMarks are of a run of a million rows, one in ten dead, at random.
func benchMarks() ([]Table, Shapes) {
	r := rand.New(rand.NewPCG(1, 1))
	run := vectorRuns[0]
	shapes := Shapes{run: {Rows: benchRows, Segments: 60}}
	marks := marksOf(func(b *roaring.Bitmap) {
		for i := range uint32(benchRows) {
			if r.IntN(10) == 0 {
				b.Add(i)
			}
		}
	}, 3)
	return []Table{encodeMarks(repository, vectorName, shapes, map[index.RunName]*RunMarks{run: marks})}, shapes
}

func BenchmarkLoadMarks(b *testing.B) {
	list, shapes := benchMarks()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := LoadMarks(repository, list, shapes); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(list[0].Ref.Size), "table-bytes")
}

func BenchmarkEncodeMarks(b *testing.B) {
	list, shapes := benchMarks()
	m, err := LoadMarks(repository, list, shapes)
	check(b, err)
	b.ReportAllocs()
	for b.Loop() {
		m.Change().Base(vectorName, nil)
	}
}

func BenchmarkDead(b *testing.B) {
	list, shapes := benchMarks()
	m, err := LoadMarks(repository, list, shapes)
	check(b, err)
	marks, row, dead := m.Of(vectorRuns[0]), uint32(0), 0
	for b.Loop() {
		if row = (row + 7919) % benchRows; marks.Dead(row) {
			dead++
		}
	}
}

// benchCounts are of a run of a million rows, loaded.
func benchCounts(b *testing.B) *Counts {
	c, err := LoadCounts(repository, nil, nil)
	check(b, err)
	counts := make([]uint32, benchRows)
	for i := range counts {
		counts[i] = uint32(i % 5)
	}
	check(b, c.AddRun(vectorRuns[0], counts))
	c, err = LoadCounts(repository, []Table{c.Delta(vectorName)}, Shapes{vectorRuns[0]: {Rows: benchRows}})
	check(b, err)
	return c
}

func BenchmarkLoadCounts(b *testing.B) {
	list := []Table{benchCounts(b).baseTable(b)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := LoadCounts(repository, list, Shapes{vectorRuns[0]: {Rows: benchRows}}); err != nil {
			b.Fatal(err)
		}
	}
}

func (c *Counts) baseTable(b *testing.B) Table {
	var data writer
	ref, err := c.WriteBase(&data, vectorName)
	check(b, err)
	return Table{ref, data}
}

type writer []byte

func (w *writer) Write(b []byte) (int, error) { *w = append(*w, b...); return len(b), nil }

func BenchmarkGetCount(b *testing.B) {
	c, row := benchCounts(b).Layer(), uint32(0)
	for b.Loop() {
		row = (row + 7919) % benchRows
		if _, err := c.Get(vectorRuns[0], row); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkAddCount changes rows in a layer above the loaded counts, 20,000
// different ones.
func BenchmarkAddCount(b *testing.B) {
	c, row := benchCounts(b), uint32(0)
	for b.Loop() {
		row = (row + 50) % benchRows
		if _, err := c.Add(vectorRuns[0], row, 1); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriteBaseOfCounts streams a million counts, of which 20,000 are
// changed.
func BenchmarkWriteBaseOfCounts(b *testing.B) {
	c := benchCounts(b)
	for row := uint32(0); row < benchRows; row += 50 {
		_, err := c.Add(vectorRuns[0], row, 1)
		check(b, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.WriteBase(io.Discard, vectorName); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkCandidates opens a map of 100,000 segments and finds 20 that are dead.
func BenchmarkCandidates(b *testing.B) {
	victims := map[int]bool{}
	for i := range 20 {
		victims[i*4999] = true
	}
	m, refs := largeSpace(100000, victims)
	m.requests, m.bytes = 0, 0
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		s, err := OpenSpace(b.Context(), m, repository, refs)
		check(b, err)
		found, err := collect(s.Candidates(b.Context(), Query{Dead: true}))
		if err != nil || len(found) != len(victims) {
			b.Fatal(len(found), err)
		}
		n++
	}
	b.ReportMetric(float64(m.requests)/float64(n), "requests/op")
	b.ReportMetric(float64(m.bytes)/float64(n), "read-bytes/op")
}

func BenchmarkAllOfSpace(b *testing.B) {
	m, refs := largeSpace(100000, nil)
	s, err := OpenSpace(b.Context(), m, repository, refs)
	check(b, err)
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range s.All(b.Context()) {
			check(b, err)
			n++
		}
		if n != 100000 || s.Totals(object.ClassData).Segments != 100000 {
			b.Fatal(n)
		}
	}
}

// BenchmarkBaseOfSpace writes a map of 100,000 segments.
func BenchmarkBaseOfSpace(b *testing.B) {
	m, refs := largeSpace(100000, nil)
	s, err := OpenSpace(b.Context(), m, repository, refs)
	check(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Change().Base(b.Context(), vectorName); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDeltaOfSpace changes 100 of 100,000 segments.
func BenchmarkDeltaOfSpace(b *testing.B) {
	m, refs := largeSpace(100000, nil)
	s, err := OpenSpace(b.Context(), m, repository, refs)
	check(b, err)
	all, err := collect(s.All(b.Context()))
	check(b, err)
	b.ReportAllocs()
	for b.Loop() {
		c := s.Change()
		for i := range 100 {
			u := all[i*997]
			u.Live /= 2
			check(b, c.Put(u))
		}
		if _, err := c.Delta(b.Context(), vectorName); err != nil {
			b.Fatal(err)
		}
	}
}
