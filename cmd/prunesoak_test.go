package cmd

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
)

// Writers, cleaners that have nothing but the cleaner key and wait for nothing,
// and a reader are at work at once, each a process after the other, and are
// killed and stopped at random moments. What was reported and not forgotten stays
// as it is, and at the end nothing is left of what is not needed.
func TestPruneBesideBackups(t *testing.T) {
	t.Parallel()
	pruneBesideBackups(t, 2*time.Minute, 3*time.Minute, 6*time.Second, usualEvents)
}

func TestSoakPrune(t *testing.T) {
	limit := soak(t)
	for began := time.Now(); time.Since(began) < limit && !t.Failed(); {
		left := max(limit-time.Since(began), 20*time.Second)
		t.Run("", func(t *testing.T) { pruneBesideBackups(t, min(2*time.Minute, left), 10*time.Minute, 0, allEvents) })
	}
}

// What happens in a campaign. A cleaner is outrun when it has lost 20 races in a
// row, which is counted and not waited for.
const (
	backedUp        = "backups"
	restarted       = "backups started again"
	gaveUp          = "backups gave up"
	resumed         = "backups went on with uploads of a dead one"
	unreported      = "snapshots nobody reported"
	killedBackup    = "backups killed"
	wokenBackup     = "backups woken after prunes"
	diedAsleep      = "backups killed in their sleep"
	pruned          = "prunes"
	outrunPrune     = "prunes outrun"
	killedPrune     = "prunes killed"
	wokenPrune      = "prunes woken after backups"
	condemnedOnes   = "segments condemned"
	orphansTaken    = "orphans condemned"
	filesDeleted    = "files deleted"
	sessionsExpired = "sessions expired"
	objectsCopied   = "objects copied"
	forgets         = "forgets"
	killedForget    = "forgets killed"
	undone          = "forgets undone"
	undoneTooLate   = "forgets that could not be undone"
	restored        = "restores"
	restoredTooLate = "restores of what was forgotten"
	killedRestore   = "restores killed"
	wokenRestore    = "restores woken after prunes"
	checks          = "checks"
	outrunCheck     = "checks outrun"
)

// usualEvents are those that a short campaign goes on for until it has met them.
var usualEvents = []string{
	backedUp, killedBackup, wokenBackup, pruned, killedPrune, condemnedOnes, orphansTaken, filesDeleted,
	sessionsExpired, objectsCopied, forgets, restored, checks,
}

var allEvents = append(usualEvents[:len(usualEvents):len(usualEvents)],
	restarted, resumed, diedAsleep, wokenPrune, killedForget, undone, restoredTooLate, killedRestore, wokenRestore)

// A tally counts what happens, and lets others wait for it.
type tally struct {
	mu      sync.Mutex
	counts  map[string]int
	changed chan struct{} // closed and replaced with each change
}

func newTally() *tally { return &tally{counts: map[string]int{}, changed: make(chan struct{})} }

func (y *tally) add(name string, n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.counts[name] += n
	close(y.changed)
	y.changed = make(chan struct{})
}

func (y *tally) of(name string) (int, <-chan struct{}) {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.counts[name], y.changed
}

// await waits until something has happened so many times more, for limit at most:
// those who would do it may be asleep themselves.
func (y *tally) await(name string, more int, limit time.Duration) {
	late := time.NewTimer(limit)
	defer late.Stop()
	begin, _ := y.of(name)
	for {
		n, changed := y.of(name)
		if n >= begin+more {
			return
		}
		select {
		case <-changed:
		case <-late.C:
			return
		}
	}
}

func (y *tally) String() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(y.counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, y.counts[name]))
	}
	return strings.Join(parts, ", ")
}

// keepLast is how many snapshots of each series the cleaners keep.
const keepLast = 2

// A pruneCampaign is a repository with those who work at it.
type pruneCampaign struct {
	*tally
	t       *testing.T
	m       *machine // the reader's, who has the password
	writers []*soakWriter
	cleaner []*actor
	reader  *actor
	log     *repo.Repo
	until   time.Time // when it may end
	latest  time.Time // when it must
	wanted  []string  // what it must have met
	rest    time.Duration

	snapshots sync.Mutex
	saved     map[object.ID]soakSaved
}

type soakSaved struct {
	writer *soakWriter
	print  treePrint
}

// An actor starts one process after the other.
type actor struct {
	*machine
	c      *pruneCampaign
	random *rand.Rand
	usual  map[string]map[string]int // events of a process that was left alone, by its command
	unset  string                    // a variable that it does not have
}

// pruneBesideBackups goes on for some time, and then until all that is wanted has
// happened. Between two processes each actor rests for as long as rest at most.
func pruneBesideBackups(t *testing.T, atLeast, atMost, rest time.Duration, wanted []string) {
	random := newRandom(t)
	c := newPruneCampaign(t, random, wanted)
	c.rest = rest
	c.until, c.latest = time.Now().Add(atLeast), time.Now().Add(atMost)
	var all sync.WaitGroup
	for _, w := range c.writers {
		all.Go(w.run)
	}
	for _, a := range c.cleaner {
		all.Go(a.clean)
	}
	all.Go(func() { c.reader.read() })
	all.Wait()
	t.Log(c.tally)
	if t.Failed() {
		t.FailNow() // with the repository as the first mistake has left it
	}
	c.finish()
	if missing := c.missing(); len(missing) > 0 {
		t.Errorf("never happened: %q", missing)
	}
}

// newPruneCampaign makes a repository with the first snapshots of four writers. Two of
// them share a machine; two, on different ones, share a tree.
func newPruneCampaign(t *testing.T, random *rand.Rand, wanted []string) *pruneCampaign {
	c := &pruneCampaign{t: t, tally: newTally(), m: newSmallSegments(t), wanted: wanted, saved: map[object.ID]soakSaved{}}
	c.log = c.m.open()
	keys, err := filepath.Glob(c.m.path("home/.config/bluesky/cleaner/*.json"))
	if err != nil || len(keys) != 1 {
		t.Fatalf("cleaner keys %q: %v", keys, err)
	}
	var trees []*sharedTree
	for i, home := range []string{"home0", "home0", "home2", "home3"} {
		if i < 3 {
			trees = append(trees, &sharedTree{changingTree: newTree(c.m, fmt.Sprintf("tree%d", i), fork(random))})
			trees[i].change()
		}
		w := &soakWriter{actor: c.actor(home, random), tree: trees[i%3], host: fmt.Sprintf("host%d", i)}
		c.writers = append(c.writers, w)
		w.backUp(false)
	}
	for i := range 2 {
		a := c.actor(fmt.Sprintf("cleaner%d", i), random)
		a.unset = "BLUESKY_PASSWORD="
		key, err := os.ReadFile(keys[0])
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(filepath.Base(a.home), "key.json")
		if i == 0 {
			name = filepath.Join(filepath.Base(a.home), ".config/bluesky/cleaner", filepath.Base(keys[0]))
		} else {
			a.env = append(slices.Clone(a.env), "BLUESKY_CLEANER_KEY="+a.path(name))
		}
		if err := os.Chmod(a.write(name, key), 0o600); err != nil {
			t.Fatal(err)
		}
		c.cleaner = append(c.cleaner, a)
	}
	c.reader = c.actor("home", random)
	return c
}

func (c *pruneCampaign) actor(home string, random *rand.Rand) *actor {
	own := *c.m
	own.home = c.m.mkdir(home)
	return &actor{&own, c, fork(random), map[string]map[string]int{}, "nothing="}
}

// fork returns a source for another goroutine.
func fork(random *rand.Rand) *rand.Rand {
	return rand.New(rand.NewPCG(random.Uint64(), random.Uint64()))
}

// goesOn lets the other tests have the processor for a while, if they are to have
// it, and reports whether there is more to do.
func (a *actor) goesOn() bool {
	if a.c.rest > 0 {
		time.Sleep(time.Duration(a.random.Int64N(int64(a.c.rest))))
	}
	return !a.c.over()
}

// missing returns what has not happened and should have.
func (c *pruneCampaign) missing() []string {
	return slices.DeleteFunc(slices.Clone(c.wanted), func(name string) bool {
		n, _ := c.of(name)
		return n > 0
	})
}

func (c *pruneCampaign) over() bool {
	now := time.Now()
	return c.t.Failed() || now.After(c.latest) || now.After(c.until) && len(c.missing()) == 0
}

// state returns the newest state.
func (c *pruneCampaign) state() *repo.State {
	c.t.Helper()
	state, err := c.log.Refresh(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return state
}

// A blowAt is what happens to a process at a random moment.
type blowAt int

const (
	leftAlone blowAt = iota
	struckDead
	putToSleep
	deadAsleep // put to sleep, and killed before it wakes
)

// start runs bluesky, and perhaps strikes it. A sleep lasts until something has
// happened so many times, which the actors of this kind then have missed. What it
// returns is what has met the process before its end.
func (a *actor) start(strike bool, missed string, times int, args ...string) (ending, blowAt) {
	a.t.Helper()
	fate := leftAlone
	if strike && a.usual[args[0]] != nil {
		switch a.random.IntN(8) {
		case 0, 1:
			fate = struckDead
		case 2:
			fate = putToSleep
		case 3:
			fate = deadAsleep
		}
	}
	cmd := a.command(a.t.Context(), args...)
	cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, a.unset) })
	if a.random.IntN(3) == 0 && args[0] == "backup" {
		cmd.Env = append(cmd.Env, hurryEnv+"=4")
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	at := moment{}
	if fate != leftAlone {
		at = randomMoment(a.random, a.usual[args[0]])
	}
	met := leftAlone
	seen := newWitness(a.t, a.step, a.repo, a.home).strike(cmd, at, func(p *os.Process) {
		if p.Signal(fate.signal()) != nil {
			return // it is over
		}
		met = fate
		if fate == putToSleep || fate == deadAsleep {
			a.c.await(missed, times, 5*time.Second)
			_ = p.Signal(map[blowAt]os.Signal{putToSleep: syscall.SIGCONT, deadAsleep: syscall.SIGKILL}[fate])
		}
	})
	if met == leftAlone {
		a.usual[args[0]] = seen
	}
	died := wasSignaled(cmd, syscall.SIGKILL)
	switch killed := met == struckDead || met == deadAsleep; {
	case died && !killed:
		a.t.Errorf("bluesky %q: %v, stderr %q", args, cmd.ProcessState, &stderr)
	case killed && !died:
		met = leftAlone // it was over
	}
	return ending{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}, met
}

func (f blowAt) signal() os.Signal {
	return map[blowAt]os.Signal{leftAlone: syscall.Signal(0), struckDead: syscall.SIGKILL, putToSleep: syscall.SIGSTOP, deadAsleep: syscall.SIGSTOP}[f]
}
