package prunetest

import (
	"cmp"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
)

// A Place is a row of a run.
type Place struct{ Part, Row int }

// A Truth is what maps say of a state: slow, in memory, and short.
type Truth struct {
	Count    map[object.ID]uint64  // of refs by counted visible ids, and of roots
	Copies   map[object.ID][]Place // visible and counted, the home first
	Visible  map[object.ID]bool    // counted or not
	Runs     [][]uint32            // nil of a run that is not counted
	Live     map[pack.Name]uint32  // by visible segment of a counted run
	Segments map[pack.Name]index.Segment
	Dangling map[object.ID]uint64
	Homeless map[object.ID]uint64
}

// Headers reads and remembers headers.
type Headers struct {
	W    *World
	seen map[pack.Name]*pack.Header
}

// Of returns the header of a segment.
func (h *Headers) Of(s index.Segment) *pack.Header {
	h.W.T.Helper()
	if h.seen == nil {
		h.seen = map[pack.Name]*pack.Header{}
	}
	if h.seen[s.Name] == nil {
		header, err := pack.ReadHeader(h.W.T.Context(), h.W.Store, s.Ref())
		h.W.must(err)
		h.seen[s.Name] = header
	}
	return h.seen[s.Name]
}

// refs returns those of a row.
func (h *Headers) refs(s index.Segment, row index.Row) []object.ID {
	header := h.Of(s)
	i, ok := header.Locate(row.ID, row.Offset)
	if !ok {
		h.W.T.Fatalf("segment %s has no object %s at %d", s.Name, row.ID, row.Offset)
	}
	return header.Refs(i, nil)
}

// Tell counts the view (s, runs, x) as of the generation fold.
func (w *World) Tell(s *repo.State, runs []*index.Run, x *index.Index, fold uint64) *Truth {
	w.T.Helper()
	t := &Truth{
		Count: map[object.ID]uint64{}, Copies: map[object.ID][]Place{}, Visible: map[object.ID]bool{}, Runs: make([][]uint32, len(runs)),
		Live: map[pack.Name]uint32{}, Segments: map[pack.Name]index.Segment{}, Dangling: map[object.ID]uint64{}, Homeless: map[object.ID]uint64{},
	}
	for i, run := range runs {
		counted := s.Runs[i].Cleaned || s.Runs[i].Generation <= fold
		if counted {
			t.Runs[i] = make([]uint32, run.Len())
			for n := range run.SegmentCount() {
				if segment := x.Segment(i, n); x.ShowsSegment(i, n) {
					t.Segments[segment.Name], t.Live[segment.Name] = segment, 0
				}
			}
		}
		for n := range run.Len() {
			if !x.Shows(i, n) {
				continue
			}
			id := run.Row(n).ID
			t.Visible[id] = true
			if counted {
				t.Copies[id] = append(t.Copies[id], Place{i, n})
			}
		}
	}
	headers := &Headers{W: w}
	for _, list := range t.Copies {
		slices.SortFunc(list, func(a, b Place) int {
			return cmp.Or(cmp.Compare(x.At(a.Part, a.Row).Segment.RegisteredAt, x.At(b.Part, b.Row).Segment.RegisteredAt), a.Part-b.Part, a.Row-b.Row)
		})
		home := x.At(list[0].Part, list[0].Row)
		t.Live[home.Segment.Name] += home.Row.Length
		if home.Row.Kind.Class() == object.ClassMeta {
			for _, ref := range headers.refs(home.Segment, home.Row) {
				t.Count[ref]++
			}
		}
	}
	w.countRoots(t, s, fold)
	for id, n := range t.Count {
		switch {
		case len(t.Copies[id]) > 0:
			home := t.Copies[id][0]
			t.Runs[home.Part][home.Row] = uint32(n)
		case t.Visible[id]:
			t.Homeless[id] = n
		default:
			t.Dangling[id] = n
		}
	}
	return t
}

func (w *World) countRoots(t *Truth, s *repo.State, fold uint64) {
	for snap := range s.AllSnapshots() {
		if snap.Generation <= fold {
			t.Count[snap.ID]++
			t.Count[snap.Root]++
		}
	}
}
