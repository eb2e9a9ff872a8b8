package forget

import (
	"errors"
	"fmt"
	"slices"

	"bluesky/object"
)

// ErrNothingLeft: a policy that has rules keeps nothing of a group.
var ErrNothingLeft = errors.New("refusing to forget the last snapshot of a group")

// An Outcome is what a policy does with a group.
type Outcome struct {
	Key
	Decision
}

// Decide applies p to each group, and spares the last of each line. live are all
// snapshots that are live, in the groups or not, in log order; if it is nil,
// nothing is spared.
//
// The error wraps [ErrNothingLeft] when p keeps nothing of a group, as one that
// only keeps tags may.
func Decide(live []Snapshot, groups []Group, p *Policy) ([]Outcome, error) {
	outcomes := make([]Outcome, len(groups))
	var remove []Snapshot
	for i, g := range groups {
		outcomes[i] = Outcome{g.Key, Apply(g.Snapshots, p)}
		if len(outcomes[i].Keep) == 0 {
			return nil, fmt.Errorf("%w: %s", ErrNothingLeft, g.Key)
		}
		remove = append(remove, outcomes[i].Remove...)
	}
	spared := lastOfLines(live, remove)
	for i := range outcomes {
		outcomes[i].spare(spared)
	}
	return outcomes, nil
}

// spare keeps the snapshots of the given ids.
func (d *Decision) spare(ids map[object.ID]bool) {
	var remove []Snapshot
	for _, s := range d.Remove {
		if !ids[s.ID] {
			remove = append(remove, s)
			continue
		}
		at := 0 // its place in Keep, newest first
		for at < len(d.Keep) && compareTimes(d.Keep[at].Effective, s.Effective) >= 0 {
			at++
		}
		d.Keep = slices.Insert(d.Keep, at, s)
		d.Reasons = slices.Insert(d.Reasons, at, []string{"last of its series"})
	}
	d.Remove = remove
}

// lastOfLines returns the newest snapshot of each line that would be empty
// without remove. live is in log order.
func lastOfLines(live, remove []Snapshot) map[object.ID]bool {
	removed := make(map[object.ID]bool, len(remove))
	for i := range remove {
		removed[remove[i].ID] = true
	}
	newest := map[Line]*Snapshot{}
	stays := map[Line]bool{}
	for i := range live {
		s := &live[i]
		if !removed[s.ID] {
			stays[s.Line] = true
		}
		if n := newest[s.Line]; n == nil || compareTimes(n.Effective, s.Effective) <= 0 {
			newest[s.Line] = s
		}
	}
	spared := map[object.ID]bool{}
	for line, s := range newest {
		if !stays[line] {
			spared[s.ID] = true
		}
	}
	return spared
}
