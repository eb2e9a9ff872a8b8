package prune

import (
	"runtime"
	"testing"
	"time"

	"bluesky/store/fault"
)

// TestRecountSynthetic: the formula gives a sound repository, counted in parts
// that go to a file or not.
func TestRecountSynthetic(t *testing.T) {
	s := newSynthetic(30_000, 7)
	v := s.view(t)
	refs := uint64(2 * s.backups)
	for backup := range s.backups {
		for level := synLeaf; level <= synSnapshot; level++ {
			all, _ := s.count(level)
			for i := range all {
				refs += uint64(len(s.refs(backup, level, i, nil)))
			}
		}
	}
	for _, options := range []RecountOptions{
		{Fold: v.State.Generation}, {Fold: v.State.Generation, Folder: t.TempDir(), Memory: 100_000},
	} {
		tally, err := Recount(t.Context(), s, v, options, nil)
		if err != nil {
			t.Fatal(err)
		}
		if tally.Visible.N != uint64(s.objects()) || tally.Garbage.N+tally.Redundant.N+tally.DanglingCount != 0 || tally.Refs != refs {
			t.Errorf("%+v; want %d objects and %d refs", tally.Visible, s.objects(), refs)
		}
		sum := uint64(0)
		for _, counts := range tally.Runs {
			for _, n := range counts {
				sum += uint64(n)
			}
		}
		if sum != refs {
			t.Errorf("counts add up to %d, want %d", sum, refs)
		}
	}
}

// TestSyntheticFold: what a cleaner counts of it is what a recount says.
func TestSyntheticFold(t *testing.T) {
	s := newSynthetic(4_000, 3)
	b := s.base(t, fault.New())
	f, err := b.fold(t.Context(), nil, NoProgress{})
	if err != nil {
		t.Fatal(err)
	}
	tally, err := Recount(t.Context(), s, View{b.state, b.runs, b.view}, RecountOptions{Fold: b.state.Generation}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, counts := range tally.Runs {
		for row, want := range counts {
			if got, err := f.counts.Get(b.runs[i].Name(), uint32(row)); got != want || err != nil {
				t.Fatalf("run %d, row %d: %d, %v; want %d", i, row, got, err, want)
			}
		}
	}
}

// A heapProgress measures what is in use whenever a phase begins, and at the end.
type heapProgress struct {
	NoProgress
	least, most uint64
}

func (p *heapProgress) Phase(string, uint64) { p.measure() }

func (p *heapProgress) measure() {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if p.least == 0 {
		p.least = m.HeapAlloc
	}
	p.most = max(p.most, m.HeapAlloc)
}

// recountHeap recounts s and returns the most that was in use, in bytes. Runs
// are mapped files, and not in it.
func recountHeap(tb testing.TB, s *synthetic, memory int64) uint64 {
	v := s.view(tb)
	p := &heapProgress{}
	p.measure()
	tally, err := Recount(tb.Context(), s, v, RecountOptions{Fold: v.State.Generation, Folder: tb.TempDir(), Memory: memory}, p)
	if err != nil {
		tb.Fatal(err)
	}
	p.measure()
	runtime.KeepAlive(tally)
	runtime.KeepAlive(v)
	return p.most - p.least
}

// TestRecountMemory compares what a recount holds with what its documentation
// says, at two sizes: 4 bytes for each object, 4 more for each of metadata, 100
// for each segment, and a constant.
func TestRecountMemory(t *testing.T) {
	const memory = 128 << 10
	for _, objects := range []int{40_000, 160_000} {
		s := newSynthetic(objects, 6)
		segments := 0
		for level := synBlock; level <= synSnapshot; level++ {
			all, each := s.count(level)
			segments += s.backups * ((all + each - 1) / each)
		}
		got := recountHeap(t, s, memory)
		want := 4*s.objects() + 4*s.backups*(s.leaves+s.nodes+2) + 100*segments + memory + 64<<10
		t.Logf("%d objects in %d segments: %d bytes in use, at most %d are promised", s.objects(), segments, got, want)
		if got > uint64(want) {
			t.Errorf("%d objects: %d bytes, want at most %d", s.objects(), got, want)
		}
	}
}

// BenchmarkRecount counts a repository of a million objects. The headers are
// made as they are read, which is about a third of the time.
func BenchmarkRecount(b *testing.B) {
	s := newSynthetic(1_000_000, 16)
	v := s.view(b)
	folder := b.TempDir()
	peak := &heapProgress{}
	peak.measure()
	var refs uint64
	for b.Loop() {
		tally, err := Recount(b.Context(), s, v, RecountOptions{Fold: v.State.Generation, Folder: folder}, peak)
		if err != nil {
			b.Fatal(err)
		}
		peak.measure()
		refs = tally.Refs
	}
	start := time.Now()
	for backup := range s.backups {
		for level := synLeaf; level <= synSnapshot; level++ {
			all, each := s.count(level)
			for n := range (all + each - 1) / each {
				s.head(backup, level, n)
			}
		}
	}
	b.ReportMetric(time.Since(start).Seconds(), "s-making-headers")
	b.ReportMetric(float64(peak.most-peak.least)/1e6, "MB-in-use")
	b.ReportMetric(float64(refs)/1e6, "million-refs")
	b.ReportMetric(float64(s.objects())/1e6, "million-objects")
}
