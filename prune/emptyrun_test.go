package prune

import "testing"

// TestEmptyRuns: a session that has gone on for days without anything new has
// registered empty runs ([repo.Session.AddRun]). Prune takes them as they are,
// while the session goes on and when it has ended.
func TestEmptyRuns(t *testing.T) {
	b := newBed(t, 1)
	first := b.newTree(8, 12)
	b.backUp(first)
	s := b.begin()
	defer s.Close()
	second := b.change(first, 5)
	snapshot := b.fill(s, second)
	for range 3 { // of these two empty ones
		if err := s.AddRun(b.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.prune(tight)
	b.live()
	if err := s.AddRun(b.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(b.Context(), snapshot); err != nil {
		t.Fatal(err)
	}
	b.prune(tight)
	b.live()
	b.sound()
}
