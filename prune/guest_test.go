package prune

import (
	"errors"
	"testing"

	"bluesky/object"
	"bluesky/repo"
)

// TestCopyOfAnUnfinishedSession: an object dies of which an unfinished session
// has a copy, so nothing happens to it. When the session has ended, it goes.
func TestCopyOfAnUnfinishedSession(t *testing.T) {
	s := newSite(t, 1)
	guest := s.begin() // before the other, so that it does not see its objects
	s.current = s.newTree(2, 4)
	s.kept = append(s.kept, s.backUp(s.current))
	s.add(guest, s.current.leaves[0][0], object.KindBlock)
	if err := guest.AddRun(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.current = s.newTree(2, 4)
	s.kept = append(s.kept, s.backUp(s.current))
	s.drops(0)
	s.prune(tight)
	s.wantRight()
	if err := guest.Close(); err != nil {
		t.Fatal(err)
	}
	s.aftermath(s.closures(), s.kept, 0)
}

// TestExpiredSession: a backup whose session a cleaner has ended is told to
// start again, and does.
func TestExpiredSession(t *testing.T) {
	s := newSite(t, 1)
	s.current = s.newTree(2, 4)
	slow := s.begin()
	add := s.fill(slow, s.current)
	if err := slow.AddRun(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.prune(instant)
	if _, err := slow.Commit(t.Context(), add); !errors.Is(err, repo.ErrObjectGone) {
		t.Errorf("error %v, want %v", err, repo.ErrObjectGone)
	}
	if err := slow.Close(); err != nil {
		t.Fatal(err)
	}
	s.kept = append(s.kept, s.backUp(s.current))
	s.aftermath(s.closures(), s.kept, 0)
}
