package prune

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/store"
	"bluesky/store/fault"

	"gocloud.dev/blob"
)

// A site is a bed whose bucket misbehaves as a test asks.
type site struct {
	*bed
	bucket  *fault.Bucket
	current *tree
	kept    []object.ID // snapshots that are live
	gone    []object.ID // forgotten, and not collected
}

func newSite(t testing.TB, seed uint64) *site {
	bucket := fault.New()
	return &site{bed: newBedIn(t, openFault(bucket), seed, 65536), bucket: bucket}
}

func openFault(b *fault.Bucket) *store.Store {
	return store.NewImpatient(blob.NewBucket(b), "memory")
}

// clone returns a site of its own with a copy of the bucket.
func (s *site) clone(t testing.TB) *site {
	bucket := fault.Over(s.bucket.Objects.Clone())
	c := &site{bed: &bed{TB: t, store: openFault(bucket), rand: rand.New(rand.NewPCG(9, s.next)), next: s.next, size: s.size}, bucket: bucket}
	c.current, c.kept, c.gone = s.current, append([]object.ID(nil), s.kept...), append([]object.ID(nil), s.gone...)
	t.Cleanup(func() { c.store.Close() })
	return c
}

// later are the options of a prune so late that what a crash has left is old.
func later() Options {
	o := tight
	o.Now = func() time.Time { return time.Now().Add(8 * 24 * time.Hour) }
	return o
}

// backs backs up a changed tree.
func (s *site) backs(n int) {
	s.Helper()
	s.current = s.change(s.current, n)
	s.kept = append(s.kept, s.backUp(s.current))
}

func (s *site) drops(i int) {
	s.Helper()
	s.forget(s.kept[i])
	s.gone = append(s.gone, s.kept[i])
	s.kept = append(s.kept[:i], s.kept[i+1:]...)
}

// twice has two clients store the same objects at once, neither knowing of the
// other.
func (s *site) twice() {
	s.Helper()
	s.current = s.change(s.current, 3)
	one, other := s.begin(), s.begin()
	add, same := s.fill(one, s.current), s.fill(other, s.current)
	for _, c := range []struct {
		*repo.Session
		repo.AddSnapshot
	}{{one, add}, {other, same}} {
		if _, err := c.Commit(s.Context(), c.AddSnapshot); err != nil {
			s.Fatal(err)
		}
		if err := c.Close(); err != nil {
			s.Fatal(err)
		}
		s.kept = append(s.kept, c.AddSnapshot.ID)
	}
}

// abandon leaves what a backup that dies leaves: segments that no generation
// names and, if it has come so far, a session that goes on.
func (s *site) abandon(registered bool) {
	s.Helper()
	dead := s.begin()
	s.fill(dead, s.change(s.current, 2))
	if registered {
		if err := dead.AddRun(s.Context()); err != nil {
			s.Fatal(err)
		}
	}
	s.fill(dead, s.change(s.current, 2))
	if err := dead.Close(); err != nil {
		s.Fatal(err)
	}
}

// workSite is a repository on which a prune has all to do that it ever does:
// dead, half dead and small segments, objects stored twice, a snapshot to
// collect, an earlier clean with its tables, orphans, an unfinished session.
func workSite(t testing.TB) *site {
	s := newSite(t, 1)
	s.current = s.newTree(4, 4)
	s.kept = append(s.kept, s.backUp(s.current))
	for range 3 {
		s.backs(3)
	}
	s.drops(0)
	s.prune(tight)
	s.gone = nil
	for range 6 {
		s.backs(2)
	}
	s.twice()
	s.drops(1)
	s.drops(2)
	s.drops(3)
	s.abandon(true)
	s.abandon(false)
	return s
}

// closure maps what a snapshot leads to, itself included, to the bytes.
type closure map[object.ID]object.Hash

// closures reads what each live snapshot leads to. The sums are verified.
func (s *site) closures() map[object.ID]closure {
	s.Helper()
	r := s.open()
	all := map[object.ID]closure{}
	for i := range r.State().Snapshots {
		id := r.State().Snapshots[i].ID
		all[id] = s.closureOf(r, id)
	}
	return all
}

func (s *site) closureOf(r *repo.Repo, root object.ID) closure {
	s.Helper()
	c := closure{}
	var walk func(object.ID)
	walk = func(id object.ID) {
		if _, seen := c[id]; seen {
			return
		}
		o, _, err := r.Sealed(s.Context(), id)
		if err != nil {
			s.Fatalf("snapshot %s: object %s: %v", root.Short(), id, err)
		}
		c[id] = object.HashBytes("test", []byte{byte(o.Kind)}, o.Bytes)
		for _, ref := range o.Refs {
			walk(ref)
		}
	}
	walk(root)
	return c
}

// wantRestorable checks that the snapshots of before that are live lead to the
// same bytes as before, and that those of must are.
func (s *site) wantRestorable(before map[object.ID]closure, must []object.ID) {
	s.Helper()
	now := s.closures()
	for _, id := range must {
		if now[id] == nil {
			s.Fatalf("snapshot %s is not there any more", id.Short())
		}
	}
	for id, c := range now {
		if was := before[id]; was != nil && !maps.Equal(was, c) {
			s.Fatalf("snapshot %s leads to something else than before", id.Short())
		}
	}
}

// wantRight checks what holds of every state, whatever is under way: what is
// visible is closed under refs and there, and the log is sound.
func (s *site) wantRight() {
	s.Helper()
	base, err := openBase(s.Context(), s.open())
	if err != nil {
		s.Fatal(err)
	}
	s.wantClosed(base)
	s.wantCounts(base)
}

// wantAudited checks the log from its beginning.
func (s *site) wantAudited() {
	s.Helper()
	_, err := s.open().Audit(s.Context(), func(f repo.Finding) { s.Fatalf("audit: %s: %v", f.Key, f.Err) })
	if err != nil {
		s.Fatal(err)
	}
}

// wantClosed is I1, and that each visible row is of a segment that is there.
func (s *site) wantClosed(base *base) {
	s.Helper()
	for seg := range base.view.Segments() {
		if _, err := s.store.Stat(s.Context(), seg.Name.Key()); err != nil {
			s.Fatalf("visible segment: %v", err)
		}
		if base.state.Condemned[segmentName(seg.Name)] != 0 {
			s.Fatalf("segment %s is condemned and visible", seg.Name)
		}
	}
	for l := range base.view.Rows() {
		refs, err := base.refsOf(s.Context(), &l)
		if err != nil {
			s.Fatal(err)
		}
		for _, ref := range refs {
			if base.home(ref) == nil {
				s.Fatalf("%s %s refers to %s, which is not visible", l.Row.Kind, l.Row.ID.Short(), ref.Short())
			}
		}
	}
	for id := range base.state.Roots() {
		if base.home(id) == nil {
			s.Fatalf("root %s is not visible", id.Short())
		}
	}
}

// wantCounts compares the counts, with what was registered since the last clean
// counted in, with what the visible rows say.
func (s *site) wantCounts(base *base) {
	s.Helper()
	f, err := base.fold(s.Context(), nil, NoProgress{})
	if err != nil {
		s.Fatal(err)
	}
	want := map[object.ID]uint32{}
	for l := range base.view.Rows() {
		if placeOf(base.home(l.Row.ID)) != placeOf(&l) {
			continue
		}
		refs, err := base.refsOf(s.Context(), &l)
		if err != nil {
			s.Fatal(err)
		}
		for _, ref := range refs {
			want[ref]++
		}
	}
	for snap := range base.state.AllSnapshots() {
		want[snap.ID]++
		want[snap.Root]++
	}
	for l := range base.view.Rows() {
		count, err := f.counts.Get(base.runs[l.Part].Name(), uint32(l.Place))
		if err != nil {
			s.Fatal(err)
		}
		n := want[l.Row.ID]
		if placeOf(base.home(l.Row.ID)) != placeOf(&l) {
			n = 0
		}
		if count != n {
			s.Fatalf("%s %s: count %d, want %d", l.Row.Kind, l.Row.ID.Short(), count, n)
		}
	}
}

// aftermath checks what must hold once whatever was struck is over: all that was
// restorable is, nothing needs a manual step, and after two prunes there is
// nothing but what is live. settle says when writes come that were delayed:
// before the next backup, behind it, or behind the next prune.
func (s *site) aftermath(before map[object.ID]closure, must []object.ID, settle int) {
	s.Helper()
	s.bucket.Inject(nil)
	if settle == 0 {
		s.bucket.Settle()
	}
	s.client = s.open() // which verifies the log once
	s.wantRight()
	s.wantRestorable(before, must)
	s.backs(2)
	if settle == 1 {
		s.bucket.Settle()
	}
	s.prune(later())
	if settle == 2 && s.bucket.Settle() > 0 {
		s.prune(later()) // what came late is garbage of now
	}
	s.wantRight()
	s.prune(later())
	s.sound()
	s.wantRight()
	s.wantRestorable(before, append(must, s.kept[len(s.kept)-1]))
	s.wantSpace()
	s.wantAudited()
}

// wantSpace checks that the segments hold what the live snapshots lead to, and
// that there is nothing that no generation names.
func (s *site) wantSpace() {
	s.Helper()
	want := 0
	for _, n := range s.live() {
		want += n
	}
	if got := s.bodies(); got != want {
		s.Fatalf("segments hold %d bytes of objects, %d of them live", got, want)
	}
	base, err := openBase(s.Context(), s.open())
	if err != nil {
		s.Fatal(err)
	}
	p := &Plan{dying: &dying{folded: &folded{base: base}}}
	left, err := base.findOrphans(s.Context(), p, &Options{Instant: true, Now: time.Now}, NoProgress{})
	if err != nil || len(left) > 0 {
		s.Fatalf("nobody names %v, %v", left, err)
	}
}

// A struck is what a sweep strikes.
type struck struct {
	name string
	run  func(ctx context.Context, r *repo.Repo) error
	// must are the snapshots that are live afterwards, come what may.
	must func(s *site) []object.ID
}

func pruneWith(options Options) func(context.Context, *repo.Repo) error {
	return func(ctx context.Context, r *repo.Repo) error {
		p, err := NewPlan(ctx, r, options, nil)
		if err != nil {
			return err
		}
		_, err = p.Apply(ctx, cleaner, nil)
		return err
	}
}

// sweep strikes the operations of one process on copies of base. all lets no
// operation out; a body of a read is as good as another, so else some are.
func (s *site) sweep(t *testing.T, what struck, next func(int) int) {
	before := s.closures()
	cases, sound := 0, 0
	for strike := range fault.Sweep(fault.Ways, next) {
		c := s.clone(t)
		c.bucket.Inject(strike.Plan)
		r, err := repo.Open(t.Context(), c.store, repo.Options{})
		if err == nil {
			err = what.run(t.Context(), r)
		}
		if !strike.Struck() {
			if err != nil {
				t.Fatal(err)
			}
			sound++
		} else {
			cases++
		}
		if err != nil && !errors.Is(err, fault.ErrRefused) {
			t.Errorf("%v: error %v is not that of the store", strike, err)
		}
		failed := true
		func() {
			defer func() {
				if failed {
					t.Errorf("%s: %v", what.name, strike)
				}
			}()
			c.aftermath(before, what.must(c), strike.K%3)
			failed = false
		}()
	}
	t.Logf("%s: %d cases", what.name, cases)
	if cases < 5 || sound != len(fault.Ways) {
		t.Errorf("%d cases, %d runs without a fault", cases, sound)
	}
}

func strikes() []struck {
	all := func(s *site) []object.ID { return s.kept }
	return []struck{
		{"forget", func(ctx context.Context, r *repo.Repo) error {
			state, err := r.Refresh(ctx)
			if err != nil {
				return err
			}
			_, err = r.Forget(ctx, admin, []object.ID{state.Snapshots[0].ID, state.Snapshots[1].ID}, nil)
			return err
		}, func(s *site) []object.ID { return s.kept[2:] }},
		{"undo-forget", func(ctx context.Context, r *repo.Repo) error {
			state, err := r.Refresh(ctx)
			if err != nil {
				return err
			}
			_, err = r.UndoForget(ctx, admin, []object.ID{state.Forgotten[0].ID})
			return err
		}, all},
		{"prune", pruneWith(tight), all},
		{"prune that takes what has no name", pruneWith(instant), all},
	}
}

var instant = Options{AllowMassDelete: true, Instant: true, Now: time.Now}

// TestCrashes strikes the operations of forget, undo-forget and prune, each in
// turn at first and then fewer, in every way in which one can end. With the race
// detector it is a few of prune.
func TestCrashes(t *testing.T) {
	s := workSite(t)
	for _, what := range strikes() {
		if raceEnabled && what.name != "prune" {
			continue
		}
		t.Run(what.name, func(t *testing.T) {
			s.sweep(t, what, func(k int) int {
				if raceEnabled {
					return 1 + 4*k
				}
				return 1 + k/2
			})
		})
	}
}

// TestSoakCrashes strikes them all.
func TestSoakCrashes(t *testing.T) {
	soakEnd(t)
	s := workSite(t)
	for _, what := range strikes() {
		t.Run(what.name, func(t *testing.T) { s.sweep(t, what, nil) })
	}
}

// soakEnd returns when a long campaign ends, and skips it where none was asked
// for.
func soakEnd(t *testing.T) time.Time {
	t.Helper()
	d, err := time.ParseDuration(os.Getenv("BLUESKY_SOAK"))
	if err != nil {
		t.Skip("a long campaign: BLUESKY_SOAK says how long")
	}
	return time.Now().Add(d)
}
