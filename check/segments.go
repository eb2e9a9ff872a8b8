package check

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"

	"golang.org/x/sync/errgroup"
)

// openRuns reads every registered run from the bucket, verifies it, and makes
// the index of those that are right. It returns errMoved where a cleaner has
// taken one meanwhile.
func (c *checker) openRuns(ctx context.Context) error {
	registered := c.state.Runs
	c.progress.Phase("read the runs of the index", uint64(len(registered)))
	opened := make([]*index.Run, len(registered))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, run := range registered {
		g.Go(func() error {
			defer c.progress.Step(1)
			var err error
			if opened[i], err = c.repo.FetchRun(gctx, run); err == nil {
				c.bytes.Add(run.Size)
				return nil
			}
			if c.isTaken(gctx, repo.RunName(run.Name), err) {
				return errMoved
			}
			c.book.suggestRepair()
			return c.failed(gctx, run.Name.Key(), nil, err)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, run := range opened {
		if run == nil {
			c.lostRun = true
			continue
		}
		c.runs = append(c.runs, openRun{registered[i], run})
	}
	return c.makeIndex(ctx)
}

func (c *checker) makeIndex(ctx context.Context) error {
	parts := make([]index.Part, len(c.runs))
	for i, run := range c.runs {
		parts[i] = index.Part{Run: run.run, At: run.Generation, Cleaned: run.Cleaned}
	}
	if err := c.loadMarks(ctx, parts); err != nil {
		return err
	}
	c.index = index.New(parts, func(name pack.Name) bool { return c.isCondemned(repo.SegmentName(name)) })
	c.counts.objects = uint64(c.index.Len())
	c.collectSegments()
	return nil
}

// collectSegments lists the segments of the runs, but for those that a clean has
// condemned, and checks what the segment tables say of registration.
func (c *checker) collectSegments() {
	seen := map[pack.Name]index.RunName{}
	for i := range c.runs {
		run := &c.runs[i]
		for ordinal, s := range run.run.Segments() {
			if !c.index.ShowsSegment(i, ordinal) {
				continue
			}
			if first, twice := seen[s.Name]; twice {
				c.book.add(Error, run.Name.Key(), fmt.Sprintf("segment %s stands in run %s too", s.Name, first))
				continue
			}
			seen[s.Name] = run.Name
			c.judgeRegistration(run, &s)
			c.segments = append(c.segments, &segment{Segment: s, run: i, ordinal: uint32(ordinal)})
		}
	}
}

// checkSegments compares every segment with its run: that it is there, as long
// as the run says, that its header is the one that was registered, and that
// rows and header name the same objects. What the objects refer to must be
// visible.
func (c *checker) checkSegments(ctx context.Context) error {
	c.progress.Phase("compare segment headers with the index", uint64(len(c.segments)))
	graph := newGraph(c)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	run, rows := -1, [][]uint32(nil)
	for _, s := range c.segments {
		if s.run != run {
			run, rows = s.run, c.runs[s.run].rowsBySegment()
		}
		own := rows[s.ordinal]
		g.Go(func() error {
			defer c.progress.Step(1)
			h, shown, err := c.checkSegment(gctx, s, own)
			if h != nil {
				graph.check(h, shown)
			}
			if err == nil {
				err = c.count(s, h)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	graph.report()
	return nil
}

// merged reports whether a segment was taken over from a run that a clean has
// merged.
func (r *openRun) merged(s *index.Segment) bool { return r.Cleaned && s.RegisteredAt != 0 }

// rowsBySegment returns, for each segment of the run, the numbers of its rows
// in the order of their offsets.
func (r *openRun) rowsBySegment() [][]uint32 {
	rows := make([][]uint32, r.run.SegmentCount())
	counts := make([]uint32, len(rows))
	for row := range r.run.Rows() {
		counts[row.Segment]++
	}
	all := make([]uint32, 0, r.run.Len())
	for i, n := range counts {
		start := len(all)
		all = all[:start+int(n)]
		rows[i] = all[start:start:len(all)]
	}
	n := uint32(0)
	for row := range r.run.Rows() {
		rows[row.Segment] = append(rows[row.Segment], n)
		n++
	}
	for _, list := range rows {
		slices.SortFunc(list, func(a, b uint32) int {
			return cmp.Compare(r.run.Row(int(a)).Offset, r.run.Row(int(b)).Offset)
		})
	}
	return rows
}

// checkSegment returns the header of s, nil if it is not to be had, and which
// of its objects are visible.
func (c *checker) checkSegment(ctx context.Context, s *segment, rows []uint32) (*pack.Header, []bool, error) {
	key := s.Name.Key()
	listed, ok := c.listed.segments[s.Name]
	size, err := c.sizeOf(ctx, key, listed, ok, s.Size)
	if err != nil {
		return nil, nil, c.lose(ctx, s, rows, "%d objects stand in it: %w", err)
	}
	if size != s.Size {
		c.book.add(Error, key, fmt.Sprintf("it has %d bytes, the index says %d", size, s.Size))
		c.book.breakSegment(s.Name)
		if size < s.Size {
			c.loseBeyond(s, rows, size)
		}
	}
	h, err := pack.ReadHeader(ctx, c, s.Ref())
	if err == nil && h.Repository != c.state.Repository {
		err = fmt.Errorf("%w: it belongs to repository %s", object.ErrCorrupt, h.Repository)
	}
	if err == nil && h.Class != s.Class {
		err = fmt.Errorf("%w: it is a %s segment, the index says %s", object.ErrCorrupt, h.Class, s.Class)
	}
	if err != nil {
		return nil, nil, c.lose(ctx, s, rows, "its %d objects are out of reach: %w", err)
	}
	return h, c.compareRows(s, h, rows), nil
}

// lose records that no object of a segment is to be had, unless a cleaner has
// taken it meanwhile. The text begins with their number.
func (c *checker) lose(ctx context.Context, s *segment, rows []uint32, text string, err error) error {
	s.absent = true
	if s.taken = c.isTaken(ctx, repo.SegmentName(s.Name), err); s.taken {
		return nil
	}
	c.book.breakSegment(s.Name)
	var ids []object.ID
	for _, n := range rows {
		if c.index.Shows(s.run, int(n)) {
			ids = append(ids, c.runs[s.run].run.Row(int(n)).ID)
		}
	}
	return c.failed(ctx, s.Name.Key(), c.withoutCopy(s, ids), fmt.Errorf(text, len(ids), err))
}

// loseBeyond records the objects of a segment that was cut short.
func (c *checker) loseBeyond(s *segment, rows []uint32, size int64) {
	var ids []object.ID
	for _, n := range rows {
		if row := c.runs[s.run].run.Row(int(n)); int64(row.Offset)+int64(row.Length) > size {
			ids = append(ids, row.ID)
		}
	}
	if ids = c.withoutCopy(s, ids); len(ids) > 0 {
		c.book.damaged(s.Name.Key(), ids, fmt.Sprintf("it is cut short: %d objects are gone", len(ids)))
	}
}

// A copyOf is one copy of an object.
type copyOf struct {
	segment pack.Name
	id      object.ID
}

// withoutCopy notes that the copies of ids in s are bad, and returns those of
// ids that have no other. What is not visible is none, and nothing is lost with it.
func (c *checker) withoutCopy(s *segment, ids []object.ID) []object.ID {
	c.badMu.Lock()
	defer c.badMu.Unlock()
	var lost []object.ID
	for _, id := range ids {
		c.bad[copyOf{s.Name, id}] = struct{}{}
		places := c.index.Lookup(id)
		if len(places) > 0 && !slices.ContainsFunc(places, func(at index.Location) bool {
			_, bad := c.bad[copyOf{at.Segment.Name, id}]
			return !bad
		}) {
			lost = append(lost, id)
		}
	}
	return lost
}

// compareRows checks that the rows of a segment and its header name the same
// objects in the same places, and returns which of those of the header are
// visible. Of a segment that a clean took over, only those have rows that were
// live then.
func (c *checker) compareRows(s *segment, h *pack.Header, rows []uint32) (shown []bool) {
	run := &c.runs[s.run]
	if len(rows) != len(h.Objects) && !run.merged(&s.Segment) {
		c.book.add(Error, run.Name.Key(), fmt.Sprintf("it has %d rows for segment %s, whose header has %d objects", len(rows), s.Name, len(h.Objects)))
		c.book.suggestRepair()
	}
	shown = make([]bool, len(h.Objects))
	i := 0
	for _, n := range rows {
		row := run.run.Row(int(n))
		for i < len(h.Objects)-1 && h.Objects[i].Offset < row.Offset {
			i++
		}
		o := &h.Objects[i]
		if row.ID != o.ID || row.Sum != o.Sum || row.Offset != o.Offset || row.Length != o.Length || row.Kind != o.Kind {
			c.book.damaged(run.Name.Key(), c.withoutCopy(s, []object.ID{row.ID}), fmt.Sprintf(
				"its row for object %s and the header of segment %s, object %d, disagree", row.ID.Short(), s.Name, i))
			c.book.suggestRepair()
			continue
		}
		shown[i] = c.index.Shows(s.run, int(n))
	}
	return shown
}
