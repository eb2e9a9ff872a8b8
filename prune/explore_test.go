package prune

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bluesky/object"
	"bluesky/store/fault"
)

// A scenario is a small repository and what a few processes do with it at once.
// The steps are those of the real code; the explorer decides in which order the
// operations on the bucket happen, and which of them go wrong.
type scenario struct {
	name   string
	before []job // of one process that has ended when the others begin
	actors []actor
}

// An actor is a machine. When its process is killed, another one does the same.
type actor struct {
	name string
	home bool // it keeps a state folder
	jobs []job
}

// A deviation is where an execution does otherwise than by default: which is
// that the actor that made the last operation goes on and, when it has ended, the
// first one that has not.
type deviation struct {
	step  int
	actor int // that goes on; behind all actors stand the late writes
	blow  int // of blows: what becomes of the operation; 0 is that it is done

	past uint64 // what had happened, for whoever repeats it
}

// blows are what may become of a write. Reads are not struck: see fault.Ways.
var blows = []struct {
	name   string
	effect fault.Effect
	kills  bool
}{
	{"", fault.None, false},
	{"reply lost", fault.Lose, false},
	{"reported as failed, and comes late", fault.Delay(0), false},
	{"killed before", fault.Refuse, true},
	{"killed after", fault.Lose.With(fault.ErrRefused), true},
	{"killed, and it comes late", fault.Delay(0).With(fault.ErrRefused), true},
}

// bounds say how far an exploration goes.
type bounds struct {
	preemptions int // switches from an actor that could go on
	faults      int
	until       time.Time // zero is no bound
}

// An exploration are the executions of a scenario within bounds. Of those that
// differ only in the order of operations that commute it makes one, as far as it
// notices.
type exploration struct {
	scenario
	bounds  bounds
	memory  *fault.Memory
	graph   map[object.ID][]object.ID
	kept    map[object.ID]bool
	queue   [][]deviation
	visited map[moment]bool

	met events

	executions, complete, steps int
	strays                      int // executions in which something else happened up to the last deviation
	problem                     string
	trace                       []string
}

// A moment is where an execution is, and what of the bounds it has used.
type moment struct {
	history                     uint64
	current, preempted, faulted int
}

// explore runs a scenario in all ways within bounds, those with few deviations
// first. It stops at the first problem.
func explore(t *testing.T, s scenario, b bounds) *exploration {
	t.Helper()
	x := &exploration{scenario: s, bounds: b, queue: [][]deviation{nil}, visited: map[moment]bool{}, met: events{}}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		defer w.stop()
		w.drain(w.start("before", "", 1, s.before...))
		if len(w.problems) > 0 {
			t.Fatal(w.problems)
		}
		x.memory, x.graph, x.kept = w.memory.Clone(), w.graph, w.kept
	})
	for len(x.queue) > 0 && x.problem == "" {
		if !b.until.IsZero() && time.Now().After(b.until) {
			break
		}
		plan := x.queue[0]
		x.queue = x.queue[1:]
		synctest.Test(t, func(t *testing.T) { x.execute(t, plan) })
	}
	return x
}

// exhausted reports whether nothing within the bounds is left.
func (x *exploration) exhausted() bool { return len(x.queue) == 0 && x.strays == 0 && x.problem == "" }

func (x *exploration) String() string {
	s := fmt.Sprintf("%s: %d executions, %d to the end, %d operations, %d states", x.name, x.executions, x.complete, x.steps, len(x.visited))
	if x.strays > 0 {
		s += fmt.Sprintf(", %d strays", x.strays)
	}
	if !x.exhausted() {
		s += fmt.Sprintf(", not exhausted: %d wait", len(x.queue))
	}
	return s
}

// An execution is one run of a scenario.
type execution struct {
	*world
	x     *exploration
	plan  []deviation
	first uint64 // generation at the beginning

	procs   []*process // of the actors, the last of each
	homes   []string
	late    []*process // whose last write may come any time
	current int
	step    int

	preempted, faulted int
	history            past
	lines              []string
}

// execute makes one execution, and queues those that deviate once more.
func (x *exploration) execute(t *testing.T, plan []deviation) {
	x.executions++
	memory := x.memory.Clone()
	e := &execution{
		x: x, plan: plan, current: -1, history: newPast(len(x.actors)),
		world: worldOf(&bed{TB: t, store: openFault(fault.Over(memory))}, memory),
	}
	e.graph, e.kept = maps.Clone(x.graph), maps.Clone(x.kept)
	defer e.store.Close()
	defer e.stop()
	e.check()
	e.first = e.seen.Generation
	for i, a := range x.actors {
		e.homes = append(e.homes, "")
		if a.home {
			e.homes[i] = t.TempDir()
		}
		e.procs = append(e.procs, e.start(a.name, e.homes[i], uint64(10+i), a.jobs...))
	}
	if e.play() {
		x.complete++
		e.judge()
	}
	x.steps += e.step
	x.met.add(e.world)
	if len(e.problems) > 0 {
		x.problem, x.trace = e.problems[0], e.lines
	}
}

// judge looks at how the processes have ended, and at what they have left.
func (e *execution) judge() {
	for _, p := range e.world.procs {
		e.settle(p)
		if _, err := p.isDone(); isProblem(err) {
			e.broken("%s: %v", p.name, err)
		}
	}
	if len(e.problems) == 0 {
		e.finish(slices.DeleteFunc(e.homes, func(s string) bool { return s == "" }))
	}
}

// play executes operations until all actors have ended. It returns false if
// something is wrong, or if another execution was in the same place before.
func (e *execution) play() bool {
	for len(e.problems) == 0 {
		d, ok := e.usual()
		if !ok {
			return len(e.problems) == 0
		}
		free := len(e.plan) == 0 || e.plan[len(e.plan)-1].step < e.step
		if i := slices.IndexFunc(e.plan, func(d deviation) bool { return d.step == e.step }); i >= 0 {
			d = e.plan[i]
			if d.past != e.history.sum || d.actor < len(e.procs) && !e.goesOn(d.actor) {
				e.x.strays++
				return false
			}
			if d.blow > 0 {
				e.faulted++
			} else if e.goesOn(e.current) {
				e.preempted++
			}
		} else if free && (!e.goesOn(e.current) || e.matters(d.actor)) {
			if e.visited() {
				return false
			}
			e.branch(d)
		}
		e.do(d)
	}
	return false
}

// usual is what happens by default; false is nothing any more.
func (e *execution) usual() (deviation, bool) {
	for range 1000 {
		if e.goesOn(e.current) {
			return deviation{step: e.step, actor: e.current}, true
		}
		for i := range e.procs {
			if e.goesOn(i) {
				return deviation{step: e.step, actor: i}, true
			}
		}
		if !slices.ContainsFunc(e.procs, func(p *process) bool { done, _ := p.isDone(); return !done }) {
			return deviation{}, false
		}
		time.Sleep(time.Minute) // somebody waits before he tries again
	}
	e.broken("nothing happens any more")
	return deviation{}, false
}

// next returns the operation that an actor is about to make, nil for none.
func (e *execution) next(actor int) *waiting {
	for _, w := range e.ready() {
		if w.p == e.procs[actor] {
			return w
		}
	}
	return nil
}

func (e *execution) goesOn(actor int) bool {
	if actor < 0 {
		return false // nobody has begun
	}
	if actor >= len(e.procs) {
		return e.late[actor-len(e.procs)] != nil
	}
	return e.next(actor) != nil
}

// matters reports whether it can make a difference to others what comes first: they
// do not mind when somebody reads what stays as it is.
func (e *execution) matters(actor int) bool {
	if actor >= len(e.procs) {
		return true
	}
	op := e.next(actor).op
	var n uint64
	if _, err := fmt.Sscanf(op.Key, "gen/%x", &n); err == nil {
		return n > e.first
	}
	return op.Kind == fault.List && op.Key != "gen/" || strings.Contains(op.Key, "/") && op.Kind != fault.List
}

// visited reports whether an execution was in this place and had used no more of
// the bounds, and notes that this one was.
func (e *execution) visited() bool {
	at := moment{e.history.sum, e.current, e.preempted, e.faulted}
	for at.preempted = range e.preempted + 1 {
		for at.faulted = range e.faulted + 1 {
			if e.x.visited[at] {
				return true
			}
		}
	}
	e.x.visited[at] = true
	return false
}

// branch queues what can be done instead of d.
func (e *execution) branch(d deviation) {
	queue := func(other deviation) {
		e.x.queue = append(e.x.queue, append(slices.Clone(e.plan), other))
	}
	if !e.goesOn(e.current) || e.preempted < e.x.bounds.preemptions {
		for i := range len(e.procs) + len(e.late) {
			if i != d.actor && e.goesOn(i) {
				queue(deviation{e.step, i, 0, e.history.sum})
			}
		}
	}
	if d.actor < len(e.procs) && e.faulted < e.x.bounds.faults && e.next(d.actor).op.Kind&fault.Writes != 0 {
		for blow := 1; blow < len(blows); blow++ {
			queue(deviation{e.step, d.actor, blow, e.history.sum})
		}
	}
}

// do executes an operation.
func (e *execution) do(d deviation) {
	e.step++
	e.current = d.actor
	if d.actor >= len(e.procs) {
		p := e.late[d.actor-len(e.procs)]
		e.late[d.actor-len(e.procs)] = nil
		e.lines = append(e.lines, fmt.Sprintf("%s: its late write comes", p.name))
		e.history.late(d.actor)
		e.settle(p)
		return
	}
	next := e.next(d.actor)
	line := next.String()
	if d.blow > 0 {
		line += ": " + blows[d.blow].name
	}
	e.lines = append(e.lines, line)
	e.history.add(d, next.op)
	blow := blows[d.blow]
	if !blow.kills {
		e.world.step(next, blow.effect)
	} else {
		e.homes[d.actor] = e.kill(next, blow.effect)
		a := &e.x.actors[d.actor]
		e.procs[d.actor] = e.start(a.name+" again", e.homes[d.actor], uint64(100+d.actor), a.jobs...)
	}
	if strings.Contains(blow.name, "late") {
		e.late = append(e.late, next.p)
	}
}

// A past is a hash of what has happened, the same for all orders of
// operations that commute: each operation is hashed with those before it that
// matter to it, and the hashes are added up.
type past struct {
	sum    uint64
	actors []uint64          // the last operation of each
	writes map[string]uint64 // the last one of each key
	reads  map[string]uint64 // all since, added up
	lists  map[string]uint64 // by prefix
}

func newPast(actors int) past {
	return past{actors: make([]uint64, actors), writes: map[string]uint64{}, reads: map[string]uint64{}, lists: map[string]uint64{}}
}

func (h *past) add(d deviation, op fault.Op) {
	own := h.actors[d.actor]
	var seen []uint64
	folder, _, _ := strings.Cut(op.Key, "/")
	switch {
	case op.Kind == fault.List:
		for _, key := range slices.Sorted(maps.Keys(h.writes)) {
			if strings.HasPrefix(key, op.Key) {
				seen = append(seen, h.writes[key])
			}
		}
	case op.Kind&fault.Writes != 0:
		seen = []uint64{h.writes[op.Key], h.reads[op.Key], h.lists[folder+"/"]}
	default:
		seen = []uint64{h.writes[op.Key]}
	}
	hash := fnv.New64a()
	fmt.Fprintf(hash, "%d %d %s %s", d.actor, d.blow, op.Kind, op.Key)
	for _, v := range append(seen, own) {
		hash.Write(binary.LittleEndian.AppendUint64(nil, v))
	}
	v := hash.Sum64()
	switch {
	case op.Kind == fault.List:
		h.lists[op.Key] += v
	case op.Kind&fault.Writes != 0:
		h.writes[op.Key], h.reads[op.Key] = v, 0
	default:
		h.reads[op.Key] += v
	}
	h.actors[d.actor] = v
	h.sum += v
}

// late counts a write that comes now as one that commutes with nothing.
func (h *past) late(actor int) { h.sum = h.sum*31 + uint64(actor) }
