package backup

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"bluesky/keyring"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/store"
	"bluesky/store/fault"
	"bluesky/tree"

	"gocloud.dev/blob"
	"golang.org/x/sys/unix"
)

// cheapSlot opens quickly; the costs of real slots are tested in package seal.
var cheapSlot = seal.SlotParams{Time: 1, Memory: 64, Lanes: 1}

// A bed is a repository in memory, as one machine sees it.
type bed struct {
	bucket *fault.Bucket
	state  string // folder
	repo   *repo.Repo
	keys   *seal.Keys
	seen   map[object.ID]bool // snapshots that aftermath has read
}

// newBed makes a repository with small chunks, segments and nodes, so that small
// trees have all that large ones have.
func newBed(t testing.TB) *bed { return newBedWith(t, func(*repo.Config) {}) }

// newBedWith is newBed with other parameters still.
func newBedWith(t testing.TB, edit func(*repo.Config)) *bed {
	t.Helper()
	config := repo.DefaultConfig(object.RepositoryID{1}, time.Unix(1e9, 0))
	config.Chunker.Min, config.Chunker.Bits, config.Chunker.Max = 4<<10, 12, 64<<10
	config.Tree.LeafBits, config.Tree.ListBits, config.Tree.ListMax = 2, 2, 8
	config.Tree.ExtentsMax, config.Tree.DirMax, config.Tree.XattrInline = 4, 4, 4
	config.Segment.DataTarget, config.Segment.MetaTarget = 256<<10, 64<<10
	edit(&config)
	return newBedOf(t, &config)
}

// newDefaultBed makes a repository with the parameters that init gives.
func newDefaultBed(t testing.TB) *bed { return newBedOf(t, nil) }

// newBedOf makes a repository of the given parameters, nil for the default.
func newBedOf(t testing.TB, parameters *repo.Config) *bed {
	t.Helper()
	b := &bed{bucket: fault.New(), state: t.TempDir(), seen: map[object.ID]bool{}}
	_, err := keyring.Create(t.Context(), b.store(t), keyring.Options{
		Password: []byte("secret"), Slot: cheapSlot, Now: time.Unix(1e9, 0), ConfigDir: b.state, Parameters: parameters,
	})
	if err != nil {
		t.Fatal(err)
	}
	b.open(t)
	return b
}

// store opens the bucket.
func (b *bed) store(t testing.TB) *store.Store {
	st := store.NewImpatient(blob.NewBucket(b.bucket), "memory")
	t.Cleanup(func() { st.Close() })
	return st
}

// open opens the repository anew, as the next process does.
func (b *bed) open(t testing.TB) {
	t.Helper()
	r, err := repo.Open(t.Context(), b.store(t), repo.Options{StateDir: b.state})
	if err != nil {
		t.Fatal(err)
	}
	if b.keys, err = keyring.Open(t.Context(), r, []byte("secret")); err != nil {
		t.Fatal(err)
	}
	b.repo = r
}

// other returns the repository as another machine sees it.
func (b *bed) other(t testing.TB) *bed {
	o := &bed{bucket: b.bucket, state: t.TempDir()}
	o.open(t)
	return o
}

// clone returns a machine of its own with a copy of the bucket, in which later
// backups leave nothing.
func (b *bed) clone(t testing.TB) *bed {
	c := &bed{bucket: fault.Over(b.bucket.Objects.Clone()), state: t.TempDir(), seen: maps.Clone(b.seen)}
	c.open(t)
	return c
}

// run backs up and wants no errors.
func (b *bed) run(t tester, options Options) Result {
	t.Helper()
	log := &progressLog{}
	result, err := Run(t.Context(), b.repo, b.keys, options, log)
	if err != nil {
		t.Fatal(err)
	}
	if result.Errors != 0 {
		t.Fatalf("%d sources could not be read: %v", result.Errors, log.errors)
	}
	return result
}

// list returns the snapshots, oldest first.
func (b *bed) list(t tester) []snapshot.Snapshot {
	t.Helper()
	state, err := b.repo.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := snapshot.List(t.Context(), b.repo, b.keys, state)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// snapshot returns the snapshot of the given id.
func (b *bed) snapshot(t tester, id object.ID) *snapshot.Snapshot {
	t.Helper()
	for _, s := range b.list(t) {
		if s.ID == id {
			return &s
		}
	}
	t.Fatalf("no snapshot %s", id)
	return nil
}

// tree opens the inode map of a snapshot.
func (b *bed) tree(s *snapshot.Snapshot) (*tree.Map, tree.Source) {
	source := seal.NewReader(b.repo, b.keys)
	return tree.OpenMap(source, b.keys, tree.Params(b.repo.Config().Tree), s.Root), source
}

// paths are options to back up paths of host "h" at a time when no file is
// racy. The caller waits with waitTick before it changes a file again.
func paths(paths ...string) Options {
	return Options{Paths: paths, Host: "h", Now: func() time.Time { return time.Now().Add(time.Hour) }}
}

// waitTick waits until a change of a file gets another ctime than changes so
// far have.
func waitTick(t testing.TB) {
	t.Helper()
	name := filepath.Join(t.TempDir(), "tick")
	touch := func() unix.Timespec {
		var st unix.Stat_t
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Stat(name, &st); err != nil {
			t.Fatal(err)
		}
		os.Remove(name)
		return st.Ctim
	}
	for first := touch(); touch() == first; {
	}
}

// progressLog remembers what it is told.
type progressLog struct {
	mu       sync.Mutex
	errors   []string
	items    map[string]Change
	restarts int
	events   int
	onEvent  func(n int)
}

func (p *progressLog) event() {
	p.events++
	if p.onEvent != nil {
		p.onEvent(p.events)
	}
}

func (p *progressLog) File(string, uint64) { p.mu.Lock(); defer p.mu.Unlock(); p.event() }
func (p *progressLog) Bytes(int)           { p.mu.Lock(); defer p.mu.Unlock(); p.event() }
func (p *progressLog) FileDone(string)     { p.mu.Lock(); defer p.mu.Unlock(); p.event() }
func (p *progressLog) Restart(error)       { p.mu.Lock(); defer p.mu.Unlock(); p.restarts++ }

func (p *progressLog) Item(path string, change Change, _ bool, _ uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.items == nil {
		p.items = map[string]Change{}
	}
	p.items[path] = change
	p.event()
}

func (p *progressLog) Error(path string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.errors = append(p.errors, fmt.Sprintf("%s: %v", path, err))
}

// needRoot skips a test that only root can run, and says so.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: this needs root")
	}
}

// mountTmpfs mounts an empty file system of the given size, or skips the test.
func mountTmpfs(t *testing.T, dir, size string) {
	t.Helper()
	needRoot(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("NOT TESTED: mounting a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}

// must stops the test at an error.
func must(t tester, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// write writes a file and the folders above it.
func write(t tester, name, content string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(content), 0o644))
	return name
}

// A tester is a *testing.T or a *rapid.T.
type tester interface {
	Helper()
	Context() context.Context
	Error(args ...any)
	Errorf(format string, args ...any)
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// scaled returns a number of cases: with the race detector, which makes all of
// them slow, a quarter of n.
func scaled(n int) int {
	if raceEnabled {
		return n / 4
	}
	return n
}
