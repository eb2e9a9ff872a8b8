package refcount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"bluesky/index"
)

// denseOf returns a section of counts of a run of the vectors.
func denseOf(run int, counts ...uint32) section {
	var c Counts
	c.runs = map[index.RunName]*runCounts{}
	if err := c.AddRun(vectorRuns[run], counts); err != nil {
		panic(err)
	}
	var content bytes.Buffer
	v := c.view(vectorRuns[run])
	v.writeDense(&content, v.overDense())
	return section{run: vectorRuns[run], rows: uint64(len(counts)), form: formDense, content: content.Bytes()}
}

func sparseOf(run int, rows uint64, list ...rowCount) section {
	return section{run: vectorRuns[run], rows: rows, form: formSparse, content: appendRowCounts(nil, list)}
}

func countsTable(sections ...section) []byte {
	return encodeTable(prelude{typ: TypeCounts, repository: repository, name: vectorName}, sections).Data
}

// validCounts is the table that most vectors vary.
func validCounts() []byte {
	return countsTable(denseOf(0, 0, 1, 65534, 65535, 1<<20), sparseOf(1, 9, rowCount{2, 0}, rowCount{8, math.MaxUint32}))
}

func countsVectors() []vectorCase {
	const dense = preludeSize + 2*sectionSize
	const list = dense + 10 + 4
	const sparse = list + 2*rowCountSize
	valid := editor(validCounts)
	own := []vectorCase{
		{"valid-counts-none", func() []byte { return countsTable() }},
		{"valid-counts-both-forms", valid},
		{"valid-counts-run-without-rows", func() []byte { return countsTable(denseOf(0)) }},
		{"valid-counts-one-row", func() []byte { return countsTable(denseOf(1, 7)) }},
		{"corrupt-counts-rows-less", valid.u64(preludeSize+16, 4)},
		{"corrupt-counts-rows-most", valid.u64(preludeSize+16, 1<<32)},
		{"corrupt-counts-overflow-more", valid.u32(list-4, 3)},
		{"corrupt-counts-overflow-less", valid.u32(list-4, 1)},
		{"corrupt-counts-overflow-most", valid.u32(list-4, math.MaxUint32)},
		{"corrupt-counts-overflow-small", valid.u32(list+4, 65534)},
		{"corrupt-counts-overflow-out-of-order", valid.swap(list, rowCountSize)},
		{"corrupt-counts-overflow-row-twice", valid.u32(list+8, 3)},
		{"corrupt-counts-overflow-row-past-run", valid.u32(list+8, 5)},
		{"corrupt-counts-overflow-of-another-row", valid.u32(list, 2)},
		{"corrupt-counts-overflow-missing", valid.with(func(d []byte) { binary.LittleEndian.PutUint16(d[dense:], 65535) })},
		{"corrupt-counts-dense-cut", func() []byte {
			s := denseOf(0, 1, 2, 3)
			s.content = s.content[:9]
			return countsTable(s)
		}},
		{"corrupt-counts-dense-bytes-behind", func() []byte {
			s := denseOf(0, 1, 2, 3)
			s.content = append(s.content, 0)
			return countsTable(s)
		}},
		{"corrupt-counts-sparse-out-of-order", valid.swap(sparse, rowCountSize)},
		{"corrupt-counts-sparse-row-twice", valid.u32(sparse, 8)},
		{"corrupt-counts-sparse-row-past-run", valid.u32(sparse+8, 9)},
		{"corrupt-counts-sparse-row-highest", valid.u32(sparse+8, math.MaxUint32)},
		{"corrupt-counts-sparse-empty", func() []byte { return countsTable(sparseOf(0, 5)) }},
		{"corrupt-counts-sparse-cut", func() []byte {
			s := sparseOf(1, 9, rowCount{2, 3})
			s.content = s.content[:7]
			return countsTable(s)
		}},
	}
	return slices.Concat(own, valid.frame("counts"), valid.sections("counts"))
}

// decodeCountsTable decodes each section by itself: a table need not be the first
// of its list.
func decodeCountsTable(data []byte) (func() []byte, error) {
	sections, _, err := decodeTable(tableOf(data), TypeCounts, repository)
	if err != nil {
		return nil, err
	}
	runs := map[index.RunName]*runCounts{}
	for i := range sections {
		s := &sections[i]
		c := Counts{runs: map[index.RunName]*runCounts{}}
		if s.form == formSparse {
			c.runs[s.run] = &runCounts{rows: s.rows}
		}
		if err := c.loadSection(s, true); err != nil {
			return nil, err
		}
		runs[s.run] = c.runs[s.run]
	}
	return func() []byte {
		for i := range sections {
			s, r := &sections[i], runs[sections[i].run]
			if s.form == formSparse {
				s.content = appendRowCounts(nil, sortedRows(r.changed, nil))
				continue
			}
			var content bytes.Buffer
			v := view{base: r}
			v.writeDense(&content, v.overDense())
			s.content = content.Bytes()
		}
		return countsTable(sections...)
	}, nil
}

func FuzzCounts(f *testing.F) { fuzz(f, "counts") }

// A countModel is what Counts should say.
type countModel map[index.RunName][]uint32

func (m countModel) clone() countModel {
	out := countModel{}
	for run, counts := range m {
		out[run] = slices.Clone(counts)
	}
	return out
}

func (m countModel) shapes() Shapes {
	out := Shapes{}
	for run, counts := range m {
		out[run] = Shape{Rows: len(counts)}
	}
	return out
}

func (m countModel) compare(t *testing.T, c *Counts) {
	t.Helper()
	if runs := c.Runs(); len(runs) != len(m) {
		t.Fatalf("%d runs, want %d", len(runs), len(m))
	}
	for run, counts := range m {
		for row, want := range counts {
			if got, err := c.Get(run, uint32(row)); got != want || err != nil {
				t.Fatalf("run %s row %d: %d, %v; want %d", run, row, got, err, want)
			}
		}
		if _, err := c.Get(run, uint32(len(counts))); err == nil {
			t.Fatal("a row behind the last has a count")
		}
	}
}

// drawCount draws counts on both sides of what 16 bits hold.
func drawCount(r *rand.Rand) uint32 {
	switch r.IntN(6) {
	case 0:
		return 65530 + r.Uint32N(10)
	case 1:
		return r.Uint32()
	}
	return r.Uint32N(4)
}

// change does random operations to counts and model.
func (m countModel) change(t *testing.T, r *rand.Rand, c *Counts) {
	if r.IntN(3) == 0 {
		run := index.RunName(drawName(r))
		counts := make([]uint32, r.IntN(1<<r.IntN(8)))
		for i := range counts {
			counts[i] = drawCount(r)
		}
		m[run] = slices.Clone(counts)
		check(t, c.AddRun(run, counts))
		clear(counts)
		if c.AddRun(run, nil) == nil {
			t.Fatal("a run is added twice")
		}
	}
	for run, counts := range m {
		if r.IntN(50) == 0 {
			delete(m, run)
			check(t, c.DropRun(run))
			if _, err := c.Get(run, 0); err == nil || c.DropRun(run) == nil || c.AddRun(run, nil) == nil || c.Set(run, 0, 1) == nil {
				t.Fatal("a dropped run goes on")
			}
			continue
		}
		for range min(len(counts), r.IntN(1<<r.IntN(6))) {
			row := r.Uint32N(uint32(len(counts)))
			if r.IntN(3) == 0 {
				counts[row] = drawCount(r)
				check(t, c.Set(run, row, counts[row]))
				continue
			}
			delta := int64(r.IntN(5) - 2)
			got, err := c.Add(run, row, delta)
			if want := int64(counts[row]) + delta; want < 0 || want > math.MaxUint32 {
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("%d %+d: %v", counts[row], delta, err)
				}
			} else if int64(got) != want || err != nil {
				t.Fatalf("%d %+d = %d, %v", counts[row], delta, got, err)
			} else {
				counts[row] = got
			}
		}
	}
}

// TestCountsAgainstModel: layers, deltas and bases beside a map of slices.
func TestCountsAgainstModel(t *testing.T) {
	r := newRand(t)
	bases, deltas := 0, 0
	for range 20 {
		model := countModel{}
		var list []Table
		var refs []Ref
		for round := range 30 {
			folded, err := LoadCounts(repository, list, model.shapes())
			check(t, err)
			model.compare(t, folded)
			if folded.Changed() {
				t.Fatal("what was loaded is changed")
			}
			model.change(t, r, folded)
			if round == 0 { // enough for deltas to be small
				run := index.RunName{1}
				model[run] = make([]uint32, 10000)
				check(t, folded.AddRun(run, model[run]))
			}
			// What a cascade does to its layer is not seen below.
			cascade, above := folded.Layer(), model.clone()
			above.change(t, r, cascade)
			above.compare(t, cascade)
			model.compare(t, folded)
			if r.IntN(2) == 0 { // commit the cascade
				model, folded = above, cascade
			}
			next := folded.Delta(drawName(r))
			if NeedsBase(refs, next.Ref.Size) {
				var data bytes.Buffer
				ref, err := folded.WriteBase(&data, drawName(r))
				check(t, err)
				next = Table{ref, data.Bytes()}
				list, refs = nil, nil
				bases++
			} else {
				deltas++
			}
			list, refs = append(list, next), append(refs, next.Ref)
		}
	}
	t.Logf("%d bases, %d deltas", bases, deltas)
	if bases < 100 || deltas < 50 {
		t.Error("too few of one of both")
	}
}

// TestMissingCountsAreDamage: a counted run of which no table has all counts is
// an error, and so are some counts without the others, never a count of 0.
func TestMissingCountsAreDamage(t *testing.T) {
	dense, sparse := tableOf(countsTable(denseOf(0, 1, 2, 3))), tableOf(countsTable(sparseOf(0, 3, rowCount{1, 5})))
	shape := Shapes{vectorRuns[0]: {Rows: 3}}
	c, err := LoadCounts(repository, []Table{dense, sparse}, shape)
	check(t, err)
	if got, err := c.Get(vectorRuns[0], 1); got != 5 || err != nil {
		t.Errorf("%d, %v", got, err)
	}
	for name, tt := range map[string]struct {
		list   []Table
		shapes Shapes
	}{
		"no table":       {nil, shape},
		"sparse alone":   {[]Table{sparse}, shape},
		"sparse first":   {[]Table{sparse, dense}, shape},
		"another run":    {[]Table{dense}, Shapes{vectorRuns[1]: {Rows: 3}}},
		"rows more":      {[]Table{dense}, Shapes{vectorRuns[0]: {Rows: 4}}},
		"rows less":      {[]Table{dense}, Shapes{vectorRuns[0]: {Rows: 2}}},
		"a table thrice": {[]Table{dense, sparse, {dense.Ref, dense.Data[:90]}}, shape},
	} {
		if _, err := LoadCounts(repository, tt.list, tt.shapes); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c, err = LoadCounts(repository, []Table{sparse, dense}, nil)
	if err != nil || len(c.Runs()) != 0 {
		t.Errorf("of runs that are past: %v, %v", c, err)
	}
	if _, err := c.Get(vectorRuns[0], 1); err == nil {
		t.Error("an uncounted run has a count")
	}
}

// TestDeltaIsSmall: a delta holds what differs, and no more; where most rows
// differ, it holds all.
func TestDeltaIsSmall(t *testing.T) {
	run := vectorRuns[0]
	empty, err := LoadCounts(repository, nil, nil)
	check(t, err)
	check(t, empty.AddRun(run, make([]uint32, 1000)))
	base := empty.Delta(vectorName)
	load := func() *Counts {
		c, err := LoadCounts(repository, []Table{base}, Shapes{run: {Rows: 1000}})
		check(t, err)
		return c
	}
	frame := int64(preludeSize + trailerSize)
	for changes, want := range map[int]int64{0: frame, 1: frame + 64 + 8, 250: frame + 64 + 2000, 251: frame + 64 + 2004, 1000: frame + 64 + 2004} {
		c := load()
		for row := range 1000 {
			_, err := c.Add(run, uint32(row), 1)
			check(t, err)
			if row >= changes { // and back
				_, err = c.Add(run, uint32(row), -1)
				check(t, err)
			}
		}
		if got := c.Delta(vectorName).Ref.Size; got != want {
			t.Errorf("%d changes: %d bytes, want %d", changes, got, want)
		}
		if c.Changed() != (changes > 0) {
			t.Errorf("%d changes: Changed() = %v", changes, c.Changed())
		}
	}
}

// failingWriter takes some bytes and fails.
type failingWriter struct{ left int }

var errFull = errors.New("full")

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestWriteBaseReportsErrors(t *testing.T) {
	c, err := LoadCounts(repository, nil, nil)
	check(t, err)
	check(t, c.AddRun(vectorRuns[0], []uint32{1, 2, 70000}))
	whole := int(c.Delta(vectorName).Ref.Size)
	for n := range whole {
		if _, err := c.WriteBase(&failingWriter{n}, vectorName); !errors.Is(err, errFull) {
			t.Fatalf("room for %d of %d bytes: %v", n, whole, err)
		}
	}
	if _, err := c.WriteBase(&failingWriter{whole}, vectorName); err != nil {
		t.Error(err)
	}
}
