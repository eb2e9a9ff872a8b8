package repo

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"

	"bluesky/object"
)

const (
	checkpointVersion = 1
	checkpointMax     = 1 << 30
	checkpointPrefix  = "state/"
)

// A CheckpointName is the random name of a checkpoint.
type CheckpointName [16]byte

// Key names the checkpoint in the bucket.
func (n CheckpointName) Key() string { return checkpointPrefix + hex.EncodeToString(n[:]) }

// checkpoint is the stored form of a State. docs/format.md, "Checkpoint".
type checkpoint struct {
	Version    uint64              `cbor:"1,keyasint"`
	Repository object.RepositoryID `cbor:"2,keyasint"`
	Number     uint64              `cbor:"3,keyasint,omitempty"`
	Hash       object.Hash         `cbor:"4,keyasint"`
	Origin     object.Hash         `cbor:"5,keyasint"`
	Admin      PublicKey           `cbor:"6,keyasint"`
	Checkpoint *CheckpointRef      `cbor:"7,keyasint,omitempty"`
	Floor      uint64              `cbor:"8,keyasint,omitempty"`
	Roles      []Entry             `cbor:"9,keyasint,omitempty"`
	Runs       []Entry             `cbor:"10,keyasint,omitempty"`
	Snapshots  []Entry             `cbor:"11,keyasint,omitempty"`
	Sessions   []checkpointSession `cbor:"12,keyasint,omitempty"`
	Condemned  []condemnedName     `cbor:"13,keyasint,omitempty"`
	Unknown    []Entry             `cbor:"14,keyasint,omitempty"`
	Fold       uint64              `cbor:"15,keyasint,omitempty"`
	Pending    []object.SessionID  `cbor:"16,keyasint,omitempty"`
	Forgotten  []forgottenEntry    `cbor:"17,keyasint,omitempty"`
	Times      []StoreTime         `cbor:"18,keyasint,omitempty"` // effective ones
	Pins       []pinEntry          `cbor:"19,keyasint,omitempty"`
	Marks      []TableRef          `cbor:"20,keyasint,omitempty"`
	Counts     []TableRef          `cbor:"21,keyasint,omitempty"`
	Space      []TableRef          `cbor:"22,keyasint,omitempty"`
	Policy     *Entry              `cbor:"23,keyasint,omitempty"`
}

// A forgottenEntry is a forgotten snapshot: its add-snapshot, and what forgot it.
type forgottenEntry struct {
	Entry Entry         `cbor:"1,keyasint"`
	At    uint64        `cbor:"2,keyasint"`
	By    *ForgetPolicy `cbor:"3,keyasint,omitempty"`
}

// A pinEntry is a snapshot that is pinned, or not, other than its statement says.
type pinEntry struct {
	_      struct{} `cbor:",toarray"`
	ID     object.ID
	Pinned bool
}

type checkpointSession struct {
	ID         object.SessionID `cbor:"1,keyasint"`
	Signer     PublicKey        `cbor:"2,keyasint"`
	Sequence   uint64           `cbor:"3,keyasint"`
	Generation uint64           `cbor:"4,keyasint,omitempty"`
	Ended      bool             `cbor:"5,keyasint,omitempty"`
}

type condemnedName struct {
	Name       [16]byte `cbor:"1,keyasint"`
	Generation uint64   `cbor:"2,keyasint"`
	Folder     Folder   `cbor:"3,keyasint,omitempty"`
}

func (c condemnedName) name() Name { return Name{Folder: c.Folder, ID: c.Name} }

// EncodeState returns the checkpoint of s: the same bytes whoever makes it.
func EncodeState(s *State) ([]byte, error) {
	c := checkpoint{
		Version: checkpointVersion, Repository: s.Repository,
		Number: s.Generation, Hash: s.Hash, Origin: s.Origin, Admin: s.Admin,
		Checkpoint: s.Checkpoint, Floor: s.Floor, Unknown: s.Unknown,
		Fold: s.Fold, Pending: s.Pending, Marks: s.Marks, Counts: s.Counts, Space: s.Space, Policy: s.policy,
	}
	for _, r := range s.roles {
		c.Roles = append(c.Roles, Entry{r.generation, r.op})
	}
	for _, r := range s.Runs {
		op := r.op
		if r.Cleaned {
			var err error
			if op, err = NewOp(OpClean, &r.AddRun); err != nil {
				return nil, err
			}
		}
		c.Runs = append(c.Runs, Entry{r.Generation, op})
	}
	for i := range s.Snapshots {
		snap := &s.Snapshots[i]
		c.Snapshots = append(c.Snapshots, Entry{snap.Generation, snap.op})
		c.note(snap)
	}
	for i := range s.Forgotten {
		f := &s.Forgotten[i]
		c.Forgotten = append(c.Forgotten, forgottenEntry{Entry{f.Generation, f.op}, f.At, f.By})
		c.note(&f.Snapshot)
	}
	slices.SortFunc(c.Times, func(a, b StoreTime) int { return a.ID.Compare(b.ID) })
	slices.SortFunc(c.Pins, func(a, b pinEntry) int { return a.ID.Compare(b.ID) })
	for id, session := range s.sessions {
		c.Sessions = append(c.Sessions, checkpointSession{id, session.signer, session.sequence, session.generation, session.ended})
	}
	slices.SortFunc(c.Sessions, func(a, b checkpointSession) int { return compareSessions(a.ID, b.ID) })
	for name, generation := range s.Condemned {
		c.Condemned = append(c.Condemned, condemnedName{name.ID, generation, name.Folder})
	}
	slices.SortFunc(c.Condemned, compareCondemned)
	return object.EncodeCBOR(&c)
}

// note adds what later generations have said of a snapshot.
func (c *checkpoint) note(snap *Snapshot) {
	if snap.Effective != nil {
		c.Times = append(c.Times, StoreTime{ID: snap.ID, Time: *snap.Effective})
	}
	if snap.Pinned != snap.stated {
		c.Pins = append(c.Pins, pinEntry{ID: snap.ID, Pinned: snap.Pinned})
	}
}

func compareCondemned(a, b condemnedName) int { return a.name().Compare(b.name()) }

// DecodeState reads a checkpoint and verifies every statement in it. The
// caller checks the bytes against the hash that the log records, and the
// result's generation hash against the chain.
func DecodeState(data []byte) (*State, error) {
	version, err := object.PeekVersion(data)
	if err != nil {
		return nil, err
	}
	if version > checkpointVersion {
		return nil, fmt.Errorf("version %d: %w", version, object.ErrVersion)
	}
	var c checkpoint
	if err := object.DecodeCBOR(data, &c); err != nil {
		return nil, err
	}
	if c.Version != checkpointVersion {
		return nil, fmt.Errorf("%w: version %d", object.ErrCorrupt, c.Version)
	}
	s := &State{
		Repository: c.Repository, Origin: c.Origin, Admin: c.Admin,
		Generation: c.Number, Hash: c.Hash, Checkpoint: c.Checkpoint, Floor: c.Floor, recentFrom: c.Number, recentHash: c.Hash,
		Unknown: c.Unknown,
		Fold:    c.Fold, Pending: c.Pending, Marks: c.Marks, Counts: c.Counts, Space: c.Space,
		Condemned: make(map[Name]uint64, len(c.Condemned)),
		sessions:  make(map[object.SessionID]sessionState, len(c.Sessions)),
		known:     newKnown(),
	}
	return s, s.restore(&c)
}

func (s *State) restore(c *checkpoint) error {
	if c.Checkpoint != nil && c.Checkpoint.Number >= c.Number {
		return fmt.Errorf("%w: it follows a later checkpoint", object.ErrCorrupt)
	}
	if err := s.restoreStatements(c.Roles, OpRole); err != nil {
		return err
	}
	if err := s.restoreStatements(c.Runs, OpAddRun); err != nil {
		return err
	}
	if err := s.restoreForgotten(c.Forgotten); err != nil {
		return err
	}
	if err := s.restoreStatements(c.Snapshots, OpAddSnapshot); err != nil {
		return err
	}
	if !ascending(c.Unknown, func(a, b Entry) int { return cmp.Or(cmp.Compare(a.Generation, b.Generation), -1) }) ||
		slices.ContainsFunc(c.Unknown, func(e Entry) bool { return e.Op.known() || e.Generation > c.Number }) {
		return fmt.Errorf("%w: unknown ops", object.ErrCorrupt)
	}
	if !ascending(c.Sessions, func(a, b checkpointSession) int { return compareSessions(a.ID, b.ID) }) {
		return fmt.Errorf("%w: sessions out of order", object.ErrCorrupt)
	}
	for _, session := range c.Sessions {
		s.sessions[session.ID] = sessionState{session.Signer, session.Sequence, session.Generation, session.Ended}
	}
	for _, name := range c.Condemned {
		s.Condemned[name.name()] = name.Generation
	}
	return s.restoreCleaned(c)
}

// restoreStatements believes what its signer's signature says, and of the rest
// what the author of the checkpoint says.
func (s *State) restoreStatements(list []Entry, want OpType) error {
	var last uint64
	for _, e := range list {
		cleaned := want == OpAddRun && e.Op.Type == OpClean
		if e.Generation < last || e.Generation > s.Generation || !e.Op.known() || e.Op.Type != want && !cleaned {
			return fmt.Errorf("%w: a %s of generation %d is out of place", object.ErrCorrupt, e.Op.Type, e.Generation)
		}
		last = e.Generation
		if cleaned {
			if err := s.restoreCleanedRun(e); err != nil {
				return err
			}
			continue
		}
		st, err := decodeStatement(e.Op, s.Repository)
		if err != nil {
			return fmt.Errorf("%s of generation %d: %w", e.Op.Type, e.Generation, err)
		}
		if (e.Op.Type == OpRole || e.Op.Type == OpPolicy) && st.Signer != s.Admin {
			return fmt.Errorf("%w: a %s of generation %d is not signed by the admin", object.ErrCorrupt, e.Op.Type, e.Generation)
		}
		roles := len(s.roles)
		if !s.perform(e.Generation, e.Op, &st) {
			return fmt.Errorf("%w: a void %s of generation %d", object.ErrCorrupt, e.Op.Type, e.Generation)
		}
		if e.Op.Type == OpRole && len(s.roles) != roles+1 {
			return fmt.Errorf("%w: a role of generation %d that is not in force", object.ErrCorrupt, e.Generation)
		}
	}
	return nil
}

// ascending reports whether cmp puts every element of list strictly before the
// one after it.
func ascending[T any](list []T, cmp func(a, b T) int) bool {
	for i := 1; i < len(list); i++ {
		if cmp(list[i-1], list[i]) >= 0 {
			return false
		}
	}
	return true
}
