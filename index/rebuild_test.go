package index

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"

	"bluesky/object"
	"bluesky/pack"
)

// TestRebuild makes a run while segments are written, and again from their
// headers: the same bytes.
func TestRebuild(t *testing.T) {
	for seed := range uint64(10) {
		m := newMaker(seed)
		var b Builder
		var list []Stored
		for i := range 1 + m.rand.IntN(9) {
			s := m.segment(t, object.Class(1+m.rand.IntN(2)), m.ids(1+m.rand.IntN(2000))...)
			seg := SegmentOf(s, object.SessionID{byte(i)})
			seg.RegisteredAt = m.rand.Uint64N(3)
			if err := b.AddSegment(seg, s.Header); err != nil {
				t.Fatal(err)
			}
			list = append(list, Stored{s.Name, int64(len(s.Bytes)), seg.RegisteredAt, seg.Session})
		}
		want, _, err := b.Encode(repository, RunName{1})
		if err != nil {
			t.Fatal(err)
		}
		m.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		again, failed, err := FromHeaders(t.Context(), m, repository, list, 3)
		if err != nil || failed != nil {
			t.Fatal(failed, err)
		}
		got, _, err := again.Encode(repository, RunName{1})
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("seed %d: the rebuilt run differs from the one of the writer", seed)
		}
	}
}

func TestRebuildNamesFailures(t *testing.T) {
	m := newMaker(1)
	good := m.segment(t, object.ClassData, m.ids(5)...)
	bad := m.segment(t, object.ClassData, m.ids(5)...)
	bad.Bytes[70] ^= 1 // its repository
	future := m.segment(t, object.ClassData, m.ids(5)...)
	future.Bytes[8]++
	cut := m.segment(t, object.ClassData, m.ids(5)...)
	missing := pack.Name{1}
	var list []Stored
	for _, s := range []*pack.Segment{good, bad, future} {
		list = append(list, Stored{Name: s.Name, Size: int64(len(s.Bytes))})
	}
	list = append(list, Stored{Name: cut.Name, Size: int64(len(cut.Bytes) - 1)}, Stored{Name: missing, Size: 1000}, Stored{Name: pack.Name{2}})
	b, failed, err := FromHeaders(t.Context(), m, repository, list, 2)
	if err != nil {
		t.Fatal(err)
	}
	if b.Len() != 5 {
		t.Errorf("%d rows, want 5", b.Len())
	}
	want := map[pack.Name]error{bad.Name: ErrCorrupt, future.Name: ErrVersion, cut.Name: ErrCorrupt, missing: errMissing, {2}: ErrCorrupt}
	for _, f := range failed {
		if !errors.Is(f.Err, want[f.Name]) {
			t.Errorf("segment %s: error = %v, want %v", f.Name, f.Err, want[f.Name])
		}
	}
	if len(failed) != len(want) || !slices.IsSortedFunc(failed, func(a, b Failure) int { return bytes.Compare(a.Name[:], b.Name[:]) }) {
		t.Errorf("%d failures, want %d in order of name", len(failed), len(want))
	}
}

func TestRebuildStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := newMaker(1)
	s := m.segment(t, object.ClassData, m.id())
	if _, _, err := FromHeaders(ctx, m, repository, []Stored{{Name: s.Name, Size: int64(len(s.Bytes))}}, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("error = %v, want canceled", err)
	}
}
