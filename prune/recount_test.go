package prune

import (
	"flag"
	"testing"
	"time"

	"bluesky/prune/prunetest"
)

var seed = flag.Uint64("seed", 0, "`seed` of random tests; 0 draws one")

// newSeed returns a seed, which the log tells; -seed repeats one.
func newSeed(t testing.TB) uint64 {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", s)
	return s
}

// TestRecount compares recounts of random repositories, as of now and as of the
// last clean, with what maps say.
func TestRecount(t *testing.T) {
	first := newSeed(t)
	cases, kinds := 0, map[string]int{}
	for i := range uint64(6) {
		w := prunetest.New(t, first+i)
		for range 20 {
			w.Step()
			compare(t, w, kinds)
			cases++
		}
	}
	t.Logf("%d states: %v", cases, kinds)
	for _, kind := range []string{"marked", "merged", "redundant", "uncounted", "unfinished", "forgotten", "garbage", "condemned", "spilled"} {
		if kinds[kind] == 0 {
			t.Errorf("no state with anything %s", kind)
		}
	}
}

// compare recounts the newest state of w in several ways.
func compare(t *testing.T, w *prunetest.World, kinds map[string]int) {
	t.Helper()
	s, runs, x := w.View()
	v := View{s, runs, x}
	for _, fold := range []uint64{s.Fold, s.Generation} {
		want := w.Tell(s, runs, x, fold)
		for _, options := range []RecountOptions{{Fold: fold}, {Fold: fold, Folder: t.TempDir(), Memory: 1 + int64(w.Rand.IntN(4000))}} {
			c, err := NewRecounter(t.Context(), v, options, NoProgress{})
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.recount(t.Context(), w.Store, NoProgress{})
			if err != nil {
				t.Fatal(err)
			}
			if c.refs.file != nil {
				kinds["spilled"]++
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			same(t, got, want, v)
			note(kinds, got, v)
		}
	}
}

func note(kinds map[string]int, got *Tally, v View) {
	for i := range v.State.Runs {
		if v.State.Runs[i].Cleaned {
			kinds["merged"]++
		}
		if got.Runs[i] == nil {
			kinds["uncounted"]++
		}
	}
	for name, yes := range map[string]bool{
		"redundant": got.Redundant.N > 0, "garbage": got.Garbage.N > 0, "unfinished": len(v.State.Unfinished()) > 0,
		"forgotten": len(v.State.Forgotten) > 0, "condemned": len(v.State.Condemned) > 0, "marked": len(v.State.Marks) > 0,
	} {
		if yes {
			kinds[name]++
		}
	}
}

// same compares a tally with the truth.
func same(t *testing.T, got *Tally, want *prunetest.Truth, v View) {
	t.Helper()
	for i := range want.Runs {
		if (got.Runs[i] == nil) != (want.Runs[i] == nil) || len(got.Runs[i]) != len(want.Runs[i]) {
			t.Fatalf("run %d: %d counts, want %d", i, len(got.Runs[i]), len(want.Runs[i]))
		}
		for row, n := range want.Runs[i] {
			if got.Runs[i][row] != n {
				t.Fatalf("run %d, row %d: count %d, want %d", i, row, got.Runs[i][row], n)
			}
		}
	}
	if len(got.Space) != len(want.Segments) {
		t.Fatalf("%d segments, want %d", len(got.Space), len(want.Segments))
	}
	for i, u := range got.Space {
		s := want.Segments[u.Name]
		if u.RegisteredAt != s.RegisteredAt || u.Live != want.Live[u.Name] || int64(u.Size) != s.Size || u.Class != s.Class || i > 0 && got.Space[i-1].Compare(u.Key) >= 0 {
			t.Fatalf("segment %s: %+v, want live %d", u.Name, u, want.Live[u.Name])
		}
	}
	sameRows(t, got, want, v)
	if got.DanglingCount != uint64(len(want.Dangling)) || got.HomelessCount != uint64(len(want.Homeless)) {
		t.Fatalf("%d dangling and %d homeless, want %d and %d", got.DanglingCount, got.HomelessCount, len(want.Dangling), len(want.Homeless))
	}
}

func sameRows(t *testing.T, got *Tally, want *prunetest.Truth, v View) {
	t.Helper()
	var visible, redundant, garbage Rows
	refs := uint64(0)
	for _, n := range want.Count {
		refs += n
	}
	for id, places := range want.Copies {
		for i, at := range places {
			l := v.Index.At(at.Part, at.Row)
			visible.add(&l.Row)
			switch {
			case i > 0:
				redundant.add(&l.Row)
			case want.Count[id] == 0 && !v.State.IsUnfinished(l.Segment.Session):
				garbage.add(&l.Row)
			}
		}
	}
	if got.Visible != visible || got.Redundant != redundant || got.Garbage != garbage || got.Refs != refs {
		t.Fatalf("visible %v, redundant %v, garbage %v, %d refs; want %v, %v, %v, %d",
			got.Visible, got.Redundant, got.Garbage, got.Refs, visible, redundant, garbage, refs)
	}
}
