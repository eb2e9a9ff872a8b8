package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"bluesky/index"
	"bluesky/object"
)

// assert is the last look at every commit, by whatever way it came here: no op
// is void (foldNext has told), nothing unknown is added, every root is visible,
// and no visible entry lies in a segment condemned since its name was chosen.
// That what is visible stays closed under refs is what checkRelied found on the
// same base, and for a clean what its author has counted.
func assert(base, after *State, view *index.Index, made *outcome, c change) error {
	if len(after.Unknown) != len(base.Unknown) {
		return errors.New("it holds an op of an unknown type")
	}
	if err := c.run.assertPresent(after.Condemned); err != nil {
		return err
	}
	if made == nil {
		return assertRoots(base, after, func(id object.ID) bool { return view.Has(id) || c.run.has(id) })
	}
	if err := assertClean(base, after, view, made); err != nil {
		return err
	}
	for id := range after.Roots() {
		if !made.Has(id) && view.Has(id) {
			return fmt.Errorf("object %s, the root of a snapshot, would be gone", id)
		}
	}
	return assertRoots(base, after, made.Has)
}

// onlyAdds reports whether what is visible in s is what is visible in old and
// what a writer has registered: no clean has changed it, and no name that was
// condemned is free again.
func (s *State) onlyAdds(old *State) bool {
	return s.extends(old) && len(s.Condemned) == len(old.Condemned) &&
		!slices.ContainsFunc(s.Runs[len(old.Runs):], func(run Run) bool { return run.Cleaned })
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

// An outcome is what a clean or a deleted would leave visible, made from what is
// in the bucket.
type outcome struct {
	*index.Index
	parts []index.Part
}

// outcome makes what is visible in after, nil if that only adds to base.
func (r *Repo) outcome(ctx context.Context, base, after *State) (*outcome, error) {
	if after.onlyAdds(base) {
		return nil, nil
	}
	built, parts, err := r.makeIndex(ctx, after)
	return &outcome{built, parts}, err
}

// assertClean refuses a clean or a deleted that shows an entry which nobody has
// had before, that would show a condemned segment once its name is free, or that
// takes anything from an unfinished session (R10).
func assertClean(base, after *State, view *index.Index, made *outcome) error {
	for i := range made.parts {
		if err := assertGone(base, after, &made.parts[i]); err != nil {
			return err
		}
		if err := assertRows(base, after, view, made.Index, i, &made.parts[i]); err != nil {
			return err
		}
	}
	return assertUntouched(after, view, made.Index)
}

// assertGone refuses a run in which a condemned segment is not marked gone: its
// rows would be visible again when its deletion is recorded.
func assertGone(base, after *State, part *index.Part) error {
	for i := range part.Run.SegmentCount() {
		name := SegmentName(part.Run.Segment(i).Name)
		condemned := base.isCondemned(name) || after.isCondemned(name)
		if condemned && (part.Gone == nil || !part.Gone.ContainsInt(i)) {
			return fmt.Errorf("segment %s of run %s is condemned and not marked gone", name, part.Run.Name())
		}
	}
	return nil
}

// assertUntouched refuses that a row of an unfinished session is no longer
// visible where it was. It goes through all rows only where such a session has
// segments.
func assertUntouched(after *State, view, made *index.Index) error {
	open := false
	for segment := range view.Segments() {
		open = open || after.IsUnfinished(segment.Session)
	}
	if !open {
		return nil
	}
	for l := range view.Rows() {
		if after.IsUnfinished(l.Segment.Session) && !showsAt(made, &l) {
			return fmt.Errorf("object %s in segment %s is of session %s, which goes on", l.Row.ID.Short(), l.Segment.Name, l.Segment.Session)
		}
	}
	return nil
}

// showsAt reports whether view shows the copy at l, in whatever run.
func showsAt(view *index.Index, l *index.Location) bool {
	return slices.ContainsFunc(view.Lookup(l.Row.ID), func(at index.Location) bool {
		return at.Segment.Name == l.Segment.Name && at.Row.Offset == l.Row.Offset
	})
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
