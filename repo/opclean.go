package repo

import (
	"slices"

	"bluesky/object"
	"bluesky/refcount"
)

// The bodies of the ops by which snapshots and their data go.
// docs/format.md, "Ops".

// Forget is the body of a forget: its snapshots are gone for every reader, and
// their data stays until a clean collects them. A cleaner names the policy by
// which it forgets.
type Forget struct {
	Snapshots []object.ID   `cbor:"1,keyasint,omitempty"` // strictly ascending
	Policy    *ForgetPolicy `cbor:"2,keyasint,omitempty"`
}

// A ForgetPolicy is a policy that needs no key: it is applied to each series
// of each signer, by effective time. Counts say how many hours, days, … keep
// their newest snapshot; 0 is no such rule.
type ForgetPolicy struct {
	Last          uint32    `cbor:"1,keyasint,omitempty"`
	Hourly        uint32    `cbor:"2,keyasint,omitempty"`
	Daily         uint32    `cbor:"3,keyasint,omitempty"`
	Weekly        uint32    `cbor:"4,keyasint,omitempty"`
	Monthly       uint32    `cbor:"5,keyasint,omitempty"`
	Yearly        uint32    `cbor:"6,keyasint,omitempty"`
	Within        *Duration `cbor:"7,keyasint,omitempty"`
	WithinHourly  *Duration `cbor:"8,keyasint,omitempty"`
	WithinDaily   *Duration `cbor:"9,keyasint,omitempty"`
	WithinWeekly  *Duration `cbor:"10,keyasint,omitempty"`
	WithinMonthly *Duration `cbor:"11,keyasint,omitempty"`
	WithinYearly  *Duration `cbor:"12,keyasint,omitempty"`
}

// Unlimited is a count of a [ForgetPolicy] that keeps all.
const Unlimited = 1<<32 - 1

// A Duration is a span of the calendar.
type Duration struct {
	_                                   struct{} `cbor:",toarray"`
	Years, Months, Days, Hours, Seconds uint32
}

// A SnapshotList is the body of an undo-forget, a pin and an unpin.
type SnapshotList struct {
	Snapshots []object.ID `cbor:"1,keyasint,omitempty"` // strictly ascending
}

// Clean is the body of a clean: what a cleaner found dead, and what stands for
// it now. It is valid on the state before it alone.
type Clean struct {
	// Fold is the generation up to which registered segments are counted.
	Fold      uint64      `cbor:"1,keyasint,omitempty"`
	Collected []object.ID `cbor:"2,keyasint,omitempty"` // forgotten snapshots, whose roots count no more
	// Expired sessions end with this clean.
	Expired []object.SessionID `cbor:"3,keyasint,omitempty"`
	// Pending are the sessions that were unfinished at Fold: what is dead in
	// their segments has not been looked for.
	Pending []object.SessionID `cbor:"4,keyasint,omitempty"`
	// Times are the store's times of snapshots that have none yet, by id.
	Times     []StoreTime `cbor:"5,keyasint,omitempty"`
	Condemned []Name      `cbor:"6,keyasint,omitempty"`
	Runs      []AddRun    `cbor:"7,keyasint,omitempty"` // made by the cleaner
	// The whole lists of tables from now on, oldest first.
	Marks  []TableRef `cbor:"8,keyasint,omitempty"`
	Counts []TableRef `cbor:"9,keyasint,omitempty"`
	Space  []TableRef `cbor:"10,keyasint,omitempty"`
}

// A StoreTime is when the store says that the generation of a snapshot came.
type StoreTime struct {
	_    struct{} `cbor:",toarray"`
	ID   object.ID
	Time object.Time
}

// A TableRef names a table of package refcount.
type TableRef = refcount.Ref

// tableMax is the most bytes of a table.
const tableMax = 1 << 40

// Deleted is the body of a deleted: names that were condemned, and that the
// store has no more.
type Deleted struct {
	Names []Name `cbor:"1,keyasint,omitempty"` // strictly ascending
}

// Policy is the body of a policy statement; it replaces the one before.
type Policy struct {
	Quarantine uint64 `cbor:"1,keyasint,omitempty"` // seconds from a forget to its collection
}

// Floor is the body of a floor: generations below Number, but not generation
// 0, may be deleted from now on.
type Floor struct {
	Number uint64 `cbor:"1,keyasint"`
}

// Void is the body of a void: generation Number, of that hash, is garbage that
// every reader passes over. It stands first in the generation after it.
type Void struct {
	Number uint64      `cbor:"1,keyasint"`
	Hash   object.Hash `cbor:"2,keyasint"`
}

// tables goes through all lists of tables of c.
func (c *Clean) tables() [][]TableRef { return [][]TableRef{c.Marks, c.Counts, c.Space} }

func validTables(list []TableRef) bool {
	return !slices.ContainsFunc(list, func(t TableRef) bool { return t.Size <= 0 || t.Size > tableMax })
}

func validIDs(ids []object.ID) bool { return ascending(ids, object.ID.Compare) }

func validSessions(ids []object.SessionID) bool { return ascending(ids, compareSessions) }

// valid judges what c alone can say.
func (c *Clean) valid() bool {
	byID := func(a, b StoreTime) int { return a.ID.Compare(b.ID) }
	byName := func(a, b AddRun) int { return slices.Compare(a.Name[:], b.Name[:]) }
	return validIDs(c.Collected) && validSessions(c.Expired) && validSessions(c.Pending) && validNames(c.Condemned) &&
		validTables(c.Marks) && validTables(c.Counts) && validTables(c.Space) && ascending(c.Times, byID) && ascending(c.Runs, byName) &&
		!slices.ContainsFunc(c.Times, func(t StoreTime) bool { return !t.Time.Valid() })
}
