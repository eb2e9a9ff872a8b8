package repair

import (
	"bytes"
	"crypto/ed25519"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/store"
	"bluesky/store/fault"

	"go.uber.org/goleak"
	"gocloud.dev/blob"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var admin, writer, cleaner = testKey(1), testKey(2), testKey(3)

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) repo.PublicKey {
	return repo.PublicKey(k.Public().(ed25519.PublicKey))
}

// openBucket opens b.
func openBucket(t testing.TB, b *fault.Bucket) *store.Store {
	st := store.New(blob.NewBucket(b), "memory")
	t.Cleanup(func() { st.Close() })
	return st
}

// clone returns a bucket with the objects of now and no faults.
func clone(b *fault.Bucket) *fault.Bucket { return fault.Over(b.Objects.Clone()) }

// set changes the bytes of an object that is there, and not its time; nil
// removes it.
func set(t testing.TB, b *fault.Bucket, key string, data []byte) {
	t.Helper()
	if data == nil {
		b.Objects.Remove(key)
		return
	}
	was := timeOf(t, b, key)
	b.Objects.Set(key, data)
	b.Objects.SetTime(key, was)
}

func timeOf(t testing.TB, b *fault.Bucket, key string) time.Time {
	t.Helper()
	a, err := b.Objects.Attributes(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	return a.ModTime
}

// putBack makes an object what it is in whole.
func putBack(t testing.TB, b *fault.Bucket, key string, whole *fault.Bucket) {
	t.Helper()
	b.Objects.Set(key, whole.Objects.Get(key))
	b.Objects.SetTime(key, timeOf(t, whole, key))
}

// A maker makes a repository of arbitrary objects: nothing here opens them.
type maker struct {
	t      testing.TB
	b      *fault.Bucket
	random *rand.Rand
	bytes  *lockedReader
	least  int // bytes of an object
}

// A lockedReader is a source of bytes that goroutines share.
type lockedReader struct {
	mu     sync.Mutex
	source *rand.ChaCha8
}

func (r *lockedReader) Read(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source.Read(p)
}

func newMaker(t testing.TB, seed uint64) *maker {
	t.Helper()
	bytes := &lockedReader{source: rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 9})}
	m := &maker{t, fault.New(), rand.New(rand.NewPCG(seed, 1)), bytes, 40}
	config := repo.DefaultConfig(object.RepositoryID{0xab}, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
	config.Segment = repo.SegmentConfig{DataTarget: 65536, MetaTarget: 65536}
	creation, err := repo.Prepare(t.Context(), openBucket(t, m.b), config)
	if err != nil {
		t.Fatal(err)
	}
	if err := creation.Genesis(m.bytes, admin, public(writer), public(cleaner)); err != nil {
		t.Fatal(err)
	}
	if err := creation.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *maker) begin() *repo.Session {
	m.t.Helper()
	r, err := repo.Open(m.t.Context(), openBucket(m.t, m.b), repo.Options{Rand: m.bytes})
	if err != nil {
		m.t.Fatal(err)
	}
	s, err := r.Begin(m.t.Context(), writer)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { s.Close() })
	return s
}

// add adds n objects of either class, sealed by the given session.
func (m *maker) add(s *repo.Session, sealer object.SessionID, n int) {
	m.t.Helper()
	for range n {
		kind := object.KindBlock
		if m.random.IntN(3) == 0 {
			kind = object.KindDir
		}
		var id object.ID
		m.bytes.Read(id[:])
		data := make([]byte, m.least+m.random.IntN(1<<(6+m.random.IntN(9))))
		m.bytes.Read(data)
		if !s.Claim(id) {
			m.t.Fatal("a random id was there before")
		}
		row := object.Session{ID: sealer, Class: kind.Class(), Type: object.SessionDerived}
		if err := s.Add(object.Sealed{ID: id, Kind: kind, Session: sealer, Bytes: data}, row); err != nil {
			m.t.Fatal(err)
		}
	}
}

// run registers what was added.
func (m *maker) run(s *repo.Session) {
	m.t.Helper()
	if err := s.AddRun(m.t.Context()); err != nil {
		m.t.Fatal(err)
	}
}

// standard makes a repository with runs of several segments: of a session that
// has registered once, of two that have taken turns, of one that has taken over
// what an interrupted one had uploaded, and segments that nobody has registered.
func standard(t testing.TB, seed uint64) *fault.Bucket {
	t.Helper()
	m := newMaker(t, seed)
	some := func() int { return 5 + m.random.IntN(15) }
	a := m.begin()
	m.add(a, a.ID(), some())
	m.run(a)
	b, c := m.begin(), m.begin()
	for range 3 {
		for _, s := range []*repo.Session{b, c} {
			m.add(s, s.ID(), some())
			m.run(s)
		}
	}
	d := m.begin()
	m.add(d, object.SessionID{0xdd}, some()) // the interrupted session's
	m.add(d, d.ID(), some())
	m.run(d)
	m.orphans(b)
	m.orphans(m.begin())
	return m.b
}

// orphans uploads segments that stay unregistered: the generation fails.
func (m *maker) orphans(s *repo.Session) {
	m.t.Helper()
	m.add(s, s.ID(), 8)
	atRun := fault.Strike{K: 1, Way: fault.Way{Kinds: fault.Create, Prefix: "idx/", Effect: fault.Refuse, Dies: true}}
	m.b.Inject(atRun.Plan)
	if err := s.AddRun(m.t.Context()); err == nil {
		m.t.Fatal("registered what was to stay behind")
	}
	m.b.Inject(nil)
	if err := s.Close(); err != nil {
		m.t.Fatal(err)
	}
}

// repairIn repairs the repository in b as a machine that knows nothing of it. A
// repair deletes nothing.
func repairIn(t testing.TB, b *fault.Bucket, options Options) (Report, error) {
	t.Helper()
	return repairWith(t, b, options, repo.Options{})
}

func repairWith(t testing.TB, b *fault.Bucket, options Options, local repo.Options) (Report, error) {
	t.Helper()
	r, err := repo.Open(t.Context(), openBucket(t, b), local)
	if err != nil {
		return Report{}, err
	}
	before, _ := b.Count(fault.Delete, "")
	report, err := Index(t.Context(), r, options, nil)
	if after, _ := b.Count(fault.Delete, ""); after != before {
		t.Errorf("a repair has made %d deletions", after-before)
	}
	return report, err
}

// mustRepair repairs all that is wrong, which must be n runs.
func mustRepair(t testing.TB, b *fault.Bucket, n int, options Options) Report {
	t.Helper()
	r, err := repairIn(t, b, options)
	if err != nil || !r.OK() || len(r.Wrong) != n {
		t.Fatalf("%d runs wrong, %d repaired, want %d: %v\n%s", len(r.Wrong), r.Repaired(), n, err, describe(r))
	}
	return r
}

func describe(r Report) string {
	var text bytes.Buffer
	for _, run := range r.Wrong {
		text.WriteString(run.Name.Key() + ": " + run.Problem.Error() + ", " + string(run.Source))
		if run.Err != nil {
			text.WriteString(": " + run.Err.Error())
		}
		text.WriteString("\n")
	}
	for _, f := range slices.Concat(r.Unreadable, r.Damaged) {
		text.WriteString(f.Name.Key() + ": " + f.Err.Error() + "\n")
	}
	return text.String()
}

// same fails the test unless both hold the same objects.
func same(t testing.TB, got, want *fault.Bucket) {
	t.Helper()
	if g, w := got.Objects.Keys(""), want.Objects.Keys(""); !slices.Equal(g, w) {
		t.Errorf("the bucket has %d objects, want %d", len(g), len(w))
	}
	for key, data := range want.Objects.All() {
		if !bytes.Equal(got.Objects.Get(key), data) {
			t.Errorf("%s is not as it was", key)
		}
	}
}
