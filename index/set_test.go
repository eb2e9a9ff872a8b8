package index

import (
	"cmp"
	"slices"
	"testing"

	"bluesky/object"
	"bluesky/pack"
)

// place is what a model of an Index holds for one copy of an object.
type place struct {
	at      uint64
	run     int
	stored  uint64 // registered-at, by which the segments of a run are in order
	segment pack.Name
	offset  uint32
}

// TestIndexModel compares an Index with a map, for few runs and for many, with
// and without hidden segments.
func TestIndexModel(t *testing.T) {
	for seed := range uint64(30) {
		m := newMaker(seed)
		shared := m.ids(30)
		condemned := map[pack.Name]bool{}
		model := map[object.ID][]place{}
		segments := map[pack.Name]uint64{}
		var runs []*Run
		var at []uint64
		for i := range 1 + m.rand.IntN(14) {
			generation := 10 + uint64(i)
			var members []*pack.Segment
			var registered []uint64
			for range m.rand.IntN(4) {
				s := m.segment(t, object.ClassData, append(m.ids(m.rand.IntN(30)), shared[:1+m.rand.IntN(30)]...)...)
				members, registered = append(members, s), append(registered, m.rand.Uint64N(2)*uint64(1+m.rand.IntN(30)))
				condemned[s.Name] = m.rand.IntN(4) == 0
			}
			runs, at = append(runs, m.run(t, members, registered)), append(at, generation)
			for j, s := range members {
				if condemned[s.Name] {
					continue
				}
				resolved := max(registered[j], generation)
				segments[s.Name] = resolved
				for _, o := range s.Header.Objects {
					model[o.ID] = append(model[o.ID], place{resolved, i, registered[j], s.Name, o.Offset})
				}
			}
		}
		x := New(parts(runs, at), func(n pack.Name) bool { return condemned[n] })
		compareIndex(t, seed, x, m, model, segments)
	}
}

func compareIndex(t *testing.T, seed uint64, x *Index, m *maker, model map[object.ID][]place, segments map[pack.Name]uint64) {
	t.Helper()
	rows := 0
	for id, want := range model {
		rows += len(want)
		slices.SortFunc(want, func(a, b place) int {
			return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.run, b.run), cmp.Compare(a.stored, b.stored), slices.Compare(a.segment[:], b.segment[:]))
		})
		var got []place
		for _, l := range x.Lookup(id) {
			if l.Row.ID != id {
				t.Fatalf("seed %d: Lookup(%s) finds a row of %s", seed, id.Short(), l.Row.ID.Short())
			}
			got = append(got, place{at: l.Segment.RegisteredAt, segment: l.Segment.Name, offset: l.Row.Offset})
		}
		same := slices.EqualFunc(got, want, func(a, b place) bool {
			return a.at == b.at && a.segment == b.segment && a.offset == b.offset
		})
		if !same || !x.Has(id) {
			t.Fatalf("seed %d: Lookup(%s) = %v, want %v", seed, id.Short(), got, want)
		}
	}
	if x.Len() != rows {
		t.Fatalf("seed %d: %d rows, want %d", seed, x.Len(), rows)
	}
	for l := range x.Rows() {
		if _, ok := model[l.Row.ID]; !ok || segments[l.Segment.Name] != l.Segment.RegisteredAt {
			t.Fatalf("seed %d: Rows yields %+v", seed, l)
		}
		rows--
	}
	found := 0
	for s := range x.Segments() {
		if segments[s.Name] != s.RegisteredAt {
			t.Fatalf("seed %d: Segments yields %+v", seed, s)
		}
		found++
	}
	if rows != 0 || found != len(segments) {
		t.Fatalf("seed %d: Rows leaves out %d, Segments yields %d of %d", seed, rows, found, len(segments))
	}
	for range 300 {
		if id := m.id(); x.Has(id) || x.Lookup(id) != nil {
			t.Fatalf("seed %d: found an object that is not there", seed)
		}
	}
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
