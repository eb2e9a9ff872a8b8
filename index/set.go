package index

import (
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"bluesky/object"
	"bluesky/pack"
)

// A Location is where one copy of an object stands.
type Location struct {
	Row     Row     // Row.Segment is an ordinal in its own run alone: use Segment
	Segment Segment // RegisteredAt resolved
}

// An Index is the set of runs that one state of the repository registers. It is
// immutable and safe for concurrent use. Each row stands for one copy of an
// object; several runs, and several segments of one, may hold copies.
//
// Looking at one run takes a few hundred nanoseconds, and a repository has
// hundreds of runs between two merges. So all but the largest run share a table
// of fingerprints, which takes 5.4 bytes for each row in them (the rows
// themselves take 64, of mapped files). It is made once the lookups without it
// have cost about as much as making it does; from then on one costs much the
// same whatever the number of runs.
type Index struct {
	members  []member
	rows     int
	largest  int   // the member that each lookup looks at; -1 if there is none
	rest     []int // the others, which table knows
	patience int64 // looks at one of rest that are worth a table

	spent atomic.Int64 // looks at one of rest
	once  sync.Once    // makes table
	table atomic.Pointer[fingerprints]
}

// member is a run of an Index.
type member struct {
	run    *Run
	at     uint64 // the generation that added the run
	hidden []bool // by segment ordinal; nil when none is
}

// New returns the index of runs. at[i] is the generation that added runs[i], and
// is put in for a registered-at of 0. Rows in segments that hidden reports,
// those that the state has condemned, are absent; hidden may be nil. It is
// called for each segment before New returns.
func New(runs []*Run, at []uint64, hidden func(pack.Name) bool) (*Index, error) {
	if len(runs) != len(at) {
		return nil, fmt.Errorf("index: %d runs and %d generations", len(runs), len(at))
	}
	x := &Index{members: make([]member, len(runs))}
	for i, r := range runs {
		m := member{run: r, at: at[i]}
		if hidden != nil {
			m.hide(hidden)
		}
		x.members[i] = m
		x.rows += m.visible()
	}
	x.divide()
	return x, nil
}

// hide fills m.hidden.
func (m *member) hide(hidden func(pack.Name) bool) {
	for i := range m.run.SegmentCount() {
		if s := m.run.Segment(i); hidden(s.Name) {
			if m.hidden == nil {
				m.hidden = make([]bool, m.run.SegmentCount())
			}
			m.hidden[i] = true
		}
	}
}

// shows reports whether rows of that segment are visible. A segment that is not
// there can only come of a file that was changed under the run; it has none.
func (m *member) shows(segment uint32) bool {
	return int(segment) < m.run.SegmentCount() && (m.hidden == nil || !m.hidden[segment])
}

// visible counts the rows that are visible.
func (m *member) visible() int {
	if m.hidden == nil {
		return m.run.Len()
	}
	n := 0
	for i := range m.run.Len() {
		if m.shows(m.run.Row(i).Segment) {
			n++
		}
	}
	return n
}

func (m *member) segment(i int) Segment {
	s := m.run.Segment(i)
	if s.RegisteredAt == 0 {
		s.RegisteredAt = m.at
	}
	return s
}

// rowsPerLook is how many rows go into a table in the time of one look at a run
// (measured).
const rowsPerLook = 5

// divide parts the members into the largest and the rest.
func (x *Index) divide() {
	x.largest = -1
	for i := range x.members {
		if x.largest < 0 || x.members[i].run.Len() > x.members[x.largest].run.Len() {
			x.largest = i
		}
	}
	rows := 0
	for i := range x.members {
		if i != x.largest {
			x.rest = append(x.rest, i)
			rows += x.members[i].run.Len()
		}
	}
	x.patience = int64(rows / rowsPerLook)
}

// candidates goes through the members that may have rows of id. It may come to
// one twice.
func (x *Index) candidates(id object.ID) iter.Seq[int] {
	return func(yield func(int) bool) {
		if x.largest >= 0 && !yield(x.largest) || len(x.rest) == 0 {
			return
		}
		if table := x.fingerprints(); table != nil {
			table.candidates(id, yield)
			return
		}
		for _, i := range x.rest {
			if !yield(i) {
				return
			}
		}
	}
}

// fingerprints returns the table, which it makes when it is worth it; nil while
// it is not.
func (x *Index) fingerprints() *fingerprints {
	if table := x.table.Load(); table != nil {
		return table
	}
	if x.spent.Add(int64(len(x.rest))) <= x.patience {
		return nil
	}
	x.once.Do(func() { x.table.Store(newFingerprints(x.members, x.rest)) })
	return x.table.Load()
}

// Len returns the number of visible rows.
func (x *Index) Len() int { return x.rows }

// Has reports whether there is a visible row of id.
func (x *Index) Has(id object.ID) bool {
	for i := range x.candidates(id) {
		for range x.members[i].rowsOf(id) {
			return true
		}
	}
	return false
}

// rowsOf goes through the visible rows of id.
func (m *member) rowsOf(id object.ID) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for i := m.run.find(id); i < m.run.Len(); i++ {
			row := m.run.Row(i)
			if row.ID != id || m.shows(row.Segment) && !yield(row) {
				return
			}
		}
	}
}

// Lookup returns where id stands, nil if nowhere: the home row first, which is
// the one of the lowest registered-at, then by the order of the runs, and by
// segment and offset within one.
func (x *Index) Lookup(id object.ID) []Location {
	type found struct {
		Location
		member int
	}
	var all []found
	for i := range x.candidates(id) {
		m := &x.members[i]
		for row := range m.rowsOf(id) {
			all = append(all, found{Location{row, m.segment(int(row.Segment))}, i})
		}
	}
	if all == nil {
		return nil
	}
	slices.SortFunc(all, func(a, b found) int {
		switch {
		case a.Segment.RegisteredAt < b.Segment.RegisteredAt:
			return -1
		case a.Segment.RegisteredAt > b.Segment.RegisteredAt:
			return 1
		case a.member != b.member:
			return a.member - b.member
		}
		return a.Row.compare(&b.Row)
	})
	all = slices.Compact(all) // a run may be a candidate twice
	out := make([]Location, len(all))
	for i := range all {
		out[i] = all[i].Location
	}
	return out
}

// Segments goes through the visible segments, in the order of the runs and of
// their tables.
func (x *Index) Segments() iter.Seq[Segment] {
	return func(yield func(Segment) bool) {
		for i := range x.members {
			m := &x.members[i]
			for s := range m.run.SegmentCount() {
				if m.shows(uint32(s)) && !yield(m.segment(s)) {
					return
				}
			}
		}
	}
}

// Rows goes through the visible rows, in the order of the runs, and by id within
// one.
func (x *Index) Rows() iter.Seq[Location] {
	return func(yield func(Location) bool) {
		for i := range x.members {
			m := &x.members[i]
			segments := m.run.Segments()
			for row := range m.run.Rows() {
				if !m.shows(row.Segment) {
					continue
				}
				s := segments[row.Segment]
				if s.RegisteredAt == 0 {
					s.RegisteredAt = m.at
				}
				if !yield(Location{row, s}) {
					return
				}
			}
		}
	}
}
