package faulttest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bluesky/backup"
	"bluesky/check"
	"bluesky/object"
	"bluesky/prune"
	"bluesky/repo"
	"bluesky/restore"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/store/fault"
	"bluesky/tree"

	"go.uber.org/goleak"
	"gocloud.dev/blob/driver"
)

// A cleaned site is one in whose bucket a cleaner is at work: on another machine
// it forgets all snapshots but the newest, takes every session for dead and every
// file that no generation names for an orphan, and deletes all at once. No
// cleaner does so who takes care of others; so what others have to live with is
// met as soon as can be.
type cleanedSite struct {
	*site
	bucket  *fault.Bucket
	cleaner ed25519.PrivateKey
	caught  map[object.ID]bool // snapshots that were forgotten
	prunes  int

	restarts int           // of the backup that met the cleaner
	grace    time.Duration // for which what is condemned stays
}

// newCleanedSite makes a repository with n snapshots of a source that changes.
func newCleanedSite(t *testing.T, n int) *cleanedSite {
	t.Helper()
	b := fault.New()
	s := newSite(t, func() driver.Bucket { return b })
	must(t, s.init(t.Context()))
	c := &cleanedSite{site: s, bucket: b, caught: map[object.ID]bool{}}
	for version := 1; version <= n; version++ {
		c.change(t, version)
		must(t, s.backup(t.Context(), t, 0))
	}
	c.change(t, n+1)
	must(t, s.with(t.Context(), func(*repo.Repo, *seal.Keys, []snapshot.Snapshot) error { return nil })) // for the keys
	key, err := repo.ReadCleanerKey(repo.CleanerKeyPath(filepath.Join(s.dir, "config"), s.id.Repository))
	must(t, err)
	c.cleaner = key.Signer()
	return c
}

// change makes the source of the given version: segments enough to be moved, and
// so much of the version before that these are neither all live nor all dead.
func (c *cleanedSite) change(t *testing.T, version int) {
	t.Helper()
	c.write(t, version)
	for i := range 12 {
		v := version - (version+i)%3 // of the last change
		c.file(t, fmt.Sprintf("dir/big%02d", i), 1000+100*i+v, 24<<10+v)
	}
}

// clone returns a site of its own with the same bucket and sources, as the same
// machine.
func (c *cleanedSite) clone(t *testing.T) *cleanedSite {
	t.Helper()
	b := fault.Over(c.bucket.Objects.Clone())
	s := *c.site
	s.bucket = func() driver.Bucket { return b }
	s.state = filepath.Join(fastDir(t), "state")
	must(t, os.CopyFS(s.state, os.DirFS(c.site.state)))
	s.kept = map[object.ID]map[string]string{}
	for id, was := range c.kept {
		s.kept[id] = was
	}
	return &cleanedSite{site: &s, bucket: b, cleaner: c.cleaner, caught: map[object.ID]bool{}}
}

// clean forgets all but the newest snapshot, and prunes.
func (c *cleanedSite) clean(ctx context.Context) error {
	st := c.store()
	defer st.Close()
	r, err := repo.Open(ctx, st, repo.Options{})
	if err != nil {
		return err
	}
	state, err := r.Refresh(ctx)
	if err != nil {
		return err
	}
	if n := len(state.Snapshots); n > 1 {
		var ids []object.ID
		for _, snap := range state.Snapshots[:n-1] {
			ids = append(ids, snap.ID)
		}
		if _, err := r.Forget(ctx, c.keys.Admin(), ids, nil); err != nil {
			return fmt.Errorf("forget: %w", err)
		}
		for _, id := range ids {
			c.caught[id] = true
			delete(c.kept, id)
		}
	}
	plan, err := prune.NewPlan(ctx, r, prune.Options{Instant: true, AllowMassDelete: true, Grace: c.grace}, nil)
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	if _, err := plan.Apply(ctx, c.cleaner, nil); err != nil {
		return fmt.Errorf("apply: %w", err)
	}
	c.prunes++
	return nil
}

// An operation is what runs while the cleaner does.
type operation struct {
	name      string
	snapshots int // that are there before, or parentGoes
	run       func(t *testing.T, c *cleanedSite) error
	// mayStartAgain: it may fail loudly, when cleaners take what it has done twice.
	mayStartAgain bool
	// kept: what is condemned meanwhile stays in the bucket for a while.
	kept bool
}

// parentGoes: two snapshots, and one of another machine, which is the newest. So
// the parent of the next backup is one of those that are forgotten.
const parentGoes = -2

// base makes the site that op meets.
func (op *operation) base(t *testing.T) *cleanedSite {
	t.Helper()
	if op.snapshots >= 0 {
		return newCleanedSite(t, op.snapshots)
	}
	c := newCleanedSite(t, -op.snapshots)
	other := *c.site
	other.host, other.state = "other", c.state+"-other"
	must(t, other.backup(t.Context(), t, 0))
	return c
}

var operations = []operation{
	{"first backup", 0, backingUp(0), true, false},
	{"incremental backup", 2, backingUp(0), true, false},
	{"incremental backup with add-runs", 2, backingUp(6), true, false},
	{"backup whose parent goes", parentGoes, backingUp(0), true, false},
	{"first backup, with a grace", 0, backingUp(0), true, true},
	{"incremental backup, with a grace", 2, backingUp(0), true, true},
	{"incremental backup with add-runs and a grace", 2, backingUp(6), true, true},
	{"restore of the newest", 3, restoring(2), false, false},
	{"restore of the oldest", 3, restoring(0), false, false},
	{"check", 3, checking(false, false), false, false},
	{"check with the key", 3, checking(false, true), false, false},
	{"check --read-data", 3, checking(true, false), false, false},
	{"check --read-data with the key", 3, checking(true, true), false, false},
	{"check --read-data with the key and a grace", 3, checking(true, true), false, true},
	{"ls of the newest", 3, listing(2), false, false},
	{"ls of the oldest", 3, listing(0), false, false},
}

func backingUp(often int) func(*testing.T, *cleanedSite) error {
	return func(t *testing.T, c *cleanedSite) error { return c.backup(t.Context(), t, often) }
}

// opened opens the repository as a command does, its log read, and calls fn with
// the snapshot at the given place of those that there were.
func (c *cleanedSite) opened(t *testing.T, at int, fn func(*repo.Repo, snapshot.Snapshot) error) error {
	return c.with(t.Context(), func(r *repo.Repo, _ *seal.Keys, list []snapshot.Snapshot) error {
		r.PassOverLostRuns()
		if at -= 3 - len(list); at < 0 {
			return repo.ErrForgotten // before it was listed
		}
		err := fn(r, list[at])
		for _, problem := range r.Problems() {
			t.Errorf("a problem with a repository that has none: %v", problem)
		}
		return err
	})
}

func restoring(at int) func(*testing.T, *cleanedSite) error {
	return func(t *testing.T, c *cleanedSite) error {
		return c.opened(t, at, func(r *repo.Repo, snap snapshot.Snapshot) error {
			was := c.kept[snap.ID]
			target := filepath.Join(c.dir, "restored while cleaned")
			defer os.RemoveAll(target)
			log := &restoreLog{}
			_, err := restore.Run(t.Context(), r, c.keys, snap, restore.Options{Target: target, Subpath: c.source()}, log)
			if len(log.errors) > 0 {
				t.Errorf("restore: %q", log.errors)
			}
			if err == nil && !maps.Equal(digest(t, target), was) {
				t.Error("restore: other files than were backed up")
			}
			return err
		})
	}
}

func checking(readData, keyed bool) func(*testing.T, *cleanedSite) error {
	return func(t *testing.T, c *cleanedSite) error {
		st := c.store()
		defer st.Close()
		r, err := repo.Open(t.Context(), st, repo.Options{StateDir: c.state})
		if err != nil {
			return err
		}
		must(t, r.Pin(c.id))
		keys := c.keys
		if !keyed {
			keys = nil
		}
		report, err := check.Run(t.Context(), r, keys, check.Options{ReadData: readData}, nil)
		for _, p := range report.Problems {
			if p.Severity != check.Note || strings.Contains(p.Text, "names it") {
				t.Errorf("check: %s: %s: %s", p.Severity, p.Subject, p.Text)
			}
		}
		return err
	}
}

func listing(at int) func(*testing.T, *cleanedSite) error {
	return func(t *testing.T, c *cleanedSite) error {
		return c.opened(t, at, func(r *repo.Repo, snap snapshot.Snapshot) error {
			m := tree.OpenMap(seal.NewReader(r.Of(snap.ID), c.keys), c.keys, tree.Params(r.Config().Tree), snap.Root)
			n := 0
			err := tree.Walk(t.Context(), m, func([]string, *tree.Inode) error { n++; return nil })
			if err == nil && n < 10 {
				t.Errorf("ls: %d entries", n)
			}
			return err
		})
	}
}

// meet runs op and has the cleaner at work before the operations of the store
// with these numbers, ascending. It reports whether op came to the first of them.
func (c *cleanedSite) meet(t *testing.T, op *operation, at ...int) (met bool, err error) {
	t.Helper()
	var mu sync.Mutex
	var busy atomic.Bool
	var cleanErr error
	n, left := 0, at
	restarts := &restartLog{}
	c.progress = restarts
	defer func() { c.progress, c.restarts = nil, int(restarts.n.Load()) }()
	if op.kept {
		c.grace = time.Hour
		defer func() { c.grace = 0 }()
	}
	c.bucket.Inject(func(fault.Op) fault.Effect {
		if busy.Load() {
			return fault.None // of the cleaner, or at the same time
		}
		mu.Lock()
		defer mu.Unlock()
		if n++; len(left) > 0 && n >= left[0] {
			left = left[1:]
			busy.Store(true)
			defer busy.Store(false)
			cleanErr = errors.Join(cleanErr, c.clean(t.Context()))
		}
		return fault.None
	})
	err = op.run(t, c)
	c.bucket.Inject(nil)
	if cleanErr != nil {
		t.Errorf("the cleaner: %v", cleanErr)
	}
	return len(left) < len(at), err
}

// aftermath checks what must hold after op has met the cleaner: it has succeeded,
// or says why not; what is committed restores; a check finds nothing; and the
// next backup and the next prune succeed.
func (c *cleanedSite) aftermath(t *testing.T, op *operation, err error, sum *cleanTally) {
	t.Helper()
	switch {
	case err == nil:
	case errors.Is(err, repo.ErrForgotten) && len(c.caught) > 0 && strings.Contains(op.name, "oldest"):
		sum.forgotten++
	case errors.Is(err, repo.ErrObjectGone) && op.mayStartAgain && c.prunes > 1:
		sum.gaveUp++
	default:
		t.Errorf("the operation: %v", err)
	}
	for id := range c.caught {
		delete(c.kept, id)
	}
	c.verify(t, "after it")
	if err := c.backup(t.Context(), t, 0); err != nil {
		t.Errorf("the next backup: %v", err)
	}
	if err := c.clean(t.Context()); err != nil {
		t.Errorf("the next prune: %v", err)
	}
	c.verify(t, "after the next backup and the next prune")
	must(t, goleak.Find())
	sum.cases++
	sum.prunes += c.prunes
	sum.restarts += c.restarts
}

// cleanTally counts what a campaign has seen.
type cleanTally struct{ cases, prunes, restarts, forgotten, gaveUp int }

// sweep has the cleaner at work before each operation of the store in turn.
func (op *operation) sweep(t *testing.T, next func(k int) int, sum *cleanTally) {
	t.Helper()
	base := op.base(t)
	for k := 1; ; k += next(k) {
		c := base.clone(t)
		met, err := c.meet(t, op, k)
		if !met {
			must(t, err)
			return
		}
		c.aftermath(t, op, err, sum)
		if t.Failed() {
			t.Fatalf("%s, cleaned before operation %d; the error was %v", op.name, k, err)
		}
	}
}

// A cleaner forgets and deletes all that it may before an operation of a backup,
// a restore, a check, a listing.
func TestCleanerMeets(t *testing.T) {
	var sum cleanTally
	for _, op := range operations {
		t.Run(op.name, func(t *testing.T) { op.sweep(t, func(k int) int { return 1 + k }, &sum) })
	}
	t.Logf("%+v", sum)
	if sum.cases < 60 || sum.restarts == 0 || sum.forgotten == 0 {
		t.Error("the cleaner has met too little")
	}
}

// Each operation is met, again and again, since goroutines come in another order
// each time.
func TestSoakCleanerMeets(t *testing.T) {
	var sum cleanTally
	for end := soak(t); time.Now().Before(end) && !t.Failed(); {
		for _, op := range operations {
			t.Run(op.name, func(t *testing.T) { op.sweep(t, func(int) int { return 1 }, &sum) })
		}
	}
	t.Logf("%+v", sum)
}

// A cleaner is at work twice during one operation.
func TestCleanerMeetsTwice(t *testing.T) {
	var sum cleanTally
	meetTwice(t, 1, 1, &sum)
	t.Logf("%+v", sum)
}

func TestSoakCleanerMeetsTwice(t *testing.T) {
	var sum cleanTally
	for end, seed := soak(t), uint64(1000); time.Now().Before(end) && !t.Failed(); seed++ {
		meetTwice(t, seed, 50, &sum)
	}
	t.Logf("%+v, from seed 1000", sum)
}

// meetTwice has each operation met so many times before two operations of the
// store, by chance.
func meetTwice(t *testing.T, seed uint64, times int, sum *cleanTally) {
	t.Helper()
	for i, op := range operations {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		base := op.base(t)
		length := base.clone(t).length(t, &op)
		for range times {
			c := base.clone(t)
			first := 1 + rng.IntN(length)
			second := first + 1 + rng.IntN(length)
			_, err := c.meet(t, &op, first, second)
			c.aftermath(t, &op, err, sum)
			if t.Failed() {
				t.Fatalf("seed %d: %s, cleaned before operations %d and %d of about %d; the error was %v", seed, op.name, first, second, length, err)
			}
		}
	}
}

// length counts the operations of the store that op makes.
func (c *cleanedSite) length(t *testing.T, op *operation) int {
	t.Helper()
	c.bucket.Inject(nil)
	must(t, op.run(t, c))
	n, _ := c.bucket.Count(fault.Any, "")
	return n
}

// A restartLog counts how often a backup starts again.
type restartLog struct {
	backup.NoProgress
	n atomic.Int32
}

func (l *restartLog) Restart(error) { l.n.Add(1) }

// A restoreLog remembers the errors of a restore.
type restoreLog struct {
	restore.NoProgress
	mu     sync.Mutex
	errors []string
}

func (l *restoreLog) Error(path string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errors = append(l.errors, path+": "+err.Error())
}
