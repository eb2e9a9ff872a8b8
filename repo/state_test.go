package repo

import (
	"bytes"
	"crypto/ed25519"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"bluesky/index"
	"bluesky/object"
)

// randomOps makes ops that are void or not, as it comes.
func randomOps(t testing.TB, random *rand.Rand, n int) (author ed25519.PrivateKey, ops []Op) {
	keys := []ed25519.PrivateKey{admin, writer, writer, writer, cleaner}
	author = keys[random.IntN(len(keys))]
	for range n {
		session, sequence, name := byte(random.IntN(6)), uint64(random.IntN(8)), byte(random.IntN(40))
		switch random.IntN(7) {
		case 0, 1:
			ops = append(ops, statement(t, author, session, sequence, OpAddRun, &AddRun{Name: index.RunName{name}}))
		case 2, 3:
			ops = append(ops, statement(t, author, session, sequence, OpAddSnapshot, snap(name)))
		case 4:
			ops = append(ops, plainOp(t, OpSessionEnd, &SessionEnd{object.SessionID{session}}))
		case 5:
			change := &RoleChange{Key: PublicKey{name % 4}, Role: RoleID(1 + random.IntN(4)), Removed: random.IntN(2) == 0}
			ops = append(ops, statement(t, author, session, sequence, OpRole, change))
		default:
			if random.IntN(20) == 0 {
				ops = append(ops, Op{OpType(6 + random.IntN(10)), 1, []byte{name}})
			}
		}
	}
	return author, ops
}

// TestStateIsTheLog: at every point of a log, the state encodes, decodes and
// encodes to the same bytes, and the rest of the log folded into what was
// decoded gives what it gives when folded from generation 0.
func TestStateIsTheLog(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	l := newLog(t)
	var generations, states [][]byte
	for range 40 {
		author, ops := randomOps(t, random, random.IntN(4))
		data := l.encode(author, nil, ops...)
		s, err := l.state.next(data)
		if err != nil {
			t.Fatal(err)
		}
		l.state = s
		generations, states = append(generations, data), append(states, encodeState(t, s))
	}
	for i, state := range states {
		s, err := DecodeState(state)
		if err != nil {
			t.Fatalf("state %d: %v", i+1, err)
		}
		if again := encodeState(t, s); !bytes.Equal(again, state) {
			t.Fatalf("state %d encodes to other bytes after it was decoded", i+1)
		}
		for k, data := range generations[i+1:] {
			if s, err = s.next(data); err != nil {
				t.Fatalf("generation %d on the checkpoint of %d: %v", i+2+k, i+1, err)
			}
			if i%10 == 0 && !bytes.Equal(encodeState(t, s), states[i+1+k]) {
				t.Fatalf("state %d differs when it comes from the checkpoint of %d", i+2+k, i+1)
			}
		}
		if !bytes.Equal(encodeState(t, s), states[len(states)-1]) {
			t.Fatalf("the last state differs when it comes from the checkpoint of %d", i+1)
		}
	}
}

// TestFoldLeavesTheStateAlone: states are shared and must not change.
func TestFoldLeavesTheStateAlone(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	l := newLog(t)
	for range 50 {
		before := l.state
		was := encodeState(t, before)
		// Two futures of one state, of which the first must not show in the second.
		for range 2 {
			author, ops := randomOps(t, random, 4)
			if _, err := before.next(l.encode(author, nil, ops...)); err != nil {
				t.Fatal(err)
			}
		}
		author, ops := randomOps(t, random, 4)
		l.add(author, ops...)
		if !bytes.Equal(encodeState(t, before), was) {
			t.Fatal("folding changed the state that it started from")
		}
	}
}

// TestReplayFromCheckpoint: a client that starts at a checkpoint has the state
// of one that reads all, over a real log.
func TestReplayFromCheckpoint(t *testing.T) {
	r, f := newRepo(t)
	backUp(t, r, 1)
	s := begin(t, r)
	put(t, s, 9, object.KindBlock)
	for range checkpointEvery + 5 { // all but the first register nothing new
		if err := s.AddRun(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	backUp(t, r, 2)
	if len(f.Objects.Keys("state/")) != 1 {
		t.Fatalf("%d checkpoints", len(f.Objects.Keys("state/")))
	}
	var reads atomic.Int32
	f.read = func(key string) error {
		if _, ok := ParseGenerationKey(key); ok {
			reads.Add(1)
		}
		return nil
	}
	fresh := refresh(t, open(t, f.open(t), Options{}))
	f.read = nil
	if n := reads.Load(); n > checkpointEvery/2 {
		t.Errorf("%d looks at generations with a checkpoint at hand", n)
	}
	whole := audit(t, f.open(t))
	if !bytes.Equal(encodeState(t, fresh), encodeState(t, whole)) || !bytes.Equal(encodeState(t, fresh), encodeState(t, r.State())) {
		t.Error("the states differ")
	}
}
