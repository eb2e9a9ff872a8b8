package snapshot_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bluesky/backup"
	"bluesky/keyring"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/store"
	"bluesky/tree"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newRepo makes a repository in memory.
func newRepo(t *testing.T) (*store.Store, *repo.Repo, *seal.Keys) {
	t.Helper()
	st := store.NewMemory()
	t.Cleanup(func() { st.Close() })
	_, err := keyring.Create(t.Context(), st, keyring.Options{
		Password: []byte("secret"), Slot: seal.SlotParams{Time: 1, Memory: 64, Lanes: 1}, Now: time.Unix(1, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(t.Context(), st, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Open(t.Context(), r, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return st, r, keys
}

// backUp backs up a small folder as of the given second.
func backUp(t *testing.T, r *repo.Repo, keys *seal.Keys, host string, second int64) object.ID {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := backup.Run(t.Context(), r, keys, backup.Options{
		Paths: []string{dir}, Host: host, Tags: []string{"b", "a"}, Excludes: []string{"*.o"},
		Time: time.Unix(second, 5), Description: "why",
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return result.Snapshot
}

func list(t *testing.T, r *repo.Repo, keys *seal.Keys) []snapshot.Snapshot {
	t.Helper()
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := snapshot.List(t.Context(), r, keys, state)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestList(t *testing.T) {
	_, r, keys := newRepo(t)
	if got := list(t, r, keys); len(got) != 0 {
		t.Errorf("%d snapshots in an empty repository", len(got))
	}
	// In the order of their times, whatever the order in which they were made.
	late := backUp(t, r, keys, "one", 300)
	early := backUp(t, r, keys, "two", 100)
	middle := backUp(t, r, keys, "one", 200)
	got := list(t, r, keys)
	var ids []object.ID
	for _, s := range got {
		ids = append(ids, s.ID)
		if s.Record.Description != "why" || !slices.Equal(s.Record.Tags, []string{"a", "b"}) || len(s.Record.Excludes) != 0 {
			t.Errorf("record %+v", s.Record)
		}
	}
	if !slices.Equal(ids, []object.ID{early, middle, late}) {
		t.Errorf("order %v, want %v", ids, []object.ID{early, middle, late})
	}
	full, err := snapshot.Load(t.Context(), seal.NewReader(r, keys), got[0].Snapshot)
	if err != nil || full.Host != "two" || !slices.Equal(full.Excludes, []string{"*.o"}) || full.Root != got[0].Root {
		t.Errorf("%+v, %v", full, err)
	}
	if latest := snapshot.Latest(got, "one", got[1].Record.Paths); latest == nil || latest.ID != middle {
		t.Errorf("latest of the paths of %s: %v", middle, latest)
	}
	if latest := snapshot.Latest(got, "nobody", got[1].Record.Paths); latest != nil {
		t.Errorf("latest of an unknown host: %v", latest.ID)
	}
}

func TestFind(t *testing.T) {
	all := []snapshot.Snapshot{{}, {}, {}}
	all[0].ID, all[1].ID, all[2].ID = object.ID{0xab, 0xc1}, object.ID{0xab, 0xc2}, object.ID{0x12}
	for name, want := range map[string]any{
		"latest": all[2].ID, "abc1": all[0].ID, "ABC1": all[0].ID, "1": all[2].ID, all[1].ID.String(): all[1].ID,
		"ab": snapshot.ErrAmbiguous, "abc": snapshot.ErrAmbiguous, "": snapshot.ErrNotFound, "99": snapshot.ErrNotFound,
		"latest ": snapshot.ErrNotFound, all[1].ID.String() + "0": snapshot.ErrNotFound,
	} {
		got, err := snapshot.Find(all, name)
		switch want := want.(type) {
		case error:
			if !errors.Is(err, want) || got != nil {
				t.Errorf("%q: %v, %v; want %v", name, got, err, want)
			}
		case object.ID:
			if err != nil || got.ID != want {
				t.Errorf("%q: %v, %v; want %v", name, got, err, want)
			}
		}
	}
	if _, err := snapshot.Find(nil, "latest"); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("latest of nothing: %v", err)
	}
}

// TestDamagedSummary: the object stands in for a summary that does not open;
// without both the others are listed all the same.
func TestDamagedSummary(t *testing.T) {
	st, r, keys := newRepo(t)
	backUp(t, r, keys, "one", 100)
	bad := backUp(t, r, keys, "two", 200)
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	damaged := *state
	damaged.Snapshots = slices.Clone(state.Snapshots)
	damaged.Snapshots[1].Summary = slices.Clone(damaged.Snapshots[1].Summary)
	damaged.Snapshots[1].Summary[20] ^= 1
	got, err := snapshot.List(t.Context(), r, keys, &damaged)
	if err != nil || len(got) != 2 || got[1].Record.Host != "two" {
		t.Errorf("%d snapshots, %v", len(got), err)
	}

	// The entry of another root is not believed, whatever the object says.
	lying := damaged.Snapshots[1]
	lying.Root[0] ^= 1
	if _, err := snapshot.Load(t.Context(), seal.NewReader(r, keys), lying); !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("another root: %v", err)
	}

	view, err := r.Index(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range view.Lookup(bad) {
		if err := st.Delete(t.Context(), at.Segment.Name.Key()); err != nil {
			t.Fatal(err)
		}
	}
	fresh, err := repo.Open(t.Context(), st, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, err = snapshot.List(t.Context(), fresh, keys, &damaged)
	if err == nil || !strings.Contains(err.Error(), bad.Short()) || len(got) != 1 || got[0].Record.Host != "one" {
		t.Errorf("%d snapshots, %v; want the other one, and an error that names %s", len(got), err, bad.Short())
	}
}

// TestSeal: a summary belongs to its session and snapshot.
func TestSeal(t *testing.T) {
	_, _, keys := newRepo(t)
	record := tree.Snapshot{Session: object.SessionID{1}, Host: "h", Next: 2, Excludes: []string{"x"}}
	sealed, err := snapshot.Seal(keys, record.Session, object.ID{7}, record)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keys.OpenSummary(record.Session, object.ID{7}, sealed); err != nil {
		t.Error(err)
	}
	if _, err := keys.OpenSummary(record.Session, object.ID{8}, sealed); err == nil {
		t.Error("opened for another snapshot")
	}
	if _, err := keys.OpenSummary(object.SessionID{2}, object.ID{7}, sealed); err == nil {
		t.Error("opened for another session")
	}
}
