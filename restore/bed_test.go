package restore

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bluesky/backup"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/store"
	"bluesky/tree"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if target := os.Getenv(childTarget); target != "" {
		os.Exit(childMain(target))
	}
	goleak.VerifyTestMain(m)
}

// A bed is a repository to test with.
type bed struct {
	store *store.Store
	repo  *repo.Repo
	keys  *seal.Keys
	root  [32]byte
}

// newBed makes a repository in st whose data segments are small, so that a
// small tree has many.
func newBed(t testing.TB, st *store.Store, edit ...func(*repo.Config)) *bed {
	t.Helper()
	var id object.RepositoryID
	rand.Read(id[:])
	config := repo.DefaultConfig(id, time.Now())
	config.Segment.DataTarget = 1 << 20
	config.Chunker.Min, config.Chunker.Max, config.Chunker.Bits = 64<<10, 1<<20, 17
	for _, fn := range edit {
		fn(&config)
	}
	root, err := seal.NewRoot(rand.Reader)
	must(t, err)
	keys, err := seal.NewKeys(root, id, seal.Padding(config.Padding))
	must(t, err)
	creation, err := repo.Prepare(t.Context(), st, config)
	must(t, err)
	must(t, creation.Genesis(rand.Reader, keys.Admin(), publicKey(keys.Writer()), repo.PublicKey{1}))
	must(t, creation.Commit(t.Context()))
	b := &bed{store: st, keys: keys, root: root}
	b.reopen(t)
	return b
}

// reopen opens the repository anew, with nothing in its caches.
func (b *bed) reopen(t testing.TB) {
	t.Helper()
	r, err := repo.Open(t.Context(), b.store, repo.Options{})
	must(t, err)
	_, err = r.Refresh(t.Context())
	must(t, err)
	b.repo = r
}

func newMemoryBed(t testing.TB, edit ...func(*repo.Config)) *bed {
	t.Helper()
	st := store.NewMemory()
	t.Cleanup(func() { must(t, st.Close()) })
	return newBed(t, st, edit...)
}

// newFolderBed returns a repository in a folder, and the folder.
func newFolderBed(t testing.TB, edit ...func(*repo.Config)) (*bed, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "repository")
	st, err := store.Create(t.Context(), dir)
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	return newBed(t, st, edit...), dir
}

func publicKey(key ed25519.PrivateKey) repo.PublicKey {
	return repo.PublicKey(key.Public().(ed25519.PublicKey))
}

// backup makes a snapshot of paths.
func (b *bed) backup(t testing.TB, paths ...string) snapshot.Snapshot {
	t.Helper()
	result, err := backup.Run(t.Context(), b.repo, b.keys, backup.Options{Paths: paths, Host: "test"}, backupErrors{t})
	must(t, err)
	return b.snapshot(t, result.Snapshot)
}

func (b *bed) snapshot(t testing.TB, id object.ID) snapshot.Snapshot {
	t.Helper()
	state, err := b.repo.Refresh(t.Context())
	must(t, err)
	entry, ok := state.Snapshot(id)
	if !ok {
		t.Fatalf("snapshot %s is not in the state", id)
	}
	return snapshot.Snapshot{Snapshot: entry}
}

// backupErrors fails the test with what could not be backed up.
type backupErrors struct{ t testing.TB }

func (backupErrors) File(string, uint64)                      {}
func (backupErrors) Bytes(int)                                {}
func (backupErrors) FileDone(string)                          {}
func (backupErrors) Item(string, backup.Change, bool, uint64) {}
func (b backupErrors) Error(path string, err error)           { b.t.Errorf("backup of %q: %v", path, err) }
func (b backupErrors) Restart(err error)                      { b.t.Errorf("backup starts again: %v", err) }

// restore restores and wants nothing to be reported.
func (b *bed) restore(t testing.TB, from snapshot.Snapshot, options Options) (Result, *record) {
	t.Helper()
	rec := &record{}
	result, err := Run(t.Context(), b.repo, b.keys, from, options, rec)
	must(t, err)
	if len(rec.errors) > 0 || result.Errors > 0 {
		t.Fatalf("restore: %d errors: %q", result.Errors, rec.errors)
	}
	if len(rec.warnings) > 0 || result.Warnings > 0 {
		t.Fatalf("restore: %d warnings: %q", result.Warnings, rec.warnings)
	}
	return result, rec
}

// A record is a Progress that remembers.
type record struct {
	mu       sync.Mutex
	entries  int
	total    uint64
	bytes    uint64
	items    map[string]Action
	errors   []string
	warnings []string
	onTotal  func() // called under mu
	onBytes  func() // likewise
}

func (r *record) Total(entries int, bytes uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.entries, r.total = r.entries+entries, r.total+bytes
	if r.onTotal != nil {
		r.onTotal()
	}
}

func (r *record) Bytes(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.bytes += uint64(n)
	if r.onBytes != nil {
		r.onBytes()
	}
}

func (r *record) Item(path string, action Action, _ bool, _ uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.items == nil {
		r.items = map[string]Action{}
	}
	r.items[path] = action
}

func (r *record) Warning(path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.warnings = append(r.warnings, path+": "+err.Error())
}

func (r *record) Error(path string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, path+": "+err.Error())
}

// paths returns the sorted paths that messages begin with.
func paths(messages []string) []string {
	var list []string
	for _, m := range messages {
		path, _, _ := strings.Cut(m, ": ")
		list = append(list, path)
	}
	slices.Sort(list)
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func writeFile(t testing.TB, path string, data []byte) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, data, 0o644))
	return path
}

func wantFile(t testing.TB, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
		return
	}
	if string(got) != string(want) {
		t.Errorf("%s has %d bytes that are not the %d wanted: %.40q", path, len(got), len(want), got)
	}
}

func wantAbsent(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("%s: %v, want that it is absent", path, err)
	}
}

// A forge makes snapshots that no backup would make.
type forge struct {
	t       testing.TB
	bed     *bed
	session *repo.Session
	sealer  *seal.Sealer
	params  tree.Params
	inodes  map[uint64]*tree.Inode
}

func (b *bed) forge(t testing.TB) *forge {
	t.Helper()
	session, err := b.repo.Begin(t.Context(), b.keys.Writer())
	must(t, err)
	f := &forge{
		t: t, bed: b, session: session,
		sealer: b.keys.NewSealer(session.ID(), seal.SealerOptions{}),
		params: tree.Params(b.repo.Config().Tree),
		inodes: map[uint64]*tree.Inode{},
	}
	return f
}

// Put stores an object; forge is a tree.Sink.
func (f *forge) put(kind object.Kind, refs []object.ID, payload []byte) object.ID {
	f.t.Helper()
	id := f.bed.keys.ID(kind, refs, payload)
	if !f.session.Claim(id) {
		return id
	}
	sealed, err := f.sealer.Seal(id, kind, refs, payload)
	must(f.t, err)
	must(f.t, f.session.Add(sealed, f.bed.keys.NewSession(f.session.ID(), kind.Class())))
	return id
}

// dir adds a directory with the given entries, which may be no good.
func (f *forge) dir(number uint64, entries ...tree.Entry) {
	f.t.Helper()
	slices.SortFunc(entries, func(a, b tree.Entry) int { return strings.Compare(a.Name, b.Name) })
	payload := rawDir(entries)
	in := &tree.Inode{Number: number, Type: tree.TypeDir, Mode: 0o755, Root: f.put(object.KindDir, nil, payload)}
	if number == tree.RootNumber {
		in.Marks = tree.MarkWaypoint
	}
	f.inodes[number] = in
}

// rawDir encodes a directory without looking at its names.
func rawDir(entries []tree.Entry) []byte {
	if len(entries) == 0 {
		return []byte{0xa0}
	}
	type entry struct {
		_      struct{} `cbor:",toarray"`
		Name   []byte
		Number uint64
		Type   uint8
	}
	var list []entry
	for _, e := range entries {
		list = append(list, entry{Name: []byte(e.Name), Number: e.Number, Type: uint8(e.Type)})
	}
	payload, err := object.EncodeCBOR(struct {
		Entries []entry `cbor:"1,keyasint"`
	}{list})
	if err != nil {
		panic(fmt.Sprint("encode a directory: ", err))
	}
	return payload
}

// file adds a file.
func (f *forge) file(number uint64, data string) {
	f.t.Helper()
	in := &tree.Inode{Number: number, Type: tree.TypeFile, Mode: 0o644, Links: 1, Size: uint64(len(data))}
	if data != "" {
		in.Extents = []tree.Extent{{Block: f.put(object.KindBlock, nil, []byte(data)), Length: uint64(len(data))}}
	}
	f.inodes[number] = in
}

func (f *forge) symlink(number uint64, target string) {
	f.inodes[number] = &tree.Inode{Number: number, Type: tree.TypeSymlink, Mode: 0o777, Links: 1, Target: target}
}

type forgeSink struct{ *forge }

func (f forgeSink) Put(_ context.Context, kind object.Kind, refs []object.ID, payload []byte) (object.ID, error) {
	return f.put(kind, refs, payload), nil
}

// commit makes a snapshot of what was added.
func (f *forge) commit() snapshot.Snapshot {
	f.t.Helper()
	var numbers []uint64
	for n := range f.inodes {
		numbers = append(numbers, n)
	}
	slices.Sort(numbers)
	b := tree.NewMapBuilder(forgeSink{f}, f.bed.keys, f.params)
	for _, n := range numbers {
		must(f.t, b.Add(f.t.Context(), f.inodes[n]))
	}
	root, err := b.Finish(f.t.Context())
	must(f.t, err)
	now := object.TimeOf(time.Now())
	record := tree.Snapshot{
		Root: root, Session: f.session.ID(), Time: now, Host: "forge", Paths: []string{"/forge"}, Next: 1 << 40,
		Counts: tree.Counts{BackupStart: now, BackupEnd: now},
	}
	refs, payload, err := tree.EncodeSnapshot(&record)
	must(f.t, err)
	id := f.put(object.KindSnapshot, refs, payload)
	summary, err := snapshot.Seal(f.bed.keys, f.session.ID(), id, record)
	must(f.t, err)
	_, err = f.session.Commit(f.t.Context(), repo.AddSnapshot{ID: id, Root: root, Time: now, Summary: summary})
	must(f.t, err)
	must(f.t, f.session.Close())
	return f.bed.snapshot(f.t, id)
}
