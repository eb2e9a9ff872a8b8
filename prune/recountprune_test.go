package prune

import (
	"testing"

	"bluesky/prune/prunetest"
	"bluesky/refcount"
)

// TestPruneCountsAsRecount prunes random repositories, with races and sessions
// that were interrupted, and compares what the cleaner has counted, a change at
// a time, with what counting anew gives.
func TestPruneCountsAsRecount(t *testing.T) {
	first := newSeed(t)
	prunes, rows := 0, 0
	for i := range uint64(10) {
		w := prunetest.New(t, first+i)
		w.Cleaning = func() {
			options := Options{AllowMassDelete: true, NoRepack: w.Rand.IntN(3) == 0, Instant: w.Rand.IntN(8) == 0, MaxUnused: Limit{Percent: 20, IsPercent: true}}
			if w.Rand.IntN(2) == 0 {
				options.MaxUnused = Limit{}
			}
			p, err := NewPlan(t.Context(), w.Repo, options, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Apply(t.Context(), w.Cleaner, nil); err != nil {
				t.Fatal(err)
			}
			prunes++
		}
		for range 30 {
			w.Step()
			rows += compareStored(t, w)
		}
	}
	t.Logf("%d prunes, %d rows compared", prunes, rows)
	if prunes == 0 || rows == 0 {
		t.Error("nothing was pruned")
	}
}

// compareStored compares the counts that the state names with a recount as of
// its fold, and returns how many rows were.
func compareStored(t *testing.T, w *prunetest.World) (rows int) {
	t.Helper()
	b, err := openBase(t.Context(), w.Repo)
	if err != nil {
		t.Fatal(err)
	}
	tally, err := Recount(t.Context(), w.Store, View{b.state, b.runs, b.view}, RecountOptions{Fold: b.state.Fold}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tally.DanglingCount+tally.HomelessCount > 0 {
		t.Fatalf("dangling %v, homeless %v", tally.Dangling, tally.Homeless)
	}
	stored := map[refcount.Key]refcount.Usage{}
	for u, err := range b.space.All(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		stored[u.Key] = u
	}
	for _, want := range tally.Space {
		if got := stored[want.Key]; got != want {
			t.Fatalf("segment %s: space map says %+v, want %+v", want.Name, got, want)
		}
		delete(stored, want.Key)
	}
	if len(stored) > 0 {
		t.Fatalf("%d segments of the space map are not in use", len(stored))
	}
	for i, counts := range tally.Runs {
		for row, want := range counts {
			got, err := b.counts.Get(b.runs[i].Name(), uint32(row))
			if err != nil {
				t.Fatal(err)
			}
			// Of a row that went with its segment the stored count says nothing.
			if at := b.view.At(i, row); got != want && b.view.Shows(i, row) {
				t.Fatalf("run %d, row %d, %s %s: count %d, want %d", i, row, at.Row.Kind, at.Row.ID.Short(), got, want)
			}
			rows++
		}
	}
	return rows
}
