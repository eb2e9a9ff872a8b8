package prune

import (
	"testing"
	"time"

	"bluesky/repo"
)

// TestFloor lets two months pass: old generations go, a new machine and one that
// was away for all that time read what is left, and backups go on.
func TestFloor(t *testing.T) {
	alone(t)
	b := newBed(t, 1)
	away, err := repo.Open(t.Context(), b.store, repo.Options{StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	current := b.newTree(3, 3)
	for i := range 150 {
		current = b.change(current, 1)
		b.backUp(current)
		if i == 20 {
			if _, err := away.Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	later := tight
	later.Now = func() time.Time { return time.Now().Add(60 * 24 * time.Hour) }
	b.prune(later)
	result := b.prune(later) // the first prune is what is counted up to there
	state := b.open().State()
	if state.Floor < floorStep {
		t.Fatalf("the floor is %d; fold %d, checkpoint %v", state.Floor, state.Fold, state.Checkpoint)
	}
	_, files := b.stored("gen/")
	if want := int(state.Generation - state.Floor + 2); files != want {
		t.Errorf("%d generations are there, want %d; the last prune deleted %d files", files, want, result.Deleted)
	}
	got, err := away.Refresh(t.Context())
	if err != nil || got.Generation != state.Generation {
		t.Errorf("a machine that was away: %v", err)
	}
	b.live()
	b.backUp(b.change(current, 1))
	b.prune(later)
	b.sound()
	if _, err := b.open().Audit(t.Context(), func(f repo.Finding) { t.Errorf("%s: %v", f.Key, f.Err) }); err != nil {
		t.Error(err)
	}
}

// TestQuarantineBeyondFloor has a quarantine that is longer than generations
// stay: what was forgotten waits for all of it, and nobody for what is not there.
func TestQuarantineBeyondFloor(t *testing.T) {
	alone(t)
	const day = 24 * time.Hour
	b := newBed(t, 1)
	if _, err := b.open().SetPolicy(t.Context(), admin, repo.Policy{Quarantine: 60 * 24 * 3600}); err != nil {
		t.Fatal(err)
	}
	current := b.newTree(2, 2)
	b.forget(b.backUp(current))
	for range 75 {
		current = b.change(current, 1)
		b.backUp(current)
	}
	after := func(days time.Duration) {
		t.Helper()
		options := tight
		options.Now = func() time.Time { return time.Now().Add(days * day) }
		b.prune(options)
	}
	for _, days := range []time.Duration{40, 40, 41, 59} {
		after(days)
	}
	if n := len(b.open().State().Forgotten); n != 1 {
		t.Fatalf("%d snapshots are in quarantine, want 1", n)
	}
	after(61)
	if n := len(b.open().State().Forgotten); n != 0 {
		t.Errorf("%d snapshots are in quarantine when it is over", n)
	}
	after(62)
	if floor := b.open().State().Floor; floor < floorStep {
		t.Errorf("the floor is %d", floor)
	}
}
