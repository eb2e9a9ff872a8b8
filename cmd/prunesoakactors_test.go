package cmd

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/restore/treetest"
	"bluesky/snapshot"
)

// A sharedTree is a tree that several writers back up. It changes while none of
// them does.
type sharedTree struct {
	*changingTree
	mu    sync.RWMutex // read locked by backups
	print treePrint    // of the tree as it is; guarded by mu
}

// change changes the tree, and files with contents that all trees have in
// common: what one of them lets go of another one takes up.
func (tr *sharedTree) change() {
	tr.changingTree.change()
	for range 3 {
		name := tr.name + "/common/" + string(rune('a'+tr.random.IntN(8)))
		tr.must(os.RemoveAll(tr.m.path(name)))
		tr.m.write(name, treetest.Bytes(tr.random.Uint64N(16), 30_000))
	}
	tr.print = printOf(tr.m.t, tr.m.path(tr.name))
}

// A soakWriter makes one backup after the other.
type soakWriter struct {
	*actor
	tree   *sharedTree
	host   string
	series repo.Series
}

func (w *soakWriter) run() {
	for w.goesOn() {
		if w.tree.mu.TryLock() {
			w.tree.change()
			w.tree.mu.Unlock()
		}
		w.backUp(true)
	}
}

// backUp makes a backup, and notes what became of it.
func (w *soakWriter) backUp(strike bool) {
	w.tree.mu.RLock()
	defer w.tree.mu.RUnlock()
	got, met := w.start(strike, pruned, 1+w.random.IntN(3), "backup", "--json", "-q", "--host", w.host, w.tree.name)
	switch met {
	case struckDead:
		w.c.add(killedBackup, 1)
	case deadAsleep:
		w.c.add(diedAsleep, 1)
	default:
		if met == putToSleep {
			w.c.add(wokenBackup, 1)
		}
		w.ended(got, strike)
		return
	}
	for snap := range w.c.state().AllSnapshots() {
		if snap.Series == w.series && w.save(snap.ID) {
			w.c.add(unreported, 1)
		}
	}
}

// ended judges a backup that came to its end: it has made a snapshot, perhaps
// after it had to start again, or it says that it had to twice.
func (w *soakWriter) ended(got ending, beside bool) {
	w.t.Helper()
	again := beside && strings.HasPrefix(got.stderr, `{"message_type":"warning","message":"starting again: `)
	if again {
		w.c.add(restarted, 1)
		_, got.stderr, _ = strings.Cut(got.stderr, "\n")
	}
	var summary backupSummary
	switch {
	case got.code == exitFatal && again && strings.Contains(got.stderr, repo.ErrObjectGone.Error()):
		w.c.add(gaveUp, 1)
		return
	case got.code != 0 || got.stderr != "":
		w.t.Errorf("backup of %s: %+v", w.host, got)
		return
	case json.Unmarshal([]byte(got.stdout), &summary) != nil || summary.SnapshotID == "":
		w.t.Errorf("a backup reports %+v", got)
		return
	}
	id, err := object.ParseID(summary.SnapshotID)
	if err != nil {
		w.t.Fatal(err)
	}
	if w.series == (repo.Series{}) {
		snap, _ := w.c.state().Snapshot(id)
		w.series = snap.Series
	}
	w.save(id)
	if summary.UploadResumed > 0 {
		w.c.add(resumed, 1)
	}
	w.c.add(backedUp, 1)
}

// save notes a snapshot of the tree as it is, and reports whether it is new.
func (w *soakWriter) save(id object.ID) bool {
	c := w.c
	c.snapshots.Lock()
	defer c.snapshots.Unlock()
	if _, known := c.saved[id]; known {
		return false
	}
	c.saved[id] = soakSaved{w, w.tree.print}
	return true
}

// clean forgets and prunes in turn.
func (a *actor) clean() {
	for a.goesOn() {
		if a.random.IntN(4) > 0 {
			a.forget(true)
		}
		a.prune(true, a.howToPrune()...)
		a.c.await(backedUp, a.random.IntN(4), 5*time.Second)
	}
}

// forget forgets all but the last snapshots of each series.
func (a *actor) forget(strike bool) {
	got, met := a.start(strike, backedUp, 1+a.random.IntN(3), "forget", "-q", "--keep-last", "2", "--keep-within", "0s")
	switch {
	case met == struckDead, met == deadAsleep:
		a.c.add(killedForget, 1)
	case got.code != 0 || got.stderr != "" && !strings.HasPrefix(got.stderr, "warning: "):
		a.t.Errorf("forget: %+v", got)
	default:
		a.c.add(forgets, 1)
	}
}

// howToPrune chooses flags of prune.
func (a *actor) howToPrune() []string {
	var flags []string
	if a.random.IntN(3) > 0 {
		flags = append(flags, "--instant")
	}
	others := [][]string{{}, {}, {"--max-unused", "0"}, {"--max-unused", "50%"}, {"--repack", "never"}, {"--max-repack-size", "100K"}}
	return append(flags, others[a.random.IntN(len(others))]...)
}

// prune prunes the repository.
func (a *actor) prune(strike bool, flags ...string) pruneSummary {
	a.t.Helper()
	args := append([]string{"prune", "--json", "-q", "--allow-mass-delete"}, flags...)
	got, met := a.start(strike, backedUp, 1+a.random.IntN(3), args...)
	var summary pruneSummary
	switch {
	case met == struckDead, met == deadAsleep:
		a.c.add(killedPrune, 1)
		return summary
	case got.code == exitFatal && strings.Contains(got.stderr, repo.ErrConflict.Error()):
		a.c.add(outrunPrune, 1)
		return summary
	case got.code != 0 || got.stderr != "" || json.Unmarshal([]byte(got.stdout), &summary) != nil:
		a.t.Errorf("prune %q: %+v", flags, got)
		return summary
	}
	if met == putToSleep {
		a.c.add(wokenPrune, 1)
	}
	a.c.add(condemnedOnes, int(summary.Condemned))
	a.c.add(orphansTaken, int(summary.Orphans))
	a.c.add(filesDeleted, int(summary.Deleted))
	a.c.add(sessionsExpired, int(summary.Expired))
	a.c.add(objectsCopied, int(summary.RepackBlobs))
	a.c.add(pruned, 1)
	return summary
}

// read restores snapshots and compares them, brings some back, and checks.
func (a *actor) read() {
	for a.goesOn() {
		switch a.random.IntN(8) {
		case 0:
			a.undoForget()
		case 1:
			a.check()
		default:
			if id, ok := a.choose(); ok {
				a.restore(true, id)
			}
		}
	}
}

// choose returns a snapshot: mostly one that is live.
func (a *actor) choose() (object.ID, bool) {
	state := a.c.state()
	a.c.snapshots.Lock()
	defer a.c.snapshots.Unlock()
	var ids []object.ID
	for id := range a.c.saved {
		if _, live := state.Snapshot(id); live || a.random.IntN(50) == 0 {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return object.ID{}, false
	}
	slices.SortFunc(ids, object.ID.Compare)
	return ids[a.random.IntN(len(ids))], true
}

// restore restores a snapshot, as often as it is killed, and compares it.
func (a *actor) restore(strike bool, id object.ID) {
	a.t.Helper()
	a.c.snapshots.Lock()
	want := a.c.saved[id]
	a.c.snapshots.Unlock()
	out := a.mkdir("out")
	defer func() {
		if err := os.RemoveAll(out); err != nil {
			a.t.Error(err)
		}
	}()
	source := id.String() + ":" + a.path(want.writer.tree.name)
	got, met := a.start(strike, pruned, 1+a.random.IntN(3), "restore", "-q", source, "-t", out)
	for met == struckDead || met == deadAsleep {
		a.c.add(killedRestore, 1)
		got, met = a.start(strike, pruned, 1, "restore", "-q", source, "-t", out)
	}
	if met == putToSleep {
		a.c.add(wokenRestore, 1)
	}
	if got.code == 0 && got.stderr == "" {
		if printOf(a.t, out) != want.print {
			a.t.Errorf("snapshot %s restores as another tree", id)
		}
		a.c.add(restored, 1)
		return
	}
	_, live := a.c.state().Snapshot(id)
	if live || !isForgotten(got.stderr) {
		a.t.Errorf("snapshot %s, which is live: %t: %+v", id, live, got)
	}
	a.c.add(restoredTooLate, 1)
}

// isForgotten reports whether a message says that what was to be restored was
// forgotten.
func isForgotten(message string) bool {
	return strings.Contains(message, "it was forgotten while it was read") || strings.Contains(message, snapshot.ErrNotFound.Error())
}

// undoForget brings a snapshot back that is not collected yet.
func (a *actor) undoForget() {
	forgotten := a.c.state().Forgotten
	if len(forgotten) == 0 {
		return
	}
	id := forgotten[a.random.IntN(len(forgotten))].ID
	got := a.run("undo-forget", "-q", id.String())
	switch {
	case got == ending{}:
		a.c.add(undone, 1)
	case got.code == exitFatal:
		a.c.add(undoneTooLate, 1)
		a.t.Logf("undo-forget: %+v", got)
	default:
		a.t.Errorf("undo-forget: %+v", got)
	}
}

// check checks a repository that others work at. Cleaners may replace the index
// faster than it is read.
func (a *actor) check() {
	got := a.run("check", "-q")
	switch {
	case got.code == exitFatal && strings.HasPrefix(got.stderr, "Fatal: the index was replaced while it was read\n"):
		a.c.add(outrunCheck, 1)
	case got.code != 0 || got.stderr != "" || !strings.HasPrefix(got.stdout, "OK, checked: "):
		a.t.Errorf("check: %+v", got)
	default:
		a.c.add(checks, 1)
	}
}
