package repo

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"bluesky/journal"
	"bluesky/object"
)

// A machine on which a thousand runs were killed, as by one that has too little
// memory, can open more than their journals still, and has fewer of them after
// each run.
func TestManyDeadRuns(t *testing.T) {
	r, f := newRepo(t)
	w := &wreck{f: f, state: t.TempDir()}
	dir := filepath.Join(w.client(t).StateDir(), "sessions")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	const dead = 1000
	for i := range dead {
		session := object.SessionID{1, byte(i), byte(i >> 8)}
		format := journalFormat(r.config.ID, session, signatures{writer, pub(writer)})
		j, err := journal.Create(filepath.Join(dir, session.String()+journalSuffix), format)
		if err == nil {
			err = j.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	descriptors := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skipf("NOT TESTED: descriptors cannot be counted: %v", err)
		}
		return len(list)
	}
	for left := dead; left > 0; {
		before := descriptors()
		s := begin(t, w.client(t))
		if got := descriptors() - before; got > 512 {
			t.Fatalf("a run holds %d descriptors", got)
		}
		_, err := s.Commit(t.Context(), putTree(t, s, uint64(left)))
		if err := errors.Join(err, s.Close()); err != nil {
			t.Fatal(err)
		}
		now := len(journals(t, s.repo))
		if now >= left {
			t.Fatalf("%d journals are left, of %d", now, left)
		}
		left = now
	}
}
