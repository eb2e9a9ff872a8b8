package repo

import (
	"strings"
	"testing"

	"bluesky/object"
	"bluesky/pack"
)

// copied puts the objects of the given ids into one new segment, each sealed as
// it is.
func (w *sweep) copied(name byte, edit func(*object.Sealed), ids ...object.ID) *pack.Segment {
	w.t.Helper()
	var b *pack.Builder
	for _, id := range ids {
		o, row, err := w.r.sealedIn(w.t.Context(), w.state, id)
		if err != nil {
			w.t.Fatal(err)
		}
		if edit != nil {
			edit(&o)
		}
		if b == nil {
			b = pack.NewBuilder(w.state.Repository, o.Kind.Class(), 1<<16)
		}
		if err := b.Add(o, row); err != nil {
			w.t.Fatal(err)
		}
	}
	segment, err := b.Finish(pack.Name{0xee, name})
	if err != nil {
		w.t.Fatal(err)
	}
	w.f.Objects.Set(segment.Name.Key(), segment.Bytes)
	return segment
}

// TestRefusedCleans: the assertion at the end of a commit refuses a clean that
// would lose or invent something, and lets through what is next to it.
func TestRefusedCleans(t *testing.T) {
	// The bucket holds snapshot 1, whose block, leaf and object are of seed 1,
	// and a run of a session that goes on, with a block of seed 9.
	type world struct {
		*sweep
		snapshot       AddSnapshot
		block, pending object.ID
		session        object.SessionID
	}
	forget := func(w *world) *world {
		w.t.Helper()
		if _, err := open(w.t, w.f.open(w.t), Options{}).Forget(w.t.Context(), admin, []object.ID{w.snapshot.ID}, nil); err != nil {
			w.t.Fatal(err)
		}
		w.sweep = w.f.sweep(w.t)
		return w
	}
	segmentOf := func(w *world, id object.ID) pack.Name {
		view, err := w.r.Index(w.t.Context(), w.state)
		if err != nil {
			w.t.Fatal(err)
		}
		return view.Lookup(id)[0].Segment.Name
	}
	tests := []struct {
		name string
		plan func(w *world)
		want string // "" for no error
	}{
		{"nothing", func(w *world) {}, ""},
		{"an orphan is condemned", func(w *world) { w.gone(pack.Name{7}) }, ""},
		{"the object of a live snapshot is dead", func(w *world) { w.dead(w.snapshot.ID) }, "the root of a snapshot"},
		{"the map of a live snapshot is dead", func(w *world) { w.dead(w.snapshot.Root) }, "the root of a snapshot"},
		{"the segment of a live snapshot is condemned", func(w *world) { w.gone(segmentOf(w, w.snapshot.ID)) }, "the root of a snapshot"},
		{"the object of a forgotten snapshot is dead", func(w *world) { forget(w).dead(w.snapshot.ID) }, "the root of a snapshot"},
		{"the object of one that it collects is dead", func(w *world) {
			forget(w).dead(w.snapshot.ID).clean.Collected = []object.ID{w.snapshot.ID}
		}, ""},
		{"a row of an unfinished session is dead", func(w *world) { w.dead(w.pending) }, "which goes on"},
		{"a segment of an unfinished session is condemned", func(w *world) { w.gone(segmentOf(w, w.pending)) }, "which goes on"},
		{"a row of a session that it ends is dead", func(w *world) {
			w.dead(w.pending).clean.Expired = []object.SessionID{w.session}
		}, ""},
		{"a condemned segment is not marked", func(w *world) {
			w.clean.Condemned = []Name{SegmentName(segmentOf(w, w.block))}
		}, "not marked gone"},
		{"a copy in place of a condemned segment", func(w *world) {
			s := w.copied(1, nil, w.block)
			w.gone(segmentOf(w, w.block)).add(1, s)
		}, ""},
		{"a copy beside it", func(w *world) { w.add(1, w.copied(1, nil, w.block)) }, ""},
		{"a copy of other bytes", func(w *world) {
			s := w.copied(1, func(o *object.Sealed) { o.Bytes[20] ^= 1 }, w.block)
			w.gone(segmentOf(w, w.block)).add(1, s)
		}, "shows object"},
		{"a copy of other bytes beside it", func(w *world) {
			w.add(1, w.copied(1, func(o *object.Sealed) { o.Bytes[20] ^= 1 }, w.block))
		}, "shows object"},
		{"an object that nobody had", func(w *world) {
			w.add(1, w.copied(1, func(o *object.Sealed) { o.ID[0] ^= 1 }, w.block))
		}, "shows object"},
		{"a copy of what is dead", func(w *world) {
			s := w.copied(1, nil, w.pending)
			w.clean.Expired = []object.SessionID{w.session}
			w.dead(w.pending).commit()
			w.sweep = w.f.sweep(w.t).add(1, s)
		}, "shows object"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, f := newRepo(t)
			first := begin(t, r)
			w := &world{snapshot: putTree(t, first, 1)}
			if _, err := first.Commit(t.Context(), w.snapshot); err != nil {
				t.Fatal(err)
			}
			w.block = put(t, begin(t, r), 1, object.KindBlock)
			s := begin(t, r)
			w.session, w.pending = s.ID(), put(t, s, 9, object.KindBlock)
			if err := s.AddRun(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.sweep = f.sweep(t)
			tt.plan(w)
			generations := len(f.Objects.Keys("gen/"))
			_, err := w.try()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("got %v, want %q", err, tt.want)
			}
			if made := len(f.Objects.Keys("gen/")) > generations; made != (tt.want == "") {
				t.Errorf("a generation is there: %v", made)
			}
		})
	}
}

// TestDeletedShowsNothing: a cleaner has condemned a segment and did not mark
// it, so that its rows are hidden by its name alone. Nobody sets that name free.
func TestDeletedShowsNothing(t *testing.T) {
	r, f := newRepo(t)
	backUp(t, r, 1)
	l := &log{t, refresh(t, r)}
	clean := Clean{Fold: 1}
	for _, name := range f.segments(t) {
		clean.Condemned = append(clean.Condemned, SegmentName(name))
	}
	f.Objects.Set(GenerationKey(2), l.encode(cleaner, nil, plainOp(t, OpClean, &clean)))
	s := refresh(t, r)
	body := plainOp(t, OpDeleted, &Deleted{clean.Condemned})
	if _, err := r.Append(t.Context(), s, cleaner, []Op{body}); err == nil || !strings.Contains(err.Error(), "not marked gone") {
		t.Errorf("got %v", err)
	}
}

// TestUndoneRootIsGone: a cleaner has destroyed what a forgotten snapshot needs.
// Nobody lists it again.
func TestUndoneRootIsGone(t *testing.T) {
	r, f := newRepo(t)
	after := backUp(t, r, 1)
	ids := []object.ID{after.Snapshots[0].ID}
	if _, err := r.Forget(t.Context(), admin, ids, nil); err != nil {
		t.Fatal(err)
	}
	w := f.sweep(t).dead(ids[0])
	table := w.marks.Delta([16]byte{1}, nil)
	f.Objects.Set(table.Ref.Name.Key(), table.Data)
	w.clean.Marks = []TableRef{table.Ref}
	l := &log{t, w.state}
	f.Objects.Set(GenerationKey(w.state.Generation+1), l.encode(cleaner, nil, plainOp(t, OpClean, &w.clean)))
	if _, err := r.UndoForget(t.Context(), admin, ids); err == nil || !strings.Contains(err.Error(), "not visible") {
		t.Errorf("got %v", err)
	}
}
