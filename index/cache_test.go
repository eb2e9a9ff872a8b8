package index

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/pack"
)

// cached is a cache with one run and a count of its fetches.
type cached struct {
	*Cache
	dir     string
	data    []byte
	want    Meta
	fetches atomic.Int32
}

func newCached(t *testing.T) *cached {
	t.Helper()
	m := newMaker(1)
	c := &cached{dir: filepath.Join(t.TempDir(), "index")}
	c.data, c.want = m.encode(t, []*pack.Segment{m.segment(t, object.ClassData, m.ids(100)...)}, nil)
	var err error
	if c.Cache, err = OpenCache(c.dir); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *cached) fetch(context.Context) ([]byte, error) {
	c.fetches.Add(1)
	return bytes.Clone(c.data), nil
}

// get gets the run and checks that it is right and how often it was fetched.
func (c *cached) get(t *testing.T, fetches int32) *Run {
	t.Helper()
	r, err := c.Run(t.Context(), c.want, c.fetch)
	if err != nil {
		t.Fatal(err)
	}
	if r.Len() != 100 || r.Hash() != c.want.Hash {
		t.Fatalf("a run of %d rows, want 100", r.Len())
	}
	if n := c.fetches.Load(); n != fetches {
		t.Fatalf("%d fetches, want %d", n, fetches)
	}
	return r
}

func (c *cached) file() string { return filepath.Join(c.dir, c.want.Name.String()) }

func TestCacheKeeps(t *testing.T) {
	c := newCached(t)
	c.get(t, 1)
	c.get(t, 1)
	again, err := OpenCache(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	c.Cache = again
	c.get(t, 1)
	for path, mode := range map[string]os.FileMode{c.dir: 0o700, c.file(): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode().Perm(), err, mode)
		}
	}
	if c.Problem() != nil {
		t.Error(c.Problem())
	}
}

func TestCacheReplacesBadFiles(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(path string, data []byte) error
	}{
		{"missing", func(path string, _ []byte) error { return os.Remove(path) }},
		{"empty", func(path string, _ []byte) error { return os.Truncate(path, 0) }},
		{"short", func(path string, d []byte) error { return os.Truncate(path, int64(len(d)-1)) }},
		{"zeros", func(path string, d []byte) error { return os.WriteFile(path, make([]byte, len(d)), 0o600) }},
		{"a flipped bit", func(path string, d []byte) error { d[300] ^= 1; return os.WriteFile(path, d, 0o600) }},
		{"a valid run of another hash", func(path string, d []byte) error {
			d[64+32]++ // header hash of the first segment: nothing but the hash tells
			hash := object.HashBytes("run", d[:len(d)-32])
			return os.WriteFile(path, append(d[:len(d)-32], hash[:]...), 0o600)
		}},
		{"writable by others", func(path string, _ []byte) error { return os.Chmod(path, 0o666) }},
		{"a link", func(path string, _ []byte) error {
			if err := os.Rename(path, path+"-real"); err != nil {
				return err
			}
			return os.Symlink(path+"-real", path)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newCached(t)
			c.get(t, 1)
			if err := tt.spoil(c.file(), bytes.Clone(c.data)); err != nil {
				t.Fatal(err)
			}
			c.get(t, 2)
			c.get(t, 2)
		})
	}
}

// TestCacheWithoutDirectory has a directory that vanishes, then one that cannot
// be written since a file stands in its place.
func TestCacheWithoutDirectory(t *testing.T) {
	c := newCached(t)
	c.get(t, 1)
	if err := os.RemoveAll(c.dir); err != nil {
		t.Fatal(err)
	}
	c.get(t, 2)
	c.get(t, 2)
	if err := os.RemoveAll(c.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(c.dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c.get(t, 3)
	c.get(t, 4)
	if c.Problem() == nil {
		t.Errorf("nothing tells that the cache cannot be written")
	}
	if _, err := OpenCache(c.dir); err == nil {
		t.Errorf("a file was opened as a cache")
	}
}

func TestNoCache(t *testing.T) {
	c := newCached(t)
	c.Cache = nil
	c.get(t, 1)
	c.get(t, 2)
	if err := c.Prune(func(string) bool { return false }); err != nil || c.Problem() != nil {
		t.Errorf("no cache: %v, %v", err, c.Problem())
	}
}

func TestCacheRefusesWrongBytes(t *testing.T) {
	for _, cache := range []bool{true, false} {
		c := newCached(t)
		if !cache {
			c.Cache = nil
		}
		c.data[200] ^= 1
		if _, err := c.Run(t.Context(), c.want, c.fetch); !errors.Is(err, ErrCorrupt) {
			t.Errorf("error = %v, want corrupt", err)
		}
		if entries, err := os.ReadDir(c.dir); err != nil || len(entries) != 0 {
			t.Errorf("the cache keeps %v, %v", entries, err)
		}
		broken := errors.New("the line is dead")
		_, err := c.Run(t.Context(), c.want, func(context.Context) ([]byte, error) { return nil, broken })
		if !errors.Is(err, broken) {
			t.Errorf("error = %v, want that of fetch", err)
		}
	}
}

func TestCachePrune(t *testing.T) {
	c := newCached(t)
	kept := c.get(t, 1)
	other := RunName{1}
	for _, name := range []string{other.String(), BlobName([16]byte{1}), tempPrefix + "123", "README"} {
		if err := os.WriteFile(filepath.Join(c.dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Prune(func(n string) bool { return n == c.want.Name.String() }); err != nil {
		t.Fatal(err)
	}
	var left []string
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got, want := strings.Join(left, " "), "README "+c.want.Name.String(); got != want {
		t.Errorf("Prune leaves %q, want %q", got, want)
	}
	if err := c.Prune(func(string) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if kept.Row(99).ID.IsZero() {
		t.Errorf("a run in use is gone with its file")
	}
	c.get(t, 2)
	if err := os.RemoveAll(c.dir); err != nil {
		t.Fatal(err)
	}
	if err := c.Prune(func(string) bool { return false }); err != nil {
		t.Errorf("no directory: %v", err)
	}
}

// TestCacheShared has several caches on one directory, as several processes
// would, while files are spoilt and pruned.
func TestCacheShared(t *testing.T) {
	c := newCached(t)
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			mine, err := OpenCache(c.dir)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 40 {
				r, err := mine.Run(t.Context(), c.want, c.fetch)
				if err != nil || !r.Has(r.Row(i).ID) {
					t.Errorf("worker %d: %v", worker, err)
					return
				}
				if i%5 == worker {
					mine.Prune(func(string) bool { return i%2 == 0 })
				}
			}
		})
	}
	group.Wait()
}

func TestMappingGoesWithRun(t *testing.T) {
	maps := "/proc/self/maps"
	if _, err := os.Stat(maps); err != nil {
		t.Skip("mappings are listed on Linux alone")
	}
	c := newCached(t)
	c.get(t, 1)
	r := c.get(t, 1)
	mapped := func() bool {
		list, err := os.ReadFile(maps)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Contains(list, []byte(c.want.Name.String()))
	}
	if !mapped() {
		t.Fatalf("the run is not mapped")
	}
	runtime.KeepAlive(r) // and no longer
	deadline := time.Now().Add(10 * time.Second)
	for mapped() {
		if time.Now().After(deadline) {
			t.Fatalf("the run is still mapped")
		}
		runtime.GC() // cleanups run some time after one
		runtime.Gosched()
	}
}

// TestFaultIsError cuts a file short under its mapping: verifying it must give
// an error, not end the process.
func TestFaultIsError(t *testing.T) {
	c := newCached(t)
	path := filepath.Join(t.TempDir(), "run")
	if err := os.WriteFile(path, c.data, 0o600); err != nil {
		t.Fatal(err)
	}
	data, unmap, err := mapFile(path, int64(len(c.data)))
	if err != nil {
		t.Fatal(err)
	}
	defer unmap(data)
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := loadMapped(data, c.want); !errors.Is(err, ErrCorrupt) {
		t.Errorf("error = %v, want corrupt", err)
	}
}

// TestChangedUnderRun changes the bytes of a run after it was verified. Rows may
// be wrong then, but nothing may be read outside of them.
func TestChangedUnderRun(t *testing.T) {
	m := newMaker(3)
	for range 300 {
		var runs []*Run
		for range 3 {
			runs = append(runs, m.run(t, []*pack.Segment{m.segment(t, object.ClassData, m.ids(30)...)}, nil))
		}
		x := New(parts(runs, make([]uint64, len(runs))), nil)
		for _, r := range runs {
			for range 60 {
				r.data[m.rand.IntN(len(r.data))] = byte(m.rand.Uint32())
			}
		}
		for _, r := range runs {
			for i := range r.Len() {
				x.Lookup(r.Row(i).ID)
				x.Has(m.id())
			}
		}
		for range x.Rows() {
		}
	}
}
