package backup

import (
	"os"
	"testing"
	"time"

	"bluesky/keyring"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/store"
)

// cheapSlot opens quickly; the costs of real slots are tested in package seal.
var cheapSlot = seal.SlotParams{Time: 1, Memory: 64, Lanes: 1}

func openTest(t testing.TB, st *store.Store) (*repo.Repo, *seal.Keys) {
	t.Helper()
	ctx := t.Context()
	state := t.TempDir()
	_, err := keyring.Create(ctx, st, keyring.Options{Password: []byte("secret"), Slot: cheapSlot, Now: time.Now(), ConfigDir: state})
	if err != nil {
		t.Fatal(err)
	}
	r, err := repo.Open(ctx, st, repo.Options{StateDir: state, CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Open(ctx, r, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return r, keys
}

func parentOf(t testing.TB, r *repo.Repo, keys *seal.Keys, options Options) *snapshot.Snapshot {
	t.Helper()
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := snapshot.List(t.Context(), r, keys, state)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot.Latest(list, options.Host, options.Paths)
}

func TestToolchain(t *testing.T) {
	dir := os.Getenv("TREE")
	if dir == "" {
		t.Skip("set TREE")
	}
	repoDir := t.TempDir()
	st, err := store.Create(t.Context(), repoDir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	r, keys := openTest(t, st)
	options := Options{Paths: []string{dir}, Host: "h"}
	for range 3 {
		options.Parent = parentOf(t, r, keys, options)
		start := time.Now()
		res, err := Run(t.Context(), r, keys, options, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%v %+v added %d errors %d", time.Since(start), res.Counts, res.Added, res.Errors)
	}
	options.Host = "other"
	options.Parent = nil
	res, err := Run(t.Context(), r, keys, options, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("other %+v added %d", res.Counts, res.Added)
}
