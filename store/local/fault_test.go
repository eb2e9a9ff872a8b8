package local_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	. "bluesky/store/local"
	"bluesky/store/local/simdisk"

	"gocloud.dev/blob"
)

// unreported are the calls whose failure may leave a write successful: they
// only read, or belong to the sweeping of strays, or close what was synced.
var unreported = map[string]bool{"open folder": true, "read folder": true, "close folder": true}

// TestEveryCallFails refuses each call of a write, one after the other, on a
// real folder. The error must come out, the key be whole or as before, and no
// temporary file be seen; a later write by another process must succeed.
func TestEveryCallFails(t *testing.T) {
	tests := []struct {
		name  string
		prime bool // the folder was written to before
		step  step
	}{
		{"create in a new folder", false, step{"seg/ab/1", "data", true}},
		{"create", true, step{"seg/ab/1", "data", true}},
		{"overwrite", true, step{"seg/ab/0", "data", false}},
		{"delete", true, step{"seg/ab/0", "", false}},
	}
	for shape, lacks := range shapes {
		for _, tt := range tests {
			for _, after := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/after=%v", shape, tt.name, after), func(t *testing.T) {
					errno := syscall.ENOSPC
					for n := 0; failOnce(t, lacks, tt.step, tt.prime, n, after, errno); n++ {
						errno = map[syscall.Errno]syscall.Errno{syscall.ENOSPC: syscall.EIO, syscall.EIO: syscall.ENOSPC}[errno]
					}
				})
			}
		}
	}
}

// fastDir is in memory where it can be: the hundreds of writes here are about
// calls that fail, not about the disk.
func fastDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "bluesky-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// failOnce reports whether the write made call n at all.
func failOnce(t *testing.T, lacks []string, s step, prime bool, n int, after bool, errno syscall.Errno) bool {
	t.Helper()
	dir := fastDir(t)
	osfs, err := OpenOS(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := simdisk.NewRefuser(osfs, lacks...)
	b := blob.NewBucket(New(f, time.Now))
	before := map[string]string{}
	if prime {
		before["seg/ab/0"] = "old"
		if err := upload(b, "seg/ab/0", []byte("old"), true); err != nil {
			t.Fatal(err)
		}
	}
	f.Refuse(n, errno, after)
	err = s.do(b)
	hit := f.Hit()
	f.Refuse(-1, nil, false)
	if hit == "" {
		if err != nil {
			t.Fatalf("with no call refused: %v", err)
		}
		return false
	}
	when := fmt.Sprintf("call %d (%s) refused with %v", n, hit, errno)
	if err == nil && !unreported[hit] {
		t.Fatalf("%s: not reported", when)
	}
	if err != nil && !errors.Is(err, errno) {
		t.Fatalf("%s: got %v", when, err)
	}
	clean, openErr := Open(dir)
	if openErr != nil {
		t.Fatal(openErr)
	}
	c := blob.NewBucket(clean)
	got := contents(t, c)
	if value := got[s.key]; value != s.data && (err == nil || value != before[s.key]) {
		t.Fatalf("%s: %s is %q afterwards", when, s.key, value)
	}
	if hit == "sync" && got[s.key] != before[s.key] {
		t.Fatalf("%s: %s is %q, though its bytes may not be durable", when, s.key, got[s.key])
	}
	if hit == "sync folder" && len(got) > 0 && got[s.key] == s.data && !errors.Is(err, ErrNotDurable) {
		t.Fatalf("%s: visible, and %v does not say that it may be lost", when, err)
	}
	if err := upload(c, "seg/ab/next", []byte("next"), true); err != nil {
		t.Fatalf("%s: the next write: %v", when, err)
	}
	if err := errors.Join(b.Close(), c.Close()); err != nil {
		t.Fatal(err)
	}
	return true
}

// After a failed sync a second one may succeed without having written what the
// first one lost, so the folder must not be written to again.
func TestNothingIsTrustedAfterAFailedSync(t *testing.T) {
	f := simdisk.NewRefuser(simdisk.New())
	b := blob.NewBucket(New(f, time.Now))
	if err := upload(b, "gen/0", []byte("x"), true); err != nil {
		t.Fatal(err)
	}
	f.Refuse(-1, nil, false)
	if err := upload(b, "gen/1", []byte("x"), true); err != nil {
		t.Fatal(err)
	}
	calls := f.Calls()
	var failed error
	for n := 0; n < calls && !errors.Is(failed, ErrNotDurable); n++ {
		f.Refuse(n, syscall.EIO, false)
		failed = upload(b, fmt.Sprintf("gen/2%d", n), []byte("x"), true)
	}
	if !errors.Is(failed, ErrNotDurable) || !errors.Is(failed, syscall.EIO) {
		t.Fatalf("no call was a sync of the folder: %v", failed)
	}
	f.Refuse(-1, nil, false)
	err := upload(b, "gen/3", []byte("x"), true)
	if !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "nothing more is written after a failed sync") {
		t.Errorf("the next write to the folder: got %v", err)
	}
	if err := upload(b, "seg/1", []byte("x"), true); err != nil {
		t.Errorf("a write to another folder: %v", err)
	}
	if _, there := contents(t, b)["gen/3"]; there {
		t.Error("gen/3 was written to a folder that cannot be synced")
	}
}
