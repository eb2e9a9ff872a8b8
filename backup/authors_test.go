package backup

import (
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bluesky/store/fault"
)

// overtaking are the moments at which another author commits, and what becomes
// of the operation before which he does.
var overtaking = []fault.Way{
	{Name: "overtaken", Kinds: fault.Any},
	{Name: "overtaken and failed", Kinds: fault.Any, Effect: fault.Fail},
	{Name: "overtaken and reply lost", Kinds: fault.Writes, Effect: fault.Lose},
	{Name: "overtaken at a commit", Kinds: fault.Create, Prefix: "gen/"},
	{Name: "overtaken at a commit that fails", Kinds: fault.Create, Prefix: "gen/", Effect: fault.Fail},
	{Name: "overtaken and done later", Kinds: fault.Writes, Effect: fault.Delay(3)},
}

// Before an operation of a backup another machine makes a whole one, partly of
// the same files. Both succeed, whatever becomes of the operation.
func TestOvertaken(t *testing.T) {
	overtake(t, func(k int) int { return step(k, 2) })
}

func TestSoakOvertaken(t *testing.T) {
	for end := soakEnd(t); time.Now().Before(end) && !t.Failed(); {
		overtake(t, nil)
	}
}

func overtake(t *testing.T, next func(k int) int) {
	t.Helper()
	base, root := sweepBed(t, true)
	cases := 0
	for s := range fault.Sweep(overtaking, next) {
		b := base.clone(t)
		other := b.other(t)
		var once sync.Once
		var busy atomic.Bool
		var theirs Result
		var theirErr error
		b.bucket.Inject(func(op fault.Op) fault.Effect {
			if busy.Load() {
				return fault.None
			}
			effect := s.Plan(op)
			if s.Struck() {
				once.Do(func() {
					busy.Store(true)
					defer busy.Store(false)
					options := paths(filepath.Join(root, "dir2"), filepath.Join(root, "dir3"))
					options.Host = "other"
					theirs, theirErr = Run(t.Context(), other.repo, other.keys, options, nil)
				})
			}
			return effect
		})
		options := paths(root)
		// Ours is the longer generation, so that theirs can be read back in its place.
		options.Description = strings.Repeat("long ", 200)
		if s.K%2 == 0 {
			options.Now = often()
		}
		ours, err := Run(t.Context(), b.repo, b.keys, options, nil)
		must(t, err)
		if !s.Struck() {
			continue
		}
		cases++
		must(t, theirErr)
		b.bucket.Inject(nil)
		b.bucket.Settle()
		b.open(t)
		b.compare(t, b.snapshot(t, ours.Snapshot), root)
		b.compare(t, b.snapshot(t, theirs.Snapshot), filepath.Join(root, "dir2"), filepath.Join(root, "dir3"))
		b.wantClean(t)
		if t.Failed() {
			t.Fatal(s)
		}
	}
	t.Logf("%d cases", cases)
	if cases < 15 {
		t.Errorf("only %d cases", cases)
	}
}
