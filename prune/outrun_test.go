package prune

import (
	"errors"
	"testing"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/store"
)

// Who appends behind a state whose runs a cleaner has replaced and deleted was
// outrun, like anybody else who lost a race.
func TestAppendBehindWhatIsGone(t *testing.T) {
	b := newBed(t, 1)
	first := b.backUp(b.newTree(4, 4))
	second := b.backUp(b.newTree(4, 4))
	slow := b.open() // knows the state, and has read none of its runs
	base := slow.State()
	b.forget(first)
	b.prune(tight)
	if _, err := slow.Index(t.Context(), base); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("the index of the old state: %v", err)
	}
	op, err := repo.NewOp(repo.OpForget, &repo.Forget{Snapshots: []object.ID{second}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Append(t.Context(), base, admin, []repo.Op{op}); !errors.Is(err, repo.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
}
