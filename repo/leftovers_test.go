package repo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bluesky/journal"
)

// The cache keeps the runs of the state, and nothing else.
func TestTidyCache(t *testing.T) {
	r, f := newRepo(t)
	backUp(t, r, 1)
	client := open(t, f.open(t), Options{CacheDir: t.TempDir()})
	state := refresh(t, client)
	begin(t, client)
	dir := client.options.CacheDir
	for _, name := range []string{"tmp-1", strings.Repeat("0", 32)} { // of a killed writer, of one that did not commit
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := client.TidyCache(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != state.Runs[0].Name.String() {
		t.Errorf("in the cache stand %v, %v", entries, err)
	}
	if err := r.TidyCache(); err != nil {
		t.Errorf("without a cache: %v", err)
	}
}

// A run that was killed before its journal had its name leaves nothing for good,
// and one that makes its journal just now is not disturbed.
func TestUnlockedJournals(t *testing.T) {
	_, f := newRepo(t)
	client := open(t, f.open(t), Options{StateDir: t.TempDir()})
	dir := filepath.Join(client.options.StateDir, "sessions")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	unlocked := func(digit string, age time.Duration) string {
		path := filepath.Join(dir, strings.Repeat(digit, 32)+journalSuffix+journal.UnlockedSuffix)
		at := client.options.Now().Add(-age)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, at, at)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	dead, live := unlocked("0", 2*unlockedAge), unlocked("1", 0)
	begin(t, client)
	if _, err := os.Stat(dead); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("that of a dead run: %v", err)
	}
	if _, err := os.Stat(live); err != nil {
		t.Errorf("that of a live run: %v", err)
	}
}
