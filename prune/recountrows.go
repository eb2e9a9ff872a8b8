package prune

import (
	"cmp"
	"context"
	"encoding/binary"
	"iter"
	"runtime"
	"slices"
	"sort"

	"bluesky/index"
	"bluesky/object"

	"golang.org/x/sync/errgroup"
)

// Ids are gone through in ranges of equal width, several at once.
const (
	maxRanges = 256 // a range is told by the first byte of an id
	rangeRows = 4096
)

// rangesFor returns into how many ranges to divide the ids of so many rows.
func rangesFor(rows int) int {
	n := 1
	for n < maxRanges && n*rangeRows < rows {
		n *= 2
	}
	return n
}

func rangeOf(id *object.ID, ranges int) int { return int(id[0]) * ranges / maxRanges }

// idPrefix orders ids but for equal ones.
func idPrefix(id *object.ID) uint64 { return binary.BigEndian.Uint64(id[:]) }

// eachRange calls fn for each range, several at once.
func (c *Recounter) eachRange(ctx context.Context, progress Progress, fn func(r int) error) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for r := range c.ranges {
		if gctx.Err() != nil {
			break
		}
		g.Go(func() error {
			defer progress.Add(1)
			return fn(r)
		})
	}
	return cmp.Or(g.Wait(), ctx.Err())
}

// A visibleRow is one with its place.
type visibleRow struct {
	part, place int
	row         index.Row
}

// groups goes through the ids in a range that have visible rows: the rows of
// each, the home first. Where no row is in a counted run, there is no home, and
// the first is any. The slice is valid until the next one.
func (c *Recounter) groups(r int) iter.Seq[[]visibleRow] {
	return func(yield func([]visibleRow) bool) {
		m := c.rowsIn(r)
		var g []visibleRow
		for len(m) > 0 {
			g = append(g[:0], m[0].at)
			m.next() // rows do not fail
			for len(m) > 0 && m[0].at.row.ID == g[0].row.ID {
				g = append(g, m[0].at)
				m.next()
			}
			if len(g) > 1 {
				c.homeFirst(g)
			}
			if !yield(g) {
				return
			}
		}
	}
}

func (c *Recounter) homeFirst(g []visibleRow) {
	uncounted := func(at *visibleRow) int {
		if c.parts[at.part].counted {
			return 0
		}
		return 1
	}
	registered := func(at *visibleRow) uint64 {
		return c.view.Index.Segment(at.part, int(at.row.Segment)).RegisteredAt
	}
	slices.SortFunc(g, func(a, b visibleRow) int {
		return cmp.Or(uncounted(&a)-uncounted(&b), cmp.Compare(registered(&a), registered(&b)), a.part-b.part, a.place-b.place)
	})
}

// rowsIn merges the visible rows of all runs that fall to a range.
func (c *Recounter) rowsIn(r int) merger[*rowCursor] {
	var m merger[*rowCursor]
	for i, run := range c.view.Runs {
		at := &rowCursor{view: &c.view, run: run, end: run.Len(), at: visibleRow{part: i}}
		if r > 0 {
			at.at.place = startOf(run, r, c.ranges)
		}
		if r+1 < c.ranges {
			at.end = startOf(run, r+1, c.ranges)
		}
		at.at.place--
		if at.next() == nil && !at.done() {
			m = append(m, at)
		}
	}
	m.init()
	return m
}

// startOf returns the first row of a run whose id falls to range r or behind it.
func startOf(run *index.Run, r, ranges int) int {
	return sort.Search(run.Len(), func(i int) bool { row := run.Row(i); return rangeOf(&row.ID, ranges) >= r })
}

// A rowCursor goes through visible rows of one run.
type rowCursor struct {
	view   *View
	run    *index.Run
	end    int
	at     visibleRow
	prefix uint64
}

func (c *rowCursor) done() bool { return c.at.place >= c.end }

func (c *rowCursor) next() error {
	for c.at.place++; c.at.place < c.end; c.at.place++ {
		if c.view.Index.Shows(c.at.part, c.at.place) {
			c.at.row = c.run.Row(c.at.place)
			c.prefix = idPrefix(&c.at.row.ID)
			return nil
		}
	}
	return nil
}

func (c *rowCursor) before(d *rowCursor) bool {
	if c.prefix != d.prefix {
		return c.prefix < d.prefix
	}
	return c.at.row.ID.Compare(d.at.row.ID) < 0
}

// A cursor stands at an entry of an ascending list, or behind the last.
type cursor[C any] interface {
	before(C) bool
	next() error
	done() bool
}

// A merger goes through ascending lists as through one: the first of its heap
// stands at the least entry. None of its cursors is done.
type merger[C cursor[C]] []C

func (m merger[C]) init() {
	for i := len(m)/2 - 1; i >= 0; i-- {
		m.sink(i)
	}
}

// next moves on from the least entry.
func (m *merger[C]) next() error {
	h := *m
	err := h[0].next()
	if h[0].done() {
		h[0] = h[len(h)-1]
		h = h[:len(h)-1]
		*m = h
	}
	h.sink(0)
	return err
}

func (m merger[C]) sink(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(m); child++ {
			if m[child].before(m[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		m[i], m[least] = m[least], m[i]
		i = least
	}
}
