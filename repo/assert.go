package repo

import (
	"context"
	"errors"
	"fmt"

	"bluesky/index"
	"bluesky/object"
)

// assert is the last look at every commit, by whatever way it came here: no op
// is void (foldNext has told), nothing unknown is added, every root is visible,
// and no visible entry lies in a segment condemned since its name was chosen.
// That what is visible stays closed under refs is what checkRelied found on the
// same base, and for a clean what its author has counted.
func (r *Repo) assert(ctx context.Context, base, after *State, view *index.Index, c change) error {
	if len(after.Unknown) != len(base.Unknown) {
		return errors.New("it holds an op of an unknown type")
	}
	if err := c.run.assertPresent(after.Condemned); err != nil {
		return err
	}
	if after.extends(base) {
		return assertRoots(base, after, func(id object.ID) bool { return view.Has(id) || c.run.has(id) })
	}
	made, err := r.assertClean(ctx, base, after, view)
	if err != nil {
		return err
	}
	for id := range after.Roots() {
		if !made.Has(id) && view.Has(id) {
			return fmt.Errorf("object %s, the root of a snapshot, would be gone", id)
		}
	}
	return assertRoots(base, after, made.Has)
}

// assertRoots refuses snapshots that base did not list, or not any more, whose
// roots are not visible.
func assertRoots(base, after *State, visible func(object.ID) bool) error {
	listed := make(map[object.ID]bool, len(base.Snapshots))
	for i := range base.Snapshots {
		listed[base.Snapshots[i].ID] = true
	}
	for i := range after.Snapshots {
		snap := &after.Snapshots[i]
		for _, id := range []object.ID{snap.ID, snap.Root} {
			if !listed[snap.ID] && !visible(id) {
				return fmt.Errorf("snapshot %s: object %s is not visible", snap.ID.Short(), id)
			}
		}
	}
	return nil
}

// assertPresent refuses a run with a segment that some generation condemned.
func (s *stagedRun) assertPresent(condemned map[Name]uint64) error {
	if s == nil {
		return nil
	}
	for _, segment := range s.run.Segments() {
		if at, ok := condemned[SegmentName(segment.Name)]; ok {
			return fmt.Errorf("segment %s was condemned by generation %d", segment.Name, at)
		}
	}
	return nil
}

// assertClean makes the index of what a clean leaves, from what is in the
// bucket, and refuses one that shows an entry which nobody has had before, or
// which touches a segment of an unfinished session (R10).
func (r *Repo) assertClean(ctx context.Context, base, after *State, view *index.Index) (*index.Index, error) {
	made, parts, err := r.makeIndex(ctx, after)
	if err != nil {
		return nil, err
	}
	for i := range parts {
		if err := assertRows(base, after, view, made, i, &parts[i]); err != nil {
			return nil, err
		}
	}
	if err := assertGone(base, after, parts); err != nil {
		return nil, err
	}
	for segment := range view.Segments() {
		_, condemned := after.Condemned[SegmentName(segment.Name)]
		if condemned && after.IsUnfinished(segment.Session) {
			return nil, fmt.Errorf("segment %s is of session %s, which goes on", segment.Name, segment.Session)
		}
	}
	return made, nil
}

// assertGone refuses a clean that condemns a segment of a registered run, new or
// old, and does not mark it gone: when its deletion is recorded, its rows would
// be visible.
func assertGone(base, after *State, parts []index.Part) error {
	for i := range parts {
		run := parts[i].Run
		for s := range run.SegmentCount() {
			name := SegmentName(run.Segment(s).Name)
			if after.isCondemned(name) && !base.isCondemned(name) && (parts[i].Gone == nil || !parts[i].Gone.ContainsInt(s)) {
				return fmt.Errorf("%s is condemned, and run %s goes on showing it", name, run.Name())
			}
		}
	}
	return nil
}

// assertRows refuses a run of a clean with a visible row of which there was no
// copy: (id, kind, length, sum) are those of one that was visible.
func assertRows(base, after *State, view, made *index.Index, i int, part *index.Part) error {
	if !part.Cleaned || part.At != after.Generation {
		return nil
	}
	for place := range part.Run.Len() {
		if !made.Shows(i, place) {
			continue
		}
		row := part.Run.Row(place)
		if !isCopy(view, &row) {
			return fmt.Errorf("run %s shows object %s, which generation %d does not", part.Run.Name(), row.ID.Short(), base.Generation)
		}
	}
	return nil
}

func isCopy(view *index.Index, row *index.Row) bool {
	for _, l := range view.Lookup(row.ID) {
		if l.Row.Kind == row.Kind && l.Row.Length == row.Length && l.Row.Sum == row.Sum {
			return true
		}
	}
	return false
}
