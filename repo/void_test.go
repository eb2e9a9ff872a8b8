package repo

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"strings"
	"testing"

	"bluesky/index"
	"bluesky/object"
)

func run(n byte) *AddRun { return &AddRun{Name: index.RunName{n}, Size: 96, Hash: object.Hash{n}} }

func snap(n byte) *AddSnapshot {
	return &AddSnapshot{ID: object.ID{n}, Root: object.ID{n, 1}, Time: object.TimeOf(testTime), Series: Series{n}}
}

// begun returns a log in which session 1 of the writer has registered run 1 and
// session 2 has ended with snapshot 2.
func begun(t testing.TB) *log {
	l := newLog(t)
	for _, op := range []Op{
		statement(t, writer, 1, 1, OpAddRun, run(1)),
		statement(t, writer, 2, 5, OpAddSnapshot, snap(2)),
	} {
		if void := l.add(writer, op); len(void) > 0 {
			t.Fatalf("%s is void", op.Type)
		}
	}
	return l
}

// TestVoidOps holds every "void if" of docs/format.md, "Generations", and next
// to each what is not void.
func TestVoidOps(t *testing.T) {
	garbled := func(op Op) Op { op.Body = append(bytes.Clone(op.Body), 0); return op }
	flipped := func(op Op) Op { op.Body = bytes.Clone(op.Body); op.Body[len(op.Body)-1] ^= 1; return op }
	foreign := func(t testing.TB) Op {
		op, err := newStatement(writer, object.RepositoryID{1}, object.SessionID{9}, 1, OpAddRun, run(9))
		if err != nil {
			t.Fatal(err)
		}
		return op
	}
	as := func(typ OpType, op Op) Op { op.Type = typ; return op }
	role := func(k ed25519.PrivateKey, r RoleID, removed bool) *RoleChange {
		return &RoleChange{Key: pub(k), Role: r, Removed: removed}
	}
	end := func(n byte) *SessionEnd { return &SessionEnd{object.SessionID{n}} }

	tests := []struct {
		name   string
		author ed25519.PrivateKey
		op     Op
		void   bool
	}{
		{"add-run in a new session", writer, statement(t, writer, 9, 1, OpAddRun, run(9)), false},
		{"add-run in the same session", writer, statement(t, writer, 1, 2, OpAddRun, run(9)), false},
		{"add-run by the admin", admin, statement(t, admin, 9, 1, OpAddRun, run(9)), false},
		{"add-run by a cleaner", cleaner, statement(t, cleaner, 9, 1, OpAddRun, run(9)), true},
		{"add-run of a registered run", writer, statement(t, writer, 9, 1, OpAddRun, run(1)), true},
		{"add-run that does not decode", writer, statement(t, writer, 9, 1, OpAddRun, &SessionEnd{}), true},
		{"bytes behind the statement", writer, garbled(statement(t, writer, 9, 1, OpAddRun, run(9))), true},
		{"bad signature", writer, flipped(statement(t, writer, 9, 1, OpAddRun, run(9))), true},
		{"statement of another repository", writer, foreign(t), true},
		{"statement of another type", writer, as(OpAddSnapshot, statement(t, writer, 9, 1, OpAddRun, run(9))), true},
		{"signer is not the author", admin, statement(t, writer, 9, 1, OpAddRun, run(9)), true},
		{"session of another signer", admin, statement(t, admin, 1, 2, OpAddRun, run(9)), true},
		{"session has ended", writer, statement(t, writer, 2, 6, OpAddRun, run(9)), true},
		{"sequence is repeated", writer, statement(t, writer, 1, 1, OpAddRun, run(9)), true},
		{"sequence is 0", writer, statement(t, writer, 9, 0, OpAddRun, run(9)), true},

		{"add-snapshot in an open session", writer, statement(t, writer, 1, 2, OpAddSnapshot, snap(9)), false},
		{"add-snapshot in a session of its own", writer, statement(t, writer, 9, 1, OpAddSnapshot, snap(9)), false},
		{"add-snapshot by a cleaner", cleaner, statement(t, cleaner, 9, 1, OpAddSnapshot, snap(9)), true},
		{"add-snapshot of a live one", writer, statement(t, writer, 9, 1, OpAddSnapshot, snap(2)), true},
		{"add-snapshot with a long summary", writer, statement(t, writer, 9, 1, OpAddSnapshot,
			&AddSnapshot{ID: object.ID{9}, Root: object.ID{9}, Summary: make([]byte, summaryMax+1)}), true},
		{"add-snapshot with a summary at the limit", writer, statement(t, writer, 9, 1, OpAddSnapshot,
			&AddSnapshot{ID: object.ID{9}, Root: object.ID{9}, Summary: make([]byte, summaryMax)}), false},
		{"add-snapshot with an impossible time", writer, statement(t, writer, 9, 1, OpAddSnapshot,
			&AddSnapshot{ID: object.ID{9}, Time: object.Time{Nsec: 1e9}}), true},

		{"session-end of its own", writer, plainOp(t, OpSessionEnd, end(1)), false},
		{"session-end by the admin", admin, plainOp(t, OpSessionEnd, end(1)), false},
		{"session-end by a cleaner", cleaner, plainOp(t, OpSessionEnd, end(1)), true},
		{"session-end of an ended one", writer, plainOp(t, OpSessionEnd, end(2)), true},
		{"session-end of none", writer, plainOp(t, OpSessionEnd, end(9)), true},
		{"session-end that does not decode", writer, garbled(plainOp(t, OpSessionEnd, end(1))), true},

		{"role granted", admin, statement(t, admin, 9, 1, OpRole, role(stranger, RoleWriter, false)), false},
		{"role changed", admin, statement(t, admin, 9, 1, OpRole, role(writer, RoleCleaner, false)), false},
		{"role removed", admin, statement(t, admin, 9, 1, OpRole, role(writer, RoleWriter, true)), false},
		{"role by a writer", writer, statement(t, writer, 9, 1, OpRole, role(stranger, RoleWriter, false)), true},
		{"role by a cleaner", cleaner, statement(t, cleaner, 9, 1, OpRole, role(stranger, RoleWriter, false)), true},
		{"role of the admin's key", admin, statement(t, admin, 9, 1, OpRole, role(admin, RoleWriter, false)), true},
		{"role that is none", admin, statement(t, admin, 9, 1, OpRole, role(stranger, 4, false)), true},
		{"role of admin", admin, statement(t, admin, 9, 1, OpRole, role(stranger, roleAdmin, false)), true},

		{"checkpoint of this generation", writer, plainOp(t, OpCheckpoint, &CheckpointRef{Number: 3}), true},
		{"checkpoint that does not decode", writer, garbled(plainOp(t, OpCheckpoint, &CheckpointRef{Number: 1})), true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			begun(t).judge(tt.author, tt.op, tt.void)
		})
	}
}

// judge folds op and fails the test if it is void and should not be, or the
// other way round. A void op changes nothing but where the log stands; one that
// is not void changes something.
func (l *log) judge(author ed25519.PrivateKey, op Op, want bool) {
	l.t.Helper()
	before := l.state
	follow := func(g *Generation) {
		if want {
			return
		}
		if err := g.follow(g.Ops); err != nil {
			l.t.Fatal(err)
		}
	}
	s, void, err := before.foldNext(l.encode(author, follow, op))
	if err != nil {
		l.t.Fatal(err)
	}
	if got := len(void) == 1; got != want {
		l.t.Fatalf("void is %v, want %v", got, want)
	}
	l.state = s
	after := *s
	after.Generation, after.Hash = before.Generation, before.Hash
	if same := bytes.Equal(encodeState(l.t, before), encodeState(l.t, &after)); same != want {
		l.t.Errorf("state is unchanged: %v, want %v", same, want)
	}
	if _, err := DecodeState(encodeState(l.t, s)); err != nil {
		l.t.Errorf("its checkpoint: %v", err)
	}
}

// TestSessionOfAnotherWriter: writers do not end each other's sessions.
func TestSessionOfAnotherWriter(t *testing.T) {
	l := begun(t)
	l.add(admin, statement(t, admin, 9, 1, OpRole, &RoleChange{Key: pub(stranger), Role: RoleWriter}))
	for _, op := range []Op{
		plainOp(t, OpSessionEnd, &SessionEnd{object.SessionID{1}}),
		statement(t, stranger, 1, 2, OpAddRun, run(9)),
	} {
		if void := l.add(stranger, op); len(void) != 1 {
			t.Errorf("%s of another writer's session is not void", op.Type)
		}
	}
	if len(l.state.Unfinished()) != 1 {
		t.Errorf("unfinished sessions: %v", l.state.Unfinished())
	}
}

// TestReplayedStatement: a statement that is not void is void ever after, in
// whatever generation somebody puts it.
func TestReplayedStatement(t *testing.T) {
	l := newLog(t)
	ops := []Op{
		statement(t, writer, 1, 1, OpAddRun, run(1)),
		statement(t, writer, 1, 2, OpAddSnapshot, snap(1)),
		statement(t, writer, 3, 1, OpAddSnapshot, snap(3)),
	}
	for range 3 {
		l.add(writer, ops...)
	}
	grant := statement(t, admin, 4, 1, OpRole, &RoleChange{Key: pub(stranger), Role: RoleWriter})
	l.add(admin, grant)
	l.add(admin, statement(t, admin, 5, 1, OpRole, &RoleChange{Key: pub(stranger), Role: RoleWriter, Removed: true}))
	if void := l.add(admin, grant); len(void) != 1 {
		t.Error("a removed role came back by its old statement")
	}
	if _, ok := l.state.Role(pub(stranger)); ok {
		t.Error("the stranger has a role")
	}
	if len(l.state.Runs) != 1 || len(l.state.Snapshots) != 2 {
		t.Errorf("%d runs, %d snapshots", len(l.state.Runs), len(l.state.Snapshots))
	}
}

// TestCheckpointOps: numbers ascend, and the envelope repeats the newest.
func TestCheckpointOps(t *testing.T) {
	l := begun(t)
	step := func(number uint64, name byte) (*State, []Op, error) {
		ref := &CheckpointRef{Number: number, Name: CheckpointName{name}}
		newest := l.state.Checkpoint
		if newest == nil || number > newest.Number {
			newest = ref
		}
		return l.state.foldNext(l.encode(writer, func(g *Generation) { g.Checkpoint = newest }, plainOp(t, OpCheckpoint, ref)))
	}
	s, void, err := step(1, 1)
	if err != nil || len(void) > 0 {
		t.Fatal(void, err)
	}
	l.state = s
	for _, tt := range []struct {
		number uint64
		void   bool
	}{{0, true}, {1, true}, {2, false}} {
		if _, void, err := step(tt.number, 2); err != nil || (len(void) > 0) != tt.void {
			t.Errorf("checkpoint of %d: void %v, %v; want void %v", tt.number, void, err, tt.void)
		}
	}
}

// TestInvalidGenerations: what is not valid stops every reader.
func TestInvalidGenerations(t *testing.T) {
	tests := []struct {
		name   string
		author ed25519.PrivateKey
		edit   func(*Generation)
		want   string
	}{
		{"wrong number", writer, func(g *Generation) { g.Number++ }, "says that it is number"},
		{"wrong previous", writer, func(g *Generation) { g.Previous[0] ^= 1 }, "does not follow"},
		{"author without a role", stranger, nil, "has no role"},
		{"checkpoint that no op records", writer, func(g *Generation) { g.Checkpoint = &CheckpointRef{} }, "checkpoint is not the newest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := begun(t)
			_, err := l.state.next(l.encode(tt.author, tt.edit))
			if !errors.Is(err, object.ErrCorrupt) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want corrupt: %s", err, tt.want)
			}
		})
	}
	l := begun(t)
	data := l.encode(writer, nil)
	data[len(data)-1] ^= 1
	if _, err := l.state.next(data); !errors.Is(err, object.ErrCorrupt) || !strings.Contains(err.Error(), "signature") {
		t.Errorf("bad signature: %v", err)
	}
	if _, err := l.state.next(l.encode(writer, func(g *Generation) { g.Floor = 2 })); !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("a floor that no op has raised: %v", err)
	}
}

// TestUnknownOp: a reader goes on, read-only, and keeps the op.
func TestUnknownOp(t *testing.T) {
	for _, op := range []Op{{12, 1, []byte("replace")}, {OpAddRun, 2, []byte("newer")}, {999, 7, nil}} {
		l := begun(t)
		if void := l.add(writer, op, statement(t, writer, 9, 1, OpAddRun, run(9))); len(void) > 0 {
			t.Errorf("%s: void %v", op.Type, void)
		}
		if !l.state.ReadOnly() || len(l.state.Unknown) != 1 || len(l.state.Runs) != 2 {
			t.Errorf("%s: read-only %v, %d unknown, %d runs", op.Type, l.state.ReadOnly(), len(l.state.Unknown), len(l.state.Runs))
		}
		// The checkpoint of a newer writer may be one that this reader cannot follow.
		if _, err := l.state.next(l.encode(writer, func(g *Generation) { g.Checkpoint = &CheckpointRef{Number: 1} })); err != nil {
			t.Errorf("%s: checkpoint behind it: %v", op.Type, err)
		}
		back, err := DecodeState(encodeState(t, l.state))
		if err != nil || !back.ReadOnly() {
			t.Errorf("%s: checkpoint: %v", op.Type, err)
		}
	}
}
