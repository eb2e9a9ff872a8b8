package prune

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
)

// What a campaign is about: each of these is to happen in it.
const (
	metMoves    = "segments of copies that a cleaner made"
	metMerges   = "runs that a cleaner merged"
	metRescues  = "objects that a writer rescued"
	metAdopts   = "segments that a later process registered"
	metTwice    = "objects that were stored twice"
	metCollects = "snapshots that were collected"
	metReturns  = "snapshots that were brought back"
	metExpires  = "sessions that a cleaner ended"
	metOrphans  = "segments that were condemned without ever being registered"
	metStands   = "cleans that stood behind a generation which they had not counted"
	metAgain    = "backups that started again"
)

var allMet = []string{metMoves, metMerges, metRescues, metAdopts, metTwice, metCollects, metReturns, metExpires, metOrphans, metStands, metAgain}

// meet counts something that has happened.
func (w *world) meet(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.met[what] += n
	}
}

// observe counts what the generations behind old have done.
func (w *world) observe(old, state *repo.State, view *index.Index) {
	if old == nil {
		old = &repo.State{}
	}
	had := map[index.RunName]bool{}
	for i := range old.Runs {
		had[old.Runs[i].Name] = true
	}
	for i := range state.Runs {
		if run := &state.Runs[i]; !had[run.Name] {
			w.observeRun(run, view)
		}
	}
	w.observeSnapshots(old, state)
	for _, id := range old.Unfinished() {
		if !state.IsUnfinished(id) && strings.Contains(w.by, "clean") {
			w.meet(metExpires, 1)
		}
	}
	for name := range state.Condemned {
		if name.Folder == repo.FolderSegments && old.Condemned[name] == 0 && !w.known[pack.Name(name.ID)] {
			w.meet(metOrphans, 1)
		}
	}
	if state.Fold > old.Fold && state.Fold+1 < state.Generation && old.Generation+1 == state.Generation {
		w.meet(metStands, 1)
	}
}

func (w *world) observeRun(registered *repo.Run, view *index.Index) {
	run := w.client.OpenRun(registered.Name)
	merged := false
	for _, s := range run.Segments() {
		switch {
		case w.known[s.Name]:
			merged = true
		case registered.Cleaned:
			w.meet(metMoves, 1)
		default:
			w.observeSegment(s)
		}
		w.known[s.Name] = true
	}
	if merged {
		w.meet(metMerges, 1)
	}
	twice := 0
	for row := range run.Rows() {
		if !registered.Cleaned && len(view.Lookup(row.ID)) > 1 {
			twice++
		}
	}
	w.meet(metTwice, twice)
}

// observeSegment looks at a segment that a writer has registered. What he has
// rescued, another session had sealed.
func (w *world) observeSegment(s index.Segment) {
	if by := w.wrote[s.Name]; by != "" && by != w.by {
		w.meet(metAdopts, 1)
		return
	}
	data := w.memory.Get(s.Name.Key())
	prelude, err := pack.DecodePrelude(data, int64(len(data)))
	if err != nil {
		w.broken("segment %s: %v", s.Name, err)
		return
	}
	header, err := pack.DecodeHeader(data[:prelude.HeadSize()], int64(len(data)))
	if err != nil {
		w.broken("segment %s: %v", s.Name, err)
		return
	}
	rescued := 0
	for i := range header.Objects {
		if header.Sessions[header.Objects[i].Session].ID != s.Session {
			rescued++
		}
	}
	w.meet(metRescues, rescued)
}

func (w *world) observeSnapshots(old, state *repo.State) {
	forgotten, live := map[object.ID]bool{}, map[object.ID]bool{}
	for i := range state.Forgotten {
		forgotten[state.Forgotten[i].ID] = true
	}
	for i := range state.Snapshots {
		live[state.Snapshots[i].ID] = true
	}
	for i := range old.Forgotten {
		switch id := old.Forgotten[i].ID; {
		case live[id]:
			w.meet(metReturns, 1)
		case !forgotten[id]:
			w.meet(metCollects, 1)
		}
	}
}

// events are what several worlds have met, added up.
type events map[string]int

func (e events) add(w *world) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.addAll(w.met)
}

func (e events) addAll(other events) {
	for what, n := range other {
		e[what] += n
	}
}

func (e events) log(t *testing.T) {
	for _, what := range slices.Sorted(maps.Keys(e)) {
		t.Logf("%7d %s", e[what], what)
	}
}

// want fails for each of those that never happened.
func (e events) want(t *testing.T, list ...string) {
	t.Helper()
	for _, what := range list {
		if e[what] == 0 {
			t.Errorf("no %s", what)
		}
	}
}
