package prune

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/refcount"

	"github.com/RoaringBitmap/roaring/v2"
)

// dying is what a clean kills: rows that nobody needs, and what the counts are
// without them.
type dying struct {
	*folded
	counts *refcount.Counts // a layer above those of folded
	rows   map[int]*roaring.Bitmap

	objects   uint64 // that die, not counting spare copies
	deadRows  uint64 // their copies
	deadBytes uint64 // of their homes
}

// cascade kills what nothing refers to, and then what nothing else refers to.
// Ids hash their refs, so there are no cycles, and it ends.
//
// It goes through the dead a generation of them at a time, each sorted by their
// segments, so that every header is read about once.
func (f *folded) cascade(ctx context.Context, progress Progress) (*dying, error) {
	d := &dying{folded: f, counts: f.counts.Layer(), rows: map[int]*roaring.Bitmap{}}
	for _, p := range f.spare {
		at := f.view.At(p.part, p.row)
		d.kill(&at)
	}
	progress.Phase("find what nothing refers to", 0)
	for wave := f.zeros; len(wave) > 0; {
		var next []place
		dead, err := d.killWave(wave)
		if err != nil {
			return nil, err
		}
		for _, l := range dead {
			zeros, err := d.release(ctx, &l)
			if err != nil {
				return nil, err
			}
			next = append(next, zeros...)
		}
		progress.Add(uint64(len(dead)))
		wave = next
	}
	return d, nil
}

// killWave kills objects by their homes, and returns those that refer to
// others.
func (d *dying) killWave(wave []place) ([]index.Location, error) {
	var dead []index.Location
	for _, p := range wave {
		home := d.view.At(p.part, p.row)
		copies := d.remaining(home.Row.ID)
		if len(copies) == 0 || slices.ContainsFunc(copies, func(l index.Location) bool { return d.protected(l.Segment.Session) }) {
			continue // dead already, or somebody may build on it
		}
		if placeOf(&copies[0]) != p {
			return nil, fmt.Errorf("%w: object %s is counted where it does not stand first; bluesky prune --recount counts anew",
				ErrDamaged, home.Row.ID.Short())
		}
		for i := range copies {
			d.kill(&copies[i])
		}
		d.objects++
		d.deadRows += uint64(len(copies))
		d.deadBytes += uint64(home.Row.Length)
		if d.counted(p.part) {
			d.lost[keyOf(&home.Segment)] += uint64(home.Row.Length)
		}
		if home.Row.Kind != object.KindBlock {
			dead = append(dead, home)
		}
	}
	slices.SortFunc(dead, func(a, b index.Location) int {
		return cmp.Or(slices.Compare(a.Segment.Name[:], b.Segment.Name[:]), cmp.Compare(a.Row.Offset, b.Row.Offset))
	})
	return dead, nil
}

// kill marks a copy dead.
func (d *dying) kill(l *index.Location) {
	rows := d.rows[l.Part]
	if rows == nil {
		rows = roaring.New()
		d.rows[l.Part] = rows
	}
	rows.Add(uint32(l.Place))
}

// dies reports whether a visible copy is marked dead.
func (d *dying) dies(p place) bool {
	rows := d.rows[p.part]
	return rows != nil && rows.Contains(uint32(p.row))
}

// remaining returns the visible copies of an object that do not die, its home
// first.
func (d *dying) remaining(id object.ID) []index.Location {
	return slices.DeleteFunc(d.view.Lookup(id), func(l index.Location) bool { return d.dies(placeOf(&l)) })
}

// release takes back the refs of a dead object and returns those that nothing
// else refers to.
func (d *dying) release(ctx context.Context, dead *index.Location) ([]place, error) {
	refs, err := d.refsOf(ctx, dead)
	if err != nil {
		return nil, err
	}
	var zeros []place
	for _, ref := range refs {
		home := d.home(ref)
		if home == nil {
			return nil, fmt.Errorf("%w: object %s refers to %s, which is not there", ErrDamaged, dead.Row.ID.Short(), ref)
		}
		count, err := d.counts.Add(d.runs[home.Part].Name(), uint32(home.Place), -1)
		if err != nil {
			return nil, damaged(err)
		}
		if count == 0 && !d.protected(home.Segment.Session) {
			zeros = append(zeros, placeOf(home))
		}
	}
	return zeros, nil
}

// refsOf reads the refs of a copy from the header of its segment.
func (b *base) refsOf(ctx context.Context, l *index.Location) ([]object.ID, error) {
	header, err := b.headers.get(ctx, &l.Segment)
	if err != nil {
		return nil, err
	}
	i, ok := header.Locate(l.Row.ID, l.Row.Offset)
	if !ok || header.Objects[i].Sum != l.Row.Sum {
		return nil, fmt.Errorf("%w: object %s: the run and the header of segment %s disagree", ErrDamaged, l.Row.ID.Short(), l.Segment.Name)
	}
	return header.Refs(i, nil), nil
}
