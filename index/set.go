package index

import (
	"cmp"
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"bluesky/object"
	"bluesky/pack"

	"github.com/RoaringBitmap/roaring/v2"
)

// A Location is where one copy of an object stands.
type Location struct {
	Row     Row     // Row.Segment is an ordinal in its own run alone: use Segment
	Segment Segment // RegisteredAt resolved
	Part    int     // the run, in the order in which [New] was given them
	Place   int     // the row, in that run
}

// A Part is a run as one state registers it.
type Part struct {
	Run *Run
	// At is the generation that registered the run. It stands for a registered-at
	// of 0 in it and, unless Cleaned, for each one below it: what a writer made up
	// to have its copies come before those that are there. If Cleaned, it stands
	// for each one above it.
	At      uint64
	Cleaned bool            // registered by a clean
	Dead    *roaring.Bitmap // rows that are absent; nil for none
	Gone    *roaring.Bitmap // segments whose rows are absent; nil for none
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
	run     *Run
	at      uint64
	cleaned bool
	dead    *roaring.Bitmap // nil when no row is
	hidden  []bool          // by segment ordinal; nil when none is
	rows    int             // visible
}

// New returns the index of parts. Rows in segments that hidden reports, those
// that the state has condemned, are absent like those that the parts say are;
// hidden may be nil. It is called for each segment before New returns. The
// bitmaps of parts must not change any more.
func New(parts []Part, hidden func(pack.Name) bool) *Index {
	x := &Index{members: make([]member, len(parts))}
	for i := range parts {
		p := &parts[i]
		m := member{run: p.Run, at: p.At, cleaned: p.Cleaned}
		if p.Dead != nil && !p.Dead.IsEmpty() {
			m.dead = p.Dead
		}
		m.hide(hidden, p.Gone)
		m.rows = m.visible()
		x.members[i] = m
		x.rows += m.rows
	}
	x.divide()
	return x
}

// hide fills m.hidden.
func (m *member) hide(hidden func(pack.Name) bool, gone *roaring.Bitmap) {
	for i := range m.run.SegmentCount() {
		if gone != nil && gone.ContainsInt(i) || hidden != nil && hidden(m.run.Segment(i).Name) {
			if m.hidden == nil {
				m.hidden = make([]bool, m.run.SegmentCount())
			}
			m.hidden[i] = true
		}
	}
}

// shows reports whether rows of that segment are visible unless they are dead. A
// segment that is not there can only come of a file that was changed under the
// run; it has none.
func (m *member) shows(segment uint32) bool {
	return int(segment) < m.run.SegmentCount() && (m.hidden == nil || !m.hidden[segment])
}

// showsRow reports whether row, the i-th of the run, is visible.
func (m *member) showsRow(i int, row *Row) bool {
	return m.shows(row.Segment) && (m.dead == nil || !m.dead.ContainsInt(i))
}

// visible counts the rows that are visible.
func (m *member) visible() int {
	if m.hidden == nil && m.dead == nil {
		return m.run.Len()
	}
	n := 0
	for i := range m.run.Len() {
		if row := m.run.Row(i); m.showsRow(i, &row) {
			n++
		}
	}
	return n
}

func (m *member) segment(i int) Segment {
	s := m.run.Segment(i)
	m.resolve(&s)
	return s
}

// resolve sets the generation that first registered s, a segment of m. It is not
// after the clean that registered m, nor before the writer's add-run.
func (m *member) resolve(s *Segment) {
	switch {
	case !m.cleaned:
		s.RegisteredAt = max(s.RegisteredAt, m.at)
	case s.RegisteredAt == 0:
		s.RegisteredAt = m.at
	default:
		s.RegisteredAt = min(s.RegisteredAt, m.at)
	}
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
		m := &x.members[i]
		for place, row := range m.rowsOf(id) {
			if m.showsRow(place, &row) {
				return true
			}
		}
	}
	return false
}

// rowsOf goes through the rows of id, visible or not, with their places.
func (m *member) rowsOf(id object.ID) iter.Seq2[int, Row] {
	return func(yield func(int, Row) bool) {
		for i := m.run.find(id); i < m.run.Len(); i++ {
			row := m.run.Row(i)
			if row.ID != id || !yield(i, row) {
				return
			}
		}
	}
}

// Lookup returns where id stands, nil if nowhere: the home row first, which is
// the one of the lowest registered-at, then by the order of the runs, and by
// segment and offset within one.
func (x *Index) Lookup(id object.ID) []Location { return x.lookup(id, false) }

// Remains returns where copies of id stand or stood, visible or not, in the
// order of [Index.Lookup]: what is absent may still be in the bucket.
func (x *Index) Remains(id object.ID) []Location { return x.lookup(id, true) }

func (x *Index) lookup(id object.ID, absent bool) []Location {
	var all []Location
	for i := range x.candidates(id) {
		m := &x.members[i]
		for place, row := range m.rowsOf(id) {
			if int(row.Segment) < m.run.SegmentCount() && (absent || m.showsRow(place, &row)) {
				all = append(all, Location{row, m.segment(int(row.Segment)), i, place})
			}
		}
	}
	if len(all) < 2 {
		return all
	}
	slices.SortFunc(all, func(a, b Location) int {
		return cmp.Or(cmp.Compare(a.Segment.RegisteredAt, b.Segment.RegisteredAt), a.Part-b.Part, a.Place-b.Place)
	})
	return slices.Compact(all) // a run may be a candidate twice
}

// Shows reports whether the row at the given place of a part is visible.
func (x *Index) Shows(part, place int) bool {
	m := &x.members[part]
	row := m.run.Row(place)
	return m.showsRow(place, &row)
}

// PartLen returns the number of visible rows of a part.
func (x *Index) PartLen(part int) int { return x.members[part].rows }

// ShowsSegment reports whether the rows of a segment of a part are visible,
// unless they are dead.
func (x *Index) ShowsSegment(part, ordinal int) bool { return x.members[part].shows(uint32(ordinal)) }

// At returns the row at the given place of a part, visible or not. The segment
// of a row that was changed under the run may be none, which is the zero Segment.
func (x *Index) At(part, place int) Location {
	m := &x.members[part]
	at := Location{Row: m.run.Row(place), Part: part, Place: place}
	if int(at.Row.Segment) < m.run.SegmentCount() {
		at.Segment = m.segment(int(at.Row.Segment))
	}
	return at
}

// Segment returns a segment of a part by its ordinal, visible or not.
func (x *Index) Segment(part, ordinal int) Segment { return x.members[part].segment(ordinal) }

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
			for s := range segments {
				m.resolve(&segments[s])
			}
			for place := range m.run.Len() {
				row := m.run.Row(place)
				if m.showsRow(place, &row) && !yield(Location{row, segments[row.Segment], i, place}) {
					return
				}
			}
		}
	}
}
