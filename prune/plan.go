package prune

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
)

// A Plan says what a prune would do to one state. It changes nothing.
//
// It holds the change of the counts (about 20 bytes for each count that changes,
// 2 for each row of a new run), the dead rows as bitmaps, 300 bytes for each segment
// of the repository, and 100 for each object to copy.
type Plan struct {
	Stats
	options Options
	*dying
	segments  []*segment            // all that are in use
	at        []map[uint32]*segment // by part and ordinal
	victims   []*segment            // to be condemned
	orphans   []repo.Name
	collected []object.ID
	times     []repo.StoreTime
}

// Stats are what a plan comes to. Bytes of objects are those of their sealed
// form.
type Stats struct {
	Objects      uint64 // visible, before
	ObjectBytes  uint64
	Dead         uint64 // objects, not counting spare copies
	Spare        uint64 // copies of objects that stand elsewhere
	Unused       uint64 // bytes in segments that nothing needs, with what dies now
	Condemned    uint64 // segments
	CondemnBytes uint64 // of their files
	Repacked     uint64 // objects to copy
	RepackBytes  uint64
	Left         uint64 // unused bytes that stay
	Orphans      uint64 // files that no generation names
	Snapshots    uint64 // collected
}

// A segment is one that is in use, and how much of it.
type segment struct {
	index.Segment
	part    int
	ordinal uint32
	body    uint64 // bytes of its objects
	live    uint64 // of those that stay
	rows    int    // that stay
	victim  bool
	copies  []place
	shared  bool // an object in it has another copy, in an unfinished session
}

func (s *segment) unused() uint64 { return s.body - s.live }

// NewPlan looks at the newest state and chooses what to condemn.
func NewPlan(ctx context.Context, r *repo.Repo, options Options, progress Progress) (*Plan, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if progress == nil {
		progress = NoProgress{}
	}
	b, err := openBase(ctx, r)
	if err != nil {
		return nil, err
	}
	return b.plan(ctx, options, progress)
}

func (b *base) plan(ctx context.Context, options Options, progress Progress) (*Plan, error) {
	times := &storeTimes{repo: b.repo, known: map[uint64]time.Time{}}
	if err := b.expire(ctx, times, &options); err != nil {
		return nil, err
	}
	p := &Plan{options: options}
	var err error
	if p.collected, err = b.collect(ctx, times, &options); err != nil {
		return nil, err
	}
	if p.times, err = b.untimed(ctx, times); err != nil {
		return nil, err
	}
	f, err := b.fold(ctx, p.collected, progress)
	if err != nil {
		return nil, err
	}
	if p.dying, err = f.cascade(ctx, progress); err != nil {
		return nil, err
	}
	p.measure()
	if err := p.guard(); err != nil {
		return nil, err
	}
	p.choose()
	p.findCopies()
	p.orphans, err = b.findOrphans(ctx, p, &options, progress)
	p.count()
	return p, err
}

// measure lists the segments in use and how much of them stays.
func (p *Plan) measure() {
	for part, run := range p.runs {
		all := make(map[uint32]*segment, run.SegmentCount())
		p.at = append(p.at, all)
		for i := range run.SegmentCount() {
			if seg := p.segmentAt(part, uint32(i)); p.view.ShowsSegment(part, i) {
				s := &segment{Segment: seg, part: part, ordinal: uint32(i), body: bodyOf(&seg)}
				all[s.ordinal] = s
				p.segments = append(p.segments, s)
			}
		}
		for row := range run.Len() {
			if !p.view.Shows(part, row) {
				continue
			}
			r := run.Row(row)
			p.Objects++
			p.ObjectBytes += uint64(r.Length)
			if s := all[r.Segment]; s != nil && !p.dies(place{part, row}) {
				s.live += uint64(r.Length)
				s.rows++
			}
		}
	}
}

func bodyOf(s *index.Segment) uint64 {
	return uint64(s.Size) - pack.PreludeSize - uint64(s.HeaderLength) - pack.TrailerSize
}

// guard refuses to delete most of a repository unasked: who has made a mistake
// finds all of it still there.
func (p *Plan) guard() error {
	if !p.options.AllowMassDelete && p.dying.live > p.ObjectBytes/2 {
		return fmt.Errorf("%w: %d of %d bytes; see bluesky snapshots, bluesky undo-forget, or give --allow-mass-delete",
			ErrMassDelete, p.dying.live, p.ObjectBytes)
	}
	return nil
}

// choose picks the victims.
func (p *Plan) choose() {
	var left []*segment
	used, unused := uint64(0), uint64(0)
	for _, s := range p.segments {
		switch {
		case p.protected(s.Session):
		case s.live == 0:
			p.victims = append(p.victims, s)
			continue
		default:
			left = append(left, s)
		}
		used += s.live
		unused += s.unused()
	}
	if p.options.NoRepack {
		return
	}
	chosen := p.coalesce(left)
	for _, s := range chosen {
		unused -= s.unused()
	}
	limit := p.options.MaxUnused.bytes(used)
	small := map[*segment]bool{}
	for _, s := range chosen {
		small[s] = true
	}
	left = slices.DeleteFunc(left, func(s *segment) bool { return small[s] || s.unused() == 0 })
	slices.SortStableFunc(left, p.byBenefit)
	for _, s := range left {
		if unused <= limit {
			break
		}
		chosen = append(chosen, s)
		unused -= s.unused()
	}
	p.victims = append(p.victims, p.within(chosen)...)
}

// byBenefit orders segments by what cleaning one brings for what it costs:
// (1−u)·age/(1+u), where u is the share that is live. Rosenblum and Ousterhout,
// The Design and Implementation of a Log-Structured File System, 1991. What is
// old has shown that it stays; age counts generations.
func (p *Plan) byBenefit(a, b *segment) int {
	return -compareFloat(p.benefit(a), p.benefit(b))
}

func compareFloat(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func (p *Plan) benefit(s *segment) float64 {
	u := float64(s.live) / float64(max(s.body, 1))
	age := float64(p.state.Generation - min(s.RegisteredAt, p.state.Generation) + 1)
	return (1 - u) * age / (1 + u)
}

// within keeps of the chosen segments those that the limits of the options
// allow.
func (p *Plan) within(chosen []*segment) []*segment {
	copied, read := uint64(0), uint64(0)
	return slices.DeleteFunc(chosen, func(s *segment) bool {
		over := p.options.MaxRepack > 0 && copied+s.live > p.options.MaxRepack ||
			p.options.MaxRead > 0 && read+s.live+uint64(s.HeaderLength) > p.options.MaxRead
		if !over {
			copied += s.live
			read += s.live + uint64(s.HeaderLength)
		}
		return over
	})
}

// findCopies lists what is to be copied. A victim with an object that has
// another copy is let go: that copy is in an unfinished session, and when it
// has ended, one of them is spare.
func (p *Plan) findCopies() {
	byPart := map[int]map[uint32]*segment{}
	for _, s := range p.victims {
		if byPart[s.part] == nil {
			byPart[s.part] = map[uint32]*segment{}
		}
		byPart[s.part][s.ordinal] = s
	}
	for part, victims := range byPart {
		for row := range p.runs[part].Len() {
			r := p.runs[part].Row(row)
			s := victims[r.Segment]
			at := place{part, row}
			if s == nil || !p.view.Shows(part, row) || p.dies(at) {
				continue
			}
			s.copies = append(s.copies, at)
			s.shared = s.shared || len(p.remaining(r.ID)) > 1
		}
	}
	p.victims = slices.DeleteFunc(p.victims, func(s *segment) bool { return s.shared })
}

// victimAt reports whether a segment of a part is condemned.
func (p *Plan) victimAt(part int, ordinal uint32) bool {
	s := p.at[part][ordinal]
	return s != nil && s.victim
}

// only lets go of the victims that are not among names, unless nothing in them
// has to be copied.
func (p *Plan) only(names map[pack.Name]bool) {
	p.victims = slices.DeleteFunc(p.victims, func(s *segment) bool { return s.live > 0 && !names[s.Name] })
}

// count fills in the stats.
func (p *Plan) count() {
	p.Dead, p.Spare, p.Snapshots, p.Orphans = p.objects, 0, uint64(len(p.collected)), uint64(len(p.orphans))
	for _, rows := range p.rows {
		p.Spare += rows.GetCardinality()
	}
	p.Spare -= min(p.Spare, p.objects)
	for _, s := range p.segments {
		p.Unused += s.unused()
	}
	p.Left = p.Unused
	for _, s := range p.victims {
		p.Condemned++
		p.CondemnBytes += uint64(s.Size)
		p.Repacked += uint64(len(s.copies))
		p.RepackBytes += s.live
		p.Left -= s.unused()
	}
}

// Empty reports whether there is nothing to write down: nothing was registered
// since the last clean, nothing dies and nothing goes.
func (p *Plan) Empty() bool {
	return len(p.rows) == 0 && len(p.victims) == 0 && len(p.orphans) == 0 && len(p.collected) == 0 && len(p.times) == 0 &&
		len(p.expired) == 0 && !slices.ContainsFunc(p.state.Runs, func(r repo.Run) bool { return !p.state.Counted(&r) })
}
