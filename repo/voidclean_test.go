package repo

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/refcount"
)

func ids(list ...byte) []object.ID {
	var out []object.ID
	for _, n := range list {
		out = append(out, object.ID{n})
	}
	return out
}

func sessions(list ...byte) []object.SessionID {
	var out []object.SessionID
	for _, n := range list {
		out = append(out, object.SessionID{n})
	}
	return out
}

func name(folder Folder, n byte) Name { return Name{Folder: folder, ID: [16]byte{n}} }

func table(n byte) TableRef {
	return TableRef{Name: refcount.TableName{n}, Size: 96, Hash: object.Hash{n}}
}

func tables(list ...byte) []TableRef {
	var out []TableRef
	for _, n := range list {
		out = append(out, table(n))
	}
	return out
}

// inSeries is snap(n) of another series.
func inSeries(n, series byte) *AddSnapshot {
	s := snap(n)
	s.Series = Series{series}
	return s
}

// mustFold folds ops of which none is void.
func (l *log) mustFold(author ed25519.PrivateKey, ops ...Op) {
	l.t.Helper()
	follow := func(g *Generation) {
		if err := g.follow(ops); err != nil {
			l.t.Fatal(err)
		}
	}
	s, void, err := l.state.foldNext(l.encode(author, follow, ops...))
	if err != nil || len(void) > 0 {
		l.t.Fatalf("void %v, %v", void, err)
	}
	l.state = s
}

// cleaned returns a log in which, behind [begun],
//
//   - snapshots 2, 4 (pinned), 5 and 6 (of one series) are live, 3 is forgotten, 2
//     and 3 have times;
//   - session 1 is unfinished, all others have ended;
//   - runs 1 (of a writer) and 20 (of a clean) are registered, the tables 1 (marks), 2
//     (counts) and 3 (space) listed;
//   - one name 0x70 in each folder is condemned, and segment 0x71 was and is recorded
//     as deleted;
//   - generation 7, the newest, records a checkpoint of 6, by the name 0x51, and generations
//     up to 4 are counted.
func cleaned(t testing.TB) *log {
	l := begun(t)
	l.mustFold(writer,
		statement(t, writer, 3, 1, OpAddSnapshot, snap(3)),
		statement(t, writer, 4, 1, OpAddSnapshot, snap(4)),
		statement(t, writer, 5, 1, OpAddSnapshot, snap(5)),
		statement(t, writer, 6, 1, OpAddSnapshot, inSeries(6, 5)))
	l.mustFold(admin,
		plainOp(t, OpForget, &Forget{Snapshots: ids(3)}),
		plainOp(t, OpPin, &SnapshotList{ids(4)}))
	l.mustFold(cleaner, plainOp(t, OpClean, &Clean{
		Fold: 4, Pending: sessions(1),
		Times: []StoreTime{{ID: object.ID{2}, Time: object.TimeOf(testTime)}, {ID: object.ID{3}, Time: object.TimeOf(testTime)}},
		Condemned: []Name{
			name(FolderSegments, 0x70), name(FolderSegments, 0x71), name(FolderRuns, 0x70), name(FolderTables, 0x70), name(FolderCheckpoints, 0x70)},
		Runs: []AddRun{*run(20)}, Marks: tables(1), Counts: tables(2), Space: tables(3),
	}))
	l.mustFold(cleaner, plainOp(t, OpDeleted, &Deleted{[]Name{name(FolderSegments, 0x71)}}))
	l.mustFold(cleaner, plainOp(t, OpCheckpoint, &CheckpointRef{6, CheckpointName{0x51}, object.Hash{0x51}}))
	return l
}

// TestVoidCleanOps is [TestVoidOps] for the ops by which snapshots and their
// data go.
func TestVoidCleanOps(t *testing.T) {
	list := func(typ OpType, of ...byte) Op { return plainOp(t, typ, &SnapshotList{ids(of...)}) }
	policy := &ForgetPolicy{Last: 1}
	forget := func(p *ForgetPolicy, of ...byte) Op { return plainOp(t, OpForget, &Forget{ids(of...), p}) }
	// clean is what a cleaner that found nothing to do says, edited.
	clean := func(edit func(c *Clean)) Op {
		c := &Clean{Fold: 6, Pending: sessions(1), Marks: tables(1), Counts: tables(2), Space: tables(3)}
		edit(c)
		return plainOp(t, OpClean, c)
	}
	condemn := func(names ...Name) Op { return clean(func(c *Clean) { c.Condemned = names }) }
	times := func(nsec uint32, of ...byte) Op {
		return clean(func(c *Clean) {
			for _, id := range ids(of...) {
				c.Times = append(c.Times, StoreTime{ID: id, Time: object.Time{Sec: 1, Nsec: nsec}})
			}
		})
	}
	sized := func(size int64) []TableRef { ref := table(9); ref.Size = size; return append(tables(1), ref) }
	deleted := func(names ...Name) Op { return plainOp(t, OpDeleted, &Deleted{names}) }
	floor := func(n uint64) Op { return plainOp(t, OpFloor, &Floor{n}) }
	garbled := func(op Op) Op { op.Body = append(bytes.Clone(op.Body), 0); return op }

	tests := []struct {
		name   string
		author ed25519.PrivateKey
		op     Op
		void   bool
	}{
		{"add-run of a condemned name", writer, statement(t, writer, 9, 1, OpAddRun, run(0x70)), true},
		{"add-run of a run of a clean", writer, statement(t, writer, 9, 1, OpAddRun, run(20)), true},
		{"add-run of a name of a condemned segment", writer, statement(t, writer, 9, 1, OpAddRun, run(0x71)), false},
		{"add-snapshot of a forgotten one", writer, statement(t, writer, 9, 1, OpAddSnapshot, snap(3)), true},
		{"checkpoint of a condemned name", cleaner, plainOp(t, OpCheckpoint, &CheckpointRef{Number: 7, Name: CheckpointName{0x70}}), true},
		{"checkpoint of another name", cleaner, plainOp(t, OpCheckpoint, &CheckpointRef{Number: 7, Name: CheckpointName{0x71}}), false},
		{"session-end of a pending one", writer, plainOp(t, OpSessionEnd, &SessionEnd{object.SessionID{1}}), false},

		{"forget", admin, forget(nil, 2), false},
		{"forget two", admin, forget(nil, 2, 5), false},
		{"forget the last of a series by id", admin, forget(nil, 5, 6), false},
		{"forget by a writer", writer, forget(nil, 2), true},
		{"forget by a writer with a policy", writer, forget(policy, 5), true},
		{"forget by a cleaner without a policy", cleaner, forget(nil, 5), true},
		{"forget by a cleaner", cleaner, forget(policy, 5), false},
		{"forget by a cleaner with an empty policy", cleaner, forget(&ForgetPolicy{}, 5), false},
		{"forget by the admin with a policy", admin, forget(policy, 6), false},
		{"forget the last of a series by a policy", cleaner, forget(policy, 5, 6), true},
		{"forget the only one of a series by a policy", cleaner, forget(policy, 2), true},
		{"forget the last of a series by a policy, by the admin", admin, forget(policy, 5, 6), true},
		{"forget nothing", admin, forget(nil), true},
		{"forget one twice", admin, forget(nil, 2, 2), true},
		{"forget out of order", admin, forget(nil, 5, 2), true},
		{"forget one that is not there", admin, forget(nil, 2, 99), true},
		{"forget a forgotten one", admin, forget(nil, 2, 3), true},
		{"forget a pinned one", admin, forget(nil, 2, 4), true},
		{"forget with bytes behind", admin, garbled(forget(nil, 2)), true},

		{"undo-forget", admin, list(OpUndoForget, 3), false},
		{"undo-forget by a cleaner", cleaner, list(OpUndoForget, 3), true},
		{"undo-forget by a writer", writer, list(OpUndoForget, 3), true},
		{"undo-forget nothing", admin, list(OpUndoForget), true},
		{"undo-forget a live one", admin, list(OpUndoForget, 2, 3), true},
		{"undo-forget twice", admin, list(OpUndoForget, 3, 3), true},
		{"undo-forget one that is not there", admin, list(OpUndoForget, 99), true},
		{"pin", admin, list(OpPin, 2, 5), false},
		{"pin by a cleaner", cleaner, list(OpPin, 2), true},
		{"pin nothing", admin, list(OpPin), true},
		{"pin a forgotten one", admin, list(OpPin, 2, 3), true},
		{"pin out of order", admin, list(OpPin, 5, 2), true},
		{"pin with bytes behind", admin, garbled(list(OpPin, 2)), true},
		{"unpin", admin, list(OpUnpin, 4), false},
		{"unpin by a cleaner", cleaner, list(OpUnpin, 4), true},
		{"unpin by a writer", writer, list(OpUnpin, 4), true},
		{"unpin one that is not there", admin, list(OpUnpin, 4, 99), true},

		{"clean", cleaner, clean(func(c *Clean) {}), false},
		{"clean by the admin", admin, clean(func(c *Clean) {}), false},
		{"clean by a writer", writer, clean(func(c *Clean) {}), true},
		{"clean with bytes behind", cleaner, garbled(clean(func(c *Clean) {})), true},
		{"fold of the last clean", cleaner, clean(func(c *Clean) { c.Fold, c.Pending = 4, nil }), false},
		{"fold before the last clean", cleaner, clean(func(c *Clean) { c.Fold = 3 }), true},
		{"fold of the generation before", cleaner, clean(func(c *Clean) { c.Fold = 7 }), false},
		{"fold of this generation", cleaner, clean(func(c *Clean) { c.Fold = 8 }), true},
		{"collect", cleaner, clean(func(c *Clean) { c.Collected = ids(3) }), false},
		{"collect a live one", cleaner, clean(func(c *Clean) { c.Collected = ids(2, 3) }), true},
		{"collect one twice", cleaner, clean(func(c *Clean) { c.Collected = ids(3, 3) }), true},
		{"collect one that is not there", cleaner, clean(func(c *Clean) { c.Collected = ids(3, 99) }), true},
		{"expire", cleaner, clean(func(c *Clean) { c.Expired = sessions(1) }), false},
		{"expire an ended session", cleaner, clean(func(c *Clean) { c.Expired = sessions(1, 2) }), true},
		{"expire none", cleaner, clean(func(c *Clean) { c.Expired = sessions(99) }), true},
		{"expire one twice", cleaner, clean(func(c *Clean) { c.Expired = sessions(1, 1) }), true},
		{"pending sessions out of order", cleaner, clean(func(c *Clean) { c.Pending = sessions(2, 1) }), true},
		{"time", cleaner, times(0, 5), false},
		{"times of live ones", cleaner, times(0, 4, 5, 6), false},
		{"time of one that has one", cleaner, times(0, 2, 5), true},
		{"time of a forgotten one that has one", cleaner, times(0, 3), true},
		{"time of one that is not there", cleaner, times(0, 5, 99), true},
		{"times out of order", cleaner, times(0, 5, 4), true},
		{"time twice", cleaner, times(0, 5, 5), true},
		{"impossible time", cleaner, times(1e9, 5), true},
		{"condemn in each folder", cleaner, condemn(name(0, 0x72), name(1, 0x72), name(2, 0x72), name(3, 0x72)), false},
		{"condemn a registered run", cleaner, condemn(name(1, 1)), false},
		{"condemn what is condemned", cleaner, condemn(name(0, 0x70), name(0, 0x72)), true},
		{"condemn again what was deleted", cleaner, condemn(name(0, 0x71)), false},
		{"condemn the same name in another folder", cleaner, condemn(name(1, 0x71)), false},
		{"condemn in no folder", cleaner, condemn(name(4, 0x72)), true},
		{"condemn one twice", cleaner, condemn(name(0, 0x72), name(0, 0x72)), true},
		{"condemn out of order", cleaner, condemn(name(1, 0x72), name(0, 0x72)), true},
		{"condemn the newest checkpoint", cleaner, condemn(name(3, 0x51)), true},
		{"condemn a table that stays", cleaner, condemn(name(2, 1)), true},
		{"run", cleaner, clean(func(c *Clean) { c.Runs = []AddRun{*run(21), *run(22)} }), false},
		{"run that is registered", cleaner, clean(func(c *Clean) { c.Runs = []AddRun{*run(1)} }), true},
		{"run in place of itself", cleaner, clean(func(c *Clean) { c.Runs, c.Condemned = []AddRun{*run(1)}, []Name{name(1, 1)} }), true},
		{"run in place of another", cleaner, clean(func(c *Clean) { c.Runs, c.Condemned = []AddRun{*run(21)}, []Name{name(1, 1)} }), false},
		{"run that it condemns", cleaner, clean(func(c *Clean) { c.Runs, c.Condemned = []AddRun{*run(21)}, []Name{name(1, 21)} }), true},
		{"run that is condemned", cleaner, clean(func(c *Clean) { c.Runs = []AddRun{*run(0x70)} }), true},
		{"run twice", cleaner, clean(func(c *Clean) { c.Runs = []AddRun{*run(21), *run(21)} }), true},
		{"runs out of order", cleaner, clean(func(c *Clean) { c.Runs = []AddRun{*run(22), *run(21)} }), true},
		{"table behind", cleaner, clean(func(c *Clean) { c.Marks = tables(1, 9) }), false},
		{"table in place of another", cleaner, clean(func(c *Clean) { c.Counts, c.Condemned = tables(9), []Name{name(2, 2)} }), false},
		{"table that is left out", cleaner, clean(func(c *Clean) { c.Marks = nil }), true},
		{"counts that are left out", cleaner, clean(func(c *Clean) { c.Counts = nil }), true},
		{"space that is left out", cleaner, clean(func(c *Clean) { c.Space = nil }), true},
		{"table that is condemned", cleaner, clean(func(c *Clean) { c.Marks = tables(1, 0x70) }), true},
		{"table that it condemns", cleaner, clean(func(c *Clean) { c.Marks, c.Condemned = tables(1, 9), []Name{name(2, 9)} }), true},
		{"table twice", cleaner, clean(func(c *Clean) { c.Marks = tables(1, 9, 9) }), true},
		{"table in two lists", cleaner, clean(func(c *Clean) { c.Marks, c.Counts = tables(1, 9), tables(2, 9) }), true},
		{"table in another list", cleaner, clean(func(c *Clean) { c.Marks, c.Counts = nil, tables(1, 2) }), true},
		{"tables exchanged", cleaner, clean(func(c *Clean) { c.Marks, c.Counts = tables(2), tables(1) }), true},
		{"table of another hash", cleaner, clean(func(c *Clean) { c.Marks[0].Hash[0]++ }), true},
		{"table of another size", cleaner, clean(func(c *Clean) { c.Marks[0].Size++ }), true},
		{"table of no size", cleaner, clean(func(c *Clean) { c.Marks = sized(0) }), true},
		{"table of less than no size", cleaner, clean(func(c *Clean) { c.Counts = append(c.Counts, sized(-1)[1]) }), true},
		{"table of the greatest size", cleaner, clean(func(c *Clean) { c.Marks = sized(tableMax) }), false},
		{"table of more than that", cleaner, clean(func(c *Clean) { c.Space = append(c.Space, sized(tableMax + 1)[1]) }), true},

		{"deleted", cleaner, deleted(name(0, 0x70), name(3, 0x70)), false},
		{"deleted by the admin", admin, deleted(name(0, 0x70)), false},
		{"deleted by a writer", writer, deleted(name(0, 0x70)), true},
		{"nothing deleted", cleaner, deleted(), true},
		{"deleted again", cleaner, deleted(name(0, 0x70), name(0, 0x71)), true},
		{"deleted and never condemned", cleaner, deleted(name(0, 0x99)), true},
		{"deleted in another folder", cleaner, deleted(name(1, 0x71)), true},
		{"deleted twice", cleaner, deleted(name(0, 0x70), name(0, 0x70)), true},
		{"deleted out of order", cleaner, deleted(name(3, 0x70), name(0, 0x70)), true},
		{"deleted with bytes behind", cleaner, garbled(deleted(name(0, 0x70))), true},

		{"policy", admin, statement(t, admin, 9, 1, OpPolicy, &Policy{7}), false},
		{"policy by a cleaner", cleaner, statement(t, cleaner, 9, 1, OpPolicy, &Policy{7}), true},
		{"policy by a writer", writer, statement(t, writer, 9, 1, OpPolicy, &Policy{7}), true},
		{"policy that is no statement", admin, plainOp(t, OpPolicy, &Policy{7}), true},
		{"policy that does not decode", admin, statement(t, admin, 9, 1, OpPolicy, run(1)), true},

		{"floor", cleaner, floor(4), false},
		{"floor by the admin", admin, floor(1), false},
		{"floor by a writer", writer, floor(1), true},
		{"floor that is there", cleaner, floor(0), true},
		{"floor beyond what is counted", cleaner, floor(5), true},
		{"floor with bytes behind", cleaner, garbled(floor(4)), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { l := cleaned(t); l.t = t; l.judge(tt.author, tt.op, tt.void) })
	}
}

// TestVoidFloors: a floor does not go back, and not past the newest checkpoint.
func TestVoidFloors(t *testing.T) {
	floor := func(n uint64) Op { return plainOp(t, OpFloor, &Floor{n}) }
	l := cleaned(t)
	l.mustFold(cleaner, floor(3))
	for n, void := range []bool{true, true, true, true, false, true} {
		c := &log{t, l.state}
		c.judge(cleaner, floor(uint64(n)), void)
	}
	l.mustFold(cleaner, plainOp(t, OpClean, &Clean{Fold: 8, Marks: tables(1), Counts: tables(2), Space: tables(3)}))
	for n, void := range map[uint64]bool{6: false, 7: true, 8: true} {
		c := &log{t, l.state}
		c.judge(cleaner, floor(n), void)
	}
	l = begun(t)
	l.mustFold(cleaner, plainOp(t, OpClean, &Clean{Fold: 2}))
	l.judge(cleaner, floor(1), true) // there is no checkpoint
}

// TestVoidVoids: a void names the generation before, and stands first.
func TestVoidVoids(t *testing.T) {
	l := begun(t)
	right := Void{2, l.state.Hash}
	other := right
	other.Hash[0]++
	op := func(v Void) Op { return plainOp(t, OpVoid, &v) }
	end := plainOp(t, OpSessionEnd, &SessionEnd{object.SessionID{1}})
	for _, tt := range []struct {
		name   string
		author ed25519.PrivateKey
		ops    []Op
		void   []int // places
	}{
		{"of the generation before", admin, []Op{op(right)}, nil},
		{"and more behind it", admin, []Op{op(right), end}, nil},
		{"by a cleaner", cleaner, []Op{op(right)}, []int{0}},
		{"by a writer", writer, []Op{op(right)}, []int{0}},
		{"of another hash", admin, []Op{op(other)}, []int{0}},
		{"of another generation", admin, []Op{op(Void{1, right.Hash})}, []int{0}},
		{"of itself", admin, []Op{op(Void{3, right.Hash})}, []int{0}},
		{"behind another op", admin, []Op{end, op(right)}, []int{1}},
		{"twice", admin, []Op{op(right), op(right)}, []int{1}},
	} {
		g := &log{t, l.state}
		void := g.add(tt.author, tt.ops...)
		var want []Op
		for _, i := range tt.void {
			want = append(want, tt.ops[i])
		}
		if !slices.EqualFunc(void, want, func(a, b Op) bool { return a.Type == b.Type && bytes.Equal(a.Body, b.Body) }) {
			t.Errorf("%s: void are %v, want %v", tt.name, void, want)
		}
	}
}

// TestOneForgetAndCleanAGeneration: also one behind a void one is void, since to
// find that out has cost as much.
func TestOneForgetAndCleanAGeneration(t *testing.T) {
	for _, pair := range [][2]Op{
		{plainOp(t, OpForget, &Forget{Snapshots: ids(99)}), plainOp(t, OpForget, &Forget{Snapshots: ids(2)})},
		{plainOp(t, OpClean, &Clean{Collected: ids(99)}), plainOp(t, OpClean, &Clean{Fold: 4, Marks: tables(1), Counts: tables(2), Space: tables(3)})},
	} {
		l := cleaned(t)
		if void := l.add(admin, pair[:]...); len(void) != 2 {
			t.Errorf("%s: %d are void, of 2", pair[0].Type, len(void))
		}
		if void := l.add(admin, pair[1]); len(void) != 0 {
			t.Errorf("%s: it is void by itself", pair[0].Type)
		}
	}
}

// TestConditionsWithinAGeneration: an op is judged by the state after those that
// stand before it.
func TestConditionsWithinAGeneration(t *testing.T) {
	forget := func(p *ForgetPolicy, of ...byte) Op { return plainOp(t, OpForget, &Forget{ids(of...), p}) }
	clean := func(edit func(c *Clean)) Op {
		c := &Clean{Fold: 6, Marks: tables(1), Counts: tables(2), Space: tables(3)}
		edit(c)
		return plainOp(t, OpClean, c)
	}
	condemn := func(names ...Name) Op { return clean(func(c *Clean) { c.Condemned = names }) }
	unpin := plainOp(t, OpUnpin, &SnapshotList{ids(4)})
	ref := CheckpointRef{Number: 7, Name: CheckpointName{0x72}}
	for _, tt := range []struct {
		name   string
		author ed25519.PrivateKey
		ops    []Op
		void   int // the place of the op that is void, -1 for none
	}{
		{"unpin, forget", admin, []Op{unpin, forget(nil, 4)}, -1},
		{"forget, unpin", admin, []Op{forget(nil, 4), unpin}, 0},
		{"add and forget", admin, []Op{statement(t, admin, 9, 1, OpAddSnapshot, snap(9)), forget(nil, 9)}, -1},
		{"forget two one by one", admin, []Op{forget(nil, 2), forget(nil, 5)}, 1},
		{"clean twice", cleaner, []Op{clean(func(c *Clean) {}), clean(func(c *Clean) { c.Collected = ids(3) })}, 1},
		{"clean twice, of another version first", cleaner, []Op{{OpClean, 2, nil}, clean(func(c *Clean) {})}, -1},
		{"forget, collect", admin, []Op{forget(nil, 2), clean(func(c *Clean) { c.Collected = ids(2) })}, -1},
		{"collect, undo", admin, []Op{clean(func(c *Clean) { c.Collected = ids(3) }), plainOp(t, OpUndoForget, &SnapshotList{ids(3)})}, 1},
		{"collect, add again", admin, []Op{clean(func(c *Clean) { c.Collected = ids(3) }), statement(t, admin, 9, 1, OpAddSnapshot, snap(3))}, -1},
		{"condemn, deleted", cleaner, []Op{condemn(name(0, 0x72)), plainOp(t, OpDeleted, &Deleted{[]Name{name(0, 0x72)}})}, 1},
		{"deleted, condemn", cleaner, []Op{plainOp(t, OpDeleted, &Deleted{[]Name{name(0, 0x70)}}), condemn(name(0, 0x70))}, -1},
		{"condemn a checkpoint, name it", cleaner, []Op{condemn(CheckpointNamed(ref.Name)), plainOp(t, OpCheckpoint, &ref)}, 1},
		{"name a checkpoint, condemn it", cleaner, []Op{plainOp(t, OpCheckpoint, &ref), condemn(CheckpointNamed(ref.Name))}, 1},
		{"name a checkpoint, condemn the one before", cleaner, []Op{plainOp(t, OpCheckpoint, &ref), condemn(name(3, 0x51))}, -1},
		{"expire, add-run", admin, []Op{clean(func(c *Clean) { c.Expired = sessions(1) }), statement(t, admin, 1, 2, OpAddRun, run(9))}, 1},
		{"condemn a run, register it", admin, []Op{condemn(RunName(index.RunName{1})), statement(t, admin, 9, 1, OpAddRun, run(1))}, 1},
	} {
		l := cleaned(t)
		edit := func(g *Generation) {
			if tt.void != len(tt.ops)-1 || tt.ops[tt.void].Type != OpCheckpoint {
				if err := g.follow(tt.ops); err != nil {
					t.Fatal(err)
				}
			}
		}
		s, void, err := l.state.foldNext(l.encode(tt.author, edit, tt.ops...))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		switch {
		case tt.void < 0 && len(void) > 0, tt.void >= 0 && (len(void) != 1 || !bytes.Equal(void[0].Body, tt.ops[tt.void].Body)):
			t.Errorf("%s: void are %v, want number %d", tt.name, void, tt.void)
		}
		if again, err := DecodeState(encodeState(t, s)); err != nil || !bytes.Equal(encodeState(t, again), encodeState(t, s)) {
			t.Errorf("%s: its checkpoint: %v", tt.name, err)
		}
	}
}
