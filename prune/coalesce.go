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

// What is small, as a part of the target. Metadata is little, and read in whole
// segments. Data is copied for fewer files alone, and every prune leaves a last
// segment that is somewhere between empty and full: with a half here, what it had
// copied was often copied once more a few prunes later, which made half of all
// copying where files die together.
const (
	smallData = 8
	smallMeta = 2
)

// coalesce chooses small segments to be packed together: every backup leaves
// one or two that are far from full.
func (p *Plan) coalesce(ctx context.Context) ([]*segment, error) {
	var chosen []*segment
	for _, class := range []object.Class{object.ClassData, object.ClassMeta} {
		found, err := p.candidates(ctx, refcount.Query{Class: class, Smaller: p.small(class)})
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

// small returns the size in bytes below which segments of a class are packed
// together.
func (p *Plan) small(class object.Class) uint32 {
	part := uint64(smallData)
	if class == object.ClassMeta {
		part = smallMeta
	}
	return uint32(p.target(class) / part)
}

// target returns how large segments of a class become.
func (p *Plan) target(class object.Class) uint64 {
	config := p.repo.Config().Segment
	if class == object.ClassMeta {
		return uint64(config.MetaTarget)
	}
	return uint64(config.DataTarget)
}
