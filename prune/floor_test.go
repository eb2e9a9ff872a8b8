package prune

import (
	"testing"
	"time"

	"bluesky/repo"
)

// TestFloor lets two months pass: old generations go, a new machine and one that
// was away for all that time read what is left, and backups go on.
func TestFloor(t *testing.T) {
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
