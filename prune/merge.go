package prune

import (
	"cmp"
	"slices"
)

const (
	// mergeAt is how many runs of growing size become one.
	mergeAt = 8
	// mergeGrowth: a run is merged with those smaller than it unless it is more than
	// so many times as large as all of them.
	mergeGrowth = 4
)

// merges returns the parts whose rows are written into the new run: small runs,
// runs with little left in them, and those with nothing left, which go.
func (p *Plan) merges() map[int]bool {
	live := p.liveRows()
	chosen := map[int]bool{}
	room := p.options.room()
	var rest []int
	for part, run := range p.runs {
		switch {
		case len(chosen) == room.merged:
		case live[part] == 0 && p.emptied(part):
			chosen[part] = true
		case live[part] < run.Len()/2 && live[part] <= room.rows:
			chosen[part] = true
			room.rows -= live[part]
		default:
			rest = append(rest, part)
		}
	}
	slices.SortStableFunc(rest, func(a, b int) int { return cmp.Compare(live[a], live[b]) })
	n, sum := 0, 0
	for _, part := range rest {
		if n > 0 && (live[part] > mergeGrowth*sum || sum+live[part] > room.rows) {
			break
		}
		n, sum = n+1, sum+live[part]
	}
	if n = min(n, room.merged-len(chosen)); n >= mergeAt {
		for _, part := range rest[:n] {
			chosen[part] = true
		}
	}
	return chosen
}

// liveRows counts the rows of each part that stay in it.
func (p *Plan) liveRows() []int {
	live := make([]int, len(p.runs))
	for part := range live {
		live[part] = p.view.PartLen(part)
		if rows := p.rows[part]; rows != nil {
			live[part] -= int(rows.GetCardinality())
		}
	}
	for _, s := range p.victims {
		live[s.part] -= len(s.copies)
	}
	return live
}

// emptied reports whether no segment of a part stays.
func (p *Plan) emptied(part int) bool {
	for i := range p.runs[part].SegmentCount() {
		if p.view.ShowsSegment(part, i) && !p.victimAt(part, uint32(i)) {
			return false
		}
	}
	return true
}
