package prune

import (
	"context"
	"maps"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/refcount"
)

// A segment is one that may be condemned.
type segment struct {
	index.Segment
	part    int
	ordinal uint32
	usage   refcount.Usage // with what dies now

	victim bool
	copies []place // live objects in it
	shared bool    // an object in it has another copy, in an unfinished session
}

func (s *segment) unused() uint64 { return uint64(s.usage.Body - s.usage.Live) }
func (s *segment) live() uint64   { return uint64(s.usage.Live) }

func keyOf(s *index.Segment) refcount.Key {
	return refcount.Key{RegisteredAt: s.RegisteredAt, Name: s.Name}
}

func bodyOf(s *index.Segment) uint64 {
	return uint64(s.Size) - pack.PreludeSize - uint64(s.HeaderLength) - pack.TrailerSize
}

func usageOf(s *index.Segment, live uint64) refcount.Usage {
	return refcount.Usage{Key: keyOf(s), Size: uint32(s.Size), Body: uint32(bodyOf(s)), Live: uint32(live), Class: s.Class}
}

// measure says how much of each segment stays, as far as that is other than the
// space map says: of those that were registered since, and of those that lose
// something now. It adds up the whole.
func (p *Plan) measure(ctx context.Context) error {
	p.usage = map[refcount.Key]refcount.Usage{}
	for part := range p.runs {
		if !p.counted(part) {
			p.measureFresh(part)
		}
	}
	old, err := p.space.Get(ctx, slices.Collect(maps.Keys(p.lost)))
	if err != nil {
		return damaged(err)
	}
	for key, lost := range p.lost {
		if u, there := old[key]; there {
			u.Live -= uint32(min(lost, uint64(u.Live)))
			p.usage[key] = u
		}
	}
	for _, class := range []object.Class{object.ClassData, object.ClassMeta} {
		t := p.space.Totals(class)
		p.total.size += t.Size
		p.total.body += t.Body
		p.total.live += t.Live
	}
	for key, u := range p.usage {
		was := old[key] // zero for one that is new
		p.total.size += uint64(u.Size) - uint64(was.Size)
		p.total.body += uint64(u.Body) - uint64(was.Body)
		p.total.live += uint64(u.Live) - uint64(was.Live)
	}
	return nil
}

// totals are sums over segments, in bytes.
type totals struct{ size, body, live uint64 }

// measureFresh looks at all rows of a run that is new.
func (p *Plan) measureFresh(part int) {
	run := p.runs[part]
	live := make([]uint64, run.SegmentCount())
	for row := range run.Len() {
		at := place{part, row}
		if p.view.Shows(part, row) && !p.dies(at) && !p.guests[at] {
			r := run.Row(row)
			live[r.Segment] += uint64(r.Length)
		}
	}
	for i, n := range live {
		if p.view.ShowsSegment(part, i) {
			seg := p.segmentAt(part, uint32(i))
			p.usage[keyOf(&seg)] = usageOf(&seg, n)
		}
	}
}

// candidates returns the segments that match q, as they are after what dies
// now, in the order of the space map.
func (p *Plan) candidates(ctx context.Context, q refcount.Query) ([]refcount.Usage, error) {
	var found []refcount.Usage
	for u, err := range p.space.Candidates(ctx, q) {
		if err != nil {
			return nil, damaged(err)
		}
		if _, changed := p.usage[u.Key]; !changed {
			found = append(found, u)
		}
	}
	for _, u := range p.usage {
		if q.Match(&u) {
			found = append(found, u)
		}
	}
	slices.SortFunc(found, func(a, b refcount.Usage) int { return a.Compare(b.Key) })
	return found, nil
}

// locate finds segments in the runs. Those of unfinished sessions it leaves out.
func (p *Plan) locate(found []refcount.Usage) []*segment {
	wanted := make(map[pack.Name]*refcount.Usage, len(found))
	for i := range found {
		wanted[found[i].Name] = &found[i]
	}
	var list []*segment
	for part, run := range p.runs {
		for i := range run.SegmentCount() {
			u := wanted[run.Segment(i).Name]
			if u == nil || !p.view.ShowsSegment(part, i) {
				continue
			}
			if s := p.segmentAt(part, uint32(i)); keyOf(&s) == u.Key && !p.protected(s.Session) {
				list = append(list, &segment{Segment: s, part: part, ordinal: uint32(i), usage: *u})
			}
		}
	}
	slices.SortFunc(list, func(a, b *segment) int { return a.usage.Compare(b.usage.Key) })
	return list
}
