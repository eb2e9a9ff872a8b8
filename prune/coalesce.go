package prune

import (
	"context"
	"math/bits"

	"bluesky/object"
	"bluesky/refcount"
)

// coalesceAt is how many small segments of about one size become one: so each
// byte is copied for that at most once for each power of this up to the target.
const coalesceAt = 8

// coalesce chooses small segments to be packed together: every backup leaves
// one or two that are far from full.
func (p *Plan) coalesce(ctx context.Context) ([]*segment, error) {
	var chosen []*segment
	for _, class := range []object.Class{object.ClassData, object.ClassMeta} {
		found, err := p.candidates(ctx, refcount.Query{Class: class, Smaller: uint32(p.target(class) / 2)})
		if err != nil {
			return nil, err
		}
		tiers := map[int][]*segment{}
		for _, s := range p.locate(found) {
			if s.usage.Live > 0 {
				tier := bits.Len32(s.usage.Live) / 3 // powers of 8
				tiers[tier] = append(tiers[tier], s)
			}
		}
		for tier := range 11 { // of 32 bits
			if len(tiers[tier]) >= coalesceAt {
				chosen = append(chosen, tiers[tier]...)
			}
		}
	}
	return chosen, nil
}

// target returns how large segments of a class become.
func (p *Plan) target(class object.Class) uint64 {
	config := p.repo.Config().Segment
	if class == object.ClassMeta {
		return uint64(config.MetaTarget)
	}
	return uint64(config.DataTarget)
}
