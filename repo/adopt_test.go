package repo

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/store/fault"
)

// A wreck is a repository in which a run has died: its uploads are in the
// bucket, its journal on the machine.
type wreck struct {
	f       *faulty
	state   string // folder
	session object.SessionID
	segment []pack.Name // in the order of the uploads
	blocks  []object.ID
	leaves  []object.ID // each refers to the block of the same index
	runs    uint64      // since
}

// newWreck has a session upload n data and n metadata segments, of one block
// and one leaf each, and leaves it.
func newWreck(t testing.TB, n int) *wreck {
	t.Helper()
	_, f := newRepo(t)
	w := &wreck{f: f, state: t.TempDir()}
	s := begin(t, w.client(t))
	w.session = s.ID()
	for i := range uint64(n) {
		w.blocks = append(w.blocks, put(t, s, i, object.KindBlock))
		flush(t, s, s.data)
		w.leaves = append(w.leaves, put(t, s, i, object.KindInodes, w.blocks[i]))
		flush(t, s, s.meta)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, op := range f.Log() {
		if op.Kind != fault.Create || !strings.HasPrefix(op.Key, "seg/") {
			continue
		}
		name, err := pack.ParseKey(op.Key)
		if err != nil {
			t.Fatal(err)
		}
		w.segment = append(w.segment, name)
	}
	return w
}

func flush(t testing.TB, s *Session, l *lane) {
	t.Helper()
	if err := s.flush(l); err != nil {
		t.Fatal(err)
	}
}

// client returns the repository as the next run of the machine sees it.
func (w *wreck) client(t testing.TB) *Repo {
	return open(t, w.f.open(t), Options{StateDir: w.state})
}

// copy returns a wreck of its own, with the same objects and files.
func (w *wreck) copy(t testing.TB) *wreck {
	t.Helper()
	c := *w
	c.f, c.state = w.f.snapshot(), t.TempDir()
	if err := os.CopyFS(c.state, os.DirFS(w.state)); err != nil {
		t.Fatal(err)
	}
	return &c
}

// journal returns the path of the journal that the dead run has left.
func (w *wreck) journal(t testing.TB) string {
	return filepath.Join(w.state, testConfig().ID.String(), "sessions", w.session.String()+journalSuffix)
}

// registered returns the segments that the state registers, each once.
func registered(t testing.TB, r *Repo) map[pack.Name]bool {
	t.Helper()
	s := refresh(t, r)
	if _, err := r.Index(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	names := r.registeredSince(s, 0)
	count := 0
	for _, run := range s.Runs {
		count += r.runs[run.Name].SegmentCount()
	}
	if count != len(names) {
		t.Errorf("%d segments stand in runs, %d places", len(names), count)
	}
	return names
}

// next is the next run of the machine: it commits a snapshot. The state must be
// sound afterwards, no session unfinished, and no journal left. It returns the
// session's stats and what the state registers.
func (w *wreck) next(t testing.TB) (SessionStats, map[pack.Name]bool) {
	t.Helper()
	r := w.client(t)
	s := begin(t, r)
	stats := s.Stats()
	w.runs++
	if _, err := s.Commit(t.Context(), putTree(t, s, 9000+w.runs)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	w.sound(t)
	for _, problem := range r.Problems() {
		t.Error(problem)
	}
	if got := journals(t, r); len(got) != 0 {
		t.Errorf("journals left: %v", got)
	}
	return stats, registered(t, r)
}

// sound checks the log, and that what is visible is closed under refs and in the
// bucket.
func (w *wreck) sound(t testing.TB) {
	t.Helper()
	if state := audit(t, w.f.open(t)); len(state.Unfinished()) != 0 {
		t.Errorf("unfinished: %v", state.Unfinished())
	}
	r := open(t, w.f.open(t), Options{})
	view, err := r.Index(t.Context(), refresh(t, r))
	if err != nil {
		t.Fatal(err)
	}
	for name := range registered(t, r) {
		data := w.f.Objects.Get(name.Key())
		if data == nil {
			t.Fatalf("segment %s is gone", name)
		}
		h, err := decodeHeader(data)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range h.External {
			if !view.Has(id) {
				t.Errorf("segment %s refers to %s, which is not visible", name, id)
			}
		}
	}
}

func TestAdoption(t *testing.T) {
	w := newWreck(t, 3)
	stats, names := w.next(t)
	if stats.AdoptedSegments != 6 || stats.AdoptedBytes == 0 || stats.StoredBytes == 0 {
		t.Errorf("stats %+v", stats)
	}
	for _, name := range w.segment {
		if !names[name] {
			t.Errorf("segment %s is not registered", name)
		}
	}
	// The run names the session that has registered it, the headers that which
	// has sealed; an index made again from the headers is the same.
	r := w.client(t)
	state := refresh(t, r)
	if state.Runs[0].Session == w.session {
		t.Error("the dead session has registered its segments")
	}
	data := w.f.Objects.Get(state.Runs[0].Name.Key())
	var stored []index.Stored
	for _, name := range w.segment {
		e, err := r.store.Stat(t.Context(), name.Key())
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, index.Stored{Name: name, Size: e.Size, Session: state.Runs[0].Session})
	}
	b, failed, err := index.FromHeaders(t.Context(), r.store, r.config.ID, stored, 2)
	if err != nil || len(failed) > 0 {
		t.Fatal(err, failed)
	}
	if again, _, err := b.Encode(r.config.ID, state.Runs[0].Name); err != nil || !bytes.Equal(again, data) {
		t.Errorf("the run is not that of its segments: %v", err)
	}
	for _, id := range slices.Concat(w.blocks, w.leaves) {
		if _, row, err := r.Sealed(t.Context(), id); err != nil || row.ID != w.session {
			t.Errorf("object %s of session %s: %v", id, row.ID, err)
		}
	}
}

// A run that has registered a part and uploaded more leaves both.
func TestAdoptionAfterAddRun(t *testing.T) {
	_, f := newRepo(t)
	w := &wreck{f: f, state: t.TempDir()}
	s := register(t, w.client(t), 1)
	block := put(t, s, 2, object.KindBlock)
	flush(t, s, s.data)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	log := f.Log()
	last := log[len(log)-1] // the upload that is not registered
	first := f.Objects.Keys("seg/")[0]
	if last.Key == first {
		first = f.Objects.Keys("seg/")[1]
	}
	var asked atomic.Int32
	f.read = func(key string) error {
		if key == first {
			asked.Add(1)
		}
		return nil
	}
	r := w.client(t)
	if err := begin(t, r).Close(); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 0 {
		t.Error("a segment that was registered is looked at again")
	}
	f.read = nil
	if _, names := w.next(t); len(names) != 4 { // two of the dead run, two of the last
		t.Errorf("%d segments are registered", len(names))
	}
	r = w.client(t)
	refresh(t, r)
	if _, _, err := r.Sealed(t.Context(), block); err != nil {
		t.Error(err)
	}
}

// What a dead run has registered is protected by its session alone (R10), and
// the next run builds on it: that session does not end before a snapshot
// reaches what it has registered.
func TestDeadSessionProtects(t *testing.T) {
	_, f := newRepo(t)
	w := &wreck{f: f, state: t.TempDir()}
	dead := register(t, w.client(t), 1)
	put(t, dead, 2, object.KindBlock)
	flush(t, dead, dead.data) // what the next run takes over
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	r := w.client(t)
	s := begin(t, r)
	unfinished := func(when string) {
		t.Helper()
		if list := refresh(t, r).Unfinished(); !slices.Contains(list, dead.ID()) || len(list) != 2 {
			t.Errorf("unfinished %s: %v, want %s and %s", when, list, dead.ID(), s.ID())
		}
	}
	if s.Stats().AdoptedSegments == 0 {
		t.Error("nothing is taken over")
	}
	unfinished("after the begin")
	put(t, s, 3, object.KindBlock)
	if err := s.AddRun(t.Context()); err != nil {
		t.Fatal(err)
	}
	unfinished("after an add-run")
	if after, err := s.Commit(t.Context(), putTree(t, s, 4)); err != nil || len(after.Unfinished()) != 0 {
		t.Errorf("unfinished after the snapshot: %v, %v", after.Unfinished(), err)
	}
}

// What is not as the journal says is left out, and with it what refers to it.
func TestAdoptionLeavesOut(t *testing.T) {
	whole := newWreck(t, 3)
	data, meta := whole.segment[2], whole.segment[3] // of the second pair
	tests := []struct {
		name string
		edit func(t *testing.T, w *wreck)
		out  []pack.Name
	}{
		{"nothing", func(*testing.T, *wreck) {}, nil},
		{"data is gone", func(_ *testing.T, w *wreck) { w.f.Objects.Remove(data.Key()) }, []pack.Name{data, meta}},
		{"metadata is gone", func(_ *testing.T, w *wreck) { w.f.Objects.Remove(meta.Key()) }, []pack.Name{meta}},
		{"longer", func(_ *testing.T, w *wreck) {
			b := w.f.Objects.Get(data.Key())
			w.f.Objects.Set(data.Key(), append(bytes.Clone(b), 0))
		}, []pack.Name{data, meta}},
		{"empty", func(_ *testing.T, w *wreck) { w.f.Objects.Set(data.Key(), nil) }, []pack.Name{data, meta}},
		{"another header", func(_ *testing.T, w *wreck) {
			b := w.f.Objects.Get(data.Key())
			b = bytes.Clone(b)
			b[pack.PreludeSize+20] ^= 1
			w.f.Objects.Set(data.Key(), b)
		}, []pack.Name{data, meta}},
		{"another segment in its place", func(_ *testing.T, w *wreck) {
			b := w.f.Objects.Get(whole.segment[0].Key())
			w.f.Objects.Set(data.Key(), b)
		}, []pack.Name{data, meta}},
		{"a journal without its end", func(t *testing.T, w *wreck) {
			b, err := os.ReadFile(w.journal(t))
			if err == nil {
				err = os.WriteFile(w.journal(t), b[:len(b)-1], 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, []pack.Name{whole.segment[5]}},
		{"an empty journal", func(t *testing.T, w *wreck) { truncate(t, w.journal(t), 0) }, whole.segment},
		{"a journal that is no more", func(t *testing.T, w *wreck) {
			if err := os.Remove(w.journal(t)); err != nil {
				t.Fatal(err)
			}
		}, whole.segment},
		{"an old journal", func(t *testing.T, w *wreck) {
			at := time.Now().Add(-journalAge - time.Hour)
			if err := os.Chtimes(w.journal(t), at, at); err != nil {
				t.Fatal(err)
			}
		}, whole.segment},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := whole.copy(t)
			tt.edit(t, w)
			stats, names := w.next(t)
			for _, name := range w.segment {
				if names[name] == slices.Contains(tt.out, name) {
					t.Errorf("segment %s registered: %v", name, names[name])
				}
			}
			if want := uint64(len(w.segment) - len(tt.out)); stats.AdoptedSegments != want {
				t.Errorf("adopted %d, want %d", stats.AdoptedSegments, want)
			}
		})
	}
}

func truncate(t testing.TB, path string, n int64) {
	t.Helper()
	if err := os.Truncate(path, n); err != nil {
		t.Fatal(err)
	}
}

// R3: what a generation has condemned since the name was chosen is not taken
// over, whether or not its deletion is recorded, nor what was uploaded before
// the floor of the log.
func TestAdoptable(t *testing.T) {
	s := &Session{base: &State{Generation: 9, Floor: 3, recent: []recentClean{{5, []Name{SegmentName(pack.Name{2})}}}}}
	for u, want := range map[upload]bool{
		{Name: pack.Name{1}, Known: 3}:  true,
		{Name: pack.Name{1}, Known: 9}:  true,
		{Name: pack.Name{1}, Known: 2}:  false,
		{Name: pack.Name{1}, Known: 10}: false,
		{Name: pack.Name{2}, Known: 4}:  false,
		{Name: pack.Name{2}, Known: 5}:  true,
	} {
		got, err := s.adoptable(t.Context(), []adoption{{upload: u}})
		if err != nil || len(got) == 1 != want {
			t.Errorf("%+v: %d, %v", u, len(got), err)
		}
	}
}

// What is visible already is of no use, wherever else it stands.
func TestAdoptionOfWhatIsThere(t *testing.T) {
	w := newWreck(t, 2)
	other := open(t, w.f.open(t), Options{StateDir: t.TempDir()})
	s := begin(t, other)
	for i, block := range w.blocks {
		put(t, s, uint64(i), object.KindBlock)
		if i == 0 {
			put(t, s, 0, object.KindInodes, block)
		}
	}
	if _, err := s.Commit(t.Context(), putTree(t, s, 50)); err != nil {
		t.Fatal(err)
	}
	stats, names := w.next(t)
	if stats.AdoptedSegments != 1 || !names[w.segment[3]] {
		t.Errorf("adopted %d, want the leaf that nobody else has", stats.AdoptedSegments)
	}
}

// The bucket cannot be asked: the run does without, and the next one asks again.
func TestAdoptionPutOff(t *testing.T) {
	w := newWreck(t, 2)
	w.f.read = func(key string) error {
		if key == w.segment[0].Key() {
			return fault.ErrRefused
		}
		return nil
	}
	r := w.client(t)
	backUp(t, r, 99)
	if len(r.Problems()) != 1 || len(journals(t, r)) != 1 {
		t.Errorf("problems %v, journals %v", r.Problems(), journals(t, r))
	}
	w.f.read = nil
	_, names := w.next(t)
	for _, name := range w.segment {
		if !names[name] {
			t.Errorf("segment %s is not registered", name)
		}
	}
}

// The last generation of the dead run arrives only when the next one takes its
// uploads over: each segment is registered once all the same.
func TestLateGeneration(t *testing.T) {
	w := newWreck(t, 2)
	var late []byte
	dead := w.copy(t)
	dead.f.put = func(key string, data []byte) fault.Effect {
		if strings.HasPrefix(key, "gen/") {
			late = bytes.Clone(data)
			return fault.Refuse
		}
		return fault.None
	}
	// The run dies with its generation on the way.
	if _, err := dead.client(t).Begin(t.Context(), writer); err == nil {
		t.Fatal("the generation was refused, and nobody says so")
	}
	dead.f.put = nil
	arrived := false
	dead.f.put = func(key string, _ []byte) fault.Effect {
		if key == GenerationKey(1) && !arrived {
			arrived = true
			dead.f.Objects.Set(key, late)
		}
		return fault.None
	}
	_, names := dead.next(t)
	for _, name := range w.segment {
		if !arrived || !names[name] {
			t.Errorf("segment %s is not registered", name)
		}
	}
}

// Runs that begin at once take over each journal once.
func TestConcurrentAdoption(t *testing.T) {
	w := newWreck(t, 2)
	for range 5 { // more wrecks of the same machine
		s := begin(t, w.client(t))
		if got := s.Stats().AdoptedSegments; got > 4 {
			t.Fatalf("adopted %d", got)
		}
		put(t, s, rand.Uint64()%1e6+1000, object.KindBlock)
		flush(t, s, s.data)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range uint64(6) {
		wg.Go(func() {
			r := w.client(t)
			s, err := r.Begin(t.Context(), writer)
			if err == nil {
				_, err = s.Commit(t.Context(), putTree(t, s, 100+i))
				err = errors.Join(err, s.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	_, names := w.next(t)
	for _, key := range w.f.Objects.Keys("seg/") {
		if name, err := pack.ParseKey(key); err != nil || !names[name] {
			t.Errorf("%s is not registered", key)
		}
	}
}
