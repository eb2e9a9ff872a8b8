package repo

import (
	"errors"
	"os"
	"strings"
	"testing"

	"bluesky/object"
)

// A copy of the state folder of a live run is in use elsewhere, where its lock
// does not show: the other run takes it for dead. Nothing is registered twice,
// the live one says what has happened, and the next one succeeds.
func TestClonedStateFolder(t *testing.T) {
	_, f := newRepo(t)
	w := &wreck{f: f, state: t.TempDir()}
	live := begin(t, w.client(t))
	put(t, live, 1, object.KindBlock)
	flush(t, live, live.data)
	clone := &wreck{f: f, state: t.TempDir(), runs: 10}
	if err := os.CopyFS(clone.state, os.DirFS(w.state)); err != nil {
		t.Fatal(err)
	}
	if stats, _ := clone.next(t); stats.AdoptedSegments != 1 {
		t.Errorf("adopted %d", stats.AdoptedSegments)
	}
	_, err := live.Commit(t.Context(), putTree(t, live, 2))
	if !errors.Is(err, errRegistered) || !strings.Contains(err.Error(), "run the backup again") {
		t.Errorf("got %v", err)
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	w.next(t)
}
