package repo

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"

	"bluesky/index"
	"bluesky/object"
)

// A PublicKey is an Ed25519 public key: the name of an author or signer.
type PublicKey [ed25519.PublicKeySize]byte

func (k PublicKey) String() string { return hex.EncodeToString(k[:]) }

// An OpType says what an op of a generation does.
type OpType uint16

// The ops whose bodies format version 1 fixes. docs/format.md, "Envelope",
// names those that are reserved; they are unknown ops to this reader.
const (
	OpAddRun      OpType = 1
	OpAddSnapshot OpType = 2
	OpSessionEnd  OpType = 3
	OpRole        OpType = 4
	OpCheckpoint  OpType = 5
	OpForget      OpType = 6
	OpUndoForget  OpType = 7
	OpPin         OpType = 8
	OpUnpin       OpType = 9
	OpClean       OpType = 10
	OpDeleted     OpType = 11
	OpPolicy      OpType = 13
	OpFloor       OpType = 14
	OpVoid        OpType = 15
)

var opNames = [...]string{
	"", "add-run", "add-snapshot", "session-end", "role", "checkpoint",
	"forget", "undo-forget", "pin", "unpin", "clean", "deleted", "replace-run",
	"policy", "floor", "void", "lost",
}

func (t OpType) String() string {
	if t == 0 || int(t) >= len(opNames) {
		return fmt.Sprintf("op(%d)", uint16(t))
	}
	return opNames[t]
}

const opVersion = 1

// An Op is one change that a generation makes, in the form that is kept
// verbatim even where its type is not known.
type Op struct {
	Type    OpType `cbor:"1,keyasint"`
	Version uint16 `cbor:"2,keyasint"`
	Body    []byte `cbor:"3,keyasint"`
}

// known reports whether this reader folds ops of o's type and version.
func (o Op) known() bool {
	return o.Version == opVersion && newBody(o.Type) != nil
}

// newBody returns a new record of what ops of type t hold, nil for a type that
// this reader does not know.
func newBody(t OpType) any {
	switch t {
	case OpAddRun:
		return new(AddRun)
	case OpAddSnapshot:
		return new(AddSnapshot)
	case OpSessionEnd:
		return new(SessionEnd)
	case OpRole:
		return new(RoleChange)
	case OpCheckpoint:
		return new(CheckpointRef)
	case OpForget:
		return new(Forget)
	case OpUndoForget, OpPin, OpUnpin:
		return new(SnapshotList)
	case OpClean:
		return new(Clean)
	case OpDeleted:
		return new(Deleted)
	case OpPolicy:
		return new(Policy)
	case OpFloor:
		return new(Floor)
	case OpVoid:
		return new(Void)
	}
	return nil
}

// NewOp returns the op of type t that holds body, which is no statement.
func NewOp(t OpType, body any) (Op, error) {
	data, err := object.EncodeCBOR(body)
	return Op{t, opVersion, data}, err
}

// AddRun is the body of an add-run statement.
type AddRun struct {
	Name index.RunName `cbor:"1,keyasint"`
	Size uint64        `cbor:"2,keyasint"`
	Hash object.Hash   `cbor:"3,keyasint"`
}

// AddSnapshot is the body of an add-snapshot statement: the entry by which a
// snapshot is listed, and counted from, without a key.
type AddSnapshot struct {
	ID      object.ID   `cbor:"1,keyasint"` // the snapshot object
	Root    object.ID   `cbor:"2,keyasint"` // the root of its inode map
	Time    object.Time `cbor:"3,keyasint"` // as claimed by the writer
	Series  Series      `cbor:"4,keyasint"`
	Pinned  bool        `cbor:"5,keyasint,omitempty"`
	Summary []byte      `cbor:"6,keyasint,omitempty"` // sealed; docs/format.md, "Objects"
}

// A Series is the pseudonym of a line of snapshots that retention treats as
// one. docs/format.md, "Derivation".
type Series [16]byte

func (s Series) String() string { return hex.EncodeToString(s[:]) }

// SessionEnd is the body of a session-end op.
type SessionEnd struct {
	Session object.SessionID `cbor:"1,keyasint"`
}

// A RoleID is what a key may do.
type RoleID uint8

// The roles that a role statement grants. The admin is no such role: it is the
// author of generation 0, for ever.
const (
	RoleWriter  RoleID = 2
	RoleCleaner RoleID = 3
)

func (r RoleID) String() string {
	switch r {
	case roleAdmin:
		return "admin"
	case RoleWriter:
		return "writer"
	case RoleCleaner:
		return "cleaner"
	}
	return fmt.Sprintf("role(%d)", uint8(r))
}

const roleAdmin RoleID = 1

// RoleChange is the body of a role statement.
type RoleChange struct {
	Key     PublicKey `cbor:"1,keyasint"`
	Role    RoleID    `cbor:"2,keyasint"`
	Removed bool      `cbor:"3,keyasint,omitempty"`
}

// A CheckpointRef names a checkpoint: the state after a generation.
type CheckpointRef struct {
	Number uint64         `cbor:"1,keyasint"`
	Name   CheckpointName `cbor:"2,keyasint"`
	Hash   object.Hash    `cbor:"3,keyasint"`
}

// may says which roles may make an op.
func may(t OpType, role RoleID) bool {
	switch t {
	case OpAddRun, OpAddSnapshot, OpSessionEnd:
		return role == RoleWriter || role == roleAdmin
	case OpRole, OpUndoForget, OpPin, OpUnpin, OpPolicy, OpVoid:
		return role == roleAdmin
	case OpForget, OpClean, OpDeleted, OpFloor:
		return role == RoleCleaner || role == roleAdmin
	case OpCheckpoint:
		return role == RoleWriter || role == RoleCleaner || role == roleAdmin
	}
	return false
}

// isSingle reports whether a generation has at most one op of type t. Each costs
// the time of the whole state, and a generation has room for 80,000.
func isSingle(t OpType) bool { return t == OpForget || t == OpClean }

// Decode returns the body of o, a pointer to one of the records of this file,
// and the statement that it stands in, nil if it is no statement. It verifies
// nothing: a void op decodes too. The error wraps [object.ErrVersion] for an op
// that this version does not know.
func (o Op) Decode() (st *Statement, body any, err error) {
	if !o.known() {
		return nil, nil, fmt.Errorf("%s, version %d: %w", o.Type, o.Version, object.ErrVersion)
	}
	raw := o.Body
	if isStatement(o.Type) {
		st = new(Statement)
		if err := object.DecodeCBOR(raw, st); err != nil {
			return nil, nil, err
		}
		raw = st.Body
	}
	body = newBody(o.Type)
	return st, body, object.DecodeCBOR(raw, body)
}
