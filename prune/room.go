package prune

import (
	"cmp"
	"slices"

	"bluesky/object"
	"bluesky/repo"
)

// A room is how much one clean does at most, for it has to fit into a
// generation, and the run that it makes, into memory. The next prune does the
// rest.
type room struct {
	victims   int // segments that are condemned
	orphans   int
	merged    int // runs that are replaced
	collected int // snapshots
	times     int // of snapshots
	rows      int // of all runs that are merged
}

// usualRoom comes to 3.6 MB: a name takes 19 bytes, a snapshot 34, a time at
// most 50. The rows take 256 MiB.
var usualRoom = room{victims: 100_000, orphans: 20_000, merged: 20_000, collected: 10_000, times: 10_000, rows: 4 << 20}

// room returns what tests ask for, or what there is.
func (o *Options) room() room {
	if o.most == (room{}) {
		return usualRoom
	}
	return o.most
}

// most returns the first n of list.
func most[T any](list []T, n int) []T { return list[:min(len(list), n)] }

// oldestTimes returns the times that a clean records, by id: those of the oldest
// snapshots, since the time of one depends on those before it in its line.
func (p *Plan) oldestTimes() []repo.StoreTime {
	n := p.options.room().times
	if len(p.base.times) <= n {
		return p.base.times
	}
	generation := map[object.ID]uint64{}
	for snap := range p.state.AllSnapshots() {
		generation[snap.ID] = snap.Generation
	}
	times := slices.Clone(p.base.times)
	slices.SortFunc(times, func(a, b repo.StoreTime) int {
		return cmp.Or(cmp.Compare(generation[a.ID], generation[b.ID]), a.ID.Compare(b.ID))
	})
	times = times[:n]
	slices.SortFunc(times, func(a, b repo.StoreTime) int { return a.ID.Compare(b.ID) })
	return times
}
