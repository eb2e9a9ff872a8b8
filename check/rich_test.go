package check

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"

	"golang.org/x/sys/unix"
)

// A rich is a repository of some 40 kB that has all that a repository of
// version 1 can have: three snapshots, all types of inodes that matter here, each kind
// of object, several segments of both classes, several runs, an unfinished
// session, two checkpoints, and two key slots.
type rich struct {
	*fixture
	// want is what the restore of each snapshot must give.
	want map[object.ID]image
	// history is the bucket after each generation that steps made.
	history []map[string][]byte
	scratch string            // a folder to restore into
	since   map[object.ID]int // generations that added the snapshots of want
}

// richSeeds decide what a rich is made of. Those with the same names use the
// same keys of the bucket, whatever stands there.
type richSeeds struct{ names, secret, content byte }

var richConfig = func(id object.RepositoryID) repo.Config {
	c := smallConfig(id)
	c.Chunker = repo.ChunkerConfig{ID: 1, Min: 64, Bits: 8, Max: 512}
	c.Tree.XattrInline = 16
	return c
}

func makeRich(t testing.TB, seeds richSeeds) *rich {
	t.Helper()
	f := &rich{fixture: newEmpty(t), want: map[object.ID]image{}, since: map[object.ID]int{}, scratch: t.TempDir()}
	defer f.bucket.Close()
	f.config, f.passwords = richConfig, []string{"secret", "another"}
	f.random = &lockedReader{Reader: rand.NewChaCha8([32]byte{seeds.names, 1})}
	content := rand.NewChaCha8([32]byte{seeds.content, 2})
	f.create(t, rand.NewChaCha8([32]byte{seeds.secret, 3}))
	f.tree = filepath.Join(f.tree, "tree")
	f.first(t, content)
	for _, step := range []func(){
		func() { f.snapshot(t) },
		func() { f.checkpoint(t) },
		func() { f.write(t, "new", randomBytes(content, 300)); f.snapshot(t) },
		func() { f.unfinished(t, content) },
		func() { f.checkpoint(t) },
		func() { f.change(t, content); f.snapshot(t) },
	} {
		step()
		f.history = append(f.history, f.dump(t))
	}
	f.files = f.history[len(f.history)-1]
	return f
}

// first makes the tree of the first snapshot.
func (f *rich) first(t testing.TB, random io.Reader) {
	for i := range 8 { // more than a directory object holds
		f.write(t, fmt.Sprintf("many/%d", i), randomBytes(random, 40+i))
	}
	f.write(t, "large", randomBytes(random, 3000)) // has a list, and one of lists
	f.write(t, "deep/er/one", randomBytes(random, 500))
	f.write(t, "empty", []byte{})
	f.write(t, "holes", randomBytes(random, 100))
	f.write(t, "attributes", randomBytes(random, 50))
	for _, err := range []error{
		os.Truncate(filepath.Join(f.tree, "holes"), 20_000),
		os.Symlink("large", filepath.Join(f.tree, "link")),
		os.Link(filepath.Join(f.tree, "deep/er/one"), filepath.Join(f.tree, "hard")),
		os.Mkdir(filepath.Join(f.tree, "nothing"), 0o700),
		unix.Mkfifo(filepath.Join(f.tree, "fifo"), 0o600),
		unix.Setxattr(filepath.Join(f.tree, "attributes"), "user.long", randomBytes(random, 60), 0),
		unix.Setxattr(filepath.Join(f.tree, "attributes"), "user.short", randomBytes(random, 6), 0),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// change makes the tree of the last snapshot.
func (f *rich) change(t testing.TB, random io.Reader) {
	f.write(t, "many/5", randomBytes(random, 90))
	f.write(t, "deep/two", randomBytes(random, 200))
	if err := os.Remove(filepath.Join(f.tree, "many/3")); err != nil {
		t.Fatal(err)
	}
}

func (f *rich) snapshot(t testing.TB) {
	t.Helper()
	id := f.backup(t)
	f.want[id], f.since[id] = scan(t, f.tree, f.tree), len(f.history)+1
}

// unfinished registers objects of a session that never comes to its end.
func (f *rich) unfinished(t testing.TB, random io.Reader) {
	t.Helper()
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Begin(t.Context(), f.keys.Writer())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sealer := f.keys.NewSealer(s.ID(), seal.SealerOptions{})
	put := func(kind object.Kind, refs []object.ID, payload []byte) object.ID {
		id := f.keys.ID(kind, refs, payload)
		sealed, err := sealer.Seal(id, kind, refs, payload)
		if err == nil {
			s.Claim(id)
			err = s.Add(sealed, f.keys.NewSession(s.ID(), kind.Class()))
		}
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	put(object.KindBlock, nil, randomBytes(random, 70))
	put(object.KindDir, nil, []byte{0xa0}) // a second copy of one that is there
	put(object.KindDir, nil, []byte{0xa0, 0})
	if err := s.AddRun(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// checkpoint adds a generation that records a checkpoint of the one before, as
// a writer does every 64 generations.
func (f *rich) checkpoint(t testing.TB) {
	t.Helper()
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	data, err := repo.EncodeState(state)
	if err != nil {
		t.Fatal(err)
	}
	ref := repo.CheckpointRef{Number: state.Generation, Hash: object.HashBytes("checkpoint", data)}
	g := repo.Generation{
		Version: 1, Number: state.Generation + 1, Previous: state.Hash,
		Author: state.Admin, Checkpoint: &ref, Floor: state.Floor,
	}
	io.ReadFull(f.random, ref.Name[:])
	io.ReadFull(f.random, g.Nonce[:])
	body := mustEncode(t, &ref)
	g.Ops = []repo.Op{{Type: repo.OpCheckpoint, Version: 1, Body: body}}
	f.sign(t, &g, f.keys.Admin())
	for key, data := range map[string][]byte{ref.Name.Key(): data, repo.GenerationKey(g.Number): mustEncode(t, &g)} {
		if err := f.bucket.PutNew(t.Context(), key, data); err != nil {
			t.Fatal(err)
		}
	}
}

// fork returns the repository as it would be had it gone on differently from
// the given step of its history.
func (f *rich) fork(t testing.TB, step int) *rich {
	t.Helper()
	c := &rich{fixture: f.fixture.copy(), want: maps.Clone(f.want), since: f.since, scratch: f.scratch}
	c.files, c.bucket = map[string][]byte{}, store.NewMemory()
	defer c.bucket.Close()
	for key, data := range f.history[step] {
		if err := c.bucket.PutNew(t.Context(), key, data); err != nil {
			t.Fatal(err)
		}
	}
	for i := range len(f.history) - step {
		c.write(t, fmt.Sprintf("fork%d", i), randomBytes(c.random, 100))
		c.snapshot(t)
	}
	c.files = c.dump(t)
	return c
}

// needed returns the objects that some snapshot reaches and of which there is
// one copy, by the headers.
func (f *rich) needed() map[object.ID]bool {
	refs, copies := map[object.ID][]object.ID{}, map[object.ID]int{}
	for _, key := range f.names("seg/") {
		h := headOf(f.files[key])
		for i := range h.Objects {
			copies[h.Objects[i].ID]++
			for _, r := range h.Ordinals(i) {
				refs[h.Objects[i].ID] = append(refs[h.Objects[i].ID], h.RefID(r))
			}
		}
	}
	seen := map[object.ID]bool{}
	next := slices.Collect(maps.Keys(f.want))
	for len(next) > 0 {
		id := next[len(next)-1]
		next = next[:len(next)-1]
		if !seen[id] {
			seen[id] = true
			next = append(next, refs[id]...)
		}
	}
	maps.DeleteFunc(seen, func(id object.ID, _ bool) bool { return copies[id] > 1 })
	return seen
}

// A lockedReader may be read concurrently.
type lockedReader struct {
	mu sync.Mutex
	io.Reader
}

func (r *lockedReader) Read(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Reader.Read(b)
}
