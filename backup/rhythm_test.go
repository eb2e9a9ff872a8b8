package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An add-run is due after half an hour, 8 GiB or 2^18 objects, whichever comes
// first, and while there is nothing to register after half a day.
func TestRhythm(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRhythm(func() time.Time { return now })
	var objects, stored uint64
	step := func(what string, after time.Duration, moreObjects, moreBytes uint64, want bool) {
		t.Helper()
		now = now.Add(after)
		objects += moreObjects
		stored += moreBytes
		if got := r.due(objects, stored); got != want {
			t.Errorf("%s: due is %v, want %v", what, got, want)
		}
	}
	step("at once", 0, 1, 1, false)
	step("nearly half an hour", runEvery-1, 1, 1, false)
	step("half an hour", 1, 0, 0, true)
	step("half an hour without an object", runEvery, 0, 0, false)
	step("the first object after that", 0, 1, 1, true)
	step("nearly 8 GiB", 0, 1, runBytes-1, false)
	step("8 GiB", 0, 1, 1, true)
	step("nearly enough objects", 0, runObjects-1, 1, false)
	step("enough objects", 0, 1, 1, true)
	step("just after", 0, 1, 1, false)
	step("the rest", runEvery, 0, 0, true)
	step("nearly half a day without an object", idleEvery-1, 0, 0, false)
	step("half a day without an object", 1, 0, 0, true)
	step("another one", idleEvery, 0, 0, true)
	step("an object after that", 0, 1, 1, false)
}

// A backup that has registered something, and then goes on for days without a
// new object, adds a generation at least daily, lest a cleaner take its session
// for abandoned. One that has registered nothing adds none before its end.
func TestLongRun(t *testing.T) {
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	for i := range 200 {
		write(t, filepath.Join(root, fmt.Sprintf("old%03d", i)), "this")
	}
	b.run(t, paths(root))

	// Each event takes half an hour, and between two files are some.
	watcher := b.other(t)
	now := time.Now().Add(time.Hour)
	changed := now
	var head uint64
	var longest time.Duration
	log, stored := &progressLog{}, make(chan struct{})
	log.onEvent = func(int) {
		if now = now.Add(30 * time.Minute); log.items[filepath.Join(root, "new")] == New {
			close(stored)
			delete(log.items, filepath.Join(root, "new"))
		}
		state, err := watcher.repo.Refresh(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		if state.Generation > head || len(state.Unfinished()) == 0 {
			head, changed = state.Generation, now
		}
		longest = max(longest, now.Sub(changed))
	}
	options := paths(root)
	options.Now = func() time.Time {
		log.mu.Lock()
		defer log.mu.Unlock()
		return now
	}
	again := func() (generations uint64) {
		t.Helper()
		options.Parent = &b.list(t)[len(b.list(t))-1]
		before := b.repo.State().Generation
		_, err := Run(t.Context(), b.repo, b.keys, options, log)
		must(t, err)
		return b.repo.State().Generation - before
	}
	if n := again(); n > 2 { // what is new at the end, and the snapshot
		t.Errorf("a backup that finds nothing new has made %d generations", n)
	}

	must(t, os.WriteFile(filepath.Join(root, "new"), random(1, 100<<10), 0o644)) // sorts before the others
	options.Select = func(path string, _ *Info) bool {
		if filepath.Base(path) == "old000" {
			<-stored // the walk is not ahead of the worker that stores it
		}
		return true
	}
	start := now
	longest = 0
	n := again()
	days := uint64(now.Sub(start) / (24 * time.Hour))
	if days < 4 {
		t.Fatalf("the backup has taken %d days", days)
	}
	if n < days || n > 4*days {
		t.Errorf("%d generations in %d days", n, days)
	}
	if longest > 24*time.Hour {
		t.Errorf("the session has made no generation for %v", longest)
	}
	b.wantClean(t)
	t.Logf("%d generations in %d days, %v between two at most", n, days, longest)
}
