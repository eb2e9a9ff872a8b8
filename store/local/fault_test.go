package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"gocloud.dev/blob"
)

// faults is an FS that refuses one call, and lacks those of a shape.
type faults struct {
	FS
	lacks map[string]bool
	fail  int   // refuse this call, counted from 0; -1 none
	err   error // with this
	after bool  // having done it, as when only the reply is lost
	calls int
	hit   string // the call that was refused
}

func (f *faults) do(name string, call func() error) error {
	if f.lacks[name] {
		return fmt.Errorf("%s: %w", name, errors.ErrUnsupported)
	}
	n := f.calls
	f.calls++
	if n != f.fail {
		return call()
	}
	f.hit = name
	if f.after {
		_ = call() // its result is what gets lost
	}
	return fmt.Errorf("%s: %w", name, f.err)
}

func (f *faults) Mkdir(name string) error {
	return f.do("mkdir", func() error { return f.FS.Mkdir(name) })
}

func (f *faults) OpenDir(name string) (dir Dir, err error) {
	err = f.do("open folder", func() error {
		dir, err = f.FS.OpenDir(name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &faultDir{dir, f}, nil
}

type faultDir struct {
	Dir
	f *faults
}

func (d *faultDir) CreateUnnamed() (file File, err error) {
	err = d.f.do("create unnamed", func() error { file, err = d.Dir.CreateUnnamed(); return err })
	return &faultFile{file, d.f}, err
}

func (d *faultDir) Create(name string) (file File, err error) {
	err = d.f.do("create", func() error { file, err = d.Dir.Create(name); return err })
	return &faultFile{file, d.f}, err
}

func (d *faultDir) LinkUnnamed(f File, name string) error {
	return d.f.do("link unnamed", func() error { return d.Dir.LinkUnnamed(f.(*faultFile).File, name) })
}

func (d *faultDir) Link(oldName, newName string) error {
	return d.f.do("link", func() error { return d.Dir.Link(oldName, newName) })
}

func (d *faultDir) RenameNew(oldName, newName string) error {
	return d.f.do("rename new", func() error { return d.Dir.RenameNew(oldName, newName) })
}

func (d *faultDir) Rename(oldName, newName string) error {
	return d.f.do("rename", func() error { return d.Dir.Rename(oldName, newName) })
}

func (d *faultDir) Remove(name string) error {
	return d.f.do("remove", func() error { return d.Dir.Remove(name) })
}

func (d *faultDir) Lstat(name string) (info fs.FileInfo, err error) {
	err = d.f.do("lstat", func() error { info, err = d.Dir.Lstat(name); return err })
	return info, err
}

func (d *faultDir) ReadDir(n int) (entries []fs.DirEntry, err error) {
	err = d.f.do("read folder", func() error { entries, err = d.Dir.ReadDir(n); return err })
	return entries, err
}

func (d *faultDir) Sync() error  { return d.f.do("sync folder", d.Dir.Sync) }
func (d *faultDir) Close() error { return d.f.do("close folder", d.Dir.Close) }

type faultFile struct {
	File
	f *faults
}

func (f *faultFile) Write(p []byte) (n int, err error) {
	err = f.f.do("write", func() error { n, err = f.File.Write(p); return err })
	return n, err
}
func (f *faultFile) Sync() error  { return f.f.do("sync", f.File.Sync) }
func (f *faultFile) Close() error { return f.f.do("close", f.File.Close) }

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
	osfs, err := openOS(dir)
	if err != nil {
		t.Fatal(err)
	}
	f := &faults{FS: osfs, lacks: map[string]bool{}, fail: -1, err: errno, after: after}
	for _, call := range lacks {
		f.lacks[call] = true
	}
	b := blob.NewBucket(New(f, time.Now))
	before := map[string]string{}
	if prime {
		before["seg/ab/0"] = "old"
		if err := upload(b, "seg/ab/0", []byte("old"), true); err != nil {
			t.Fatal(err)
		}
	}
	f.calls, f.fail = 0, n
	err = s.do(b)
	f.fail = -1
	if f.hit == "" {
		if err != nil {
			t.Fatalf("with no call refused: %v", err)
		}
		return false
	}
	when := fmt.Sprintf("call %d (%s) refused with %v", n, f.hit, errno)
	if err == nil && !unreported[f.hit] {
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
	if f.hit == "sync" && got[s.key] != before[s.key] {
		t.Fatalf("%s: %s is %q, though its bytes may not be durable", when, s.key, got[s.key])
	}
	if f.hit == "sync folder" && len(got) > 0 && got[s.key] == s.data && !errors.Is(err, ErrNotDurable) {
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
	f := &faults{FS: newSimDisk(), fail: -1, err: syscall.EIO}
	b := blob.NewBucket(New(f, time.Now))
	if err := upload(b, "gen/0", []byte("x"), true); err != nil {
		t.Fatal(err)
	}
	f.calls = 0
	if err := upload(b, "gen/1", []byte("x"), true); err != nil {
		t.Fatal(err)
	}
	calls := f.calls
	var failed error
	for n := 0; n < calls && !errors.Is(failed, ErrNotDurable); n++ {
		f.calls, f.fail = 0, n
		failed = upload(b, fmt.Sprintf("gen/2%d", n), []byte("x"), true)
	}
	if !errors.Is(failed, ErrNotDurable) || !errors.Is(failed, syscall.EIO) {
		t.Fatalf("no call was a sync of the folder: %v", failed)
	}
	f.fail = -1
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
