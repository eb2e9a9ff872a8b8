package repo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/refcount"
	"bluesky/store/fault"
)

// A sweep is a clean as a cleaner makes it, by the cleaner's key and what is in
// the bucket.
type sweep struct {
	t      testing.TB
	f      *faulty
	r      *Repo
	state  *State
	clean  Clean
	marks  *refcount.MarksChange
	tables byte // drawn so far
}

// sweep begins a clean of the newest state that changes nothing.
func (f *faulty) sweep(t testing.TB) *sweep {
	t.Helper()
	r := open(t, f.open(t), Options{})
	s := refresh(t, r)
	if _, err := r.Index(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	marks, err := r.Marks(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return &sweep{t: t, f: f, r: r, state: s, marks: marks.Change(), clean: Clean{
		Fold: s.Generation, Pending: s.Unfinished(),
		Marks: slices.Clip(s.Marks), Counts: slices.Clip(s.Counts), Space: slices.Clip(s.Space),
	}}
}

// gone condemns segments and marks them in each run that has them.
func (w *sweep) gone(names ...pack.Name) *sweep {
	w.t.Helper()
	for _, name := range names {
		w.clean.Condemned = append(w.clean.Condemned, SegmentName(name))
	}
	for _, run := range w.state.Runs {
		for i, seg := range w.r.OpenRun(run.Name).Segments() {
			if slices.Contains(names, seg.Name) {
				if err := w.marks.MarkGone(run.Name, uint32(i)); err != nil {
					w.t.Fatal(err)
				}
			}
		}
	}
	return w
}

// dead marks all rows of an object.
func (w *sweep) dead(id object.ID) *sweep {
	w.t.Helper()
	for _, run := range w.state.Runs {
		opened := w.r.OpenRun(run.Name)
		for i := range opened.Len() {
			if row := opened.Row(i); row.ID == id {
				if err := w.marks.MarkDead(run.Name, uint32(i)); err != nil {
					w.t.Fatal(err)
				}
			}
		}
	}
	return w
}

// add makes a run of segments that are in the bucket, in place of others, and
// adds it to the clean.
func (w *sweep) add(name byte, segments ...*pack.Segment) *sweep {
	w.t.Helper()
	var rows index.Builder
	for _, s := range segments {
		if err := rows.AddSegment(index.SegmentOf(s, object.SessionID{}), s.Header); err != nil {
			w.t.Fatal(err)
		}
	}
	data, hash, err := rows.Encode(w.state.Repository, index.RunName{0xcc, name})
	if err != nil {
		w.t.Fatal(err)
	}
	run := AddRun{Name: index.RunName{0xcc, name}, Size: uint64(len(data)), Hash: hash}
	w.f.Objects.Set(run.Name.Key(), data)
	w.clean.Runs = append(w.clean.Runs, run)
	return w
}

// try commits the clean, and behind it the ops more.
func (w *sweep) try(more ...Op) (*State, error) {
	w.t.Helper()
	if !w.marks.Empty() {
		table := w.marks.Delta(refcount.TableName{0xdd, byte(w.state.Generation), w.tables}, nil)
		w.tables++
		w.f.Objects.Set(table.Ref.Name.Key(), table.Data)
		w.clean.Marks = append(w.clean.Marks, table.Ref)
	}
	slices.SortFunc(w.clean.Condemned, Name.Compare)
	list := append([]Op{plainOp(w.t, OpClean, &w.clean)}, more...)
	return w.r.Append(w.t.Context(), w.state, cleaner, list)
}

func (w *sweep) commit(more ...Op) *State {
	w.t.Helper()
	s, err := w.try(more...)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// deleted removes what is condemned and records it.
func (f *faulty) deleted(t testing.TB) *State {
	t.Helper()
	r := open(t, f.open(t), Options{})
	s := refresh(t, r)
	var body Deleted
	for name := range s.Condemned {
		f.Objects.Remove(name.Key())
		body.Names = append(body.Names, name)
	}
	slices.SortFunc(body.Names, Name.Compare)
	after, err := r.Append(t.Context(), s, cleaner, []Op{plainOp(t, OpDeleted, &body)})
	if err != nil {
		t.Fatal(err)
	}
	return after
}

// TestOwnSegmentIsCondemned: a cleaner takes the uploads of a session for
// orphans while it commits. It does not register them, whatever became of them
// since: the put of one that was deleted may have come late, and its deletion
// too.
func TestOwnSegmentIsCondemned(t *testing.T) {
	for _, recorded := range []bool{false, true} {
		for _, back := range []bool{false, true} {
			t.Run(fmt.Sprintf("deletion recorded %v, there again %v", recorded, back), func(t *testing.T) {
				r, f := newRepo(t)
				f.grow(t, 1)
				before := f.segments(t)
				s := begin(t, r)
				var own []pack.Name
				f.put = func(key string, _ []byte) fault.Effect {
					if !strings.HasPrefix(key, "gen/") {
						return fault.None
					}
					f.put = nil
					own = slices.DeleteFunc(f.segments(t), func(n pack.Name) bool { return slices.Contains(before, n) })
					bytes := map[string][]byte{}
					for _, name := range own {
						bytes[name.Key()] = f.Objects.Get(name.Key())
					}
					f.sweep(t).gone(own...).commit()
					for key := range bytes {
						f.Objects.Remove(key)
					}
					if recorded {
						f.deleted(t)
					}
					if back {
						for key, data := range bytes {
							f.Objects.Set(key, data)
						}
					}
					return fault.None
				}
				add := putTree(t, s, 2)
				after, err := s.Commit(t.Context(), add)
				if !back {
					if !errors.Is(err, ErrObjectGone) {
						t.Errorf("got %v, want %v", err, ErrObjectGone)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range own { // now the deletion comes, that of a cleaner which was slow
					f.Objects.Remove(name.Key())
				}
				fresh := open(t, f.open(t), Options{})
				refresh(t, fresh)
				checkClosure(t, fresh, after, add.ID)
			})
		}
	}
}

// TestOwnRunIsCondemned: the same of the run that it is about to register. It
// registers another.
func TestOwnRunIsCondemned(t *testing.T) {
	r, f := newRepo(t)
	s := begin(t, r)
	var own index.RunName
	f.put = func(key string, _ []byte) fault.Effect {
		if !strings.HasPrefix(key, "gen/") {
			return fault.None
		}
		f.put = nil
		var err error
		if own, err = index.ParseKey(f.Objects.Keys("idx/")[0]); err != nil {
			t.Fatal(err)
		}
		w := f.sweep(t)
		w.clean.Condemned = []Name{RunName(own)}
		w.commit()
		f.deleted(t)
		f.Objects.Set(own.Key(), []byte("a put that comes late"))
		return fault.None
	}
	add := putTree(t, s, 2)
	after, err := s.Commit(t.Context(), add)
	if err != nil {
		t.Fatal(err)
	}
	if len(after.Runs) != 1 || after.Runs[0].Name == own {
		t.Errorf("registered are %+v", after.Runs)
	}
	fresh := open(t, f.open(t), Options{})
	refresh(t, fresh)
	checkClosure(t, fresh, after, add.ID)
}

// condemnedLog is a log in which generation 3 has condemned a segment, 4 has
// recorded its deletion, and 7 a checkpoint of generation 6, which a new client
// begins with.
func condemnedLog(t testing.TB) (*faulty, pack.Name) {
	_, f := newRepo(t)
	f.grow(t, 1)
	f.pad(t, 1)
	orphan := pack.Name{9}
	f.sweep(t).gone(orphan).commit()
	f.deleted(t)
	f.grow(t, 2, 3)
	f.record(t, refresh(t, open(t, f.open(t), Options{})))
	return f, orphan
}

// TestCondemnedBeforeACheckpoint: who chose a name before the checkpoint that it
// begins with still learns whether it was condemned.
func TestCondemnedBeforeACheckpoint(t *testing.T) {
	f, orphan := condemnedLog(t)
	r := open(t, f.open(t), Options{})
	s := refresh(t, r)
	if s.recentFrom != 6 || len(s.Condemned) != 0 {
		t.Fatalf("it begins at %d, %d names are condemned", s.recentFrom, len(s.Condemned))
	}
	for since, want := range []bool{true, true, true, false, false, false, false, false} {
		names, err := r.condemnedSince(t.Context(), s, uint64(since))
		if err != nil {
			t.Fatal(err)
		}
		if at, got := names[SegmentName(orphan)]; got != want || got && at != 3 {
			t.Errorf("since %d: condemned %v, by %d; want %v", since, got, at, want)
		}
	}
	s = s.clone()
	s.Floor = 3
	for since, want := range []bool{true, true, true, false} {
		if _, err := r.condemnedSince(t.Context(), s, uint64(since)); errors.Is(err, ErrObjectGone) != want {
			t.Errorf("since %d, with a floor of 3: %v", since, err)
		}
	}
}

// TestCondemnedCannotBeRead: a generation that is gone or is not what it was
// could have condemned anything.
func TestCondemnedCannotBeRead(t *testing.T) {
	// without is generation n without its ops, signed by one who may.
	without := func(f *faulty, n uint64) []byte {
		g, err := DecodeGeneration(f.Objects.Get(GenerationKey(n)))
		if err != nil {
			t.Fatal(err)
		}
		g.Ops, g.Previous = nil, hashGeneration(f.Objects.Get(GenerationKey(n-1)))
		data, err := encodeGeneration(g, testConfig().ID, cleaner)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	tests := []struct {
		name   string
		damage func(f *faulty)
	}{
		{"removed", func(f *faulty) { f.Objects.Remove(GenerationKey(3)) }},
		{"garbage", func(f *faulty) { f.Objects.Set(GenerationKey(3), []byte("x")) }},
		{"too long", func(f *faulty) { f.Objects.Set(GenerationKey(3), make([]byte, generationMax+1)) }},
		{"of a newer version", func(f *faulty) { f.Objects.Set(GenerationKey(3), []byte{0xa1, 1, 2}) }},
		{"another, without its clean", func(f *faulty) {
			f.Objects.Set(GenerationKey(3), without(f, 3))
		}},
		{"another, and all behind it", func(f *faulty) {
			for n := uint64(3); n <= 6; n++ {
				f.Objects.Set(GenerationKey(n), without(f, n))
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := condemnedLog(t)
			r := open(t, f.open(t), Options{})
			s := refresh(t, r)
			tt.damage(f)
			if names, err := r.condemnedSince(t.Context(), s, 1); !errors.Is(err, ErrObjectGone) {
				t.Errorf("got %v, %v; want %v", names, err, ErrObjectGone)
			}
			if _, err := r.condemnedSince(t.Context(), s, 6); err != nil {
				t.Errorf("it is of no matter to who began behind: %v", err)
			}
		})
	}
}
