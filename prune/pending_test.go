package prune

import (
	"testing"
	"time"

	"bluesky/object"
)

// An object that died while an unfinished session held another copy of it goes
// when that session has come to nothing.
func TestCopyInSessionThatComesToNothing(t *testing.T) {
	b := newBed(t, 1)
	b.backUp(b.newTree(2, 2))
	tree := b.newTree(3, 3)
	slow := b.begin() // knows nothing of the other one
	first := b.backUp(tree)
	for _, leaf := range tree.leaves {
		for _, seed := range leaf {
			b.add(slow, seed, object.KindBlock)
		}
	}
	if err := slow.AddRun(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.prune(tight)
	b.forget(first)
	b.prune(tight)
	if err := slow.Close(); err != nil {
		t.Fatal(err)
	}
	gone := tight
	gone.Now = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }
	b.prune(gone)
	b.prune(gone)
	b.sound()
	b.live()
}
