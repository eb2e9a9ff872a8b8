package repo

import (
	"bytes"
	"crypto/ed25519"
	"maps"
	"slices"
	"testing"

	"bluesky/object"
)

func at(sec int64) object.Time { return object.Time{Sec: sec} }

// TestEffectiveTimes: the time that a snapshot claims, but not after the
// store's, and not before that of the one before it in its line.
func TestEffectiveTimes(t *testing.T) {
	type entry struct {
		id     byte
		signer ed25519.PrivateKey
		series byte
		claims int64
	}
	first := entry{1, writer, 1, 100}
	second := func(claims int64) []entry { return []entry{first, {2, writer, 1, claims}} }
	tests := []struct {
		name   string
		added  []entry
		before []map[byte]int64 // by earlier cleans
		stored map[byte]int64   // what the clean records
		want   map[byte]int64   // effective; who has none is left out
	}{
		{"as claimed", second(200), nil, map[byte]int64{1: 150, 2: 250}, map[byte]int64{1: 100, 2: 200}},
		{"claimed when it was stored", second(250), nil, map[byte]int64{1: 150, 2: 250}, map[byte]int64{1: 100, 2: 250}},
		{"claimed in the future", second(900), nil, map[byte]int64{1: 150, 2: 250}, map[byte]int64{1: 100, 2: 250}},
		{"claimed in the past", second(50), nil, map[byte]int64{1: 150, 2: 250}, map[byte]int64{1: 100, 2: 100}},
		{"stored before the one before it", second(200), nil, map[byte]int64{1: 150, 2: 40}, map[byte]int64{1: 100, 2: 100}},
		{"both in the future", []entry{{1, writer, 1, 900}, {2, writer, 1, 800}}, nil, map[byte]int64{1: 150, 2: 250}, map[byte]int64{1: 150, 2: 250}},
		{"past, of another series", []entry{first, {2, writer, 2, 50}}, nil, map[byte]int64{1: 150, 2: 250}, map[byte]int64{1: 100, 2: 50}},
		{"past, of another signer", []entry{first, {2, admin, 1, 50}}, nil, map[byte]int64{1: 150, 2: 250}, map[byte]int64{1: 100, 2: 50}},
		{"past, across one of another series", []entry{first, {2, writer, 2, 300}, {3, writer, 1, 50}}, nil,
			map[byte]int64{1: 400, 2: 400, 3: 400}, map[byte]int64{1: 100, 2: 300, 3: 100}},
		{"past, behind one of an earlier clean", second(50), []map[byte]int64{{1: 150}}, map[byte]int64{2: 250}, map[byte]int64{1: 100, 2: 100}},
		{"past, behind one without a time", second(50), nil, map[byte]int64{2: 250}, map[byte]int64{2: 50}},
		{"one before one that has a time", second(50), []map[byte]int64{{2: 250}}, map[byte]int64{1: 150}, map[byte]int64{1: 100, 2: 50}},
		{"a chain in the past", []entry{first, {2, writer, 1, 50}, {3, writer, 1, 60}, {4, writer, 1, 120}}, nil,
			map[byte]int64{1: 500, 2: 500, 3: 500, 4: 500}, map[byte]int64{1: 100, 2: 100, 3: 100, 4: 120}},
		{"no time for any", second(50), nil, nil, nil},
	}
	for _, tt := range tests {
		for _, forgotten := range []bool{false, true} {
			l := newLog(t)
			for _, e := range tt.added {
				s := inSeries(e.id, e.series)
				s.Time = at(e.claims)
				l.mustFold(e.signer, statement(t, e.signer, e.id, 1, OpAddSnapshot, s))
			}
			if forgotten { // which counts as the one before all the same
				l.mustFold(admin, plainOp(t, OpForget, &Forget{Snapshots: ids(tt.added[0].id)}))
			}
			for _, stored := range append(slices.Clone(tt.before), tt.stored) {
				var times []StoreTime
				for _, id := range slices.Sorted(maps.Keys(stored)) {
					times = append(times, StoreTime{ID: object.ID{id}, Time: at(stored[id])})
				}
				l.mustFold(cleaner, plainOp(t, OpClean, &Clean{Times: times}))
			}
			got := map[byte]int64{}
			for id, snap := range l.state.byID() {
				if snap.Effective != nil {
					got[id[0]] = snap.Effective.Sec
				}
			}
			if !maps.Equal(got, tt.want) {
				t.Errorf("%s, forgotten %v: got %v, want %v", tt.name, forgotten, got, tt.want)
			}
		}
	}
}

// TestTimesOfOneGeneration: of snapshots that one generation adds, the one of
// the lower id comes first, in whatever order its ops stand.
func TestTimesOfOneGeneration(t *testing.T) {
	for _, turned := range []bool{false, true} {
		l := newLog(t)
		low, high := inSeries(1, 1), inSeries(2, 1)
		low.Time, high.Time = at(100), at(50)
		list := []Op{statement(t, writer, 1, 1, OpAddSnapshot, low), statement(t, writer, 2, 1, OpAddSnapshot, high)}
		if turned {
			slices.Reverse(list)
		}
		l.mustFold(writer, list...)
		l.mustFold(cleaner, plainOp(t, OpClean, &Clean{Times: []StoreTime{{ID: object.ID{1}, Time: at(200)}, {ID: object.ID{2}, Time: at(200)}}}))
		if s, _ := l.state.Snapshot(object.ID{2}); s.Effective.Sec != 100 {
			t.Errorf("turned %v: %v", turned, s.Effective)
		}
	}
}

// TestForgetAndUndo: what is forgotten is listed no more and keeps what was said
// of it; an undo brings it back to its place.
func TestForgetAndUndo(t *testing.T) {
	l := newLog(t)
	pinned := snap(2)
	pinned.Pinned = true
	for i, s := range []*AddSnapshot{snap(1), pinned, snap(3), snap(4)} {
		l.mustFold(writer, statement(t, writer, byte(i), 1, OpAddSnapshot, s))
	}
	var times []StoreTime
	for _, id := range ids(1, 2, 3, 4) {
		times = append(times, StoreTime{ID: id, Time: at(7)})
	}
	l.mustFold(cleaner, plainOp(t, OpClean, &Clean{Times: times}))
	live := func(want ...byte) {
		t.Helper()
		if got := liveIDs(l.state); !slices.Equal(got, ids(want...)) {
			t.Fatalf("live are %v, want %v", got, want)
		}
	}
	forgotten := func(want ...byte) {
		t.Helper()
		var got []object.ID
		for _, f := range l.state.Forgotten {
			got = append(got, f.ID)
		}
		if !slices.Equal(got, ids(want...)) {
			t.Fatalf("forgotten are %v, want %v", got, want)
		}
	}
	forget := func(of ...byte) { l.mustFold(admin, plainOp(t, OpForget, &Forget{Snapshots: ids(of...)})) }
	list := func(typ OpType, of ...byte) { l.mustFold(admin, plainOp(t, typ, &SnapshotList{ids(of...)})) }

	forget(3)
	forget(1)
	live(2, 4)
	forgotten(1, 3) // in the order of the log
	if f := l.state.Forgotten[1]; f.At != 6 || f.Generation != 3 || f.By != nil || f.Effective == nil {
		t.Errorf("forgotten: %+v", f)
	}
	list(OpUnpin, 2)
	forget(2)
	live(4)
	forgotten(1, 2, 3)
	list(OpUndoForget, 2, 3)
	live(2, 3, 4)
	forgotten(1)
	if s, _ := l.state.Snapshot(object.ID{2}); s.Pinned || !s.stated || s.Effective == nil || s.Generation != 2 {
		t.Errorf("brought back: %+v", s)
	}
	list(OpPin, 2, 4)
	list(OpPin, 4) // once more changes nothing
	if s, _ := l.state.Snapshot(object.ID{4}); !s.Pinned {
		t.Error("it is not pinned")
	}
	if void := l.add(admin, plainOp(t, OpForget, &Forget{Snapshots: ids(2)})); len(void) != 1 {
		t.Error("a pinned one was forgotten")
	}
	// Roots are those of both, until one is collected.
	roots := func() (n int) {
		for range l.state.Roots() {
			n++
		}
		return n
	}
	if got := roots(); got != 8 {
		t.Errorf("%d roots, want 8", got)
	}
	l.mustFold(cleaner, plainOp(t, OpClean, &Clean{Collected: ids(1)}))
	forgotten()
	if got := roots(); got != 6 {
		t.Errorf("%d roots, want 6", got)
	}
	policy := &ForgetPolicy{Last: 3}
	l.mustFold(writer, statement(t, writer, 9, 1, OpAddSnapshot, inSeries(9, 3)))
	l.mustFold(cleaner, plainOp(t, OpForget, &Forget{ids(3), policy}))
	if f := l.state.Forgotten[0]; f.ID != (object.ID{3}) || f.By == nil || *f.By != *policy {
		t.Errorf("forgotten by a policy: %+v", f)
	}
}

// TestForgottenOrder: of one generation, those that were forgotten first stand
// first; an undo puts them behind those that stayed.
func TestForgottenOrder(t *testing.T) {
	l := newLog(t)
	var list []Op
	for _, n := range []byte{3, 1, 2} {
		list = append(list, statement(t, writer, n, 1, OpAddSnapshot, snap(n)))
	}
	l.mustFold(writer, list...)
	for _, n := range []byte{2, 3} {
		l.mustFold(admin, plainOp(t, OpForget, &Forget{Snapshots: ids(n)}))
	}
	if f := l.state.Forgotten; f[0].ID != (object.ID{2}) || f[1].ID != (object.ID{3}) {
		t.Errorf("forgotten: %v, %v", f[0].ID, f[1].ID)
	}
	l.mustFold(admin, plainOp(t, OpUndoForget, &SnapshotList{ids(2, 3)}))
	if got := liveIDs(l.state); !slices.Equal(got, ids(1, 2, 3)) {
		t.Errorf("live: %v", got)
	}
}

// TestCleanFolds: what a clean says is what the state says then.
func TestCleanFolds(t *testing.T) {
	l := cleaned(t)
	l.mustFold(writer, statement(t, writer, 8, 1, OpAddRun, run(8)))
	before := l.state
	l.mustFold(cleaner, plainOp(t, OpClean, &Clean{
		Fold: 7, Collected: ids(3), Expired: sessions(1), Pending: sessions(1, 8),
		Condemned: []Name{name(FolderRuns, 1), name(FolderTables, 2)},
		Runs:      []AddRun{*run(21)}, Marks: tables(1, 4), Counts: tables(5), Space: tables(3),
	}))
	s := l.state
	var runs []byte
	for i, r := range s.Runs {
		runs = append(runs, r.Name[0])
		if want := r.Name[0] >= 20; r.Cleaned != want || want && (r.Session != object.SessionID{} || r.Signer != PublicKey{}) {
			t.Errorf("run %d: %+v", i, r)
		}
	}
	if !slices.Equal(runs, []byte{20, 8, 21}) {
		t.Errorf("runs %v", runs)
	}
	for i, want := range []bool{true, false, true} {
		if got := s.Counted(&s.Runs[i]); got != want {
			t.Errorf("run %d is counted: %v", s.Runs[i].Name[0], got)
		}
	}
	if s.Fold != 7 || !slices.Equal(s.Pending, sessions(1, 8)) || !slices.Equal(s.Unfinished(), sessions(8)) {
		t.Errorf("fold %d, pending %v, unfinished %v", s.Fold, s.Pending, s.Unfinished())
	}
	if len(s.Forgotten) != 0 || len(s.Snapshots) != len(before.Snapshots) {
		t.Errorf("%d forgotten, %d live", len(s.Forgotten), len(s.Snapshots))
	}
	if !slices.Equal(s.Marks, tables(1, 4)) || !slices.Equal(s.Counts, tables(5)) || !slices.Equal(s.Space, tables(3)) {
		t.Errorf("marks %v, counts %v, space %v", s.Marks, s.Counts, s.Space)
	}
	want := map[Name]uint64{name(FolderRuns, 1): 9, name(FolderTables, 2): 9}
	for _, folder := range []Folder{FolderSegments, FolderRuns, FolderTables, FolderCheckpoints} {
		want[name(folder, 0x70)] = 5
	}
	if !maps.Equal(s.Condemned, want) {
		t.Errorf("condemned %v, want %v", s.Condemned, want)
	}
	// A collected snapshot may be added again, a session that has expired adds
	// nothing any more.
	l.mustFold(writer, statement(t, writer, 0x33, 1, OpAddSnapshot, snap(3)))
	if void := l.add(writer, statement(t, writer, 1, 9, OpAddRun, run(30))); len(void) != 1 {
		t.Error("a session that has expired goes on")
	}
	// Deleted names are free, and remembered.
	l.mustFold(cleaner, plainOp(t, OpDeleted, &Deleted{[]Name{name(FolderSegments, 0x70), name(FolderRuns, 1)}}))
	delete(want, name(FolderSegments, 0x70))
	delete(want, name(FolderRuns, 1))
	if !maps.Equal(l.state.Condemned, want) {
		t.Errorf("condemned %v, want %v", l.state.Condemned, want)
	}
	remembered := map[Name]uint64{}
	for _, c := range l.state.recent {
		c.into(remembered)
	}
	for n, generation := range map[Name]uint64{name(FolderSegments, 0x70): 5, name(FolderSegments, 0x71): 5, name(FolderRuns, 1): 9} {
		if remembered[n] != generation {
			t.Errorf("%s was condemned by %d, remembered is %d", n, generation, remembered[n])
		}
	}
}

// TestFloorEndsSessions: the state forgets those that ended before the floor,
// and no other: what a session that goes on has added stays protected.
func TestFloorEndsSessions(t *testing.T) {
	l := cleaned(t)
	l.mustFold(cleaner, plainOp(t, OpFloor, &Floor{3}))
	if l.state.Floor != 3 {
		t.Fatalf("floor %d", l.state.Floor)
	}
	var known []byte
	for id := range l.state.sessions {
		known = append(known, id[0])
	}
	slices.Sort(known)
	if !slices.Equal(known, []byte{1, 3, 4, 5, 6}) { // 1 is unfinished, the others are of generation 3
		t.Errorf("sessions %v", known)
	}
	if !slices.Equal(l.state.Unfinished(), sessions(1)) {
		t.Errorf("unfinished %v", l.state.Unfinished())
	}
}

// TestPolicyStatement: the newest counts, and a checkpoint carries it with its
// signature.
func TestPolicyStatement(t *testing.T) {
	l := newLog(t)
	for i, quarantine := range []uint64{9, 0, 86400} {
		l.mustFold(admin, statement(t, admin, byte(i), 1, OpPolicy, &Policy{quarantine}))
		if l.state.Policy.Quarantine != quarantine {
			t.Errorf("quarantine %d", l.state.Policy.Quarantine)
		}
		data := encodeState(t, l.state)
		s, err := DecodeState(data)
		if err != nil || s.Policy != l.state.Policy || !bytes.Equal(encodeState(t, s), data) {
			t.Errorf("its checkpoint: %v", err)
		}
	}
}
