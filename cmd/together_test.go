package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"bluesky/index"
	"bluesky/object"
	"bluesky/repo"
)

// Processes that back up into one repository at once all succeed, without
// locks, however many are killed beside them.
func TestConcurrentBackups(t *testing.T) {
	t.Parallel()
	backUpTogether(t, 4, 4, time.Hour)
}

func TestSoakConcurrentBackups(t *testing.T) {
	limit := soak(t)
	for began := time.Now(); time.Since(began) < limit && !t.Failed(); {
		t.Run("", func(t *testing.T) { backUpTogether(t, 8, 20, limit-time.Since(began)) })
	}
}

// A crowd are workers with one repository.
type crowd struct {
	t       *testing.T
	random  *rand.Rand
	m       *machine
	trees   []*changingTree
	workers []*worker
	saved   map[string]saved // by snapshot
	killed  int

	mu sync.Mutex // guards saved and killed while a round lasts
}

// A worker is a machine, or one of two on it, that backs up a tree again and
// again.
type worker struct {
	*machine
	tree *changingTree
	host string
}

// saved is what a snapshot must hold.
type saved struct {
	tree  *changingTree
	print treePrint
}

// newCrowd makes workers of which two and two share a tree; half of these pairs
// are also of one host, and all have some files in common. Every third has a
// home of its own, so a state and a cache; the others share one.
func newCrowd(t *testing.T, processes int, random *rand.Rand) *crowd {
	c := &crowd{t: t, random: random, m: newSmallSegments(t), saved: map[string]saved{}}
	for i := range processes {
		if i%2 == 0 {
			tr := newTree(c.m, fmt.Sprintf("tree%d", i), random)
			c.m.write(tr.name+"/shared", bytes.Repeat([]byte("shared by all "), 5000))
			c.trees = append(c.trees, tr)
		}
		own := *c.m
		w := &worker{machine: &own, tree: c.trees[len(c.trees)-1], host: fmt.Sprintf("host%d", i)}
		if i%4 == 1 {
			w.host = fmt.Sprintf("host%d", i-1)
		}
		if i%3 == 2 {
			w.home = c.m.mkdir(fmt.Sprintf("home%d", i))
		}
		c.workers = append(c.workers, w)
	}
	return c
}

// backUpTogether lets processes make backups at once, round after round, kills
// some of them, and compares all that was reported at the end.
func backUpTogether(t *testing.T, processes, rounds int, limit time.Duration) {
	began := time.Now()
	random := newRandom(t)
	c := newCrowd(t, processes, random)
	log := c.m.open()
	var state *repo.State
	var heads []uint64 // the newest generation after each round
	mark := func() {
		var err error
		if state, err = log.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		heads = append(heads, state.Generation)
	}
	for round := 0; round < rounds && time.Since(began) < limit; round++ {
		c.round()
		mark()
		for _, tr := range c.trees {
			tr.change()
		}
	}
	for _, w := range c.workers { // alone; and who was killed last ends its session now
		c.backUp(w, "", time.Hour)
		mark()
	}
	if list := state.Unfinished(); len(list) > 0 {
		t.Errorf("sessions %v are unfinished at the end", list)
	}
	listed := map[string]bool{}
	for _, s := range state.Snapshots {
		listed[s.ID.String()] = true
	}
	c.m.mustCheck()
	for _, id := range slices.Sorted(maps.Keys(c.saved)) {
		if !listed[id] {
			t.Errorf("snapshot %s was reported and is gone", id)
		}
		c.restores(id, c.saved[id])
	}
	t.Logf("%d processes: %d backups, %d killed, %d generations", processes, len(c.saved), c.killed, state.Generation)
	view, err := log.Index(t.Context(), state)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows, %d objects stand more than once", view.Len(), c.duplicates(log, view, heads))
}

// round lets every worker make one backup at once, and kills every fourth.
func (c *crowd) round() {
	var wg sync.WaitGroup
	for _, w := range c.workers {
		hurried, after := "", time.Hour
		if c.random.IntN(3) == 0 {
			hurried = hurryEnv + "=4"
		}
		if c.random.IntN(4) == 0 {
			after = time.Duration(c.random.Int64N(int64(300 * time.Millisecond)))
		}
		wg.Go(func() { c.backUp(w, hurried, after) })
	}
	wg.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// backUp makes a backup, and kills it after some time if it takes that long.
func (c *crowd) backUp(w *worker, env string, killAfter time.Duration) {
	cmd := w.command(c.t.Context(), "backup", "--json", "-q", "--host", w.host, w.tree.name)
	cmd.Env = append(cmd.Env, env)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		c.t.Error(err)
		return
	}
	stop := time.AfterFunc(killAfter, func() { _ = cmd.Process.Kill() }) // it may be over
	_ = cmd.Wait()                                                       // its end is in cmd.ProcessState
	stop.Stop()
	now := printOf(c.t, c.m.path(w.tree.name))
	c.mu.Lock()
	defer c.mu.Unlock()
	var summary backupSummary
	switch {
	case wasSignaled(cmd, syscall.SIGKILL) && killAfter < time.Hour:
		c.killed++
	case cmd.ProcessState.ExitCode() != 0 || stderr.Len() > 0:
		c.t.Errorf("%s of %s: %v, stderr %q", w.tree.name, w.host, cmd.ProcessState, &stderr)
	case json.Unmarshal(stdout.Bytes(), &summary) != nil || summary.SnapshotID == "":
		c.t.Errorf("a backup reports %q", &stdout)
	default:
		c.saved[summary.SnapshotID] = saved{w.tree, now}
	}
}

func wasSignaled(c *exec.Cmd, s syscall.Signal) bool {
	status := c.ProcessState.Sys().(syscall.WaitStatus)
	return status.Signaled() && status.Signal() == s
}

// restores restores a snapshot and compares it.
func (c *crowd) restores(id string, want saved) {
	c.t.Helper()
	out := c.m.mkdir("out")
	c.m.must("restore", "-q", id+":"+c.m.path(want.tree.name), "-t", out)
	if got := printOf(c.t, out); got != want.print {
		c.t.Errorf("snapshot %s restores as another tree", id)
	}
	if err := os.RemoveAll(out); err != nil {
		c.t.Fatal(err)
	}
}

// A copyOf an object is a place where it stands.
type copyOf struct {
	round   int // in which it was registered
	sealer  object.SessionID
	adopted bool // from a run that had stored it and died, by a later one
}

// duplicates counts the objects that stand more than once in the index, and
// checks that nothing but a race explains each: two sessions stored it in the
// same round, neither knowing of the other, though one of them may have died and
// its copy been registered later. heads are the newest generations after each
// round.
func (c *crowd) duplicates(log *repo.Repo, view *index.Index, heads []uint64) (twice int) {
	copies := map[object.ID][]copyOf{}
	for at := range view.Rows() {
		h, _, err := log.Header(c.t.Context(), &at.Segment)
		if err != nil {
			c.t.Fatal(err)
		}
		i, ok := h.Locate(at.Row.ID, at.Row.Offset)
		if !ok {
			c.t.Fatalf("object %s is not where the index says", at.Row.ID)
		}
		sealer := h.Sessions[h.Objects[i].Session].ID
		round, _ := slices.BinarySearch(heads, at.Segment.RegisteredAt)
		copies[at.Row.ID] = append(copies[at.Row.ID], copyOf{round, sealer, sealer != at.Segment.Session})
	}
	for id, all := range copies {
		if len(all) > 1 {
			twice++
		}
		first := slices.MinFunc(all, func(a, b copyOf) int { return a.round - b.round })
		sealers := map[object.SessionID]bool{}
		for _, one := range all {
			if !one.adopted && one.round > first.round {
				c.t.Errorf("object %s was there after round %d and was stored again in round %d", id.Short(), first.round, one.round)
			}
			if sealers[one.sealer] {
				c.t.Errorf("session %s has stored object %s twice", one.sealer, id.Short())
			}
			sealers[one.sealer] = true
		}
	}
	return twice
}
