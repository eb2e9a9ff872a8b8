package prune

import (
	"context"
	"errors"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/repo"
)

// stands reports whether the clean says the same on a later state (R4): no
// other clean came in between, nothing was brought back, the policy is the same,
// no session that it ends or that had ended has gone on, and nothing that was
// registered or added names an object that it kills or moves, nor brings another
// copy of one.
func (a *assembly) stands(ctx context.Context, state *repo.State) (bool, error) {
	if state.Fold != a.state.Fold || !slices.Equal(state.Marks, a.state.Marks) || len(state.Runs) < len(a.state.Runs) ||
		len(state.Condemned) < len(a.state.Condemned) || state.Policy != a.state.Policy {
		return false, nil
	}
	for i := range a.state.Runs {
		if state.Runs[i].Name != a.state.Runs[i].Name {
			return false, nil
		}
	}
	if !a.stillForgotten(state) || a.condemns(state) {
		return false, nil
	}
	for snap := range state.AllSnapshots() {
		if snap.Generation > a.state.Generation && (a.names(snap.ID) || a.names(snap.Root)) {
			return false, nil
		}
	}
	for i := len(a.state.Runs); i < len(state.Runs); i++ {
		clear, err := a.clearOf(ctx, a.repo.OpenRun(state.Runs[i].Name))
		if !clear || err != nil {
			return false, err
		}
	}
	return true, nil
}

// stillForgotten reports whether what is to be collected is forgotten, and what
// is to expire, unfinished.
func (a *assembly) stillForgotten(state *repo.State) bool {
	forgotten := map[object.ID]bool{}
	for i := range state.Forgotten {
		forgotten[state.Forgotten[i].ID] = true
	}
	for _, id := range a.clean.Collected {
		if !forgotten[id] {
			return false
		}
	}
	for _, id := range a.clean.Expired {
		if !state.IsUnfinished(id) || state.LastOf(id) != a.state.LastOf(id) {
			return false
		}
	}
	return true
}

// condemns reports whether the clean condemns what was taken for an orphan and
// has been registered since, or condemned: before anything is counted, a clean of
// another cleaner cannot be told by the fold.
func (a *assembly) condemns(state *repo.State) bool {
	gone := make(map[repo.Name]bool, len(a.clean.Condemned))
	for _, name := range a.clean.Condemned {
		if _, twice := state.Condemned[name]; twice {
			return true
		}
		gone[name] = true
	}
	if c := state.Checkpoint; c != nil && gone[repo.CheckpointNamed(c.Name)] {
		return true
	}
	for i := len(a.state.Runs); i < len(state.Runs); i++ {
		run := a.repo.OpenRun(state.Runs[i].Name)
		if run == nil || gone[repo.RunName(run.Name())] {
			return true
		}
		for i := range run.SegmentCount() {
			if gone[segmentName(run.Segment(i).Name)] {
				return true
			}
		}
	}
	return false
}

// names reports whether the plan kills or moves an object.
func (a *assembly) names(id object.ID) bool {
	return slices.ContainsFunc(a.view.Lookup(id), func(l index.Location) bool {
		return a.dies(placeOf(&l)) || a.victimAt(l.Part, l.Row.Segment)
	})
}

// clearOf reports whether a new run and the refs out of its segments name
// nothing of the plan.
func (a *assembly) clearOf(ctx context.Context, run *index.Run) (bool, error) {
	if run == nil {
		return false, errors.New("a run that was read is gone")
	}
	for row := range run.Rows() {
		if a.names(row.ID) {
			return false, nil
		}
	}
	for i := range run.SegmentCount() {
		seg := run.Segment(i)
		if seg.Class != object.ClassMeta {
			continue
		}
		header, err := a.headers.get(ctx, &seg)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(header.External, a.names) {
			return false, nil
		}
	}
	return true, nil
}
