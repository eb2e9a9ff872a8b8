package check

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bluesky/backup"
	"bluesky/keyring"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/store"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// A fixture is a repository, small in bytes and with every kind of object,
// several segments of each class, and a checkpoint.
type fixture struct {
	files  map[string][]byte // of the bucket; the bytes are shared by copies
	keys   *seal.Keys
	tree   string       // what is backed up
	bucket *store.Store // while it is made

	config    func(object.RepositoryID) repo.Config // smallConfig
	passwords []string                              // each has a key slot
	random    io.Reader                             // of the names of what is put into the bucket; nil is random
}

// smallConfig makes small files use lists, split directories and deep maps.
func smallConfig(id object.RepositoryID) repo.Config {
	c := repo.DefaultConfig(id, testTime)
	c.Chunker = repo.ChunkerConfig{ID: 1, Min: 1024, Bits: 10, Max: 8192}
	c.Tree.LeafBits, c.Tree.ListBits, c.Tree.ListMax, c.Tree.ExtentsMax, c.Tree.DirMax = 1, 2, 4, 4, 6
	c.Segment = repo.SegmentConfig{DataTarget: 65536, MetaTarget: 65536}
	return c
}

var shared, sharedLong sharedFixture

// A sharedFixture is made by the first test that needs it.
type sharedFixture struct {
	once sync.Once
	f    *fixture
}

func (s *sharedFixture) get(t testing.TB, pad int) *fixture {
	t.Helper()
	s.once.Do(func() { s.f = makeFixture(t, 1, pad) })
	if s.f == nil {
		t.Fatal("the repository to check could not be made")
	}
	return s.f.copy()
}

// newFixture returns a copy of a repository that all tests share.
func newFixture(t testing.TB) *fixture { return shared.get(t, 0) }

// newLongFixture returns one with generations enough for a checkpoint. Verifying
// their signatures takes time.
func newLongFixture(t testing.TB) *fixture { return sharedLong.get(t, 66) }

// makeFixture backs up a small tree twice, with a change, and pad generations,
// between.
func makeFixture(t testing.TB, seed byte, pad int) *fixture {
	t.Helper()
	f := newEmpty(t)
	defer f.bucket.Close()
	random := rand.NewChaCha8([32]byte{seed})
	f.create(t, random)
	for i := range 20 {
		f.write(t, fmt.Sprintf("many/file%02d", i), randomBytes(random, 700+i))
	}
	f.write(t, "large", randomBytes(random, 150_000))
	f.write(t, "deep/er/still/one", randomBytes(random, 3000))
	if err := os.Symlink("large", filepath.Join(f.tree, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(f.tree, "deep/er/still/one"), filepath.Join(f.tree, "hard")); err != nil {
		t.Fatal(err)
	}
	f.backup(t)
	f.pad(t, pad)
	f.write(t, "many/file07", randomBytes(random, 900))
	f.write(t, "new", randomBytes(random, 5000))
	if err := os.Remove(filepath.Join(f.tree, "many/file03")); err != nil {
		t.Fatal(err)
	}
	f.backup(t)
	f.files = f.dump(t)
	return f
}

func newEmpty(t testing.TB) *fixture {
	return &fixture{
		files: map[string][]byte{}, tree: t.TempDir(), bucket: store.NewMemory(),
		config: smallConfig, passwords: []string{"secret"},
	}
}

// dump returns what is in the bucket.
func (f *fixture) dump(t testing.TB) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for e, err := range f.bucket.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if files[e.Key], err = f.bucket.Get(t.Context(), e.Key, e.Size); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// pad adds n generations with a run each, the first with an object and the others
// empty, so that there is a checkpoint. The session stays unfinished.
func (f *fixture) pad(t testing.TB, n int) {
	t.Helper()
	if n == 0 {
		return
	}
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Begin(t.Context(), f.keys.Writer())
	if err != nil {
		t.Fatal(err)
	}
	id := f.keys.ID(object.KindBlock, nil, []byte("pad"))
	sealed, err := f.keys.NewSealer(s.ID(), seal.SealerOptions{}).Seal(id, object.KindBlock, nil, []byte("pad"))
	if err == nil {
		err = s.Add(sealed, f.keys.NewSession(s.ID(), object.ClassData))
	}
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := s.AddRun(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func randomBytes(r io.Reader, n int) []byte {
	b := make([]byte, n)
	io.ReadFull(r, b) // a ChaCha8 does not fail
	return b
}

func (f *fixture) write(t testing.TB, name string, data []byte) {
	t.Helper()
	path := filepath.Join(f.tree, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// create makes the repository; [keyring.Create] would take the default
// parameters.
func (f *fixture) create(t testing.TB, random io.Reader) {
	t.Helper()
	ctx := t.Context()
	st := f.bucket
	var id object.RepositoryID
	io.ReadFull(random, id[:])
	creation, err := repo.Prepare(ctx, st, f.config(id))
	if err != nil {
		t.Fatal(err)
	}
	root, err := seal.NewRoot(random)
	if err != nil {
		t.Fatal(err)
	}
	if f.keys, err = seal.NewKeys(root, id, seal.PaddingPadme); err != nil {
		t.Fatal(err)
	}
	public := func(k ed25519.PrivateKey) repo.PublicKey { return repo.PublicKey(k.Public().(ed25519.PublicKey)) }
	cleaner := ed25519.NewKeyFromSeed(randomBytes(random, 32))
	if err := creation.Genesis(random, f.keys.Admin(), public(f.keys.Writer()), public(cleaner)); err != nil {
		t.Fatal(err)
	}
	bundle := seal.Bundle{
		Repository: id, Admin: f.keys.Admin().Public().(ed25519.PublicKey), Generation0: creation.Origin, Root: root,
	}
	for _, password := range f.passwords {
		slot, data, err := seal.NewSlot(random, []byte(password), bundle, seal.SlotInfo{Created: object.TimeOf(testTime)},
			seal.SlotParams{Time: 1, Memory: 64, Lanes: 1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := creation.PutSlot(ctx, repo.KeySlot{ID: slot, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	if err := creation.Commit(ctx); err != nil {
		t.Fatal(err)
	}
}

// store returns a bucket with the files of f.
func (f *fixture) store(t testing.TB) *store.Store {
	t.Helper()
	if f.bucket != nil && len(f.files) == 0 {
		return f.bucket
	}
	st := store.NewMemory()
	t.Cleanup(func() { st.Close() })
	f.fill(t, st)
	return st
}

func (f *fixture) fill(t testing.TB, st *store.Store) {
	t.Helper()
	for key, data := range f.files {
		if err := st.PutNew(t.Context(), key, data); err != nil {
			t.Fatal(err)
		}
	}
}

// open opens the repository as a machine that knows nothing of it.
func (f *fixture) open(t testing.TB) (*repo.Repo, error) {
	return repo.Open(t.Context(), f.store(t), repo.Options{Rand: f.random})
}

// backup returns the id of the snapshot that it makes.
func (f *fixture) backup(t testing.TB) object.ID {
	t.Helper()
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := keyring.Open(t.Context(), r, []byte(f.passwords[0]))
	if err != nil {
		t.Fatal(err)
	}
	options := backup.Options{Paths: []string{f.tree}, Host: "host", Now: func() time.Time { return testTime }}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	list, err := snapshot.List(t.Context(), r, keys, state)
	if err != nil {
		t.Fatal(err)
	}
	options.Parent = snapshot.Latest(list, options.Host, options.Paths)
	result, err := backup.Run(t.Context(), r, keys, options, nil)
	if err != nil {
		t.Fatal(err)
	}
	return result.Snapshot
}

// names returns the sorted keys of the bucket that begin with prefix.
func (f *fixture) names(prefix string) []string {
	keys := slices.Sorted(maps.Keys(f.files))
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) })
}

// read returns a copy of a file of the bucket.
func (f *fixture) read(key string) []byte { return bytes.Clone(f.files[key]) }

// put replaces or makes a file of the bucket, nil removes it.
func (f *fixture) put(key string, data []byte) {
	if data == nil {
		delete(f.files, key)
		return
	}
	f.files[key] = data
}

// copy returns a fixture that may be damaged.
func (f *fixture) copy() *fixture {
	c := *f
	c.files = maps.Clone(f.files)
	return &c
}

// A level is a way to check.
type level struct {
	name     string
	readData bool
	keyed    bool
}

var levels = []level{
	{"default", false, false},
	{"default with key", false, true},
	{"read data", true, false},
	{"read data with key", true, true},
}

// check runs a check; the error may come from opening the repository.
func (f *fixture) check(t testing.TB, l level) (Report, error) {
	t.Helper()
	return f.checkIn(t, f.store(t), l)
}

func (f *fixture) checkIn(t testing.TB, st *store.Store, l level) (Report, error) {
	t.Helper()
	r, err := repo.Open(t.Context(), st, repo.Options{})
	if err != nil {
		return Report{}, err
	}
	var keys *seal.Keys
	if l.keyed {
		keys = f.keys
		if err := r.Pin(r.Identity()); err != nil { // as keyring.Open does
			t.Fatal(err)
		}
	}
	return Run(t.Context(), r, keys, Options{ReadData: l.readData}, nil)
}

// describe prints a report for messages of tests.
func describe(r Report) string {
	var b strings.Builder
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "  %s: %s: %s; files %q (+%d) snapshots %d\n", p.Severity, p.Subject, p.Text, p.Files, p.MoreFiles, len(p.Snapshots))
	}
	return b.String()
}

// segmentsOf returns the keys of the segments of a class.
func (f *fixture) segmentsOf(class object.Class) []string {
	return slices.DeleteFunc(f.names("seg/"), func(key string) bool { return f.files[key][10] != byte(class) })
}
