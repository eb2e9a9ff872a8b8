// Package prunetest makes repositories that have been backed up to, forgotten
// from and cleaned, by hand and at random: sessions of package repo with objects
// that nobody opens, and cleans whose tables come from maps. It knows nothing of
// package prune, which is tested with it.
package prunetest

import (
	"bytes"
	"crypto/ed25519"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/store"
)

// A World is such a repository.
type World struct {
	T       testing.TB
	Store   *store.Store
	Repo    *repo.Repo
	Writer  ed25519.PrivateKey
	Admin   ed25519.PrivateKey
	Cleaner ed25519.PrivateKey
	Rand    *rand.Rand
	// Cleaning is what [World.Step] does to clean; nil is Clean.
	Cleaning func()

	blocks, leaves, maps []object.ID // that were stored at some time
	refs                 map[object.ID][]object.ID
	running              []*repo.Session // with something registered, and no end
	snapshots            int
}

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Config returns parameters that make small segments.
func Config(id object.RepositoryID) repo.Config {
	c := repo.DefaultConfig(id, testTime)
	c.Segment = repo.SegmentConfig{DataTarget: 65536, MetaTarget: 65536}
	return c
}

// New makes an empty repository in memory.
func New(t testing.TB, seed uint64) *World {
	t.Helper()
	key := func(b byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{b}, ed25519.SeedSize))
	}
	public := func(k ed25519.PrivateKey) repo.PublicKey { return repo.PublicKey(k.Public().(ed25519.PublicKey)) }
	w := &World{Store: store.NewMemory(), Writer: key(2), Admin: key(1), Cleaner: key(3)}
	t.Cleanup(func() { w.Store.Close() })
	creation, err := repo.Prepare(t.Context(), w.Store, Config(object.RepositoryID{0xab}))
	if err == nil {
		err = creation.Genesis(rand.NewChaCha8([32]byte{1}), w.Admin, public(w.Writer), public(w.Cleaner))
	}
	if err == nil {
		err = creation.Commit(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return w.Begin(t, seed)
}

// Begin makes w ready, whose store and keys are set and of a repository that is
// there. A seed gives the same repository but for the order of uploads.
func (w *World) Begin(t testing.TB, seed uint64) *World {
	t.Helper()
	w.T, w.Rand, w.refs = t, rand.New(rand.NewPCG(seed, 7)), map[object.ID][]object.ID{}
	r, err := repo.Open(t.Context(), w.Store, repo.Options{Rand: &lockedRand{r: rand.NewChaCha8([32]byte{byte(seed), 2})}})
	if err != nil {
		t.Fatal(err)
	}
	w.Repo = r
	return w
}

type lockedRand struct {
	mu sync.Mutex
	r  io.Reader
}

func (l *lockedRand) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(b)
}

// State returns the newest state.
func (w *World) State() *repo.State {
	w.T.Helper()
	s, err := w.Repo.Refresh(w.T.Context())
	w.must(err)
	return s
}

func (w *World) must(err error) {
	w.T.Helper()
	if err != nil {
		w.T.Fatal(err)
	}
}

// Step does something at random: mostly a backup, often one that is interrupted,
// a forget, or a clean.
func (w *World) Step() {
	w.T.Helper()
	switch w.Rand.IntN(10) {
	case 0, 1, 2:
		w.Backup()
	case 3:
		w.Race()
	case 4:
		w.Interrupt()
	case 5:
		w.EndOne()
	case 6, 7:
		w.Forget()
	default:
		if w.Cleaning != nil {
			w.Cleaning()
		} else {
			w.Clean()
		}
	}
}

func (w *World) id() (id object.ID) {
	for i := range id {
		id[i] = byte(w.Rand.Uint32())
	}
	return id
}

func (w *World) session() *repo.Session {
	w.T.Helper()
	s, err := w.Repo.Begin(w.T.Context(), w.Writer)
	w.must(err)
	w.T.Cleanup(func() { s.Close() })
	return s
}

// put stores an object in s unless it is visible there.
func (w *World) put(s *repo.Session, id object.ID, kind object.Kind, refs []object.ID) {
	w.T.Helper()
	if !s.Claim(id) {
		return
	}
	w.refs[id] = refs
	data := make([]byte, pack.MinSealed+w.Rand.IntN(6000))
	row := object.Session{ID: s.ID(), Class: kind.Class(), Type: object.SessionDerived}
	w.must(s.Add(object.Sealed{ID: id, Kind: kind, Session: s.ID(), Refs: refs, Bytes: data}, row))
}

// some returns up to n ids of list, distinct, that s can rely on.
func (w *World) some(s *repo.Session, list []object.ID, n int) (out []object.ID) {
	if len(list) == 0 {
		return nil
	}
	seen := map[object.ID]bool{}
	for range w.Rand.IntN(n + 1) {
		if id := list[w.Rand.IntN(len(list))]; !seen[id] && s.Has(id) {
			seen[id] = true
			out = append(out, id)
		}
	}
	return out
}

// A tree is what one backup stores: levels of objects, the last its snapshot.
type tree struct {
	ids  []object.ID
	kind map[object.ID]object.Kind
	refs map[object.ID][]object.ID
}

func (t *tree) add(id object.ID, kind object.Kind, refs ...object.ID) object.ID {
	t.ids = append(t.ids, id)
	t.kind[id], t.refs[id] = kind, refs
	return id
}

// grow makes a tree that shares objects with what s sees: blocks, leaves that
// refer to them, and one or two levels of map above.
func (w *World) grow(s *repo.Session) *tree {
	t := &tree{kind: map[object.ID]object.Kind{}, refs: map[object.ID][]object.ID{}}
	var blocks, leaves []object.ID
	for range 1 + w.Rand.IntN(20) {
		blocks = append(blocks, t.add(w.id(), object.KindBlock))
	}
	for range 1 + w.Rand.IntN(8) {
		refs := w.some(s, w.blocks, 5)
		for _, b := range blocks {
			if w.Rand.IntN(3) == 0 {
				refs = append(refs, b)
			}
		}
		leaves = append(leaves, t.add(w.id(), object.KindInodes, refs...))
	}
	below := append(w.some(s, w.leaves, 4), leaves...)
	if w.Rand.IntN(2) == 0 {
		lower := t.add(w.id(), object.KindImap, below...)
		below = append(w.some(s, w.maps, 2), lower)
	}
	root := t.add(w.id(), object.KindImap, below...)
	t.add(w.id(), object.KindSnapshot, root)
	w.blocks, w.leaves, w.maps = append(w.blocks, blocks...), append(w.leaves, leaves...), append(w.maps, root)
	return t
}

// store puts the first n objects of t into s.
func (w *World) store(s *repo.Session, t *tree, n int) {
	w.T.Helper()
	for _, id := range t.ids[:n] {
		w.put(s, id, t.kind[id], t.refs[id])
	}
}

func (w *World) commit(s *repo.Session, t *tree) {
	w.T.Helper()
	n := len(t.ids)
	w.snapshots++
	_, err := s.Commit(w.T.Context(), repo.AddSnapshot{
		ID: t.ids[n-1], Root: t.ids[n-2], Time: object.TimeOf(testTime.Add(time.Duration(w.snapshots) * time.Hour)), Series: repo.Series{1},
	})
	w.must(err)
	w.must(s.Close())
}

// Backup makes a snapshot, in one run or two.
func (w *World) Backup() {
	w.T.Helper()
	s := w.session()
	t := w.grow(s)
	if w.Rand.IntN(3) == 0 {
		w.store(s, t, len(t.ids)/2)
		w.must(s.AddRun(w.T.Context()))
	}
	w.store(s, t, len(t.ids))
	w.commit(s, t)
}

// Race makes two backups at the same time, which store the same but for their
// snapshots: there are two copies of all else then.
func (w *World) Race() {
	w.T.Helper()
	a, b := w.session(), w.session()
	t := w.grow(a)
	n := len(t.ids)
	w.store(a, t, n)
	w.store(b, t, n-1)
	other := &tree{ids: append(append([]object.ID{}, t.ids[:n-1]...), w.id()), kind: t.kind, refs: t.refs}
	other.kind[other.ids[n-1]], other.refs[other.ids[n-1]] = object.KindSnapshot, []object.ID{t.ids[n-2]}
	w.store(b, other, n)
	w.commit(a, t)
	w.commit(b, other)
}

// Interrupt registers a part of a backup, whose session goes on.
func (w *World) Interrupt() {
	w.T.Helper()
	s := w.session()
	t := w.grow(s)
	w.store(s, t, 1+w.Rand.IntN(len(t.ids)-1))
	w.must(s.AddRun(w.T.Context()))
	w.must(s.Close())
	w.running = append(w.running, s)
}

// EndOne ends an unfinished session, if there is one.
func (w *World) EndOne() {
	w.T.Helper()
	ids := w.State().Unfinished()
	if len(ids) == 0 {
		return
	}
	op, err := repo.NewOp(repo.OpSessionEnd, &repo.SessionEnd{Session: ids[w.Rand.IntN(len(ids))]})
	w.must(err)
	w.append(w.Admin, op)
}

func (w *World) append(author ed25519.PrivateKey, ops ...repo.Op) *repo.State {
	w.T.Helper()
	s, err := w.Repo.Append(w.T.Context(), w.State(), author, ops)
	w.must(err)
	return s
}

// Forget forgets a snapshot, if there is one.
func (w *World) Forget() {
	w.T.Helper()
	s := w.State()
	if len(s.Snapshots) == 0 {
		return
	}
	_, err := w.Repo.Forget(w.T.Context(), w.Admin, []object.ID{s.Snapshots[w.Rand.IntN(len(s.Snapshots))].ID}, nil)
	w.must(err)
}
