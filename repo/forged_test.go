package repo

import (
	"errors"
	"testing"

	"bluesky/object"
	"bluesky/store"
)

// forgeCheckpoint makes a cleaner record a checkpoint of the newest state in
// which the last snapshot is missing.
func forgeCheckpoint(t *testing.T, r *Repo, st *store.Store) {
	t.Helper()
	s := refresh(t, r)
	lie := s.clone()
	lie.Snapshots = lie.Snapshots[:len(lie.Snapshots)-1]
	ref, err := r.putCheckpoint(t.Context(), lie)
	if err != nil {
		t.Fatal(err)
	}
	l := &log{t, s}
	data := l.encode(cleaner, func(g *Generation) { g.Checkpoint = ref }, plainOp(t, OpCheckpoint, ref))
	if err := st.PutNew(t.Context(), GenerationKey(s.Generation+1), data); err != nil {
		t.Fatal(err)
	}
}

func TestForgedCheckpoint(t *testing.T) {
	st := store.NewMemory()
	defer st.Close()
	create(t, st)
	dir := t.TempDir()
	r := open(t, st, Options{StateDir: dir})
	backUp(t, r, 1)
	backUp(t, r, 2)
	forgeCheckpoint(t, open(t, st, Options{}), st)

	t.Run("a machine that has seen the log refuses it", func(t *testing.T) {
		if _, err := open(t, st, Options{StateDir: dir}).Refresh(t.Context()); !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("got %v, want %v", err, object.ErrCorrupt)
		}
	})
	t.Run("so does one that has it in memory", func(t *testing.T) {
		// The checkpoint is of the very state that r holds, which is the one
		// that it goes on from.
		s, err := r.Refresh(t.Context())
		if err == nil && len(s.Snapshots) != 2 {
			t.Errorf("it shows %d snapshots", len(s.Snapshots))
		}
	})
	t.Run("check finds it", func(t *testing.T) {
		found := 0
		_, err := open(t, st, Options{}).Audit(t.Context(), func(Finding) { found++ })
		if err == nil && found == 0 {
			t.Error("the audit calls the log right")
		}
	})
}

// TestVerifiedCheckpointIsTheNextStart: a machine goes on from the checkpoint
// that it has verified, and does not replay the log before it again.
func TestVerifiedCheckpointIsTheNextStart(t *testing.T) {
	st := store.NewMemory()
	defer st.Close()
	create(t, st)
	dir := t.TempDir()
	r := open(t, st, Options{StateDir: dir})
	for seed := range uint64(checkpointEvery + 2) {
		backUp(t, r, seed)
	}
	if r.State().Checkpoint == nil {
		t.Fatalf("%d backups have made no checkpoint", checkpointEvery+2)
	}
	refresh(t, open(t, st, Options{StateDir: dir})) // verifies it
	if err := st.Delete(t.Context(), GenerationKey(3)); err != nil {
		t.Fatal(err)
	}
	again := open(t, st, Options{StateDir: dir})
	if s := refresh(t, again); len(s.Snapshots) != checkpointEvery+2 {
		t.Errorf("%d snapshots, want %d", len(s.Snapshots), checkpointEvery+2)
	}
	if again.trusted.Checkpoint == nil {
		t.Error("the trust file does not hold the verified checkpoint")
	}
}

// TestSwappedCheckpoint: whoever can write to the bucket and has no key puts
// another checkpoint in the place of one that is recorded: it is not believed,
// although every statement in it is signed.
func TestSwappedCheckpoint(t *testing.T) {
	r, f := newRepo(t)
	backUp(t, r, 1)
	s := backUp(t, r, 2)
	f.record(t, s)
	lie := s.clone()
	lie.Snapshots = lie.Snapshots[:1]
	f.Objects.Set(f.Objects.Keys("state/")[0], encodeState(t, lie))
	if s := refresh(t, open(t, f.open(t), Options{})); len(s.Snapshots) != 2 {
		t.Errorf("it shows %d snapshots, of 2", len(s.Snapshots))
	}
}

// TestCheckpointOfAnotherLog: one that a signer of this log records, and that
// is made of another log or another generation, is not begun with.
func TestCheckpointOfAnotherLog(t *testing.T) {
	for name, edit := range map[string]func(*State){
		"origin":     func(s *State) { s.Origin[0]++ },
		"generation": func(s *State) { s.Generation++ },
	} {
		r, f := newRepo(t)
		backUp(t, r, 1)
		lie := backUp(t, r, 2).clone()
		number := lie.Generation
		edit(lie)
		ref, err := r.putCheckpoint(t.Context(), lie)
		if err != nil {
			t.Fatal(err)
		}
		ref.Number = number
		l := &log{t, r.State()}
		f.Objects.Set(GenerationKey(number+1), l.encode(cleaner, func(g *Generation) { g.Checkpoint = ref }, plainOp(t, OpCheckpoint, ref)))
		if _, err := open(t, f.open(t), Options{}).Refresh(t.Context()); !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("%s: got %v, want %v", name, err, object.ErrCorrupt)
		}
	}
}
