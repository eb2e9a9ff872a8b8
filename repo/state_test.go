package repo

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"

	"bluesky/object"
)

// TestStateIsTheLog: at every point of a log, the state encodes, decodes and
// encodes to the same bytes, and the rest of the log folded into what was
// decoded gives what it gives when folded from generation 0. Ops of every type
// must have had an effect.
func TestStateIsTheLog(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := chaos{t, newRandom(seed), map[OpType]int{}}
	logs, states := 0, 0
	for logs < 6 || !c.complete() && logs < 100 {
		states += stateIsTheLog(t, &c)
		logs++
	}
	t.Logf("%d logs, %d states, ops that were not void: %v", logs, states, c.folded)
	if !c.complete() {
		t.Error("ops of some type were all void")
	}
}

// stateIsTheLog returns how many states it has compared.
func stateIsTheLog(t *testing.T, c *chaos) (compared int) {
	l := newLog(t)
	var generations, states [][]byte
	for range 40 {
		data := c.generation(l.state, c.random.IntN(7))
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
			compared++
		}
		if !bytes.Equal(encodeState(t, s), states[len(states)-1]) {
			t.Fatalf("the last state differs when it comes from the checkpoint of %d", i+1)
		}
		// What was condemned since stands in no checkpoint.
		recent := slices.DeleteFunc(slices.Clone(l.state.recent), func(r recentClean) bool { return r.generation <= uint64(i+1) })
		same := slices.EqualFunc(recent, s.recent, func(a, b recentClean) bool {
			return a.generation == b.generation && slices.Equal(a.names, b.names)
		})
		if !same || s.recentFrom != uint64(i+1) {
			t.Fatalf("behind the checkpoint of %d, condemned were %v, want %v", i+1, s.recent, recent)
		}
	}
	return compared
}

// TestFoldLeavesTheStateAlone: states are shared and must not change.
func TestFoldLeavesTheStateAlone(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	c := chaos{t, newRandom(seed), map[OpType]int{}}
	l := newLog(t)
	for range 80 {
		before := l.state
		was := encodeState(t, before)
		// Some futures of one state, of which none must show in another.
		var futures []*State
		var saw [][]byte
		for range 3 {
			s, err := before.next(c.generation(before, 4))
			if err != nil {
				t.Fatal(err)
			}
			futures, saw = append(futures, s), append(saw, encodeState(t, s))
		}
		l.state = futures[c.random.IntN(len(futures))]
		for i, s := range futures {
			if !bytes.Equal(encodeState(t, s), saw[i]) {
				t.Fatal("folding changed another state of the same base")
			}
		}
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
