package repo

import (
	"fmt"
	"iter"
	"maps"
	"slices"

	"bluesky/index"
	"bluesky/object"
)

// A State is what the generations up to one of them add up to: the head of the
// log, folded. It is immutable; folding another generation makes a new one.
// docs/format.md, "Generations".
type State struct {
	Repository object.RepositoryID
	Origin     object.Hash // of generation 0
	Admin      PublicKey
	Generation uint64
	Hash       object.Hash // of the bytes of that generation
	Checkpoint *CheckpointRef
	Floor      uint64
	Runs       []Run           // registered, in log order
	Snapshots  []Snapshot      // live, in log order
	Forgotten  []Forgotten     // and not collected, in log order of their snapshots
	Condemned  map[Name]uint64 // no longer used and not yet recorded as deleted, by the generation that condemned them
	Policy     Policy
	Unknown    []Entry // ops that this reader does not know, in log order

	// What the last clean says: all segments that were registered up to
	// generation Fold are counted, and what is dead in those of the sessions that
	// are Pending has not been looked for.
	Fold    uint64
	Pending []object.SessionID
	Marks   []TableRef // which rows are dead and which segments gone: part of what is visible
	Counts  []TableRef
	Space   []TableRef

	// recent are the cleans after generation recentFrom, in order: who chose a
	// name before one of them must not register it if it is condemned there (R3).
	recent     []recentClean
	recentFrom uint64
	recentHash object.Hash // of that generation, where it is that of a checkpoint

	policy   *Entry      // the statement of Policy, nil while there is none
	roles    []roleEntry // in force, in log order
	sessions map[object.SessionID]sessionState
	known    known
}

// known are the names in Runs, and in Snapshots and Forgotten: to look through
// these for each op would take time in the square of their number.
type known struct {
	runs      map[index.RunName]struct{}
	snapshots map[object.ID]struct{}
}

func newKnown() known {
	return known{map[index.RunName]struct{}{}, map[object.ID]struct{}{}}
}

// A Run is a registered run and the segments that it lists.
type Run struct {
	AddRun
	Generation uint64 // that registered it
	Cleaned    bool   // by a clean; it has no session and no signer of its own then
	Session    object.SessionID
	Signer     PublicKey
	op         Op
	origin     *origin // of a cleaned one; nil where it is not known
}

// A Snapshot is a live root. Pinned is as it is now.
type Snapshot struct {
	AddSnapshot
	Generation uint64 // that added it
	Session    object.SessionID
	Signer     PublicKey
	// Effective is what retention takes for its time, once a clean has recorded
	// the store's. docs/format.md, "Ops".
	Effective *object.Time

	stated bool // Pinned, in the statement
	op     Op
}

// A Forgotten is a snapshot that nobody lists any more and whose data is there
// until a clean collects it.
type Forgotten struct {
	Snapshot
	At uint64 // the generation of the forget
	By *ForgetPolicy
}

// An Entry is an op with the generation that it stands in.
type Entry struct {
	Generation uint64 `cbor:"1,keyasint,omitempty"`
	Op         Op     `cbor:"2,keyasint"`
}

type roleEntry struct {
	RoleChange
	generation uint64
	op         Op
}

// sessionState is what the log knows of one run of a writer.
type sessionState struct {
	signer     PublicKey
	sequence   uint64 // of its newest statement
	generation uint64 // of its newest statement
	ended      bool
}

// ReadOnly reports whether the log holds ops of a newer bluesky, so that this
// one must not write: it would act on a state it knows only in part.
func (s *State) ReadOnly() bool { return len(s.Unknown) > 0 }

// Snapshot returns the live snapshot of the given id.
func (s *State) Snapshot(id object.ID) (Snapshot, bool) {
	if i := s.live(id); i >= 0 {
		return s.Snapshots[i], true
	}
	return Snapshot{}, false
}

// live returns the place of a live snapshot, -1 if there is none of that id.
func (s *State) live(id object.ID) int {
	for i := range s.Snapshots { // by index: copying each costs more than looking at it
		if s.Snapshots[i].ID == id {
			return i
		}
	}
	return -1
}

// AllSnapshots goes through those that are live and those that are forgotten and
// not collected.
func (s *State) AllSnapshots() iter.Seq[*Snapshot] {
	return func(yield func(*Snapshot) bool) {
		for i := range s.Snapshots {
			if !yield(&s.Snapshots[i]) {
				return
			}
		}
		for i := range s.Forgotten {
			if !yield(&s.Forgotten[i].Snapshot) {
				return
			}
		}
	}
}

// Roots returns the ids that must be visible: of each snapshot that is live, or
// forgotten and not collected, its object and the root of its map.
func (s *State) Roots() iter.Seq[object.ID] {
	return func(yield func(object.ID) bool) {
		for snap := range s.AllSnapshots() {
			if !yield(snap.ID) || !yield(snap.Root) {
				return
			}
		}
	}
}

// Names goes through the files that s names, but for segments that are in use:
// those stand in its runs.
func (s *State) Names() iter.Seq[Name] {
	return func(yield func(Name) bool) {
		for name := range s.Condemned {
			if !yield(name) {
				return
			}
		}
		for i := range s.Runs {
			if !yield(RunName(s.Runs[i].Name)) {
				return
			}
		}
		for _, ref := range slices.Concat(s.Marks, s.Counts, s.Space) {
			if !yield(TableName(ref.Name)) {
				return
			}
		}
		if s.Checkpoint != nil {
			yield(CheckpointNamed(s.Checkpoint.Name))
		}
	}
}

// Unfinished returns the sessions that have registered something and have not
// ended, ascending by id.
func (s *State) Unfinished() []object.SessionID {
	var ids []object.SessionID
	for id, session := range s.sessions {
		if !session.ended {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, compareSessions)
	return ids
}

// IsUnfinished reports whether nothing in segments of the session may be
// touched (R10).
func (s *State) IsUnfinished(id object.SessionID) bool {
	session, known := s.sessions[id]
	return known && !session.ended
}

// LastOf returns the generation of the newest statement of a session.
func (s *State) LastOf(id object.SessionID) uint64 { return s.sessions[id].generation }

// Counted reports whether the counts take in the refs of the segments of r.
func (s *State) Counted(r *Run) bool { return r.Cleaned || r.Generation <= s.Fold }

// Role returns what key may do.
func (s *State) Role(key PublicKey) (RoleID, bool) {
	if key == s.Admin {
		return roleAdmin, true
	}
	for _, r := range s.roles {
		if r.Key == key {
			return r.Role, true
		}
	}
	return 0, false
}

// extends reports whether everything visible in old is visible in s: s has
// every run of old, marks no other row, and condemns nothing that old does not.
func (s *State) extends(old *State) bool {
	if len(s.Runs) < len(old.Runs) || !slices.Equal(s.Marks, old.Marks) {
		return false
	}
	for i, r := range old.Runs {
		if s.Runs[i].Name != r.Name {
			return false
		}
	}
	for name := range s.Condemned {
		if _, known := old.Condemned[name]; !known {
			return false
		}
	}
	return true
}

// clone returns a copy that fold may change.
func (s *State) clone() *State {
	c := *s
	c.Runs = slices.Clip(s.Runs)
	c.Snapshots = slices.Clip(s.Snapshots) // whoever changes one of them clones the list
	c.Forgotten = slices.Clip(s.Forgotten)
	c.Unknown = slices.Clip(s.Unknown)
	c.recent = slices.Clip(s.recent)
	c.roles = slices.Clone(s.roles)
	c.Condemned = maps.Clone(s.Condemned)
	c.sessions = maps.Clone(s.sessions)
	c.known = known{maps.Clone(s.known.runs), maps.Clone(s.known.snapshots)}
	return &c
}

// genesis folds generation 0, whose author it pins as the admin.
func genesis(c Config, config, data []byte) (*State, error) {
	g, err := DecodeGeneration(data)
	if err != nil {
		return nil, fmt.Errorf("generation 0: %w", err)
	}
	if g.Number != 0 || g.Previous != object.HashBytes("config", config) {
		return nil, fmt.Errorf("generation 0: %w: it does not belong to this %s", object.ErrCorrupt, ConfigKey)
	}
	s := &State{
		Repository: c.ID,
		Origin:     hashGeneration(data),
		Admin:      g.Author,
		Condemned:  map[Name]uint64{},
		sessions:   map[object.SessionID]sessionState{},
		known:      newKnown(),
	}
	_, err = s.apply(g, data)
	return s, err
}

// next folds the bytes of the generation after s.
func (s *State) next(data []byte) (*State, error) {
	after, _, err := s.foldNext(data)
	return after, err
}

// errUnlinked: a generation names other bytes as those of the one before. It is
// signed, so this is the log of another history and no damage.
var errUnlinked = fmt.Errorf("%w: it does not follow generation", object.ErrCorrupt)

// foldNext is next and returns the ops that were void.
func (s *State) foldNext(data []byte) (*State, []Op, error) {
	n := s.Generation + 1
	g, err := DecodeGeneration(data)
	if err != nil {
		return nil, nil, fmt.Errorf("generation %d: %w", n, err)
	}
	if g.Number != n {
		return nil, nil, fmt.Errorf("generation %d: %w: it says that it is number %d", n, object.ErrCorrupt, g.Number)
	}
	if g.Previous != s.Hash {
		if err := g.verify(s.Repository); err != nil {
			return nil, nil, fmt.Errorf("generation %d: %w", n, err) // damaged, and no fork
		}
		return nil, nil, fmt.Errorf("generation %d: %w %d", n, errUnlinked, s.Generation)
	}
	c := s.clone()
	void, err := c.apply(g, data)
	return c, void, err
}

// apply folds g, whose place in the chain is checked, into s, and returns the
// ops that were void.
func (s *State) apply(g *Generation, data []byte) (void []Op, err error) {
	role, ok := s.Role(g.Author)
	if !ok {
		return nil, fmt.Errorf("generation %d: %w: its author %s has no role here", g.Number, object.ErrCorrupt, g.Author)
	}
	if err := g.verify(s.Repository); err != nil {
		return nil, fmt.Errorf("generation %d: %w", g.Number, err)
	}
	s.Generation, s.Hash = g.Number, hashGeneration(data)
	stood := map[OpType]bool{}
	for i, op := range g.Ops {
		switch {
		case !op.known():
			s.Unknown = append(s.Unknown, Entry{g.Number, op})
			continue
		case op.Type == OpVoid && i > 0, isSingle(op.Type) && stood[op.Type], !s.fold(g, role, op):
			void = append(void, op)
		}
		stood[op.Type] = true
	}
	// An op that this reader does not know may have changed either.
	if !s.ReadOnly() && !sameCheckpoint(g.Checkpoint, s.Checkpoint) {
		return nil, fmt.Errorf("generation %d: %w: its checkpoint is not the newest", g.Number, object.ErrCorrupt)
	}
	if !s.ReadOnly() && g.Floor != s.Floor {
		return nil, fmt.Errorf("generation %d: %w: its floor is not that of the log", g.Number, object.ErrCorrupt)
	}
	s.Checkpoint, s.Floor = g.Checkpoint, g.Floor
	return void, nil
}

func sameCheckpoint(a, b *CheckpointRef) bool {
	return a == nil && b == nil || a != nil && b != nil && *a == *b
}

// fold applies one op of g, of a type that it knows, and reports whether it is
// not void. A void op changes nothing.
func (s *State) fold(g *Generation, role RoleID, op Op) bool {
	if !may(op.Type, role) {
		return false
	}
	if isStatement(op.Type) {
		return s.foldStatement(g, op)
	}
	body := newBody(op.Type)
	if object.DecodeCBOR(op.Body, body) != nil {
		return false
	}
	switch body := body.(type) {
	case *SessionEnd:
		return s.foldSessionEnd(g, role, body)
	case *CheckpointRef:
		return s.foldCheckpoint(g, body)
	case *Forget:
		return s.foldForget(g, role, body)
	case *SnapshotList:
		return s.foldSnapshots(op.Type, body)
	case *Clean:
		return s.foldClean(g, body)
	case *Deleted:
		return s.foldDeleted(g, body)
	case *Floor:
		return s.foldFloor(body)
	case *Void: // what it says was judged where the generation before was read
		return g.Number > 0 && body.Number == g.Number-1 && body.Hash == g.Previous
	}
	return false
}

func (s *State) foldSessionEnd(g *Generation, role RoleID, end *SessionEnd) bool {
	session, ok := s.sessions[end.Session]
	if !ok || session.ended || session.signer != g.Author && role != roleAdmin {
		return false
	}
	session.ended = true
	s.sessions[end.Session] = session
	return true
}

func (s *State) foldCheckpoint(g *Generation, ref *CheckpointRef) bool {
	if ref.Number >= g.Number || s.Checkpoint != nil && ref.Number <= s.Checkpoint.Number ||
		s.isCondemned(CheckpointNamed(ref.Name)) {
		return false
	}
	s.Checkpoint = ref
	return true
}

func (s *State) foldStatement(g *Generation, op Op) bool {
	st, err := decodeStatement(op, s.Repository)
	if err != nil || st.Signer != g.Author {
		return false
	}
	session, ok := s.sessions[st.Session]
	if !ok {
		session = sessionState{signer: st.Signer}
	}
	if session.ended || session.signer != st.Signer || st.Sequence <= session.sequence {
		return false
	}
	if !s.perform(g.Number, op, &st) {
		return false
	}
	session.sequence, session.generation = st.Sequence, g.Number
	// Only what registers segments keeps a session open; a snapshot is the last
	// thing that its session does, and a role the only one.
	session.ended = op.Type != OpAddRun
	s.sessions[st.Session] = session
	return true
}

// perform changes s as the verified statement st asks, and reports whether it
// is not void.
func (s *State) perform(generation uint64, op Op, st *Statement) bool {
	switch op.Type {
	case OpAddRun:
		var body AddRun
		if object.DecodeCBOR(st.Body, &body) != nil {
			return false
		}
		if _, ok := s.known.runs[body.Name]; ok || s.isCondemned(RunName(body.Name)) {
			return false
		}
		s.known.runs[body.Name] = struct{}{}
		s.Runs = append(s.Runs, Run{AddRun: body, Generation: generation, Session: st.Session, Signer: st.Signer, op: op})
	case OpAddSnapshot:
		var body AddSnapshot
		if object.DecodeCBOR(st.Body, &body) != nil || !body.Time.Valid() || len(body.Summary) > summaryMax {
			return false
		}
		if _, ok := s.known.snapshots[body.ID]; ok {
			return false
		}
		s.known.snapshots[body.ID] = struct{}{}
		s.Snapshots = append(s.Snapshots, Snapshot{
			AddSnapshot: body, Generation: generation, Session: st.Session, Signer: st.Signer, stated: body.Pinned, op: op,
		})
	case OpRole:
		var body RoleChange
		if object.DecodeCBOR(st.Body, &body) != nil || body.Key == s.Admin ||
			body.Role != RoleWriter && body.Role != RoleCleaner {
			return false
		}
		s.roles = slices.DeleteFunc(s.roles, func(r roleEntry) bool { return r.Key == body.Key })
		if !body.Removed {
			s.roles = append(s.roles, roleEntry{body, generation, op})
		}
	case OpPolicy:
		var body Policy
		if object.DecodeCBOR(st.Body, &body) != nil {
			return false
		}
		s.Policy, s.policy = body, &Entry{generation, op}
	}
	return true
}

// summaryMax is the most bytes of a sealed summary.
const summaryMax = 64 << 10

func compareSessions(a, b object.SessionID) int { return slices.Compare(a[:], b[:]) }
