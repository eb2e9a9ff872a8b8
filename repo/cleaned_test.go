package repo_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/prune"
	"bluesky/repo"
	"bluesky/store"
	"bluesky/store/fault"

	"gocloud.dev/blob"
)

// What sessions do when a cleaner has taken something from them (R3), with the
// cleaner itself: it forgets and deletes all that it may, at once.

func keyOf(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

var admin, writer, cleaner = keyOf(1), keyOf(2), keyOf(3)

func public(k ed25519.PrivateKey) repo.PublicKey {
	return repo.PublicKey(k.Public().(ed25519.PublicKey))
}

// A bed is a repository in memory of objects whose bytes are arbitrary.
type bed struct {
	*testing.T
	bucket *fault.Bucket
	state  string // folder of the machine
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := &bed{t, fault.New(), t.TempDir()}
	config := repo.DefaultConfig(object.RepositoryID{0xab}, time.Unix(1e9, 0))
	config.Segment = repo.SegmentConfig{DataTarget: 65536, MetaTarget: 65536}
	creation, err := repo.Prepare(t.Context(), b.store(), config)
	if err == nil {
		err = creation.Genesis(rand.NewChaCha8([32]byte{1}), admin, public(writer), public(cleaner))
	}
	if err == nil {
		err = creation.Commit(t.Context())
	}
	b.must(err)
	return b
}

func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bed) store() *store.Store {
	st := store.NewImpatient(blob.NewBucket(b.bucket), "memory")
	b.Cleanup(func() { st.Close() })
	return st
}

// open opens the repository on a machine of that state folder.
func (b *bed) open(state string) *repo.Repo {
	b.Helper()
	r, err := repo.Open(b.Context(), b.store(), repo.Options{StateDir: state})
	b.must(err)
	return r
}

func (b *bed) begin() *repo.Session {
	b.Helper()
	s, err := b.open(b.state).Begin(b.Context(), writer)
	b.must(err)
	b.Cleanup(func() { s.Close() })
	return s
}

// put adds the object of that seed unless it is there, and returns its id.
func (b *bed) put(s *repo.Session, seed uint32, kind object.Kind, refs ...object.ID) object.ID {
	b.Helper()
	var key [32]byte
	binary.LittleEndian.PutUint32(key[:], seed)
	key[4] = byte(kind)
	random := rand.NewChaCha8(key)
	var id object.ID
	random.Read(id[:])
	if !s.Claim(id) {
		return id
	}
	data := make([]byte, 500)
	random.Read(data)
	row := object.Session{ID: s.ID(), Class: kind.Class(), Type: object.SessionDerived}
	b.must(s.Add(object.Sealed{ID: id, Kind: kind, Session: s.ID(), Refs: refs, Bytes: data}, row))
	return id
}

// tree adds what a snapshot of that seed leads to: two blocks, deep below. Where the
// root is there, nobody looks at what is below it.
func (b *bed) tree(s *repo.Session, seed uint32) (root object.ID) {
	b.Helper()
	root = b.put(s, seed, object.KindInodes, b.put(s, seed, object.KindBlock), b.put(s, seed+1, object.KindBlock))
	for level := range uint32(8) {
		root = b.put(s, 100_000*(level+1)+seed, object.KindImap, root)
	}
	return root
}

// register makes that many generations, each with an object that nobody needs.
func (b *bed) register(s *repo.Session, times uint32) {
	b.Helper()
	for i := range times {
		b.put(s, 3000+i, object.KindBlock)
		b.must(s.AddRun(b.Context()))
	}
}

// snapshotOf adds a snapshot object.
func (b *bed) snapshotOf(s *repo.Session, root object.ID) repo.AddSnapshot {
	b.Helper()
	seed := binary.LittleEndian.Uint32(sessionBytes(s))
	return repo.AddSnapshot{ID: b.put(s, seed, object.KindSnapshot, root), Root: root, Time: object.Time{Sec: 1e9}}
}

// backUp commits the trees of seeds, below one root.
func (b *bed) backUp(seeds ...uint32) object.ID {
	b.Helper()
	s := b.begin()
	var roots []object.ID
	for _, seed := range seeds {
		roots = append(roots, b.tree(s, seed))
	}
	add := b.snapshotOf(s, b.put(s, 1000+seeds[0], object.KindImap, roots...))
	_, err := s.Commit(b.Context(), add)
	b.must(err)
	b.must(s.Close())
	return add.ID
}

// clean forgets snapshots and prunes; with a grace what is condemned stays.
func (b *bed) clean(grace time.Duration, forget ...object.ID) {
	b.Helper()
	r := b.open("")
	if len(forget) > 0 {
		_, err := r.Forget(b.Context(), admin, forget, nil)
		b.must(err)
	}
	p, err := prune.NewPlan(b.Context(), r, prune.Options{Instant: true, AllowMassDelete: true, Grace: grace}, nil)
	b.must(err)
	_, err = p.Apply(b.Context(), cleaner, nil)
	b.must(err)
}

// condemn commits a clean that condemns the files in a folder and nothing else,
// deletes them, and records that or not.
func (b *bed) condemn(prefix string, recorded bool) {
	b.Helper()
	r := b.open("")
	state, err := r.Refresh(b.Context())
	b.must(err)
	known := map[repo.Name]bool{}
	for name := range state.Names() {
		known[name] = true
	}
	var names []repo.Name
	for _, key := range b.bucket.Objects.Keys(prefix) {
		name, err := repo.ParseName(key)
		b.must(err)
		if !known[name] {
			names = append(names, name)
			b.bucket.Objects.Remove(key)
		}
	}
	if len(names) == 0 {
		b.Fatalf("nothing to condemn in %s", prefix)
	}
	op, err := repo.NewOp(repo.OpClean, &repo.Clean{
		Fold: state.Fold, Pending: state.Pending, Condemned: names,
		Marks: state.Marks, Counts: state.Counts, Space: state.Space,
	})
	b.must(err)
	_, err = r.Append(b.Context(), state, cleaner, []repo.Op{op})
	b.must(err)
	if recorded {
		_, err = r.RecordDeleted(b.Context(), cleaner, names)
		b.must(err)
	}
}

// sound deletes all that is condemned and reads all that the snapshots lead to.
func (b *bed) sound(snapshots int) {
	b.Helper()
	b.bucket.Inject(nil)
	b.bucket.Settle()
	b.clean(0)
	r := b.open("")
	audit, err := r.Audit(b.Context(), func(f repo.Finding) { b.Errorf("%s: %v", f.Key, f.Err) })
	b.must(err)
	if n := len(audit.State.Snapshots); n != snapshots {
		b.Errorf("%d snapshots, want %d", n, snapshots)
	}
	var walk func(object.ID)
	walk = func(id object.ID) {
		o, _, err := r.Sealed(b.Context(), id)
		if err != nil {
			b.Fatalf("object %s: %v", id.Short(), err)
		}
		for _, ref := range o.Refs {
			walk(ref)
		}
	}
	for id := range audit.State.Roots() {
		walk(id)
	}
}

// before runs fn before the n-th creation below prefix from now on.
func (b *bed) before(n int, prefix string, fn func()) {
	b.bucket.Inject(func(op fault.Op) fault.Effect {
		if op.Kind != fault.Create || !strings.HasPrefix(op.Key, prefix) {
			return fault.None
		}
		if n--; n == 0 {
			b.bucket.Inject(nil)
			fn()
		}
		return fault.None
	})
}

// TestReliedIsTaken: a snapshot that a session relies on is forgotten and pruned
// before it commits. What is dead and still there is put back, with all that it
// leads to; else the session fails.
func TestReliedIsTaken(t *testing.T) {
	tests := []struct {
		name  string
		when  func(b *bed, clean func()) // relative to the commit that follows
		grace time.Duration
		want  error
	}{
		{"dead and there", func(_ *bed, clean func()) { clean() }, time.Hour, nil},
		{"dead and deleted", func(_ *bed, clean func()) { clean() }, 0, repo.ErrObjectGone},
		{"dead and there, in a race", func(b *bed, clean func()) { b.before(1, "gen/", clean) }, time.Hour, nil},
		{"dead and deleted, in a race", func(b *bed, clean func()) { b.before(1, "gen/", clean) }, 0, repo.ErrObjectGone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			b.backUp(900)
			old := b.backUp(1)
			s := b.begin()
			add := b.snapshotOf(s, b.put(s, 2000, object.KindImap, b.tree(s, 1)))
			tt.when(b, func() { b.clean(tt.grace, old) })
			_, err := s.Commit(t.Context(), add)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if s.Stats().DataObjects > 0 != (tt.want == nil) {
				t.Errorf("%d blocks were put back", s.Stats().DataObjects)
			}
			if err == nil {
				b.sound(2)
			} else {
				b.sound(1)
			}
		})
	}
}

// TestReliedIsMoved: what a session relies on is copied elsewhere, and the place
// where it stood deleted. Nothing has to be done.
func TestReliedIsMoved(t *testing.T) {
	b := newBed(t)
	old := b.backUp(1, 10, 20)
	segments := b.bucket.Objects.Keys("seg/")
	b.backUp(10) // keeps a third of it
	s := b.begin()
	add := b.snapshotOf(s, b.put(s, 2000, object.KindImap, b.tree(s, 10)))
	b.clean(0, old) // its own objects are not uploaded yet
	if slices.ContainsFunc(b.bucket.Objects.Keys("seg/"), func(key string) bool { return slices.Contains(segments, key) }) {
		t.Fatal("nothing was moved: this shows nothing")
	}
	_, err := s.Commit(t.Context(), add)
	b.must(err)
	if n := s.Stats().DataObjects; n > 0 {
		t.Errorf("%d blocks were stored again", n)
	}
	b.sound(2)
}

// TestOwnUploadsAreTaken: a cleaner takes the uploads of a session for orphans
// before it registers them. Whatever becomes of their files, these are not
// registered: what is there is copied into others, else the session fails.
func TestOwnUploadsAreTaken(t *testing.T) {
	for _, prefix := range []string{"idx/", "gen/"} { // their run is not there yet; it is
		t.Run("before "+prefix, func(t *testing.T) {
			t.Run("there", func(t *testing.T) {
				b := newBed(t)
				s := b.begin()
				add := b.snapshotOf(s, b.tree(s, 1))
				b.before(1, prefix, func() { b.clean(time.Hour) })
				_, err := s.Commit(t.Context(), add)
				b.must(err)
				b.sound(1)
			})
			t.Run("deleted", func(t *testing.T) {
				b := newBed(t)
				s := b.begin()
				add := b.snapshotOf(s, b.tree(s, 1))
				b.before(1, prefix, func() { b.clean(0) })
				if _, err := s.Commit(t.Context(), add); !errors.Is(err, repo.ErrObjectGone) {
					t.Fatalf("got %v", err)
				}
				b.sound(0)
			})
			t.Run("deleted, recorded, and there again", func(t *testing.T) {
				b := newBed(t)
				s := b.begin()
				add := b.snapshotOf(s, b.tree(s, 1))
				b.before(1, prefix, func() {
					late := b.bucket.Objects.Clone()
					b.clean(0)
					for _, key := range late.Keys("") {
						if b.bucket.Objects.Get(key) == nil {
							b.bucket.Objects.Set(key, late.Get(key)) // a put that comes late
						}
					}
				})
				_, err := s.Commit(t.Context(), add)
				b.must(err)
				b.sound(1) // which deletes what came late
			})
		})
	}
}

// TestOwnSessionIsTaken: a cleaner takes a live run for dead, ends its session, and
// kills what it has registered. The session fails, by its next run of the index as
// by its snapshot, and whatever is left of its objects.
func TestOwnSessionIsTaken(t *testing.T) {
	for _, grace := range []time.Duration{0, time.Hour} {
		for _, more := range []bool{false, true} {
			b := newBed(t)
			s := b.begin()
			root := b.tree(s, 1)
			add := b.snapshotOf(s, root)
			b.must(s.AddRun(t.Context()))
			if more {
				root = b.put(s, 2000, object.KindImap, root)
				add = b.snapshotOf(s, root)
			}
			b.clean(grace)
			_, err := s.Commit(t.Context(), add)
			if !errors.Is(err, repo.ErrObjectGone) || !strings.Contains(err.Error(), "ended its session") {
				t.Errorf("grace %v, more %v: got %v", grace, more, err)
			}
			if err := s.AddRun(t.Context()); !errors.Is(err, repo.ErrObjectGone) {
				t.Errorf("grace %v, more %v: an add-run: got %v", grace, more, err)
			}
			b.must(s.Close())
			b.backUp(1)
			b.sound(1)
		}
	}
}

// TestAdoptedUploadsAreTaken: a cleaner takes what a dead run has uploaded for
// orphans, before the next run of the machine registers it or while it does. It
// stores again what it needs.
func TestAdoptedUploadsAreTaken(t *testing.T) {
	for _, grace := range []time.Duration{0, time.Hour} {
		for _, prefix := range []string{"", "idx/", "gen/"} {
			b := newBed(t)
			kept := b.backUp(900)
			dead := b.begin()
			b.tree(dead, 1)
			b.put(dead, 5, object.KindInodes, b.tree(dead, 900)) // relies on what will be dead, too
			b.before(1, "idx/", func() { b.bucket.Inject(fault.Rules(fault.Rule{Effect: fault.Refuse})) })
			if err := dead.AddRun(t.Context()); err == nil {
				t.Fatal("the run did not die")
			}
			b.bucket.Inject(nil)
			b.must(dead.Close())
			if prefix == "" {
				b.clean(grace, kept)
			} else {
				b.before(1, prefix, func() { b.clean(grace, kept) })
			}
			s := b.begin()
			if n := s.Stats().AdoptedSegments; n != 0 {
				t.Errorf("grace %v, before %q: %d segments were adopted", grace, prefix, n)
			}
			add := b.snapshotOf(s, b.tree(s, 1))
			_, err := s.Commit(t.Context(), add)
			b.must(err)
			if n := s.Stats().DataObjects; n != 2 {
				t.Errorf("grace %v, before %q: %d blocks were stored", grace, prefix, n)
			}
			b.must(s.Close())
			b.sound(1)
		}
	}
}

// TestOwnFilesAreTaken: of what a session has uploaded, a cleaner takes the run, or
// the checkpoint of the generation for which they race. The next attempt has others.
func TestOwnFilesAreTaken(t *testing.T) {
	for _, prefix := range []string{"idx/", "state/"} {
		for _, recorded := range []bool{false, true} {
			b := newBed(t)
			s := b.begin()
			b.register(s, 63)
			b.must(s.Close())
			b.backUp(1)
			s = b.begin()
			add := b.snapshotOf(s, b.tree(s, 2))
			b.before(1, "state/", func() { b.before(1, "gen/", func() { b.condemn(prefix, recorded) }) })
			after, err := s.Commit(t.Context(), add)
			if err != nil {
				t.Fatalf("%s, recorded %v: %v", prefix, recorded, err)
			}
			if after.Checkpoint == nil || b.bucket.Objects.Get(after.Checkpoint.Name.Key()) == nil {
				t.Errorf("%s, recorded %v: the checkpoint that generation %d records is not there", prefix, recorded, after.Generation)
			}
			b.sound(2)
		}
	}
}

// TestSessionBelowTheFloor: a session that began before the floor of the log
// cannot tell what became of its uploads. It fails, whatever it would commit.
func TestSessionBelowTheFloor(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		b := newBed(t)
		b.backUp(1)
		s := b.begin()
		root := b.tree(s, 1) // all there
		if fresh {
			root = b.put(s, 2000, object.KindImap, root)
		}
		other := b.begin()
		b.register(other, 63)
		_, err := other.Commit(t.Context(), b.snapshotOf(other, b.tree(other, 2)))
		b.must(err)
		b.clean(0)
		r := b.open("")
		state, err := r.Refresh(t.Context())
		b.must(err)
		op, err := repo.NewOp(repo.OpFloor, &repo.Floor{Number: state.Checkpoint.Number})
		b.must(err)
		_, err = r.Append(t.Context(), state, cleaner, []repo.Op{op})
		b.must(err)
		if _, err := s.Commit(t.Context(), repo.AddSnapshot{ID: root, Root: root}); !errors.Is(err, repo.ErrObjectGone) {
			t.Errorf("with objects of its own %v: got %v", fresh, err)
		}
	}
}

func sessionBytes(s *repo.Session) []byte {
	id := s.ID()
	return id[:]
}
