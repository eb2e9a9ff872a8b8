package prune

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/store/fault"
)

// wantCondemned is R5: a generation has condemned what is deleted now.
func (w *world) wantCondemned(key string) {
	w.deletes++
	w.check()
	name, err := repo.ParseName(key)
	if err != nil {
		var n uint64
		if _, err := fmt.Sscanf(key, "gen/%x", &n); err != nil || n == 0 || n >= w.seen.Floor {
			w.broken("%s is deleted", key)
		}
		return
	}
	if w.seen.Condemned[name] == 0 {
		if condemned, err := w.client.CondemnedSince(w.Context(), w.seen, 0); err != nil || condemned[name] == 0 {
			w.broken("%s is deleted, and no generation has condemned it", name)
		}
	}
}

// check looks at the newest state (I1): what is visible is closed under refs,
// and in segments that are there and not condemned.
func (w *world) check() {
	if w.client == nil {
		w.client = w.open()
	}
	state, err := w.client.Refresh(w.Context())
	if err != nil {
		w.broken("the log: %v", err)
		return
	}
	if w.seen == state {
		return
	}
	old := w.seen
	w.seen = state
	view, err := w.client.Index(w.Context(), state)
	if err != nil {
		w.broken("generation %d: %v", state.Generation, err)
		return
	}
	w.observe(old, state, view)
	there := map[string]bool{}
	for _, key := range w.memory.Keys("seg/") {
		there[key] = true
	}
	for s := range view.Segments() {
		if !there[s.Name.Key()] {
			w.broken("generation %d: visible segment %s is not there", state.Generation, s.Name)
		}
		if state.Condemned[segmentName(s.Name)] != 0 {
			w.broken("generation %d: visible segment %s is condemned", state.Generation, s.Name)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for l := range view.Rows() {
		for _, ref := range w.graph[l.Row.ID] {
			if !view.Has(ref) {
				w.broken("generation %d: %s %s refers to %s, which is not visible", state.Generation, l.Row.Kind, l.Row.ID.Short(), ref.Short())
			}
		}
	}
	for snap := range state.AllSnapshots() {
		if !view.Has(snap.ID) || !view.Has(snap.Root) {
			w.broken("generation %d: a root of snapshot %s is not visible", state.Generation, snap.ID.Short())
		}
	}
}

// isProblem reports whether no process may ever end like this.
func isProblem(err error) bool {
	if err == nil || errors.Is(err, fault.ErrRefused) || errors.Is(err, fault.ErrBroken) {
		return false
	}
	refused := strings.Contains(err.Error(), "refused to commit") // it would be void, or break the repository
	return refused || errors.Is(err, errLost) || errors.Is(err, ErrDamaged)
}

// finish checks a world in which nothing goes on any more: all that was
// promised is there, the next backup of each machine and the next two prunes
// succeed, and then the space is that of what is live, the counts those of the
// graph, and the index what the headers say.
func (w *world) finish(machines []string) {
	w.Helper()
	w.check()
	if len(w.problems) > 0 {
		return
	}
	w.client = w.open()
	w.wantKept()
	for i, state := range machines {
		p := w.start(fmt.Sprintf("last %d", i), state, uint64(i)+1<<32, backsUp(plant{{1, 2}, {uint64(i)}}, 0))
		w.drain(p)
	}
	final := Options{AllowMassDelete: true, Instant: true, Now: time.Now}
	for i := range 2 {
		p := w.start(fmt.Sprintf("last prune %d", i), "", uint64(i)+2<<32, prunes(final))
		w.drain(p)
	}
	if len(w.problems) > 0 {
		return
	}
	w.wantKept()
	w.sound()
	s := &site{bed: w.bed}
	s.wantSpace()
	s.wantAudited()
	w.wantIndexOfHeaders()
}

// wantKept checks that what was promised is listed and reads.
func (w *world) wantKept() {
	w.Helper()
	state, err := w.client.Refresh(w.Context())
	if err != nil {
		w.broken("the log: %v", err)
		return
	}
	listed := map[object.ID]bool{}
	for i := range state.Snapshots {
		listed[state.Snapshots[i].ID] = true
	}
	for id, live := range w.kept {
		if live && !listed[id] {
			w.broken("snapshot %s was reported, and is not listed", id.Short())
		}
	}
	seen := map[object.ID]bool{}
	var walk func(object.ID)
	walk = func(id object.ID) {
		if seen[id] {
			return
		}
		seen[id] = true
		o, _, err := w.client.Sealed(w.Context(), id)
		if err == nil {
			err = opened(&o)
		}
		if err != nil {
			w.broken("object %s of a live snapshot: %v", id.Short(), err)
			return
		}
		for _, ref := range o.Refs {
			walk(ref)
		}
	}
	for id := range state.Roots() {
		walk(id)
	}
}

// wantIndexOfHeaders compares what is visible with the headers of the segments
// that are in use: nothing is dead in them after a prune.
func (w *world) wantIndexOfHeaders() {
	w.Helper()
	view, err := w.client.Index(w.Context(), w.client.State())
	if err != nil {
		w.Fatal(err)
	}
	type row struct {
		id      object.ID
		segment pack.Name
		offset  uint32
		length  uint32
		kind    object.Kind
		sum     object.Sum
	}
	rows := map[row]bool{}
	for l := range view.Rows() {
		rows[row{l.Row.ID, l.Segment.Name, l.Row.Offset, l.Row.Length, l.Row.Kind, l.Row.Sum}] = true
	}
	for _, key := range w.memory.Keys("seg/") {
		data := w.memory.Get(key)
		prelude, err := pack.DecodePrelude(data, int64(len(data)))
		if err != nil {
			w.Fatal(err)
		}
		header, err := pack.DecodeHeader(data[:prelude.HeadSize()], int64(len(data)))
		if err != nil {
			w.Fatal(err)
		}
		for i := range header.Objects {
			o := &header.Objects[i]
			r := row{o.ID, header.Name, o.Offset, o.Length, o.Kind, o.Sum}
			if !rows[r] {
				w.broken("segment %s has object %s, which is not visible", header.Name, o.ID.Short())
			}
			delete(rows, r)
			if refs := header.Refs(i, nil); !slices.Equal(refs, w.graph[o.ID]) {
				w.broken("object %s has other refs", o.ID.Short())
			}
		}
	}
	if len(rows) > 0 {
		w.broken("%d visible rows stand in no header", len(rows))
	}
}
