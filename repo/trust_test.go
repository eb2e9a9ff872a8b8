package repo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bluesky/object"
)

// grow makes n backups in a bucket, by a machine that knows nothing.
func (f *faulty) grow(t testing.TB, seeds ...uint64) {
	t.Helper()
	r := open(t, f.open(t), Options{})
	for _, seed := range seeds {
		backUp(t, r, seed)
	}
}

// pad adds n generations without an op but checkpoints.
func (f *faulty) pad(t testing.TB, n int) {
	t.Helper()
	s := begin(t, open(t, f.open(t), Options{}))
	base := s.base
	for range n {
		var err error
		if base, err = s.repo.commit(t.Context(), base, change{author: writer, ops: s.ops(t.Context(), nil, nil)}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRollback shows a machine that has seen a log other ones.
func TestRollback(t *testing.T) {
	tests := []struct {
		name     string
		seen     func(f *faulty) // from the common log to what was seen
		shown    func(f *faulty) // from the common log to what is shown then
		rollback bool
	}{
		{"older by one", func(f *faulty) { f.grow(t, 2) }, func(f *faulty) {}, true},
		{"older", func(f *faulty) { f.grow(t, 2, 3) }, func(f *faulty) {}, true},
		{"fork of the same length", func(f *faulty) { f.grow(t, 2) }, func(f *faulty) { f.grow(t, 3) }, true},
		{"longer fork", func(f *faulty) { f.grow(t, 2) }, func(f *faulty) { f.grow(t, 3, 4, 5) }, true},
		{"longer fork with a checkpoint", func(f *faulty) { f.grow(t, 2) },
			func(f *faulty) { f.grow(t, 3); f.pad(t, checkpointEvery+3) }, true},
		{"unchanged", func(f *faulty) {}, func(f *faulty) {}, false},
		{"newer", func(f *faulty) {}, func(f *faulty) { f.grow(t, 2, 3) }, false},
		{"newer with a checkpoint", func(f *faulty) {}, func(f *faulty) { f.grow(t, 2); f.pad(t, checkpointEvery+3) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			common := newFaulty()
			create(t, common.open(t))
			common.grow(t, 1)
			state := t.TempDir()

			seen := common.snapshot()
			tt.seen(seen)
			refresh(t, open(t, seen.open(t), Options{StateDir: state}))

			shown := common.snapshot()
			tt.shown(shown)
			r := open(t, shown.open(t), Options{StateDir: state})
			s, err := r.Refresh(t.Context())
			if !tt.rollback {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if !errors.Is(err, ErrRollback) {
				t.Fatalf("got generation %v, %v; want a rollback", s, err)
			}
			if _, err := r.Begin(t.Context(), writer); !errors.Is(err, ErrRollback) {
				t.Errorf("begin: %v, want a rollback", err)
			}
			// It stays refused until somebody says so, and then is trusted.
			if _, err := open(t, shown.open(t), Options{StateDir: state}).Refresh(t.Context()); !errors.Is(err, ErrRollback) {
				t.Errorf("second look: %v, want a rollback", err)
			}
			want := refresh(t, open(t, shown.open(t), Options{StateDir: state, AcceptRollback: true}))
			if got := refresh(t, open(t, shown.open(t), Options{StateDir: state})); got.Hash != want.Hash {
				t.Error("the accepted log is not the trusted one")
			}
			_, err = open(t, seen.open(t), Options{StateDir: state}).Refresh(t.Context())
			if fork := strings.Contains(tt.name, "fork"); errors.Is(err, ErrRollback) != fork {
				t.Errorf("the log seen before: %v, want a rollback: %v", err, fork)
			}
		})
	}
}

// TestRunningClientSeesRollback: so does one that has the state in memory and
// keeps no file.
func TestRunningClientSeesRollback(t *testing.T) {
	r, f := newRepo(t)
	backUp(t, r, 1)
	backUp(t, r, 2)
	f.Objects.Remove(GenerationKey(2))
	if _, err := r.Refresh(t.Context()); !errors.Is(err, ErrRollback) {
		t.Errorf("got %v, want a rollback", err)
	}
}

func TestTrustFile(t *testing.T) {
	_, f := newRepo(t)
	f.grow(t, 1)
	state := t.TempDir()
	r := open(t, f.open(t), Options{StateDir: state})
	if r.Verified() {
		t.Error("verified on first use")
	}
	refresh(t, r)
	dir := filepath.Join(state, r.Config().ID.String())
	path := filepath.Join(dir, "trust.json")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("%v, %v", info, err)
	}
	if !open(t, f.open(t), Options{StateDir: state}).Verified() {
		t.Error("not verified by the trust file")
	}

	good, err := readTrust(dir)
	if err != nil {
		t.Fatal(err)
	}
	older, newer := good, good
	older.Generation, newer.Generation = 0, 7
	if err := errors.Join(writeTrust(dir, newer, false), writeTrust(dir, older, false)); err != nil {
		t.Fatal(err)
	}
	if got, _ := readTrust(dir); got != newer {
		t.Errorf("an older generation replaced a newer one: %+v", got)
	}
	if err := writeTrust(dir, older, true); err != nil {
		t.Fatal(err)
	}
	if got, _ := readTrust(dir); got != older {
		t.Errorf("an accepted rollback was not recorded: %+v", got)
	}

	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, damage := range map[string][]byte{
		"empty": {}, "cut": text[:len(text)/2], "not JSON": []byte("trust me"), "another format": []byte(`{"format":"x"}`),
		"no hash": []byte(`{"format":"bluesky trust","version":1}`),
	} {
		if err := os.WriteFile(path, damage, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), f.open(t), Options{StateDir: state}); !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("%s: %v, want corrupt", name, err)
		}
	}
	if err := os.WriteFile(path, []byte(`{"format":"bluesky trust","version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), f.open(t), Options{StateDir: state}); !errors.Is(err, object.ErrVersion) {
		t.Errorf("another version: %v", err)
	}

	stranger := good
	stranger.Admin[0] ^= 1
	if err := writeTrust(dir, stranger, true); err == nil {
		if _, err := Open(t.Context(), f.open(t), Options{StateDir: state}); !errors.Is(err, ErrForeign) {
			t.Errorf("another admin: %v, want foreign", err)
		}
	}
}

func TestPin(t *testing.T) {
	r, _ := newRepo(t)
	for i := range 3 {
		id := r.Identity()
		switch i {
		case 0:
			id.Repository[0] ^= 1
		case 1:
			id.Admin[0] ^= 1
		case 2:
			id.Origin[0] ^= 1
		}
		if err := r.Pin(id); !errors.Is(err, ErrForeign) || r.Verified() {
			t.Errorf("%d: %v, verified %v", i, err, r.Verified())
		}
	}
	if err := r.Pin(r.Identity()); err != nil || !r.Verified() {
		t.Error(err)
	}
}

func TestCleanerKey(t *testing.T) {
	r, _ := newRepo(t)
	path := CleanerKeyPath(t.TempDir(), r.Config().ID)
	want := CleanerKey{Identity: r.Identity(), Seed: [32]byte{3}}
	if err := WriteCleanerKey(path, want); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadCleanerKey(path); err != nil || got != want {
		t.Errorf("%v, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCleanerKey(path); !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("damaged: %v", err)
	}
}
