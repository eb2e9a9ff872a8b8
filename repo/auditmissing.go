package repo

import (
	"context"
	"fmt"
)

// missing is a checkpoint that is not there: an old one that a clean took, or
// damage.
type missing struct {
	ref CheckpointRef
	err error
}

// explainMissing reports the checkpoints that are missing, unless a clean in the
// log has condemned them, or one that came while the log was read.
func (a *auditor) explainMissing(ctx context.Context) error {
	if len(a.missing) == 0 {
		return nil
	}
	taken := map[Name]bool{}
	for _, clean := range a.state.recent {
		for _, name := range clean.names {
			taken[name] = true
		}
	}
	if a.state.Generation == a.Head {
		_, later, err := a.r.Follow(ctx, a.state)
		if err != nil && !isLost(err) {
			return err
		}
		for _, name := range later {
			taken[name] = true
		}
	}
	for _, m := range a.missing {
		if !taken[CheckpointNamed(m.ref.Name)] {
			a.report(m.ref.Name.Key(), fmt.Errorf("the checkpoint of generation %d: %w", m.ref.Number, m.err))
		}
	}
	return nil
}
