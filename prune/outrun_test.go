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

// What another cleaner has moved and deleted before it could be copied is no
// damage.
func TestVictimsThatAreGone(t *testing.T) {
	b := newBed(t, 2)
	tree := b.newTree(20, 20)
	first := b.backUp(tree)
	b.backUp(b.change(tree, 100))
	b.forget(first)
	slow, err := NewPlan(t.Context(), b.open(), tight, nil)
	if err != nil {
		t.Fatal(err)
	}
	if slow.Repacked == 0 {
		t.Fatal("nothing is to be copied")
	}
	b.prune(tight)
	result, err := slow.Apply(t.Context(), cleaner, nil)
	if err != nil || len(result.DamagedCopies) > 0 {
		t.Errorf("%v; damaged: %v", err, result.DamagedCopies)
	}
	b.live()
	b.sound()
}
