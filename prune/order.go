package prune

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/repo"
)

// orderShare is how much the headers may take that are read to find the order,
// as a part of what is copied; at least orderLeast bytes. So the cost of a prune
// stays that of what it changes, however large the repository is.
const (
	orderShare = 8
	orderLeast = 1 << 20
)

// arrange puts what is copied into the order in which the newest snapshot that
// holds it refers to it, so that restores get faster and not slower. What it does
// not come by within its budget follows as it stood, which is the order in which
// some backup met it.
func (p *Plan) arrange(ctx context.Context) (map[object.ID]int, error) {
	o := &orderer{Plan: p, wanted: map[object.ID]int{}, seen: map[object.ID]bool{}}
	for _, s := range p.victims {
		for _, at := range s.copies {
			o.wanted[p.runs[at.part].Row(at.row).ID] = math.MaxInt
		}
	}
	o.left = len(o.wanted)
	o.limit = p.headers.Bytes + max(orderLeast, p.RepackBytes/orderShare)
	snapshots := slices.Collect(p.state.AllSnapshots())
	slices.SortStableFunc(snapshots, func(a, b *repo.Snapshot) int { return cmp.Compare(b.Generation, a.Generation) })
	for _, snap := range snapshots {
		if err := o.walk(ctx, snap.ID); errors.Is(err, ErrDamaged) {
			break // what is damaged is not what is copied: the order is a matter of speed
		} else if err != nil {
			return nil, err
		}
	}
	return o.wanted, nil
}

type orderer struct {
	*Plan
	wanted map[object.ID]int // the place of each object to copy
	seen   map[object.ID]bool
	next   int
	left   int    // of wanted, without a place
	limit  uint64 // of bytes of headers
}

// walk goes through what id leads to, depth first.
func (o *orderer) walk(ctx context.Context, id object.ID) error {
	for stack := []object.ID{id}; len(stack) > 0; {
		id := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if o.left == 0 || o.headers.Bytes >= o.limit {
			return nil
		}
		if place, ok := o.wanted[id]; ok && place == math.MaxInt {
			o.wanted[id] = o.next
			o.next++
			o.left--
		}
		home := o.home(id)
		if home == nil || home.Row.Kind == object.KindBlock || o.seen[id] {
			continue
		}
		o.seen[id] = true
		refs, err := o.refsOf(ctx, home)
		if err != nil {
			return err
		}
		slices.Reverse(refs)
		stack = append(stack, refs...)
	}
	return nil
}

// order returns the objects of a class to copy.
func (p *Plan) order(class object.Class, places map[object.ID]int) []index.Location {
	var all []index.Location
	for _, s := range p.victims {
		if s.Class == class {
			for _, at := range s.copies {
				all = append(all, p.view.At(at.part, at.row))
			}
		}
	}
	slices.SortFunc(all, func(a, b index.Location) int {
		return cmp.Or(cmp.Compare(places[a.Row.ID], places[b.Row.ID]),
			cmp.Compare(a.Segment.RegisteredAt, b.Segment.RegisteredAt),
			slices.Compare(a.Segment.Name[:], b.Segment.Name[:]), cmp.Compare(a.Row.Offset, b.Row.Offset))
	})
	return all
}
