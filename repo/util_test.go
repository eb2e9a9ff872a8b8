package repo

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"math/rand/v2"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/store"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// testKey returns the key of a fixed seed.
func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

var admin, writer, cleaner, stranger = testKey(1), testKey(2), testKey(3), testKey(4)

func pub(k ed25519.PrivateKey) PublicKey { return PublicKey(k.Public().(ed25519.PublicKey)) }

// fixed is a random source that always gives the same.
func fixed(seed byte) *rand.ChaCha8 { return rand.NewChaCha8([32]byte{seed}) }

func testConfig() Config {
	c := DefaultConfig(object.RepositoryID{0xab}, testTime)
	c.Segment = SegmentConfig{DataTarget: 65536, MetaTarget: 65536}
	return c
}

// create makes a repository.
func create(t testing.TB, st *store.Store) {
	t.Helper()
	creation, err := Prepare(t.Context(), st, testConfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := creation.Genesis(fixed(1), admin, pub(writer), pub(cleaner)); err != nil {
		t.Fatal(err)
	}
	if err := creation.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, st *store.Store, o Options) *Repo {
	t.Helper()
	r, err := Open(t.Context(), st, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func refresh(t testing.TB, r *Repo) *State {
	t.Helper()
	s, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newRepo makes a repository in a faulty bucket and opens it.
func newRepo(t testing.TB) (*Repo, *faulty) {
	t.Helper()
	f := newFaulty()
	st := f.open(t)
	create(t, st)
	return open(t, st, Options{}), f
}

// sealed returns an object of arbitrary bytes: nothing here opens it.
func sealed(s *Session, seed uint64, kind object.Kind, refs ...object.ID) (object.Sealed, object.Session) {
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24), byte(kind)})
	var id object.ID
	random.Read(id[:])
	data := make([]byte, 200)
	random.Read(data)
	row := object.Session{ID: s.ID(), Class: kind.Class(), Type: object.SessionDerived}
	return object.Sealed{ID: id, Kind: kind, Session: s.ID(), Refs: refs, Bytes: data}, row
}

// put claims and adds an object and returns its id.
func put(t testing.TB, s *Session, seed uint64, kind object.Kind, refs ...object.ID) object.ID {
	t.Helper()
	o, row := sealed(s, seed, kind, refs...)
	if s.Claim(o.ID) {
		if err := s.Add(o, row); err != nil {
			t.Fatal(err)
		}
	}
	return o.ID
}

// putTree adds a block, a leaf and a snapshot object and returns the entry.
func putTree(t testing.TB, s *Session, seed uint64) AddSnapshot {
	t.Helper()
	block := put(t, s, seed, object.KindBlock)
	root := put(t, s, seed, object.KindInodes, block)
	id := put(t, s, seed, object.KindSnapshot, root)
	return AddSnapshot{ID: id, Root: root, Time: object.TimeOf(testTime), Series: Series{byte(seed)}}
}

func begin(t testing.TB, r *Repo) *Session {
	t.Helper()
	s, err := r.Begin(t.Context(), writer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// backUp commits one snapshot.
func backUp(t testing.TB, r *Repo, seed uint64) *State {
	t.Helper()
	s := begin(t, r)
	after, err := s.Commit(t.Context(), putTree(t, s, seed))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return after
}

// audit reads the whole log and fails the test if anything is wrong with it.
func audit(t testing.TB, st *store.Store) *State {
	t.Helper()
	a, err := open(t, st, Options{}).Audit(t.Context(), func(f Finding) { t.Errorf("%s: %v", f.Key, f.Err) })
	if err != nil {
		t.Fatal(err)
	}
	return a.State
}

// log makes generations by hand, whatever they say.
type log struct {
	t     testing.TB
	state *State
}

func newLog(t testing.TB) *log {
	t.Helper()
	config, err := EncodeConfig(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	c := &Creation{Config: testConfig(), raw: config}
	if err := c.Genesis(fixed(1), admin, pub(writer), pub(cleaner)); err != nil {
		t.Fatal(err)
	}
	s, err := genesis(testConfig(), config, c.first)
	if err != nil {
		t.Fatal(err)
	}
	return &log{t, s}
}

// encode returns the generation after the state of l, changed by edit.
func (l *log) encode(author ed25519.PrivateKey, edit func(*Generation), ops ...Op) []byte {
	l.t.Helper()
	g := Generation{
		Number: l.state.Generation + 1, Previous: l.state.Hash, Nonce: [16]byte{7},
		Checkpoint: l.state.Checkpoint, Floor: l.state.Floor, Ops: ops,
	}
	if edit != nil {
		edit(&g)
	}
	data, err := encodeGeneration(&g, l.state.Repository, author)
	if err != nil {
		l.t.Fatal(err)
	}
	return data
}

// add folds a generation, which must be valid, and returns its void ops.
func (l *log) add(author ed25519.PrivateKey, ops ...Op) []Op {
	l.t.Helper()
	after, void, err := l.state.foldNext(l.encode(author, nil, ops...))
	if err != nil {
		l.t.Fatal(err)
	}
	l.state = after
	return void
}

// statement makes an op of the repository of l.
func statement(t testing.TB, signer ed25519.PrivateKey, session byte, sequence uint64, typ OpType, body any) Op {
	t.Helper()
	op, err := newStatement(signer, object.RepositoryID{0xab}, object.SessionID{session}, sequence, typ, body)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func plainOp(t testing.TB, typ OpType, body any) Op {
	t.Helper()
	data, err := object.EncodeCBOR(body)
	if err != nil {
		t.Fatal(err)
	}
	return Op{typ, opVersion, data}
}

func encodeState(t testing.TB, s *State) []byte {
	t.Helper()
	data, err := EncodeState(s)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

var background = context.Background()
