package prune

import (
	"context"
	"fmt"

	"bluesky/index"
	"bluesky/object"
	"bluesky/refcount"
)

// folded is what the counts are with all that was registered up to the base.
type folded struct {
	*base
	counts *refcount.Counts // a layer above those of the base

	// spare are copies that nobody needs: their object has another one that
	// stands before them.
	spare []place
	// zeros are the homes of objects that nothing refers to, outside of
	// unfinished sessions: where the cascade begins.
	zeros []place
	// guests are copies like those, in segments of unfinished sessions.
	guests map[place]bool
	// lost are the bytes of homes that are none any more, by their segments.
	lost map[refcount.Key]uint64
}

// fold counts the refs of the segments that were registered since the last
// clean, and the roots that were added, and takes back those of the snapshots
// that are collected.
//
// Data segments refer to nothing, so their headers are not read.
func (b *base) fold(ctx context.Context, collected []object.ID, progress Progress) (*folded, error) {
	f := &folded{base: b, counts: b.counts.Layer(), guests: map[place]bool{}, lost: map[refcount.Key]uint64{}}
	fresh, err := f.addRuns()
	if err != nil {
		return nil, err
	}
	for _, part := range fresh {
		if err := f.settle(part); err != nil {
			return nil, err
		}
	}
	progress.Phase("count new references", uint64(len(fresh)))
	for _, part := range fresh {
		if err := f.countRefs(ctx, part); err != nil {
			return nil, err
		}
		progress.Add(1)
	}
	if err := f.countRoots(collected); err != nil {
		return nil, err
	}
	for _, part := range fresh {
		if err := f.findZeros(part, func(*index.Segment) bool { return true }); err != nil {
			return nil, err
		}
	}
	return f, f.lookAgain()
}

// addRuns begins to count the runs that are not counted yet.
func (f *folded) addRuns() (fresh []int, err error) {
	for part, run := range f.runs {
		if f.counted(part) {
			continue
		}
		fresh = append(fresh, part)
		if err := f.counts.AddRun(run.Name(), make([]uint32, run.Len())); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// settle looks for objects of a new run of which there are other copies. The
// count of an object stands at its home, the first copy, which may be one that
// comes now; the others are spare.
func (f *folded) settle(part int) error {
	for row := range f.runs[part].Len() {
		if !f.view.Shows(part, row) {
			continue
		}
		copies := f.view.Lookup(f.runs[part].Row(row).ID)
		if len(copies) < 2 {
			continue
		}
		if err := f.gather(copies); err != nil {
			return err
		}
		if at := f.view.At(part, row); placeOf(&copies[0]) != placeOf(&at) {
			f.addSpare(&at)
			continue
		}
		for i := range copies[1:] {
			f.addSpare(&copies[1+i])
		}
		f.loseHome(copies[1:])
	}
	return nil
}

// loseHome notes that the first of the copies that were there before is no
// home any more.
func (f *folded) loseHome(others []index.Location) {
	for i := range others {
		if f.counted(others[i].Part) {
			f.lost[keyOf(&others[i].Segment)] += uint64(others[i].Row.Length)
			return
		}
	}
}

// gather moves the count of an object to its home.
func (f *folded) gather(copies []index.Location) error {
	var total uint32
	for i := len(copies) - 1; i >= 0; i-- {
		run, row := f.runs[copies[i].Part].Name(), uint32(copies[i].Place)
		count, err := f.counts.Get(run, row)
		if err != nil {
			return damaged(err)
		}
		total += count
		if i > 0 {
			if count > 0 {
				err = f.counts.Set(run, row, 0)
			}
		} else if total != count {
			err = f.counts.Set(run, row, total)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// addSpare notes a copy that is not needed, unless it is protected: then it is
// looked at again when its session has ended.
func (f *folded) addSpare(l *index.Location) {
	if f.protected(l.Segment.Session) {
		f.guests[placeOf(l)] = true
	} else {
		f.spare = append(f.spare, placeOf(l))
	}
}

// countRefs adds the refs of the objects of a new run, each object once: that
// of its home.
func (f *folded) countRefs(ctx context.Context, part int) error {
	for ordinal := range f.runs[part].SegmentCount() {
		seg := f.segmentAt(part, uint32(ordinal))
		if seg.Class != object.ClassMeta {
			continue
		}
		header, err := f.headers.get(ctx, &seg)
		if err != nil {
			return err
		}
		var refs []object.ID
		for i := range header.Objects {
			o := &header.Objects[i]
			home := f.home(o.ID)
			if home == nil || home.Segment.Name != seg.Name || home.Row.Offset != o.Offset {
				continue
			}
			refs = header.Refs(i, refs[:0])
			if err := f.addRefs(o.ID, refs); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *folded) addRefs(parent object.ID, refs []object.ID) error {
	for _, ref := range refs {
		home := f.home(ref)
		if home == nil {
			return fmt.Errorf("%w: object %s refers to %s, which is not there; bluesky check says what is affected",
				ErrDamaged, parent.Short(), ref)
		}
		if err := f.add(home, +1); err != nil {
			return err
		}
	}
	return nil
}

func (f *folded) add(home *index.Location, n int64) error {
	_, err := f.counts.Add(f.runs[home.Part].Name(), uint32(home.Place), n)
	return damaged(err)
}

// home returns where the count of an object stands, nil if it is not visible.
func (b *base) home(id object.ID) *index.Location {
	copies := b.view.Lookup(id)
	if len(copies) == 0 {
		return nil
	}
	return &copies[0]
}

// countRoots counts the snapshots that were added since the last clean, and no
// more those that this one collects.
func (f *folded) countRoots(collected []object.ID) error {
	gone := map[object.ID]bool{}
	for _, id := range collected {
		gone[id] = true
	}
	for snap := range f.state.AllSnapshots() {
		for _, id := range []object.ID{snap.ID, snap.Root} {
			home := f.home(id)
			if home == nil {
				return fmt.Errorf("%w: object %s of snapshot %s is not there", ErrDamaged, id, snap.ID.Short())
			}
			if snap.Generation > f.state.Fold && !f.anew {
				if err := f.add(home, +1); err != nil {
					return err
				}
			}
			if !gone[snap.ID] {
				continue
			}
			if err := f.add(home, -1); err != nil {
				return err
			}
			if err := f.zero(home); err != nil {
				return err
			}
		}
	}
	return nil
}

// zero notes home as a beginning of the cascade if its count is 0.
func (f *folded) zero(home *index.Location) error {
	count, err := f.counts.Get(f.runs[home.Part].Name(), uint32(home.Place))
	if err != nil {
		return damaged(err)
	}
	if count == 0 && !f.protected(home.Segment.Session) {
		f.zeros = append(f.zeros, placeOf(home))
	}
	return nil
}

// findZeros looks at the homes in some segments of a part.
func (f *folded) findZeros(part int, wanted func(*index.Segment) bool) error {
	looked := make([]bool, f.runs[part].SegmentCount())
	for i := range looked {
		seg := f.segmentAt(part, uint32(i))
		looked[i] = wanted(&seg) && !f.protected(seg.Session)
	}
	for row := range f.runs[part].Len() {
		if !f.view.Shows(part, row) {
			continue
		}
		at := f.view.At(part, row)
		if !looked[at.Row.Segment] {
			continue
		}
		count, err := f.counts.Get(f.runs[part].Name(), uint32(row))
		if err != nil {
			return damaged(err)
		}
		if count == 0 && placeOf(f.home(at.Row.ID)) == placeOf(&at) {
			f.zeros = append(f.zeros, placeOf(&at))
		}
	}
	return nil
}

// lookAgain looks at what the last clean left alone because its session was
// unfinished, where that one has ended since. Where all was counted anew it looks
// at everything.
func (f *folded) lookAgain() error {
	ended := map[object.SessionID]bool{}
	for _, id := range f.state.Pending {
		ended[id] = !f.protected(id)
	}
	if len(ended) == 0 && !f.anew {
		return nil
	}
	for part := range f.runs {
		if !f.counted(part) {
			continue // all of it was looked at just now
		}
		wanted := func(s *index.Segment) bool { return f.anew || ended[s.Session] }
		if !f.hasSegment(part, wanted) {
			continue
		}
		if err := f.findSpare(part, wanted); err != nil {
			return err
		}
		if err := f.findZeros(part, wanted); err != nil {
			return err
		}
	}
	return nil
}

func (f *folded) hasSegment(part int, wanted func(*index.Segment) bool) bool {
	for i := range f.runs[part].SegmentCount() {
		if s := f.segmentAt(part, uint32(i)); wanted(&s) {
			return true
		}
	}
	return false
}

// findSpare looks for copies in some segments of a part that are not homes.
// Their objects may have died while somebody could build on these copies, and
// were left alone for that.
func (f *folded) findSpare(part int, wanted func(*index.Segment) bool) error {
	for row := range f.runs[part].Len() {
		if !f.view.Shows(part, row) {
			continue
		}
		at := f.view.At(part, row)
		if !wanted(&at.Segment) {
			continue
		}
		home := f.home(at.Row.ID)
		if placeOf(home) == placeOf(&at) {
			continue
		}
		f.addSpare(&at)
		if err := f.zero(home); err != nil {
			return err
		}
	}
	return nil
}
