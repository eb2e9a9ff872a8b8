package prune

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/refcount"
	"bluesky/repo"
)

// A Plan says what a prune would do to one state. It changes nothing.
//
// It holds the change of the counts (about 20 bytes for each count that changes,
// 2 for each row of a new run), the dead rows as bitmaps, 64 bytes for each segment
// that changes, 32 for each name of the bucket, and 16 for each object to copy.
// Apply adds about 200 bytes for each object that was copied: where it stands, and
// the headers of the new segments.
type Plan struct {
	Stats
	options Options
	*dying
	usage     map[refcount.Key]refcount.Usage // of segments that change
	total     totals                          // of all segments, with what dies now
	victims   []*segment                      // to be condemned
	at        map[int]map[uint32]*segment     // victims by part and ordinal
	orphans   []repo.Name
	collected []object.ID
	// Kept are forgotten snapshots that the policy named for it does not forget:
	// they are not collected.
	Kept []object.ID
}

// Stats are what a plan comes to. Bytes of objects are those of their sealed
// form.
type Stats struct {
	Objects      uint64 // visible copies, before
	ObjectBytes  uint64
	Dead         uint64 // objects
	DeadBytes    uint64
	Spare        uint64 // copies of objects that stand elsewhere
	Size         uint64 // bytes of all segments in use, before
	Unused       uint64 // bytes in segments that nothing needs, with what dies now
	Condemned    uint64 // segments
	CondemnBytes uint64 // of their files
	Repacked     uint64 // objects to copy
	RepackBytes  uint64
	UnusedLeft   uint64 // bytes in segments, afterwards
	SizeLeft     uint64 // bytes of the segments that stay, without those of the copies
	Orphans      uint64 // files that no generation names
	Snapshots    uint64 // collected
	Expired      uint64 // sessions
}

// NewPlan looks at the newest state and chooses what to condemn.
func NewPlan(ctx context.Context, r *repo.Repo, options Options, progress Progress) (*Plan, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if progress == nil {
		progress = NoProgress{}
	}
	for attempt := 1; ; attempt++ {
		b, err := options.open(ctx, r, progress)
		if b == nil {
			return nil, err
		}
		var p *Plan
		if err == nil {
			if p, err = b.plan(ctx, options, progress); err == nil {
				return p, nil
			}
		}
		if attempt == maxAttempts {
			return nil, err
		}
		if err := outrun(ctx, b, err); err != nil {
			return nil, err
		}
	}
}

func (b *base) plan(ctx context.Context, options Options, progress Progress) (*Plan, error) {
	times := newStoreTimes(b.repo, b.state)
	if err := b.expire(ctx, times, &options); err != nil {
		return nil, err
	}
	p := &Plan{options: options, at: map[int]map[uint32]*segment{}}
	var err error
	if b.times, err = b.repo.StoreTimes(ctx, b.state); err != nil {
		return nil, err
	}
	if p.collected, p.Kept, err = b.collect(ctx, times, &options); err != nil {
		return nil, err
	}
	f, err := b.fold(ctx, p.collected, progress)
	if err != nil {
		return nil, err
	}
	if p.dying, err = f.cascade(ctx, progress); err != nil {
		return nil, err
	}
	if err := p.measure(ctx); err != nil {
		return nil, err
	}
	if err := p.guard(); err != nil {
		return nil, err
	}
	if err := p.choose(ctx); err != nil {
		return nil, err
	}
	p.findCopies()
	p.orphans, err = b.findOrphans(ctx, p, &options, progress)
	p.count()
	return p, err
}

// guard refuses to delete most of a repository unasked: who has made a mistake
// finds all of it still there.
func (p *Plan) guard() error {
	before := p.total.live + p.deadBytes
	if !p.options.AllowMassDelete && p.deadBytes > before/2 {
		return fmt.Errorf("%w: %d of %d bytes", ErrMassDelete, p.deadBytes, before)
	}
	return nil
}

// choose picks the victims: dead segments, small ones that fill one together,
// and then those that bring the most, until no more than the limit is unused.
func (p *Plan) choose(ctx context.Context) error {
	found, err := p.candidates(ctx, refcount.Query{Dead: true})
	if err != nil {
		return err
	}
	dead := most(p.locate(found), p.options.room().victims)
	p.condemn(dead)
	if p.options.NoRepack {
		return nil
	}
	chosen, err := p.coalesce(ctx)
	if err != nil {
		return err
	}
	unused := p.total.body - p.total.live
	small := map[pack.Name]bool{}
	for _, s := range slices.Concat(dead, chosen) {
		unused -= s.unused()
		small[s.Name] = true
	}
	limit := p.options.MaxUnused.bytes(p.total.live)
	wasteful, err := p.wasteful(ctx, unused, limit, small)
	if err != nil {
		return err
	}
	chosen = append(chosen, enough(wasteful, unused, limit)...)
	p.condemn(most(p.within(chosen), p.options.room().victims-len(dead)))
	return nil
}

// enough returns the first of list, until no more than limit is unused, but for
// those that can stay after all, because the last one brought more than was
// missing: of them the most expensive.
func enough(list []*segment, unused, limit uint64) []*segment {
	n := 0
	for ; n < len(list) && unused > limit; n++ {
		unused -= list[n].unused()
	}
	chosen := slices.Clone(list[:n])
	slices.SortStableFunc(chosen, func(a, b *segment) int { return cmp.Compare(b.live(), a.live()) })
	stays := map[*segment]bool{}
	for _, s := range chosen {
		if unused+s.unused() <= limit {
			unused += s.unused()
			stays[s] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(list[:n]), func(s *segment) bool { return stays[s] })
}

// condemn makes segments victims.
func (p *Plan) condemn(list []*segment) {
	for _, s := range list {
		s.victim = true
		p.victims = append(p.victims, s)
		if p.at[s.part] == nil {
			p.at[s.part] = map[uint32]*segment{}
		}
		p.at[s.part][s.ordinal] = s
	}
}

// letGo makes no victims of those that let reports.
func (p *Plan) letGo(let func(*segment) bool) {
	p.victims = slices.DeleteFunc(p.victims, func(s *segment) bool {
		if let(s) {
			s.victim = false
			delete(p.at[s.part], s.ordinal)
		}
		return !s.victim
	})
}

// victimAt reports whether a segment of a part is condemned.
func (p *Plan) victimAt(part int, ordinal uint32) bool { return p.at[part][ordinal] != nil }

// wasteful returns segments by falling benefit, without those that are chosen
// already, whose unused bytes would bring the whole below the limit, and perhaps
// more of them. It begins with those that are nearly empty and reads no more of
// the space map than it has to.
func (p *Plan) wasteful(ctx context.Context, unused, limit uint64, chosen map[pack.Name]bool) ([]*segment, error) {
	if unused <= limit {
		return nil, nil
	}
	var list []*segment
	for _, percent := range []uint32{50, 75, 90, 100} {
		found, err := p.candidates(ctx, refcount.Query{Below: percent * refcount.One / 100})
		if err != nil {
			return nil, err
		}
		list = slices.DeleteFunc(p.locate(found), func(s *segment) bool { return s.usage.Live == 0 || chosen[s.Name] })
		var sum uint64
		for _, s := range list {
			sum += s.unused()
		}
		if sum >= unused-limit {
			break
		}
	}
	slices.SortStableFunc(list, p.byBenefit)
	return list, nil
}

// byBenefit orders segments by what cleaning one brings for what it costs:
// (1−u)·√age/(1+u), where u is the share that is live; age counts generations.
// What is old has shown that it stays, and what is young may yet die by itself.
//
// Rosenblum and Ousterhout, The Design and Implementation of a Log-Structured
// File System, 1991, have the age itself. With its root less is copied where a
// limit has to be held, most of all where all dies alike: docs/decisions.md,
// "Prune". BenchmarkWaste has the figures.
func (p *Plan) byBenefit(a, b *segment) int {
	x, y := p.benefit(a), p.benefit(b)
	switch {
	case x > y:
		return -1
	case x < y:
		return 1
	}
	return 0
}

func (p *Plan) benefit(s *segment) float64 {
	u := float64(s.usage.Live) / float64(max(s.usage.Body, 1))
	age := float64(p.state.Generation - min(s.RegisteredAt, p.state.Generation) + 1)
	return (1 - u) * math.Sqrt(age) / (1 + u)
}

// within keeps of the chosen segments those that the limits of the options
// allow.
func (p *Plan) within(chosen []*segment) []*segment {
	copied, read := uint64(0), uint64(0)
	return slices.DeleteFunc(chosen, func(s *segment) bool {
		cost := s.live() + uint64(s.HeaderLength)
		over := p.options.MaxRepack > 0 && copied+s.live() > p.options.MaxRepack ||
			p.options.MaxRead > 0 && read+cost > p.options.MaxRead
		if !over {
			copied += s.live()
			read += cost
		}
		return over
	})
}

// findCopies lists what is to be copied. A victim with an object that has
// another copy is let go: that copy is in an unfinished session, and when it
// has ended, one of them is spare.
func (p *Plan) findCopies() {
	for part, victims := range p.at {
		if len(victims) == 0 {
			continue
		}
		for row := range p.runs[part].Len() {
			r := p.runs[part].Row(row)
			s, at := victims[r.Segment], place{part, row}
			if s == nil || !p.view.Shows(part, row) || p.dies(at) {
				continue
			}
			s.copies = append(s.copies, at)
			s.shared = s.shared || len(p.remaining(r.ID)) > 1
		}
	}
	p.letGo(func(s *segment) bool { return s.shared })
}

// count fills in the stats.
func (p *Plan) count() {
	p.Stats = Stats{
		Objects: uint64(p.view.Len()), ObjectBytes: p.total.live + p.deadBytes,
		Dead: p.objects, DeadBytes: p.deadBytes, Spare: p.spareCopies(),
		Size: p.total.size, SizeLeft: p.total.size, Unused: p.total.body - p.total.live,
		Orphans: uint64(len(p.orphans)), Snapshots: uint64(len(p.collected)), Expired: uint64(len(p.expired)),
	}
	p.UnusedLeft = p.Unused
	for _, s := range p.victims {
		p.Condemned++
		p.CondemnBytes += uint64(s.Size)
		p.SizeLeft -= uint64(s.Size)
		p.Repacked += uint64(len(s.copies))
		p.RepackBytes += s.live()
		p.UnusedLeft -= s.unused()
	}
}

// spareCopies counts the rows that die although their object lives on.
func (p *Plan) spareCopies() uint64 {
	var rows uint64
	for _, dead := range p.rows {
		rows += dead.GetCardinality()
	}
	return rows - p.deadRows
}

// Empty reports whether there is nothing to write down: nothing was registered
// since the last clean, nothing dies and nothing goes.
func (p *Plan) Empty() bool {
	return !p.anew && len(p.rows) == 0 && len(p.victims) == 0 && len(p.orphans) == 0 && len(p.collected) == 0 && len(p.base.times) == 0 &&
		len(p.expired) == 0 && !slices.ContainsFunc(p.state.Runs, func(r repo.Run) bool { return !p.state.Counted(&r) })
}

// only lets go of the victims that are not among names, unless nothing in them
// has to be copied.
func (p *Plan) only(names map[pack.Name]bool) {
	p.letGo(func(s *segment) bool { return s.usage.Live > 0 && !names[s.Name] })
}
