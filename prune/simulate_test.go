package prune

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bluesky/repo"
	"bluesky/store"
	"bluesky/store/fault"
)

// A census counts what histories have had in them.
type census struct {
	histories, steps, generations, deletes int

	faults, errors, met events
}

func newCensus() *census { return &census{faults: events{}, errors: events{}, met: events{}} }

func (n *census) log(t *testing.T) {
	t.Logf("%d histories, %d operations, %d generations, %d deletions", n.histories, n.steps, n.generations, n.deletes)
	for _, e := range []events{n.faults, n.errors, n.met} {
		e.log(t)
	}
}

// classes are how processes may end.
var classes = []struct {
	name string
	is   error
}{
	{"a reader has lost something", errLost},
	{"damaged", ErrDamaged},
	{"an object was removed", repo.ErrObjectGone},
	{"a conflict", repo.ErrConflict},
	{"refused", fault.ErrRefused},
	{"broken", fault.ErrBroken},
}

func classOf(err error) string {
	for _, c := range classes {
		if errors.Is(err, c.is) {
			return "processes end: " + c.name
		}
	}
	message := err.Error()
	if strings.Contains(message, "cannot be brought back") {
		message = "a snapshot cannot be brought back any more"
	}
	if strings.Contains(message, "has sent nothing") {
		message = "no answer"
	}
	if errors.Is(err, store.ErrNotFound) {
		message = "not found: " + message
	}
	return "processes end: " + message
}

// A history is what happens in a world by chance.
type history struct {
	*world
	rng    *rand.Rand
	census *census
	stick  float64 // how likely a process goes on
	faulty float64 // how likely an operation fails
	jumpy  float64 // how likely a week passes
	late   float64 // how likely another is let go first where one would commit

	current  *process
	machines []string // state folders
	trace    []string
	again    int
}

// simulate runs a history by seed: two to four writers, two cleaners, one who
// forgets and brings back, and a reader, on a bucket that fails, some of whom are
// killed and come again. It returns what was wrong.
func simulate(t *testing.T, seed uint64, n *census) (problems, trace []string) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(seed, 3))
		h := &history{world: newWorld(t, seed), rng: rng, census: n}
		h.stick = []float64{0, 0.5, 0.9, 0.98}[rng.IntN(4)]
		h.faulty = []float64{0, 0.002, 0.01}[rng.IntN(3)]
		h.jumpy = []float64{0, 0, 0, 0.001}[rng.IntN(4)]
		h.late = []float64{0, 0.3, 0.6}[rng.IntN(3)]
		defer h.stop()
		h.begin(t)
		h.play()
		h.settleAll()
		if len(h.problems) == 0 {
			h.finish(h.machines)
		}
		n.histories++
		n.generations += int(h.seen.Generation)
		n.deletes += h.deletes
		n.met.add(h.world)
		problems, trace = h.problems, h.trace
	})
	return problems, trace
}

// begin starts the processes.
func (h *history) begin(t *testing.T) {
	base := plant{{1, 2}, {3}, {4, 5}}
	jobs := h.backups(base, 2+h.rng.IntN(3))
	for range h.rng.IntN(len(jobs)) {
		jobs = append(jobs, forgets)
	}
	h.drain(h.start("first", "", h.rng.Uint64(), jobs...))
	seed := h.rng.Uint64()
	for i := range 2 + h.rng.IntN(3) {
		state := ""
		if h.rng.IntN(2) == 0 {
			state = t.TempDir()
		}
		h.machines = append(h.machines, state)
		h.start(fmt.Sprintf("writer %d", i), state, seed+uint64(i), h.backups(base, 1+h.rng.IntN(2))...)
	}
	for i := range 2 {
		h.start(fmt.Sprintf("cleaner %d", i), "", seed+10+uint64(i), h.cleanings()...)
	}
	var users []job
	for range 3 {
		users = append(users, []job{forgets, forgets, remembers}[h.rng.IntN(3)])
	}
	h.start("user", "", seed+20, users...)
	h.start("reader", "", seed+21, reads, reads)
}

func (h *history) backups(base plant, n int) (jobs []job) {
	for range n {
		base = base.graft(h.rng, h.rng.IntN(3))
		jobs = append(jobs, backsUp(base, h.rng.IntN(3)))
	}
	return jobs
}

func (h *history) cleanings() (jobs []job) {
	for range 1 + h.rng.IntN(2) {
		jobs = append(jobs, prunes(Options{
			AllowMassDelete: true, Instant: h.rng.IntN(2) == 0, NoRepack: h.rng.IntN(4) == 0, Now: time.Now,
		}))
	}
	return jobs
}

// play lets operations happen until all processes have ended.
func (h *history) play() {
	for idle := 0; len(h.problems) == 0; {
		ready := h.ready()
		if len(ready) == 0 {
			if h.allDone() {
				return
			}
			if idle++; idle > 1000 {
				h.broken("nothing happens any more")
				return
			}
			time.Sleep(time.Minute) // some wait before they try again
			continue
		}
		h.census.steps++
		if h.rng.Float64() < h.jumpy {
			time.Sleep(8 * 24 * time.Hour)
			h.note("a week passes")
		}
		if h.rng.Float64() < 0.02 {
			p := h.procs[h.rng.IntN(len(h.procs))]
			if n := h.settle(p); n > 0 {
				h.note("%s: %d late writes", p.name, n)
			}
		}
		h.happen(h.pick(ready))
	}
}

func (h *history) note(format string, args ...any) {
	h.trace = append(h.trace, fmt.Sprintf(format, args...))
}

func (h *history) allDone() bool {
	return !slices.ContainsFunc(h.procs, func(p *process) bool { done, _ := p.isDone(); return !done })
}

func (h *history) pick(ready []*waiting) *waiting {
	all := ready
	if h.rng.Float64() < h.stick {
		of := slices.DeleteFunc(slices.Clone(ready), func(w *waiting) bool { return w.p != h.current })
		if len(of) > 0 {
			ready = of
		}
	}
	next := ready[h.rng.IntN(len(ready))]
	if next.commits() && h.rng.Float64() < h.late {
		next = all[h.rng.IntN(len(all))]
	}
	h.current = next.p
	return next
}

// happen lets an operation happen, or go wrong.
func (h *history) happen(next *waiting) {
	if h.rng.Float64() >= h.faulty {
		h.note("%v", next)
		h.step(next, fault.None)
		return
	}
	way := fault.Ways[h.rng.IntN(len(fault.Ways))]
	effect := way.Effect
	if next.op.Kind&effect.Kinds() == 0 {
		effect = fault.Refuse
	} else if way.Kinds == fault.Writes && effect != fault.Lose {
		effect = []fault.Effect{effect, fault.Delay(0).With(fault.ErrRefused)}[h.rng.IntN(2)]
	}
	if !way.Dies && h.rng.IntN(2) == 0 {
		effect = effect.With(fault.ErrBroken) // which may pass: who can tries again
	}
	h.census.faults[way.Name]++
	h.note("%v: %s", next, way.Name)
	if !way.Dies {
		h.step(next, effect)
		return
	}
	state := h.kill(next, effect)
	if next.p.state != "" {
		h.machines[slices.Index(h.machines, next.p.state)] = state
	}
	if kind, _, _ := strings.Cut(next.p.name, " "); h.again < 6 {
		h.again++
		name := fmt.Sprintf("%s again %d", next.p.name, h.again)
		var jobs []job
		switch kind {
		case "writer":
			jobs = h.backups(plant{{1, 2}, {3}, {4, 5}}, 1)
		case "cleaner":
			jobs = h.cleanings()[:1]
		default:
			return
		}
		h.start(name, state, h.rng.Uint64(), jobs...)
	}
}

// settleAll executes all writes that were delayed.
func (h *history) settleAll() {
	for _, p := range h.procs {
		h.settle(p)
	}
	for _, p := range h.procs {
		if _, err := p.isDone(); err != nil {
			h.census.errors[classOf(err)]++
			if isProblem(err) {
				h.broken("%s: %v", p.name, err)
			}
		}
	}
}

// histories is how many `make test` makes: a sample with the race detector, all of
// them without.
const histories, raceHistories = 200, 8

// TestSimulation makes histories by seed. BLUESKY_SEED repeats one of them, and prints
// it.
func TestSimulation(t *testing.T) {
	n := newCensus()
	if s := os.Getenv("BLUESKY_SEED"); s != "" {
		seed, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range n.run(t, seed) {
			t.Log(line)
		}
		return
	}
	if raceEnabled {
		for seed := range uint64(raceHistories) {
			n.run(t, seed)
		}
		n.log(t)
		return
	}
	for seed := range uint64(histories) {
		n.run(t, seed)
	}
	n.log(t)
	n.met.want(t, allMet...)
}

// TestSeeds: a seed gives the same history again.
func TestSeeds(t *testing.T) {
	for seed := range uint64(2) {
		if a, b := newCensus().run(t, seed), newCensus().run(t, seed); !slices.Equal(a, b) {
			t.Errorf("seed %d gives two histories of %d and %d steps", seed, len(a), len(b))
		}
	}
}

// soakHistories is how many a long campaign makes, if it has the time.
const soakHistories = 100_000

// TestSoakSimulation goes on behind the seeds of TestSimulation, or behind BLUESKY_SEED.
func TestSoakSimulation(t *testing.T) {
	end := soakEnd(t)
	first, err := strconv.ParseUint(os.Getenv("BLUESKY_SEED"), 10, 64)
	if err != nil {
		first = histories
	}
	n := newCensus()
	for seed := first; seed < first+soakHistories && time.Now().Before(end); seed++ {
		n.run(t, seed)
	}
	n.log(t)
	t.Logf("seeds %d to %d", first, first+uint64(n.histories)-1)
}

// run makes the history of a seed and returns it.
func (n *census) run(t *testing.T, seed uint64) (trace []string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("BLUESKY_SEED=%d", seed)
		}
	}()
	problems, trace := simulate(t, seed, n)
	if len(problems) == 0 {
		return trace
	}
	for _, line := range trace {
		t.Log(line)
	}
	for _, p := range problems[:min(5, len(problems))] {
		t.Error(p)
	}
	t.Fatalf("after %d steps", len(trace))
	return nil
}
