package prune

import (
	"math/bits"

	"bluesky/object"
)

// coalesceAt is how many small segments of about one size become one: so each
// byte is copied for that at most once for each power of this up to the target.
const coalesceAt = 8

// coalesce chooses small segments to be packed together: every backup leaves
// one or two that are far from full.
func (p *Plan) coalesce(list []*segment) []*segment {
	type tier struct {
		class object.Class
		log   int
	}
	tiers := map[tier][]*segment{}
	for _, s := range list {
		if s.live < p.target(s.Class)/2 {
			t := tier{s.Class, (bits.Len64(s.live) - 1) / 3} // powers of 8
			tiers[t] = append(tiers[t], s)
		}
	}
	var chosen []*segment
	for _, s := range list { // in the order of the list, whatever that of a map
		t := tier{s.Class, (bits.Len64(s.live) - 1) / 3}
		if s.live < p.target(s.Class)/2 && len(tiers[t]) >= coalesceAt {
			chosen = append(chosen, s)
		}
	}
	return chosen
}

// target returns how large segments of a class become.
func (p *Plan) target(class object.Class) uint64 {
	config := p.repo.Config().Segment
	if class == object.ClassMeta {
		return uint64(config.MetaTarget)
	}
	return uint64(config.DataTarget)
}
