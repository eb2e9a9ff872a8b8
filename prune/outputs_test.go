package prune

import (
	"context"
	"testing"

	"bluesky/repo"
	"bluesky/store/fault"
)

// TestOwnCopiesAreNoOrphans: a prune that takes everything without a name for an
// orphan loses a race after it has copied, and plans again. Its copies have no
// name yet.
func TestOwnCopiesAreNoOrphans(t *testing.T) {
	s := newSite(t, 1)
	var trees []*tree
	for range 2 { // with nothing in common
		s.current = s.newTree(2, 4)
		s.kept = append(s.kept, s.backUp(s.current))
		trees = append(trees, s.current)
		s.backs(1)
	}
	s.drops(2)
	s.drops(0)
	before := s.closures()
	// Somebody brings back an object that dies, just before the clean.
	raced := false
	s.bucket.Inject(func(op fault.Op) fault.Effect {
		if op.Kind == fault.Create && op.Key[:4] == "gen/" && !raced {
			raced = true
			other := *s.bed
			other.store = openFault(fault.Over(s.bucket.Objects))
			s.kept = append(s.kept, other.backUp(trees[0]))
		}
		return fault.None
	})
	r, err := repo.Open(t.Context(), s.store, repo.Options{})
	if err == nil {
		err = pruneWith(instant)(context.Background(), r)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.aftermath(before, s.kept, 0)
	if !raced {
		t.Error("no race")
	}
}
