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
	for i := range uint64(6) {
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

// TestPruneRecount: whatever has become of counts and space map, a prune that
// counts anew sets them right, and takes what a prune takes.
func TestPruneRecount(t *testing.T) {
	first := newSeed(t)
	healed, refused := 0, 0
	for i := range uint64(8) {
		w := prunetest.New(t, first+i)
		for range 12 {
			w.Step()
		}
		w.Clean()
		damage := []func(){
			func() { w.Lie(nil, wrongCounts(w)) },
			func() { remove(t, w, w.State().Counts[0].Name.Key()) },
			func() { remove(t, w, w.State().Space[0].Name.Key()) },
			func() {},
		}[i%4]
		damage()
		if i%2 == 0 {
			w.Backup()
			w.Race()
		}
		if _, err := prune(t, w, Options{AllowMassDelete: true}); err != nil {
			refused++
		}
		w.Backup() // something for a plan to be about
		options := Options{AllowMassDelete: true, Recount: true, Folder: t.TempDir()}
		if _, err := prune(t, w, options); err != nil {
			t.Fatal(err)
		}
		compareStored(t, w)
		healed++
		tally, err := Recount(t.Context(), w.Store, viewOf(w), RecountOptions{Fold: w.State().Generation}, nil)
		if err != nil || tally.Garbage.N > 0 || tally.DanglingCount > 0 {
			t.Errorf("%v: %+v is left", err, tally)
		}
		if w.Step(); i%2 == 0 {
			w.Backup()
		}
		if _, err := prune(t, w, Options{AllowMassDelete: true}); err != nil {
			t.Fatal(err)
		}
		compareStored(t, w)
	}
	t.Logf("%d repositories were set right; an ordinary prune refused %d of them", healed, refused)
	if refused == 0 {
		t.Error("no damage was met")
	}
}

// wrongCounts adds to every count.
func wrongCounts(w *prunetest.World) func(*prunetest.Truth) {
	return func(truth *prunetest.Truth) {
		for _, places := range truth.Copies {
			truth.Runs[places[0].Part][places[0].Row] += uint32(w.Rand.IntN(3))
		}
	}
}

func remove(t *testing.T, w *prunetest.World, key string) {
	t.Helper()
	if err := w.Store.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
}

func viewOf(w *prunetest.World) View {
	s, runs, x := w.View()
	return View{s, runs, x}
}

func prune(t *testing.T, w *prunetest.World, options Options) (*Result, error) {
	t.Helper()
	p, err := NewPlan(t.Context(), w.Repo, options, nil)
	if err != nil {
		return nil, err
	}
	return p.Apply(t.Context(), w.Cleaner, nil)
}
