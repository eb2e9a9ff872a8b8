package repo

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/store/fault"
)

func journals(t testing.TB, r *Repo) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(r.options.StateDir, "sessions", "*"+journalSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// register begins a session and registers something.
func register(t testing.TB, r *Repo, seed uint64) *Session {
	t.Helper()
	s := begin(t, r)
	put(t, s, seed, object.KindBlock)
	if err := s.AddRun(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAbandonedSession: the next run of the machine ends a session whose run is
// gone, and not one whose run lives.
func TestAbandonedSession(t *testing.T) {
	_, f := newRepo(t)
	state := t.TempDir()
	client := func(dir string) *Repo { return open(t, f.open(t), Options{StateDir: dir}) }

	live := register(t, client(state), 2)
	crashed := register(t, client(state), 1)
	if err := crashed.Close(); err != nil { // the lock goes with the process, the file stays
		t.Fatal(err)
	}
	elsewhere := register(t, client(t.TempDir()), 3)
	if got := journals(t, live.repo); len(got) != 2 {
		t.Fatalf("journals %v", got)
	}

	after := backUp(t, client(state), 4)
	open := after.Unfinished()
	for session, want := range map[object.SessionID]bool{crashed.ID(): false, live.ID(): true, elsewhere.ID(): true} {
		if slices.Contains(open, session) != want {
			t.Errorf("session %s unfinished: %v", session, !want)
		}
	}
	if got := journals(t, live.repo); len(got) != 1 || !strings.Contains(got[0], live.ID().String()) {
		t.Errorf("journals %v, want that of %s alone", got, live.ID())
	}
	for i, s := range []*Session{live, elsewhere} {
		if _, err := s.Commit(t.Context(), putTree(t, s, uint64(10+i))); err != nil {
			t.Errorf("a live session was disturbed: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if s := audit(t, f.open(t)); len(s.Unfinished()) != 0 || len(s.Snapshots) != 3 {
		t.Errorf("unfinished %v, %d snapshots", s.Unfinished(), len(s.Snapshots))
	}
	if got := journals(t, live.repo); len(got) != 0 {
		t.Errorf("journals left: %v", got)
	}
}

// TestAddRunWithUnknownOutcome: the generation of an add-run is created, and
// the run learns nothing of it. The next run ends the session all the same.
func TestAddRunWithUnknownOutcome(t *testing.T) {
	_, f := newRepo(t)
	state := t.TempDir()
	s := begin(t, open(t, f.open(t), Options{StateDir: state}))
	put(t, s, 1, object.KindBlock)
	f.Inject(fault.First(
		fault.Rules(fault.Rule{Kinds: fault.Create, Prefix: "gen/", Effect: fault.Lose}),
		fault.Rules(fault.Rule{Kinds: fault.Get, Prefix: "gen/", Effect: fault.Refuse})))
	if err := s.AddRun(t.Context()); !errors.Is(err, fault.ErrRefused) {
		t.Fatalf("got %v, want that the outcome is not known", err)
	}
	f.Inject(nil)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := open(t, f.open(t), Options{StateDir: state})
	if after := backUp(t, next, 2); len(after.Unfinished()) > 0 {
		t.Errorf("the next run has left %v unfinished", after.Unfinished())
	}
	if got := journals(t, next); len(got) > 0 {
		t.Errorf("journals left: %v", got)
	}
}

// TestAbandonedByAnother: a writer leaves alone what it may not end, and the
// journal with it.
func TestAbandonedByAnother(t *testing.T) {
	r, f := newRepo(t)
	_, err := r.commit(t.Context(), refresh(t, r), change{author: admin,
		ops: ops(statement(t, admin, 1, 1, OpRole, &RoleChange{Key: pub(stranger), Role: RoleWriter}))})
	if err != nil {
		t.Fatal(err)
	}
	state := t.TempDir()
	s, err := open(t, f.open(t), Options{StateDir: state}).Begin(t.Context(), stranger)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, 1, object.KindBlock)
	if err := errors.Join(s.AddRun(t.Context()), s.Close()); err != nil {
		t.Fatal(err)
	}
	client := open(t, f.open(t), Options{StateDir: state})
	if after := backUp(t, client, 2); len(after.Unfinished()) != 1 {
		t.Errorf("unfinished %v", after.Unfinished())
	}
	if got := journals(t, client); len(got) != 1 {
		t.Errorf("journals %v", got)
	}
}

// TestUnusableStateFolder: no journal can be kept, and the backup goes on.
func TestUnusableStateFolder(t *testing.T) {
	_, f := newRepo(t)
	state := t.TempDir()
	r := open(t, f.open(t), Options{StateDir: state})
	if err := os.MkdirAll(r.options.StateDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(r.options.StateDir, "sessions"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	backUp(t, r, 1)
	if len(r.Problems()) == 0 {
		t.Error("nobody learns that there is no journal")
	}
}

// TestClaim: of many callers with one id exactly one seals it.
func TestClaim(t *testing.T) {
	r, _ := newRepo(t)
	backUp(t, r, 1)
	s := begin(t, r)
	o, _ := sealed(s, 1, object.KindBlock)
	if s.Claim(o.ID) {
		t.Error("claimed what the repository has")
	}
	for i := range uint64(50) {
		var won atomic.Int32
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if s.Claim(object.ID{1, byte(i)}) {
					won.Add(1)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Fatalf("%d callers claimed the same", won.Load())
		}
	}
}

// What an add-run has registered is remembered by the index alone.
func TestClaimAfterAddRun(t *testing.T) {
	r, _ := newRepo(t)
	s := begin(t, r)
	o, row := sealed(s, 1, object.KindBlock)
	if !s.Claim(o.ID) {
		t.Fatal("not claimed")
	}
	if err := s.Add(o, row); err != nil {
		t.Fatal(err)
	}
	if err := s.AddRun(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Claim(o.ID) {
		t.Error("claimed what the add-run has registered")
	}
	if len(s.own) != 0 {
		t.Errorf("%d ids are remembered besides", len(s.own))
	}
}

// TestAddRunOfNothing: a session that has registered something adds an empty run
// where nothing is new, which makes it younger; another one adds nothing.
func TestAddRunOfNothing(t *testing.T) {
	r, f := newRepo(t)
	s := begin(t, r)
	if err := s.AddRun(t.Context()); err != nil || len(f.Objects.Keys("gen/")) != 1 || len(f.Objects.Keys("idx/")) != 0 {
		t.Fatalf("nothing was registered: %v, generations %v", err, f.Objects.Keys("gen/"))
	}
	put(t, s, 1, object.KindBlock)
	for range 3 {
		if err := s.AddRun(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	state := audit(t, f.open(t))
	last := state.sessions[s.ID()]
	if state.Generation != 3 || last.generation != 3 || last.sequence != 3 || len(state.Runs) != 3 {
		t.Errorf("generation %d, the session's last %d, sequence %d, %d runs", state.Generation, last.generation, last.sequence, len(state.Runs))
	}
	if run := state.Runs[2]; run.Size != 96 {
		t.Errorf("a run of nothing has %d bytes", run.Size)
	}
	if _, err := s.Commit(t.Context(), putTree(t, s, 2)); err != nil {
		t.Fatal(err)
	}
	if state := audit(t, f.open(t)); len(state.Unfinished()) != 0 || len(state.Snapshots) != 1 {
		t.Errorf("unfinished %v, %d snapshots", state.Unfinished(), len(state.Snapshots))
	}
}

// TestDurabilityOrder: when a file becomes visible in the bucket, all that it
// refers to is there.
func TestDurabilityOrder(t *testing.T) {
	r, f := newRepo(t)
	var mu sync.Mutex
	known := map[object.ID]bool{}
	f.put = func(key string, data []byte) fault.Effect {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.HasPrefix(key, "seg/"):
			h, err := decodeHeader(data)
			if err != nil {
				t.Error(err)
				return fault.Refuse
			}
			if h.Class == object.ClassMeta {
				for _, id := range h.External {
					if !known[id] {
						t.Errorf("metadata segment %s refers to %s, which is not durable", h.Name, id.Short())
					}
				}
			}
			for i := range h.Objects {
				known[h.Objects[i].ID] = true
			}
		case strings.HasPrefix(key, "idx/"):
			name, err := index.ParseKey(key)
			if err != nil {
				t.Error(err)
			}
			run, err := index.Decode(bytes.Clone(data), r.config.ID, name)
			if err != nil {
				t.Error(err)
				return fault.Refuse
			}
			for row := range run.Rows() {
				if !known[row.ID] {
					t.Errorf("run %s has %s, which is not durable", name, row.ID.Short())
				}
			}
		case strings.HasPrefix(key, "gen/"):
			if len(f.Objects.Keys("idx/")) == 0 {
				t.Error("the generation came before the run")
			}
		}
		return fault.None
	}
	s := begin(t, r)
	var roots []object.ID
	for i := range uint64(900) { // several segments of each class
		roots = append(roots, put(t, s, i, object.KindInodes, put(t, s, i, object.KindBlock)))
	}
	root := put(t, s, 1, object.KindImap, roots...)
	id := put(t, s, 1, object.KindSnapshot, root)
	if _, err := s.Commit(t.Context(), AddSnapshot{ID: id, Root: root}); err != nil {
		t.Fatal(err)
	}
	if n := len(f.Objects.Keys("seg/")); n < 6 {
		t.Errorf("%d segments", n)
	}
}

func decodeHeader(segment []byte) (*pack.Header, error) {
	p, err := pack.DecodePrelude(segment, int64(len(segment)))
	if err != nil {
		return nil, err
	}
	return pack.DecodeHeader(segment[:p.HeadSize()], int64(len(segment)))
}

// TestFailedUpload: the error of an upload in the background reaches the
// session, nothing is committed, and nothing is deleted.
func TestFailedUpload(t *testing.T) {
	r, f := newRepo(t)
	var puts atomic.Int32
	f.put = func(key string, _ []byte) fault.Effect {
		if strings.HasPrefix(key, "seg/") && puts.Add(1) > 2 {
			return fault.Refuse
		}
		return fault.None
	}
	s := begin(t, r)
	var err error
	for i := uint64(0); i < 3000 && err == nil; i++ {
		o, row := sealed(s, i, object.KindBlock)
		if s.Claim(o.ID) {
			err = s.Add(o, row)
		}
	}
	if err == nil {
		_, err = s.Commit(t.Context(), AddSnapshot{})
	}
	if !errors.Is(err, fault.ErrRefused) {
		t.Errorf("got %v, want the fault", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if len(f.Objects.Keys("gen/")) != 1 || len(f.Objects.Keys("seg/")) != 2 {
		t.Errorf("%d generations, %d segments", len(f.Objects.Keys("gen/")), len(f.Objects.Keys("seg/")))
	}
}

// TestCanceledSession stops, and leaves no goroutine behind; see TestMain.
func TestCanceledSession(t *testing.T) {
	r, f := newRepo(t)
	ctx, cancel := context.WithCancel(t.Context())
	s, err := r.Begin(ctx, writer)
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(900) {
		put(t, s, i, object.KindBlock)
	}
	tree := putTree(t, s, 1)
	cancel()
	if _, err := s.Commit(ctx, tree); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if len(f.Objects.Keys("gen/")) != 1 {
		t.Error("committed")
	}
}

// TestIndexIsThatOfTheHeaders: each run that sessions have made is, byte for
// byte, what their segments' headers give.
func TestIndexIsThatOfTheHeaders(t *testing.T) {
	r, f := newRepo(t)
	for k := range uint64(3) {
		s := begin(t, r)
		for i := range 400 * (k + 1) { // what stands there already is not added again
			put(t, s, i, object.KindInodes, put(t, s, i, object.KindBlock))
			if i == 400*k+100 {
				if err := s.AddRun(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		if _, err := s.Commit(t.Context(), putTree(t, s, 10000+k)); err != nil {
			t.Fatal(err)
		}
	}
	state := audit(t, f.open(t))
	if len(state.Runs) < 5 {
		t.Fatalf("%d runs", len(state.Runs))
	}
	st := f.open(t)
	segments := 0
	for _, run := range state.Runs {
		data, err := st.Get(t.Context(), run.Name.Key(), int64(run.Size))
		if err != nil {
			t.Fatal(err)
		}
		opened, err := index.Decode(data, r.config.ID, run.Name)
		if err != nil {
			t.Fatal(err)
		}
		var stored []index.Stored
		for _, s := range opened.Segments() {
			e, err := st.Stat(t.Context(), s.Name.Key())
			if err != nil {
				t.Fatal(err)
			}
			stored = append(stored, index.Stored{Name: s.Name, Size: e.Size, Session: run.Session})
			segments++
		}
		slices.Reverse(stored) // whatever the order
		b, failed, err := index.FromHeaders(t.Context(), st, r.config.ID, stored, 2)
		if err != nil || len(failed) > 0 {
			t.Fatal(err, failed)
		}
		again, hash, err := b.Encode(r.config.ID, run.Name)
		if err != nil || !bytes.Equal(again, data) || hash != run.Hash {
			t.Errorf("run %s is not that of its segments: %v", run.Name, err)
		}
	}
	if n := len(f.Objects.Keys("seg/")); segments != n {
		t.Errorf("the runs have %d segments, the bucket %d", segments, n)
	}
}

// TestPassOverLostRuns: a run that is gone or damaged costs a reader that asks
// for it what stands in no other, and any other client everything.
func TestPassOverLostRuns(t *testing.T) {
	for name, damage := range map[string]func(f *faulty, key string){
		"gone":    func(f *faulty, key string) { f.Objects.Remove(key) },
		"empty":   func(f *faulty, key string) { f.Objects.Set(key, nil) },
		"longer":  func(f *faulty, key string) { data := f.Objects.Get(key); f.Objects.Set(key, append(data, 0)) },
		"flipped": func(f *faulty, key string) { data := f.Objects.Get(key); data[100] ^= 1; f.Objects.Set(key, data) },
		"in a bad sector": func(f *faulty, key string) {
			f.read = func(read string) error {
				if read == key {
					return syscall.EIO
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFaulty()
			create(t, f.open(t))
			r := open(t, f.open(t), Options{})
			lost, kept := backUp(t, r, 1), backUp(t, r, 2)
			damage(f, lost.Runs[0].Name.Key())
			first, second := lost.Snapshots[0].ID, kept.Snapshots[1].ID

			strict := open(t, f.open(t), Options{})
			refresh(t, strict)
			if _, _, err := strict.Sealed(t.Context(), second); err == nil {
				t.Error("read without a run by who did not ask for it")
			}
			reader := open(t, f.open(t), Options{})
			reader.PassOverLostRuns()
			refresh(t, reader)
			if _, _, err := reader.Sealed(t.Context(), second); err != nil {
				t.Errorf("an object of the other run: %v", err)
			}
			if _, _, err := reader.Sealed(t.Context(), first); !errors.Is(err, ErrNotFound) {
				t.Errorf("an object of the lost run: %v, want %v", err, ErrNotFound)
			}
			if got := reader.Problems(); len(got) != 1 {
				t.Errorf("problems %v, want one", got)
			}
		})
	}
}

// TestSealed reads back what was added, from a cache, and says what is gone.
func TestSealed(t *testing.T) {
	r, f := newRepo(t)
	backUp(t, r, 1)
	client := open(t, f.open(t), Options{CacheDir: t.TempDir()})
	refresh(t, client)
	s := begin(t, client)
	want, _ := sealed(s, 1, object.KindBlock)
	got, _, err := client.Sealed(t.Context(), want.ID)
	if err != nil || !bytes.Equal(got.Bytes, want.Bytes) {
		t.Errorf("%v", err)
	}
	if _, _, err := client.Sealed(t.Context(), object.ID{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("an id of nothing: %v", err)
	}
	for _, name := range f.segments(t) {
		f.Objects.Remove(name.Key())
	}
	fresh := open(t, f.open(t), Options{})
	refresh(t, fresh)
	if _, _, err := fresh.Sealed(t.Context(), want.ID); err == nil {
		t.Error("an object without its segment was read")
	}
}

// TestSegmentWithBytesBehind: what somebody appended to a segment costs none of
// its objects.
func TestSegmentWithBytesBehind(t *testing.T) {
	r, f := newRepo(t)
	s := begin(t, r)
	snap := putTree(t, s, 1)
	if _, err := s.Commit(t.Context(), snap); err != nil {
		t.Fatal(err)
	}
	for _, name := range f.segments(t) {
		f.Objects.Set(name.Key(), append(bytes.Clone(f.Objects.Get(name.Key())), 0))
	}
	fresh := open(t, f.open(t), Options{})
	refresh(t, fresh)
	for _, id := range []object.ID{snap.ID, snap.Root} {
		if o, _, err := fresh.Sealed(t.Context(), id); err != nil || o.ID != id {
			t.Errorf("object %s: %v", id.Short(), err)
		}
	}
}
