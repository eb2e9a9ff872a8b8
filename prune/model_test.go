package prune

import (
	"testing"
	"time"
)

// The plants of the model: two leaves of one block each, of which one is in
// common.
var (
	plantA  = plant{{1}, {2}}
	plantB  = plant{{1}, {3}}
	plantA2 = plant{{2}, {4}}
)

// scenarios are small repositories of two snapshots, of which one is forgotten:
// four levels of objects (snapshot, map, leaves, blocks), leaves in common.
func scenarios() []scenario {
	base := []job{backsUp(plantA, 0), backsUp(plantB, 0), forgetsNth(0)}
	writer := actor{name: "writer", jobs: []job{backsUp(plantA, 0)}}
	cleaner := actor{name: "cleaner", jobs: []job{prunes(instant)}}
	gentle := actor{name: "cleaner", jobs: []job{prunes(tight)}}
	slow := tight
	slow.Grace = time.Hour // what is condemned can be rescued
	graceful := actor{name: "cleaner", jobs: []job{prunes(slow)}}
	second := actor{name: "second cleaner", jobs: []job{prunes(instant)}}
	return []scenario{
		{"a writer needs what a cleaner kills", base, []actor{writer, gentle}},
		{"a writer rescues what a cleaner kills", base, []actor{writer, graceful}},
		{"a writer of other things is faster than a cleaner", base, []actor{gentle, {name: "writer", jobs: []job{backsUp(plant{{7}, {8}}, 0)}}}},
		{"a cleaner takes uploads for orphans", base, []actor{writer, cleaner}},
		{"a writer registers as it goes", base, []actor{{name: "writer", jobs: []job{backsUp(plantA, 1)}}, cleaner}},
		{"two cleaners", base, []actor{cleaner, second}},
		{"forget and undo", base, []actor{{name: "user", jobs: []job{remembersNth(0), forgetsNth(1)}}, cleaner}},
		{"two writers store the same", base, []actor{writer, {name: "second writer", jobs: []job{backsUp(plantA, 0)}}, cleaner}},
		{"a writer and two cleaners", base, []actor{writer, cleaner, second}},
		{"a reader", base, []actor{{name: "reader", jobs: []job{reads}}, cleaner, second}},
		{"a machine that is killed goes on", base, []actor{{name: "writer", home: true, jobs: []job{backsUp(plantA2, 1)}}, cleaner}},
	}
}

// everybody is all who can be at work at once. One after the other they are in
// every order; what they do to each other in between, the scenarios of two and
// three show.
func everybody() scenario {
	return scenario{
		"everybody", []job{backsUp(plantA, 0), backsUp(plantB, 0), forgetsNth(0)},
		[]actor{
			{name: "writer", jobs: []job{backsUp(plantA, 1)}},
			{name: "second writer", jobs: []job{backsUp(plantA2, 0)}},
			{name: "cleaner", jobs: []job{prunes(instant)}},
			{name: "second cleaner", jobs: []job{prunes(tight)}},
			{name: "user", jobs: []job{remembersNth(0), forgetsNth(1)}},
			{name: "reader", jobs: []job{reads}},
		},
	}
}

// The scopes within which scenarios are explored. docs/testing.md has the numbers.
var (
	// switched: once, anywhere, another process goes on.
	switched = bounds{preemptions: 1}
	// struck1: one write, anywhere, goes wrong in one of the five ways.
	struck1 = bounds{faults: 1}
	// both: the two together.
	both = bounds{preemptions: 1, faults: 1}
	// twice: two switches.
	twice = bounds{preemptions: 2}
	// unswitched: processes take turns, in every order.
	unswitched = bounds{}
)

// run explores a scenario and fails with the operations that lead to a problem.
func (s scenario) run(t *testing.T, b bounds) *exploration {
	t.Helper()
	begin := time.Now()
	x := explore(t, s, b)
	t.Logf("%v; %v", x, time.Since(begin).Round(time.Millisecond))
	if x.problem != "" {
		for _, line := range x.trace {
			t.Log(line)
		}
		t.Error(x.problem)
	}
	if x.strays > 0 {
		t.Errorf("%d executions cannot be repeated", x.strays)
	}
	return x
}

// TestModel explores the scenarios: all with one switch, and with a single fault
// the first one. With the race detector it is the first one and one switch.
func TestModel(t *testing.T) {
	met := events{}
	for i, s := range scenarios() {
		if raceEnabled && i > 0 || t.Failed() {
			break
		}
		t.Run(s.name, func(t *testing.T) {
			met.addAll(s.run(t, switched).met)
			if i == 0 && !raceEnabled {
				met.addAll(s.run(t, struck1).met)
			}
		})
	}
	if !raceEnabled && !t.Failed() {
		t.Run("everybody", func(t *testing.T) { met.addAll(everybody().run(t, unswitched).met) })
	}
	met.log(t)
	if !raceEnabled && !t.Failed() {
		met.want(t, metMoves, metMerges, metRescues, metTwice, metCollects, metReturns, metExpires, metOrphans, metStands, metAgain)
	}
}

// TestSoakModel explores the scenarios further, each scope for an equal share of
// the time.
func TestSoakModel(t *testing.T) {
	end := soakEnd(t)
	scopes := []struct {
		name string
		bounds
	}{{"one switch", switched}, {"one fault", struck1}, {"two switches", twice}, {"a switch and a fault", both}}
	all := append(scenarios(), everybody())
	left := len(scopes) * len(all)
	for _, scope := range scopes {
		t.Run(scope.name, func(t *testing.T) {
			for _, s := range all {
				t.Run(s.name, func(t *testing.T) {
					b := scope.bounds
					b.until = time.Now().Add(time.Until(end) / time.Duration(left))
					s.run(t, b)
				})
				left--
			}
		})
	}
}
