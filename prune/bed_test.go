package prune

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/store"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

var admin, writerKey, cleaner = testKey(1), testKey(2), testKey(3)

func pub(k ed25519.PrivateKey) repo.PublicKey { return repo.PublicKey(k.Public().(ed25519.PublicKey)) }

// A bed is a repository in memory of objects whose bytes are arbitrary: nothing
// here opens them.
type bed struct {
	testing.TB
	store *store.Store
	rand  *rand.Rand
	next  uint64
	size  func(seed uint64, kind object.Kind) int // of an object

	client *repo.Repo // which open returns again; nil for a new one each time
}

func newBed(t testing.TB, seed uint64) *bed {
	t.Helper()
	return newBedIn(t, store.NewMemory(), seed, 65536)
}

// newBedIn makes a bed in an empty store, which it closes, whose segments are of
// target bytes.
func newBedIn(t testing.TB, st *store.Store, seed uint64, target int) *bed {
	t.Helper()
	b := &bed{TB: t, store: st, rand: rand.New(rand.NewPCG(seed, 1)), size: smallObjects}
	t.Cleanup(func() { b.store.Close() })
	config := repo.DefaultConfig(object.RepositoryID{0xab}, testTime)
	config.Segment = repo.SegmentConfig{DataTarget: target, MetaTarget: target}
	creation, err := repo.Prepare(t.Context(), b.store, config)
	if err == nil {
		err = creation.Genesis(rand.NewChaCha8([32]byte{1}), admin, pub(writerKey), pub(cleaner))
	}
	if err == nil {
		err = creation.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bed) open() *repo.Repo {
	b.Helper()
	r, err := b.client, error(nil)
	if r == nil {
		r, err = repo.Open(b.Context(), b.store, repo.Options{})
	}
	if err == nil {
		_, err = r.Refresh(b.Context())
	}
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// begin starts a session of a new client.
func (b *bed) begin() *repo.Session {
	b.Helper()
	s, err := b.open().Begin(b.Context(), writerKey)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

// add adds an object of that seed and returns its id.
func (b *bed) add(s *repo.Session, seed uint64, kind object.Kind, refs ...object.ID) object.ID {
	b.Helper()
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	key[8] = byte(kind)
	random := rand.NewChaCha8(key)
	var id object.ID
	random.Read(id[:])
	if !s.Claim(id) {
		return id
	}
	data := make([]byte, b.size(seed, kind))
	random.Read(data)
	row := object.Session{ID: s.ID(), Class: kind.Class(), Type: object.SessionDerived}
	if err := s.Add(object.Sealed{ID: id, Kind: kind, Session: s.ID(), Refs: refs, Bytes: data}, row); err != nil {
		b.Fatal(err)
	}
	return id
}

func smallObjects(seed uint64, _ object.Kind) int { return 100 + int(seed%3000) }

// fresh returns a seed that was not used before.
func (b *bed) fresh() uint64 { b.next++; return b.next }

// A tree is what a snapshot of the test refers to: leaves of blocks.
type tree struct {
	leaves [][]uint64 // seeds of blocks
	seeds  []uint64   // of the leaves
}

func (b *bed) newTree(leaves, blocks int) *tree {
	t := &tree{}
	for range leaves {
		t.leaves = append(t.leaves, nil)
		t.seeds = append(t.seeds, b.fresh())
		last := len(t.leaves) - 1
		for range blocks {
			t.leaves[last] = append(t.leaves[last], b.fresh())
		}
	}
	return t
}

// change replaces a block in n of the leaves.
func (b *bed) change(t *tree, n int) *tree {
	c := &tree{seeds: append([]uint64(nil), t.seeds...)}
	for _, leaf := range t.leaves {
		c.leaves = append(c.leaves, append([]uint64(nil), leaf...))
	}
	for range n {
		i := b.rand.IntN(len(c.leaves))
		c.leaves[i][b.rand.IntN(len(c.leaves[i]))] = b.fresh()
		c.seeds[i] = b.fresh()
	}
	return c
}

// backUp commits a snapshot of t.
func (b *bed) backUp(t *tree) object.ID {
	b.Helper()
	s := b.begin()
	id := b.store_(s, t)
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return id
}

func (b *bed) store_(s *repo.Session, t *tree) object.ID {
	b.Helper()
	add := b.fill(s, t)
	if _, err := s.Commit(b.Context(), add); err != nil {
		b.Fatal(err)
	}
	return add.ID
}

// fill adds the objects of t.
func (b *bed) fill(s *repo.Session, t *tree) repo.AddSnapshot {
	b.Helper()
	var leaves []object.ID
	for i, leaf := range t.leaves {
		var refs []object.ID
		for _, seed := range leaf {
			refs = append(refs, b.add(s, seed, object.KindBlock))
		}
		leaves = append(leaves, b.add(s, t.seeds[i], object.KindInodes, refs...))
	}
	root := b.add(s, b.fresh(), object.KindImap, b.nodes(s, leaves)...)
	id := b.add(s, b.fresh(), object.KindSnapshot, root)
	return repo.AddSnapshot{ID: id, Root: root, Time: object.TimeOf(testTime), Series: repo.Series{1}}
}

// nodes adds the nodes of a map above many leaves, so that no root refers to
// more than 32.
func (b *bed) nodes(s *repo.Session, below []object.ID) []object.ID {
	for len(below) > 32 {
		var level []object.ID
		for refs := range slices.Chunk(below, 32) {
			h := fnv.New64()
			for _, id := range refs {
				h.Write(id[:])
			}
			level = append(level, b.add(s, h.Sum64(), object.KindImap, refs...))
		}
		below = level
	}
	return below
}

func (b *bed) forget(ids ...object.ID) {
	b.Helper()
	if _, err := b.open().Forget(b.Context(), admin, ids, nil); err != nil {
		b.Fatal(err)
	}
}

var tight = Options{MaxUnused: Limit{}, AllowMassDelete: true, Now: func() time.Time { return time.Now() }}

func (b *bed) prune(options Options) *Result {
	b.Helper()
	r := b.open()
	p, err := NewPlan(b.Context(), r, options, nil)
	if err != nil {
		b.Fatal(err)
	}
	result, err := p.Apply(b.Context(), cleaner, nil)
	if err != nil {
		b.Fatal(err)
	}
	return result
}

// live reads all that the live snapshots lead to, verifies the sums, and
// returns the bytes of the objects, each once.
func (b *bed) live() map[object.ID]int {
	b.Helper()
	r := b.open()
	seen := map[object.ID]int{}
	var walk func(object.ID)
	walk = func(id object.ID) {
		if _, ok := seen[id]; ok {
			return
		}
		o, _, err := r.Sealed(b.Context(), id)
		if err != nil {
			b.Fatalf("object %s: %v", id, err)
		}
		seen[id] = len(o.Bytes)
		for _, ref := range o.Refs {
			walk(ref)
		}
	}
	for id := range r.State().Roots() {
		walk(id)
	}
	return seen
}

// bodies returns the bytes of all objects in segments that are in use.
func (b *bed) bodies() int {
	b.Helper()
	r := b.open()
	view, err := r.Index(b.Context(), r.State())
	if err != nil {
		b.Fatal(err)
	}
	sum := 0
	for s := range view.Segments() {
		sum += int(bodyOf(&s))
	}
	return sum
}

// stored returns the bytes of the files in a folder.
func (b *bed) stored(prefix string) (bytes int64, files int) {
	b.Helper()
	for e, err := range b.store.List(b.Context(), prefix) {
		if err != nil {
			b.Fatal(err)
		}
		bytes += e.Size
		files++
	}
	return bytes, files
}

// newBedOn is another user of the same bucket, with objects of its own but for
// the first few.
func newBedOn(b *bed, seed uint64) *bed {
	return &bed{TB: b.TB, store: b.store, rand: rand.New(rand.NewPCG(seed, 2)), next: seed << 32, size: b.size}
}

// tryBackUp commits a snapshot of t, if nothing that it needs is taken away.
func (b *bed) tryBackUp(t *tree) error {
	s, err := b.open().Begin(b.Context(), writerKey)
	if err != nil {
		return err
	}
	add := b.fill(s, t)
	if b.rand.IntN(2) == 0 {
		err = s.AddRun(b.Context())
		add = b.fill(s, b.change(t, 1))
	}
	if err == nil {
		_, err = s.Commit(b.Context(), add)
	}
	return errors.Join(err, s.Close())
}
