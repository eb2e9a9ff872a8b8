package index

import (
	"cmp"
	"slices"
	"testing"

	"bluesky/object"
	"bluesky/pack"

	"github.com/RoaringBitmap/roaring/v2"
)

// A copied is what a model of an Index holds for one copy of an object.
type copied struct {
	at          uint64 // registered-at, resolved
	part, place int
	segment     pack.Name
	visible     bool
}

// A model is an Index as maps and lists.
type model struct {
	copies   map[object.ID][]copied // by home
	all      [][]copied             // by part and place
	segments []Segment              // that are visible
}

// add adds a part, and what is hidden by its name.
func (x *model) add(p Part, condemned map[pack.Name]bool) {
	part := len(x.all)
	resolve := func(s Segment) Segment {
		switch {
		case s.RegisteredAt == 0, p.Cleaned && s.RegisteredAt > p.At, !p.Cleaned && s.RegisteredAt < p.At:
			s.RegisteredAt = p.At
		}
		return s
	}
	shows := func(ordinal int, s Segment) bool {
		return !condemned[s.Name] && (p.Gone == nil || !p.Gone.Contains(uint32(ordinal)))
	}
	for i, s := range p.Run.Segments() {
		if shows(i, s) {
			x.segments = append(x.segments, resolve(s))
		}
	}
	var rows []copied
	for place := range p.Run.Len() {
		row := p.Run.Row(place)
		s := resolve(p.Run.Segment(int(row.Segment)))
		c := copied{s.RegisteredAt, part, place, s.Name, shows(int(row.Segment), s) && (p.Dead == nil || !p.Dead.Contains(uint32(place)))}
		rows = append(rows, c)
		x.copies[row.ID] = append(x.copies[row.ID], c)
		slices.SortFunc(x.copies[row.ID], func(a, b copied) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.part, b.part), cmp.Compare(a.place, b.place))
		})
	}
	x.all = append(x.all, rows)
}

// marks returns a bitmap of about one in so many of n, nil or empty at times.
func (m *maker) marks(n, oneIn int) *roaring.Bitmap {
	if m.rand.IntN(3) == 0 {
		return nil
	}
	b := roaring.New()
	for i := range n {
		if m.rand.IntN(oneIn) == 0 {
			b.Add(uint32(i))
		}
	}
	return b
}

// TestIndexModel compares an Index with its model, for few runs and for many, of
// writers and of cleans, with and without condemned and gone segments and dead
// rows.
func TestIndexModel(t *testing.T) {
	var parts, rows, absent int
	for seed := range uint64(60) {
		m := newMaker(seed)
		shared := m.ids(30)
		condemned := map[pack.Name]bool{}
		want := model{copies: map[object.ID][]copied{}}
		var list []Part
		var known []*pack.Segment
		for i := range 1 + m.rand.IntN(14) {
			var members []*pack.Segment
			var registered []uint64
			add := func(s *pack.Segment) {
				members, registered = append(members, s), append(registered, m.rand.Uint64N(2)*uint64(1+m.rand.IntN(30)))
			}
			for range m.rand.IntN(4) {
				s := m.segment(t, object.ClassData, append(m.ids(m.rand.IntN(30)), shared[:1+m.rand.IntN(30)]...)...)
				condemned[s.Name] = m.rand.IntN(4) == 0
				known = append(known, s)
				add(s)
			}
			cleaned := m.rand.IntN(2) == 0
			for _, s := range known[:len(known)-len(members)] { // of a merge
				if cleaned && m.rand.IntN(6) == 0 {
					add(s)
				}
			}
			p := Part{Run: m.run(t, members, registered), At: 10 + uint64(i), Cleaned: cleaned}
			p.Dead, p.Gone = m.marks(p.Run.Len(), 3), m.marks(p.Run.SegmentCount(), 5)
			list = append(list, p)
			want.add(p, condemned)
		}
		x := New(list, func(n pack.Name) bool { return condemned[n] })
		visible := want.compare(t, seed, x)
		for range 300 {
			if id := m.id(); x.Has(id) || x.Lookup(id) != nil || x.Remains(id) != nil {
				t.Fatalf("seed %d: found an object that is not there", seed)
			}
		}
		parts += len(list)
		for _, r := range want.all {
			rows += len(r)
			absent += len(r)
		}
		absent -= visible
	}
	t.Logf("%d parts, %d rows, %d of them absent", parts, rows, absent)
}

// compare returns how many rows are visible.
func (want *model) compare(t *testing.T, seed uint64, x *Index) int {
	t.Helper()
	of := func(l Location) copied {
		return copied{l.Segment.RegisteredAt, l.Part, l.Place, l.Segment.Name, x.Shows(l.Part, l.Place)}
	}
	same := func(what string, got []Location, want []copied) {
		t.Helper()
		if !slices.EqualFunc(got, want, func(l Location, c copied) bool { return of(l) == c }) {
			t.Fatalf("seed %d: %s = %+v, want %+v", seed, what, got, want)
		}
	}
	for id, all := range want.copies {
		visible := slices.DeleteFunc(slices.Clone(all), func(c copied) bool { return !c.visible })
		same("Remains", x.Remains(id), all)
		same("Lookup", x.Lookup(id), visible)
		if x.Has(id) != (len(visible) > 0) {
			t.Fatalf("seed %d: Has = %v", seed, x.Has(id))
		}
		for _, l := range x.Remains(id) {
			if l.Row.ID != id {
				t.Fatalf("seed %d: Remains(%s) finds a row of %s", seed, id.Short(), l.Row.ID.Short())
			}
		}
	}
	var visible []copied
	for part, rows := range want.all {
		for place, c := range rows {
			same("At", []Location{x.At(part, place)}, []copied{c})
			if c.visible {
				visible = append(visible, c)
			}
		}
	}
	same("Rows", slices.Collect(x.Rows()), visible)
	if x.Len() != len(visible) {
		t.Fatalf("seed %d: %d rows, want %d", seed, x.Len(), len(visible))
	}
	if got := slices.Collect(x.Segments()); !slices.Equal(got, want.segments) {
		t.Fatalf("seed %d: Segments = %v, want %v", seed, got, want.segments)
	}
	return len(visible)
}

// TestHidden looks up an object whose only visible copy is the younger one.
func TestHidden(t *testing.T) {
	m := newMaker(1)
	id := m.id()
	a, b := m.segment(t, object.ClassData, id), m.segment(t, object.ClassData, id, m.id())
	runs := []*Run{m.run(t, []*pack.Segment{a}, nil), m.run(t, []*pack.Segment{b}, nil)}
	for _, tt := range []struct {
		name   string
		hidden []pack.Name
		want   []pack.Name
	}{
		{"none", nil, []pack.Name{a.Name, b.Name}},
		{"the home", []pack.Name{a.Name}, []pack.Name{b.Name}},
		{"both", []pack.Name{a.Name, b.Name}, nil},
	} {
		x := New(parts(runs, []uint64{1, 2}), func(n pack.Name) bool { return slices.Contains(tt.hidden, n) })
		var got []pack.Name
		for _, l := range x.Lookup(id) {
			got = append(got, l.Segment.Name)
		}
		if !slices.Equal(got, tt.want) || x.Has(id) != (tt.want != nil) {
			t.Errorf("%s hidden: Lookup = %v, Has = %v, want %v", tt.name, got, x.Has(id), tt.want)
		}
	}
}

// TestChangedUnderTheRun writes a segment that there is not into a row of a run
// that was verified, as somebody who changes a mapped file may.
func TestChangedUnderTheRun(t *testing.T) {
	m := newMaker(1)
	id := m.id()
	run := m.run(t, []*pack.Segment{m.segment(t, object.ClassData, id)}, nil)
	x := New(parts([]*Run{run}, []uint64{1}), nil)
	for i := range 4 {
		run.rows[32+i] = 0xff
	}
	if x.Has(id) || x.Lookup(id) != nil || x.Remains(id) != nil || x.Shows(0, 0) {
		t.Error("the row is visible")
	}
	if at := x.At(0, 0); at.Segment != (Segment{}) || at.Row.ID != id {
		t.Errorf("At = %+v", at)
	}
	for l := range x.Rows() {
		t.Errorf("Rows gives %+v", l)
	}
}

// TestCandidateTwice gives every id the same fingerprint, so that each run is a
// candidate many times, and expects each row once.
func TestCandidateTwice(t *testing.T) {
	m := newMaker(1)
	var runs []*Run
	for range 3 {
		runs = append(runs, m.run(t, []*pack.Segment{m.segment(t, object.ClassData, m.ids(20)...)}, nil))
	}
	x := New(parts(runs, make([]uint64, len(runs))), nil)
	x.patience = 0
	table := x.fingerprints()
	id := runs[x.rest[0]].id(0)
	at, print := table.place(id)
	for i := range table.slots { // one cluster of candidates, with one end
		table.slots[i] = print | 1
	}
	table.slots[(at+len(table.slots)-1)%len(table.slots)] = 0
	if got := x.Lookup(id); len(got) != 1 || got[0].Row.ID != id {
		t.Errorf("Lookup finds %d rows, want 1", len(got))
	}
}

// TestMoreRunsThanNumbers has runs that the slots of the table cannot name.
func TestMoreRunsThanNumbers(t *testing.T) {
	m := newMaker(1)
	runs := make([]*Run, maxRuns+4)
	for i := range runs {
		runs[i] = m.bare(t, 1)
	}
	x := New(parts(runs, make([]uint64, len(runs))), nil)
	x.patience = 0
	for _, i := range []int{0, 1, maxRuns - 1, maxRuns, maxRuns + 1, len(runs) - 1} {
		if got := x.Lookup(runs[i].id(0)); len(got) != 1 {
			t.Errorf("run %d: Lookup finds %d rows, want 1", i, len(got))
		}
	}
	if x.Has(m.id()) {
		t.Errorf("found an object that is not there")
	}
}

// TestTableComesWhenWorthIt counts the lookups until there is a table.
func TestTableComesWhenWorthIt(t *testing.T) {
	m := newMaker(1)
	runs := []*Run{m.bare(t, 1000), m.bare(t, 300), m.bare(t, 300)}
	x := New(parts(runs, make([]uint64, len(runs))), nil)
	lookups := 0
	for x.table.Load() == nil && lookups < 1000 {
		lookups++
		if x.Has(m.id()) || !x.Has(runs[lookups%3].id(lookups)) {
			t.Fatalf("wrong answer at lookup %d", lookups)
		}
	}
	// Two looks at runs with a miss, and two more with a hit in one of the rest.
	if want := 600 / rowsPerLook / 4; lookups < want || lookups > 2*want {
		t.Errorf("the table came after %d pairs of lookups, want %d to %d", lookups, want, 2*want)
	}
	if got := len(x.table.Load().slots); got != 801 {
		t.Errorf("%d slots for 600 rows, want 801", got)
	}
}
