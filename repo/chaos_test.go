package repo

import (
	"crypto/ed25519"
	"math/rand/v2"
	"slices"
	"testing"

	"bluesky/index"
	"bluesky/object"
)

// chaos makes generations of ops of every type, void or not, as it comes.
type chaos struct {
	t      testing.TB
	random *rand.Rand
	folded map[OpType]int // ops that were not void
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0)) }

// complete reports whether ops of each known type have had an effect.
func (c *chaos) complete() bool {
	for typ := range OpVoid + 1 {
		if newBody(typ) != nil && c.folded[typ] == 0 {
			return false
		}
	}
	return true
}

// oneIn is true once in n times.
func (c *chaos) oneIn(n int) bool { return c.random.IntN(n) == 0 }

// generation returns a valid generation behind s, of n ops.
func (c *chaos) generation(s *State, n int) []byte {
	c.t.Helper()
	keys := []ed25519.PrivateKey{admin, admin, writer, writer, cleaner, cleaner}
	author := keys[c.random.IntN(len(keys))]
	g := Generation{Number: s.Generation + 1, Previous: s.Hash, Author: pub(author), Nonce: [16]byte{byte(c.random.IntN(256))}}
	if author.Equal(admin) && c.oneIn(8) {
		g.Ops = append(g.Ops, plainOp(c.t, OpVoid, &Void{s.Generation, s.Hash}))
	}
	// The head of a generation says what the state is behind its ops, so they are
	// made one by one on what those before have made.
	after := s.clone()
	role, _ := s.Role(g.Author)
	stood := map[OpType]bool{}
	fold := func(op Op) {
		single := op.Type == OpForget || op.Type == OpClean
		if op.known() && !(single && stood[op.Type]) && after.fold(&g, role, op) {
			c.folded[op.Type]++
		}
		stood[op.Type] = stood[op.Type] || op.known()
	}
	for _, op := range g.Ops {
		fold(op)
	}
	for range n {
		op := c.op(after, author)
		if op.Type != OpVoid {
			fold(op)
		}
		g.Ops = append(g.Ops, op)
	}
	g.Checkpoint, g.Floor = after.Checkpoint, after.Floor
	data, err := encodeGeneration(&g, s.Repository, author)
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

// op makes an op of any type that author may have made on s.
func (c *chaos) op(s *State, author ed25519.PrivateKey) Op {
	session, sequence, name := byte(c.random.IntN(200)), uint64(c.random.IntN(8)), byte(c.random.IntN(40))
	stated := func(typ OpType, body any) Op { return statement(c.t, author, session, sequence, typ, body) }
	plain := func(typ OpType, body any) Op { return plainOp(c.t, typ, body) }
	var live, forgotten []object.ID
	for _, snap := range s.Snapshots {
		live = append(live, snap.ID)
	}
	for _, snap := range s.Forgotten {
		forgotten = append(forgotten, snap.ID)
	}
	switch c.random.IntN(18) {
	case 0, 1:
		return stated(OpAddRun, &AddRun{Name: index.RunName{name}})
	case 2, 3, 4:
		snap := inSeries(name, name%3)
		snap.Time.Sec += int64(c.random.IntN(200) - 100)
		snap.Pinned = c.oneIn(4)
		return stated(OpAddSnapshot, snap)
	case 5:
		end := SessionEnd{object.SessionID{session}}
		if open := s.Unfinished(); len(open) > 0 && !c.oneIn(4) {
			end.Session = open[c.random.IntN(len(open))]
		}
		return plain(OpSessionEnd, &end)
	case 6:
		return stated(OpRole, &RoleChange{Key: PublicKey{name % 4}, Role: RoleID(1 + c.random.IntN(4)), Removed: c.oneIn(2)})
	case 7:
		return plain(OpCheckpoint, &CheckpointRef{Number: s.Generation - uint64(c.random.IntN(2)), Name: CheckpointName{name}})
	case 8, 9:
		var policy *ForgetPolicy
		if !author.Equal(admin) || c.oneIn(2) {
			policy = &ForgetPolicy{Daily: uint32(name), Within: &Duration{Days: 7}}
		}
		return plain(OpForget, &Forget{some(c, live, object.ID.Compare), policy})
	case 10:
		return plain(OpUndoForget, &SnapshotList{some(c, forgotten, object.ID.Compare)})
	case 11:
		return plain(OpPin+OpType(c.random.IntN(2)), &SnapshotList{some(c, live, object.ID.Compare)})
	case 12, 13, 14:
		return plain(OpClean, c.clean(s, forgotten))
	case 15:
		var names []Name
		for n := range s.Condemned {
			names = append(names, n)
		}
		slices.SortFunc(names, Name.Compare) // a map goes another way each time
		return plain(OpDeleted, &Deleted{some(c, names, Name.Compare)})
	case 16:
		if c.oneIn(2) {
			return plain(OpFloor, &Floor{s.Floor + uint64(c.random.IntN(3))})
		}
		return stated(OpPolicy, &Policy{uint64(name)})
	}
	switch c.random.IntN(10) {
	case 0:
		return Op{12, 1, []byte{name}}
	case 1:
		return Op{OpClean, 2, nil}
	case 2:
		return plain(OpVoid, &Void{s.Generation, s.Hash})
	}
	return Op{OpType(1 + c.random.IntN(11)), 1, []byte{name}}
}

// clean makes the body of a clean that is right, but for what comes twice.
func (c *chaos) clean(s *State, forgotten []object.ID) *Clean {
	b := &Clean{Fold: s.Fold + uint64(c.random.IntN(4)), Pending: s.Unfinished()}
	b.Marks, b.Counts, b.Space = slices.Clone(s.Marks), slices.Clone(s.Counts), slices.Clone(s.Space)
	if c.oneIn(3) {
		b.Collected = some(c, forgotten, object.ID.Compare)
	}
	if c.oneIn(3) {
		b.Expired = some(c, s.Unfinished(), compareSessions)
	}
	if c.oneIn(2) {
		for _, list := range [][]Snapshot{s.Snapshots, forgottenSnapshots(s)} {
			for i := range list {
				if list[i].Effective == nil && c.oneIn(2) {
					b.Times = append(b.Times, StoreTime{ID: list[i].ID, Time: object.Time{Sec: testTime.Unix() + int64(c.random.IntN(200)-100)}})
				}
			}
		}
		slices.SortFunc(b.Times, func(x, y StoreTime) int { return x.ID.Compare(y.ID) })
	}
	for range c.random.IntN(4) {
		b.Condemned = append(b.Condemned, name(Folder(c.random.IntN(4)), byte(c.random.IntN(60))))
	}
	for i := range s.Runs {
		if c.oneIn(8) {
			b.Condemned = append(b.Condemned, RunName(s.Runs[i].Name))
		}
	}
	if c.oneIn(2) {
		b.Runs = []AddRun{*run(byte(40 + c.random.IntN(60)))}
	}
	for _, list := range []*[]TableRef{&b.Marks, &b.Counts, &b.Space} {
		if c.oneIn(4) { // a new base
			for _, ref := range *list {
				b.Condemned = append(b.Condemned, TableName(ref.Name))
			}
			*list = nil
		}
		if c.oneIn(2) {
			*list = append(*list, table(byte(60+c.random.IntN(190))))
		}
	}
	slices.SortFunc(b.Condemned, Name.Compare)
	b.Condemned = slices.Compact(b.Condemned)
	return b
}

func forgottenSnapshots(s *State) []Snapshot {
	var list []Snapshot
	for _, f := range s.Forgotten {
		list = append(list, f.Snapshot)
	}
	return list
}

// some returns up to three of a list, as they sort.
func some[T comparable](c *chaos, list []T, compare func(a, b T) int) []T {
	var chosen []T
	for range min(len(list), 1+c.random.IntN(3)) {
		chosen = append(chosen, list[c.random.IntN(len(list))])
	}
	slices.SortFunc(chosen, compare)
	return slices.Compact(chosen)
}
