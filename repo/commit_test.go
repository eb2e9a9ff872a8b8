package repo

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/store"
	"bluesky/store/fault"

	"gocloud.dev/gcerrors"
)

// liveIDs returns the ids of the live snapshots of a state.
func liveIDs(s *State) []object.ID {
	var ids []object.ID
	for _, snap := range s.Snapshots {
		ids = append(ids, snap.ID)
	}
	return ids
}

// TestFaultyPuts: whatever becomes of one put of a backup, and of its reply,
// and whenever it is executed, the backup lands exactly once.
func TestFaultyPuts(t *testing.T) {
	for _, what := range []fault.Effect{fault.Fail, fault.Lose, fault.Delay(1), fault.Delay(2), fault.Delay(4), fault.Delay(0), fault.Lag(1)} {
		for _, kind := range []string{"seg/", "idx/", "gen/"} {
			for times := 1; times < maxPuts; times++ {
				t.Run(fmt.Sprintf("%s %v, %d times", kind, what, times), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r, f := newRepo(t)
						f.Inject(fault.Rules(fault.Rule{Kinds: fault.Create, Prefix: kind, Times: times, Effect: what}))
						after := backUp(t, r, 1)
						f.Inject(nil)
						f.Settle()
						s := audit(t, f.open(t))
						if s.Generation != 1 || s.Hash != after.Hash || len(s.Snapshots) != 1 || len(s.Runs) != 1 {
							t.Errorf("generation %d, %d snapshots, %d runs", s.Generation, len(s.Snapshots), len(s.Runs))
						}
					})
				})
			}
		}
	}
}

// TestPutAgain: the same bytes are put again only where the bucket may take them
// another time, and not at once.
func TestPutAgain(t *testing.T) {
	for _, tt := range []struct {
		err  error
		puts int
	}{
		{fault.ErrBroken, maxPuts},
		{fault.Coded(gcerrors.Internal), maxPuts},
		{fault.Coded(gcerrors.ResourceExhausted), maxPuts},
		{fault.Coded(gcerrors.FailedPrecondition), maxPuts}, // a lost race, and nothing is there
		{syscall.ECONNRESET, maxPuts},
		{fault.ErrRefused, 1},
		{syscall.ENOSPC, 1},
		{syscall.EIO, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := newFaulty()
			f.Inject(fault.Rules(fault.Rule{Kinds: fault.Create, Effect: fault.Fail.With(tt.err)}))
			start := time.Now()
			if _, err := createBytes(t.Context(), f.open(t), "gen/1", []byte("x")); err == nil {
				t.Errorf("%v: no error", tt.err)
			}
			took := time.Since(start)
			puts, _ := f.Count(fault.Create, "")
			if gets, _ := f.Count(fault.Get, ""); puts != tt.puts || gets != puts {
				t.Errorf("%v: %d puts, %d reads behind them, want %d", tt.err, puts, gets, tt.puts)
			}
			if least := time.Duration(tt.puts-1) * 100 * time.Millisecond; took < least || tt.puts == 1 && took > 0 {
				t.Errorf("%v: %d puts within %v", tt.err, puts, took)
			}
		})
	}
}

// TestPutsThatNeverSucceed: the backup fails, and leaves what it uploaded.
func TestPutsThatNeverSucceed(t *testing.T) {
	for _, kind := range []string{"seg/", "idx/", "gen/"} {
		t.Run(kind, func(t *testing.T) {
			r, f := newRepo(t)
			f.put = func(key string, _ []byte) fault.Effect {
				if strings.HasPrefix(key, kind) {
					return fault.Refuse
				}
				return fault.None
			}
			s := begin(t, r)
			if _, err := s.Commit(t.Context(), putTree(t, s, 1)); !errors.Is(err, fault.ErrRefused) {
				t.Errorf("got %v, want the fault", err)
			}
			f.put = nil
			if s := audit(t, f.open(t)); s.Generation != 0 {
				t.Errorf("generation %d", s.Generation)
			}
			if kind == "gen/" && (len(f.Objects.Keys("seg/")) == 0 || len(f.Objects.Keys("idx/")) == 0) {
				t.Error("uploads are gone: their put may yet be applied")
			}
			backUp(t, r, 2)
		})
	}
}

// TestLostRaces: another author takes the generation while ours is put, and the
// put is refused, fails or is lost.
func TestLostRaces(t *testing.T) {
	for _, what := range []fault.Effect{fault.None, fault.Refuse, fault.Lose} {
		t.Run(fmt.Sprint(what), func(t *testing.T) {
			r, f := newRepo(t)
			races := 3
			f.put = func(key string, data []byte) fault.Effect {
				if !strings.HasPrefix(key, "gen/") || races == 0 {
					return fault.None
				}
				races--
				hook := f.put
				f.put = nil
				f.grow(t, 100+uint64(races))
				f.put = hook
				return what
			}
			backUp(t, r, 1)
			f.put = nil
			if s := audit(t, f.open(t)); s.Generation != 4 || len(s.Snapshots) != 4 {
				t.Errorf("generation %d, %d snapshots", s.Generation, len(s.Snapshots))
			}
		})
	}
}

// TestWonAndOvertaken: the reply is lost and another author has built upon our
// generation before it is read back.
func TestWonAndOvertaken(t *testing.T) {
	r, f := newRepo(t)
	f.put = func(key string, data []byte) fault.Effect {
		if !strings.HasPrefix(key, "gen/") {
			return fault.None
		}
		f.put = nil
		f.Objects.Set(key, bytes.Clone(data)) // applied
		f.grow(t, 2)
		return fault.Refuse // so the put itself finds its own bytes
	}
	after := backUp(t, r, 1)
	if s := audit(t, f.open(t)); after.Generation != 1 || s.Generation != 2 || len(s.Snapshots) != 2 {
		t.Errorf("ours %d, newest %d, %d snapshots", after.Generation, s.Generation, len(s.Snapshots))
	}
	backUp(t, r, 3) // and the client goes on from there
}

// TestGarbageInTheWay: what somebody put at the next generation stops everybody.
func TestGarbageInTheWay(t *testing.T) {
	for name, garbage := range map[string][]byte{"short": []byte("x"), "long": make([]byte, generationMax+1)} {
		t.Run(name, func(t *testing.T) {
			r, f := newRepo(t)
			s := begin(t, r)
			f.Objects.Set(GenerationKey(1), garbage)
			if after, err := s.Commit(t.Context(), putTree(t, s, 1)); err == nil {
				t.Errorf("committed generation %d", after.Generation)
			}
		})
	}
}

// TestUnreadableOutcome: a put whose outcome cannot be learnt is an error.
func TestUnreadableOutcome(t *testing.T) {
	r, f := newRepo(t)
	s := begin(t, r)
	f.put = func(key string, _ []byte) fault.Effect {
		if strings.HasPrefix(key, "gen/") {
			f.read = func(string) error { return fault.ErrRefused }
			return fault.Lose
		}
		return fault.None
	}
	if _, err := s.Commit(t.Context(), putTree(t, s, 1)); err == nil {
		t.Error("committed, for all it could know")
	}
	f.put, f.read = nil, nil
	if s := audit(t, f.open(t)); len(s.Snapshots) != 1 {
		t.Errorf("%d snapshots", len(s.Snapshots))
	}
}

// TestManyWriters: eight writers, each with a client of its own, commit five
// times each, over a bucket that loses, refuses and delays
// some puts.
func TestManyWriters(t *testing.T) { synctest.Test(t, manyWriters) }

func manyWriters(t *testing.T) {
	_, f := newRepo(t)
	var mu sync.Mutex
	puts := 0
	f.put = func(key string, _ []byte) fault.Effect {
		mu.Lock()
		defer mu.Unlock()
		puts++
		switch {
		case puts%7 == 0:
			return fault.Lose
		case puts%11 == 0:
			return fault.Fail
		case puts%13 == 0:
			return fault.Delay(5)
		}
		return fault.None
	}
	const writers, commits = 8, 5
	var all sync.WaitGroup
	for w := range writers {
		r := open(t, f.open(t), Options{})
		all.Go(func() {
			for i := range commits {
				if err := commitOne(r, uint64(1000*w+i)); err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
			}
		})
	}
	all.Wait()
	f.put = nil
	s := audit(t, f.open(t))
	ids := liveIDs(s)
	slices.SortFunc(ids, object.ID.Compare)
	if s.Generation != writers*commits || len(slices.Compact(ids)) != writers*commits || len(s.Unfinished()) != 0 {
		t.Errorf("generation %d, %d snapshots, %d unfinished sessions", s.Generation, len(ids), len(s.Unfinished()))
	}
}

// commitOne commits one snapshot of its own objects and of a block that all
// share.
func commitOne(r *Repo, seed uint64) error {
	s, err := r.Begin(background, writer)
	if err != nil {
		return err
	}
	defer s.Close()
	add := func(o object.Sealed, row object.Session) (object.ID, error) {
		if !s.Claim(o.ID) {
			return o.ID, nil
		}
		return o.ID, s.Add(o, row)
	}
	common, err := add(sealed(s, 77, object.KindBlock))
	if err != nil {
		return err
	}
	root, err := add(sealed(s, seed, object.KindInodes, common))
	if err != nil {
		return err
	}
	id, err := add(sealed(s, seed, object.KindSnapshot, root))
	if err != nil {
		return err
	}
	_, err = s.Commit(background, AddSnapshot{ID: id, Root: root, Time: object.TimeOf(testTime)})
	return err
}

// condemn lets another author add a generation, and r believe that it condemned
// the segments, which no op of version 1 does.
func (f *faulty) condemn(t testing.TB, r *Repo, names ...pack.Name) {
	t.Helper()
	f.pad(t, 1)
	forged := refresh(t, open(t, f.open(t), Options{})).clone()
	for _, name := range names {
		forged.Condemned[SegmentName(name)] = forged.Generation
		forged.recent = append(forged.recent, recentClean{forged.Generation, []Name{SegmentName(name)}})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state = forged
}

func (f *faulty) segments(t testing.TB) []pack.Name {
	t.Helper()
	var names []pack.Name
	for _, key := range f.Objects.Keys("seg/") {
		name, err := pack.ParseKey(key)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// TestReliedOnObjectVanishes: a session relies on a block of an earlier backup,
// whose segment is condemned before the session commits.
func TestReliedOnObjectVanishes(t *testing.T) {
	for _, claimedBefore := range []bool{true, false} {
		t.Run(fmt.Sprintf("claimed before %v", claimedBefore), func(t *testing.T) {
			r, f := newRepo(t)
			backUp(t, r, 1)
			before := f.segments(t)
			s := begin(t, r)
			condemn := func() {
				f.condemn(t, r, before...)
				for _, name := range before {
					f.Objects.Remove(name.Key())
				}
			}
			if !claimedBefore {
				condemn()
			}
			add := putTree(t, s, 1) // all there already
			leaf := put(t, s, 2, object.KindInodes, add.Root)
			add.ID, add.Root = put(t, s, 2, object.KindSnapshot, leaf), leaf
			if claimedBefore {
				condemn()
			}
			if _, err := s.Commit(t.Context(), add); !errors.Is(err, ErrObjectGone) {
				t.Fatalf("got %v, want an object that is gone", err)
			}
			// What is condemned is invisible to the next session, which brings it anew.
			next := begin(t, r)
			root := put(t, next, 1, object.KindInodes, put(t, next, 1, object.KindBlock))
			after, err := next.Commit(t.Context(), AddSnapshot{ID: put(t, next, 3, object.KindSnapshot, root), Root: root})
			if err != nil {
				t.Fatal(err)
			}
			view, err := next.repo.Index(t.Context(), after)
			if err != nil || !view.Has(root) || next.Stats().DataObjects != 1 {
				t.Errorf("%v; the root is visible: %v; blocks added: %d", err, view.Has(root), next.Stats().DataObjects)
			}
		})
	}
}

// TestRescue: what a session relies on, or has uploaded, is condemned before it
// commits, and still there: it copies all of it, with the refs of what it
// copies, into segments of its own.
func TestRescue(t *testing.T) {
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprintf("own %v", own), func(t *testing.T) {
			r, f := newRepo(t)
			backUp(t, r, 1)
			s := begin(t, r)
			add := putTree(t, s, 1) // all there already
			leaf := put(t, s, 2, object.KindInodes, add.Root, put(t, s, 5, object.KindBlock))
			add.ID, add.Root = put(t, s, 2, object.KindSnapshot, leaf), leaf
			if own {
				flush(t, s, s.data)
				flush(t, s, s.meta)
			}
			gone := f.segments(t)
			f.condemn(t, r, gone...)
			after, err := s.Commit(t.Context(), add)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range gone {
				f.Objects.Remove(name.Key())
			}
			fresh := open(t, f.open(t), Options{})
			refresh(t, fresh)
			for _, id := range []object.ID{add.ID, leaf} {
				checkClosure(t, fresh, after, id)
			}
		})
	}
}

// checkClosure reads id and all that it leads to.
func checkClosure(t testing.TB, r *Repo, s *State, id object.ID) {
	t.Helper()
	o, _, err := r.sealedIn(t.Context(), s, id)
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range o.Refs {
		checkClosure(t, r, s, ref)
	}
}

// TestRefusedCommits: the assertion, on changes that no session makes.
func TestRefusedCommits(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, r *Repo) change
		want   string
	}{
		{"op that its signer may not do", func(t *testing.T, r *Repo) change {
			return change{author: cleaner, ops: ops(statement(t, cleaner, 1, 1, OpAddSnapshot, snap(1)))}
		}, "void"},
		{"statement of another signer", func(t *testing.T, r *Repo) change {
			return change{author: admin, ops: ops(statement(t, writer, 1, 1, OpAddRun, run(1)))}
		}, "void"},
		{"author without a role", func(t *testing.T, r *Repo) change {
			return change{author: stranger, ops: ops()}
		}, "no role"},
		{"unknown op", func(t *testing.T, r *Repo) change {
			return change{author: admin, ops: ops(Op{12, 1, nil})}
		}, "unknown type"},
		{"root that is not visible", func(t *testing.T, r *Repo) change {
			return change{author: writer, ops: ops(statement(t, writer, 1, 1, OpAddSnapshot, snap(1)))}
		}, "not visible"},
		{"ref that leads nowhere", func(t *testing.T, r *Repo) change {
			return change{author: writer, ops: ops(), relied: [][]object.ID{{{9}}}}
		}, "removed meanwhile"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, f := newRepo(t)
			base := refresh(t, r)
			_, err := r.commit(t.Context(), base, tt.change(t, r))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if names := f.Objects.Keys("gen/"); len(names) != 1 {
				t.Errorf("generations %v", names)
			}
		})
	}
}

func ops(list ...Op) func(*State) ([]Op, error) {
	return func(*State) ([]Op, error) { return list, nil }
}

// TestDanglingRefOfASession: a session that registers a ref to nothing is
// refused.
func TestDanglingRefOfASession(t *testing.T) {
	r, _ := newRepo(t)
	s := begin(t, r)
	root := put(t, s, 1, object.KindInodes, object.ID{1, 2, 3})
	id := put(t, s, 1, object.KindSnapshot, root)
	if _, err := s.Commit(t.Context(), AddSnapshot{ID: id, Root: root}); !errors.Is(err, ErrObjectGone) {
		t.Errorf("got %v", err)
	}
}

// TestReadOnlyRepository: nobody writes past ops of a newer version.
func TestReadOnlyRepository(t *testing.T) {
	r, f := newRepo(t)
	s := begin(t, r)
	l := &log{t, refresh(t, r)}
	f.Objects.Set(GenerationKey(1), l.encode(admin, nil, Op{12, 1, nil}))
	if _, err := s.Commit(t.Context(), putTree(t, s, 1)); !errors.Is(err, ErrReadOnly) {
		t.Errorf("commit: %v", err)
	}
	if _, err := r.Begin(t.Context(), writer); !errors.Is(err, ErrReadOnly) {
		t.Errorf("begin: %v", err)
	}
}

// TestRemovedWriter: a key whose role is gone makes nothing more.
func TestRemovedWriter(t *testing.T) {
	r, f := newRepo(t)
	s := begin(t, r)
	other := open(t, f.open(t), Options{})
	_, err := other.commit(t.Context(), refresh(t, other), change{author: admin,
		ops: ops(statement(t, admin, 1, 1, OpRole, &RoleChange{Key: pub(writer), Role: RoleWriter, Removed: true}))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), putTree(t, s, 1)); err == nil {
		t.Error("a removed writer has committed")
	}
	if _, err := r.Begin(t.Context(), writer); err == nil {
		t.Error("a removed writer has begun")
	}
	audit(t, f.open(t))
}

// TestNotDurableIsNoSuccess: what a put says to be there, and not to be durable,
// is not taken for stored because it reads back.
func TestNotDurableIsNoSuccess(t *testing.T) {
	for _, kind := range []string{"seg/", "idx/", "gen/"} {
		r, f := newRepo(t)
		s := begin(t, r)
		snap := putTree(t, s, 1)
		f.Inject(fault.Rules(fault.Rule{Kinds: fault.Create, Prefix: kind, Effect: fault.Lose.With(store.ErrNotDurable)}))
		if _, err := s.Commit(t.Context(), snap); !errors.Is(err, store.ErrNotDurable) {
			t.Errorf("%s: got %v, want that it is not durable", kind, err)
		}
	}
}
