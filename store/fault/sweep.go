package fault

import (
	"fmt"
	"iter"
	"strings"
	"sync"
)

// A Way is how a sweep strikes an operation.
type Way struct {
	Name   string
	Kinds  Kind   // of the operations that are struck in turn
	Prefix string // of their keys
	Effect Effect // None for a body that does something else at that moment
	Dies   bool   // no later operation succeeds: the process was killed
}

// Ways are the ways in which an operation, or a process amid its operations, can
// end. Reads have but one: they change nothing, so it is all the same why they
// fail. A write that is done later is so during what comes next, or behind it.
var Ways = []Way{
	{Name: "refused", Kinds: Any, Effect: Refuse},
	{Name: "reply lost", Kinds: Writes, Effect: Lose.With(ErrRefused)},
	{Name: "reply lost and done later", Kinds: Writes, Effect: Delay(3).With(ErrRefused)},
	{Name: "killed before", Kinds: Any, Effect: Refuse, Dies: true},
	{Name: "killed after", Kinds: Writes, Effect: Lose.With(ErrRefused), Dies: true},
	{Name: "killed and done later", Kinds: Writes, Effect: Delay(2).With(ErrRefused), Dies: true},
	{Name: "killed and done last", Kinds: Writes, Effect: Delay(0).With(ErrRefused), Dies: true},
}

// A Strike is one case of a sweep. Its Plan is for one run.
type Strike struct {
	Way Way
	K   int // which of the operations of Way.Kinds, from 1

	mu     sync.Mutex
	count  int  // guarded by mu
	struck bool // guarded by mu
	op     Op   // guarded by mu: which, once struck
}

// Sweep gives a Strike for each of the operations that a run makes, one after
// the other in each of the ways, until it would be behind the last: it goes on to
// the next way when a run was not struck. So the body of the loop runs once
// without a fault for each way, too.
//
//	for s := range fault.Sweep(fault.Ways, nil) {
//		bucket := base.Clone()
//		bucket.Inject(s.Plan)
//		… run; look at s.Struck(); clear the faults; check what must hold …
//	}
//
// next returns how many operations behind k the next one to be struck is; nil
// strikes each.
func Sweep(ways []Way, next func(k int) int) iter.Seq[*Strike] {
	if next == nil {
		next = func(int) int { return 1 }
	}
	return func(yield func(*Strike) bool) {
		for _, way := range ways {
			for k := 1; ; k += next(k) {
				s := &Strike{Way: way, K: k}
				if !yield(s) {
					return
				}
				if !s.Struck() {
					break
				}
			}
		}
	}
}

// Plan strikes the operation.
func (s *Strike) Plan(op Op) Effect {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.struck && s.Way.Dies {
		return Refuse
	}
	if s.struck || op.Kind&s.Way.Kinds == 0 || !strings.HasPrefix(op.Key, s.Way.Prefix) {
		return None
	}
	if s.count++; s.count < s.K {
		return None
	}
	s.struck, s.op = true, op
	if s.Way.Effect != None && op.Kind&s.Way.Effect.Kinds() == 0 {
		return Refuse
	}
	return s.Way.Effect
}

// Struck reports whether the run came to the operation.
func (s *Strike) Struck() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.struck
}

// Op returns the operation that was struck.
func (s *Strike) Op() Op {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.op
}

func (s *Strike) String() string {
	if !s.Struck() {
		return fmt.Sprintf("%s: no operation was left to strike", s.Way.Name)
	}
	op := s.Op()
	return fmt.Sprintf("%s: operation %d, %s %s (K = %d)", s.Way.Name, op.N, op.Kind, op.Key, s.K)
}
