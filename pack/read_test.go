package pack

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"bluesky/object"
)

func TestReadHeaderComparesFirst(t *testing.T) {
	seg, _ := graph(t, 1)
	good := seg.Ref()
	tests := []struct {
		name string
		edit func(r *Ref)
	}{
		{"another hash", func(r *Ref) { r.HeaderHash[0]++ }},
		{"a shorter header", func(r *Ref) { r.HeaderLength-- }},
		{"a longer header", func(r *Ref) { r.HeaderLength++ }},
		{"a header longer than the segment", func(r *Ref) { r.HeaderLength = uint32(r.Size) }},
		{"a header longer than the limit", func(r *Ref) { r.HeaderLength = MaxHeader + 1; r.Size = MaxSize }},
		{"another size", func(r *Ref) { r.Size++ }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ref := good
			tt.edit(&ref)
			if _, err := ReadHeader(t.Context(), stored(seg), ref); !errors.Is(err, ErrCorrupt) {
				t.Errorf("error = %v, want corrupt", err)
			}
		})
	}
	if _, err := ReadHeader(t.Context(), stored(seg), good); err != nil {
		t.Error(err)
	}
}

// TestSwappedSegments stores a valid segment under the name of another.
func TestSwappedSegments(t *testing.T) {
	seg, _ := graph(t, 1)
	ref := seg.Ref()
	ref.Name = Name{9}
	r := &memory{data: map[string][]byte{ref.Name.Key(): seg.Bytes}}
	if _, err := ReadHeader(t.Context(), r, ref); !errors.Is(err, ErrCorrupt) {
		t.Errorf("ReadHeader: error = %v, want corrupt", err)
	}
	if _, err := ReadHeaderUnindexed(t.Context(), r, ref.Name, ref.Size); !errors.Is(err, ErrCorrupt) {
		t.Errorf("ReadHeaderUnindexed: error = %v, want corrupt", err)
	}
}

func TestMissingSegment(t *testing.T) {
	seg, _ := graph(t, 1)
	none := &memory{}
	_, headerErr := ReadHeader(t.Context(), none, seg.Ref())
	_, unindexedErr := ReadHeaderUnindexed(t.Context(), none, seg.Name, seg.Header.Size())
	_, _, readErr := seg.Header.Read(t.Context(), none, 0)
	_, verifyErr := Verify(t.Context(), none, seg.Ref())
	manyErr := seg.Header.ReadMany(t.Context(), none, []int{0}, Coalesce{}, func(Item) error { return nil })
	for i, err := range []error{headerErr, unindexedErr, readErr, verifyErr, manyErr} {
		if !errors.Is(err, errMissing) || errors.Is(err, ErrCorrupt) {
			t.Errorf("%d: error = %v, want that of the store", i, err)
		}
	}
}

// TestUnindexed reads headers without a run, one of them longer than what is
// read at first, and expects what Finish returned.
func TestUnindexed(t *testing.T) {
	m := newMaker(2)
	s := m.session(object.ClassMeta)
	long := NewBuilder(repository, object.ClassMeta, 1<<20)
	mustAdd(t, long, m.object(object.KindInodes, s, 100, m.ids(5000)...), s)
	short, _ := blocks(t, 3, 100, 200_000)
	for _, seg := range []*Segment{short, mustFinish(t, long, m.name())} {
		got, err := ReadHeaderUnindexed(t.Context(), stored(seg), seg.Name, int64(len(seg.Bytes)))
		if err != nil {
			t.Fatal(err)
		}
		if got.Bytes != nil || got.Ref() != seg.Ref() || !bytes.Equal(got.Header.Encode(), seg.Header.Encode()) {
			t.Errorf("header of %d bytes: %+v, want %+v", seg.Header.HeaderLength, got.Ref(), seg.Ref())
		}
		for _, size := range []int64{0, -1, MinSize - 1, int64(len(seg.Bytes)) - 1, int64(len(seg.Bytes)) + 1, 1 << 40} {
			if _, err := ReadHeaderUnindexed(t.Context(), stored(seg), seg.Name, size); !errors.Is(err, ErrCorrupt) {
				t.Errorf("size %d: error = %v, want corrupt", size, err)
			}
		}
	}
}

func TestReadMany(t *testing.T) {
	seg, objects := blocks(t, 4, 100, 200, 50, 1000, 40, 60)
	tests := []struct {
		name     string
		ordinals []int
		c        Coalesce
		reads    int64
		bytes    int64
	}{
		{"nothing", nil, Coalesce{}, 0, 0},
		{"neighbours", []int{0, 1, 2}, Coalesce{Max: 350}, 1, 350},
		{"neighbours beyond the maximum", []int{0, 1, 2}, Coalesce{Max: 349}, 2, 350},
		{"larger than the maximum", []int{3}, Coalesce{Max: 10}, 1, 1000},
		{"a gap that is allowed", []int{0, 2}, Coalesce{Gap: 200, Max: 1000}, 1, 350},
		{"a gap that is not", []int{0, 2}, Coalesce{Gap: 199, Max: 1000}, 2, 150},
		{"all", []int{0, 1, 2, 3, 4, 5}, Coalesce{Max: 1 << 20}, 1, 1450},
		{"all, singly", []int{0, 1, 2, 3, 4, 5}, Coalesce{}, 6, 1450},
		{"some", []int{0, 3, 5}, Coalesce{Gap: 40, Max: 1 << 20}, 2, 1200},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := stored(seg)
			var got []int
			err := seg.Header.ReadMany(t.Context(), r, tt.ordinals, tt.c, func(it Item) error {
				got = append(got, it.Ordinal)
				want := objects[it.Ordinal]
				if it.Err != nil || it.Object.ID != want.ID || !bytes.Equal(it.Object.Bytes, want.Bytes) || it.Session.ID != want.Session {
					t.Errorf("object %d: %v", it.Ordinal, it.Err)
				}
				return nil
			})
			if err != nil || !slices.Equal(got, tt.ordinals) {
				t.Errorf("objects %v, %v, want %v", got, err, tt.ordinals)
			}
			if r.reads.Load() != tt.reads || r.bytes.Load() != tt.bytes {
				t.Errorf("%d reads of %d bytes, want %d of %d", r.reads.Load(), r.bytes.Load(), tt.reads, tt.bytes)
			}
		})
	}
}

func TestReadManyRefs(t *testing.T) {
	seg, objects := graph(t, 5)
	err := seg.Header.ReadMany(t.Context(), stored(seg), []int{0, 1, 2, 3, 4}, Coalesce{Max: 1 << 20}, func(it Item) error {
		if !slices.Equal(it.Object.Refs, objects[it.Ordinal].Refs) {
			t.Errorf("object %d: refs differ", it.Ordinal)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestReadManyStops(t *testing.T) {
	seg, _ := blocks(t, 4, 100, 200, 50)
	for _, ordinals := range [][]int{{1, 0}, {0, 0}, {-1}, {3}} {
		if err := seg.Header.ReadMany(t.Context(), stored(seg), ordinals, Coalesce{}, func(Item) error { return nil }); err == nil {
			t.Errorf("ordinals %v: no error", ordinals)
		}
	}
	enough, calls := errors.New("enough"), 0
	err := seg.Header.ReadMany(t.Context(), stored(seg), []int{0, 1, 2}, Coalesce{Max: 1000}, func(Item) error { calls++; return enough })
	if !errors.Is(err, enough) || calls != 1 {
		t.Errorf("%d calls, error = %v, want 1 and %v", calls, err, enough)
	}
}

// TestEveryFlippedBit flips each byte of two segments, one bit at a time, and
// expects every way of reading to notice, and Verify to name what is damaged.
func TestEveryFlippedBit(t *testing.T) {
	data, _ := blocks(t, 6, 34, 60, 40)
	meta, _ := graph(t, 6)
	for _, seg := range []*Segment{data, meta} {
		h, ref := seg.Header, seg.Ref()
		for at := range seg.Bytes {
			broken := bytes.Clone(seg.Bytes)
			broken[at] ^= 1 << (at % 8)
			r := &memory{data: map[string][]byte{seg.Name.Key(): broken}}
			report, err := Verify(t.Context(), r, ref)
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("byte %d: Verify = %v, want corrupt", at, err)
			}
			var damaged []object.ID
			for i, o := range h.Objects {
				hit := at >= int(o.Offset) && at < int(o.Offset+o.Length)
				if hit {
					damaged = append(damaged, o.ID)
				}
				if _, _, err := h.Read(t.Context(), r, i); errors.Is(err, ErrCorrupt) != hit {
					t.Fatalf("byte %d: Read of object %d = %v", at, i, err)
				}
			}
			if !slices.Equal(report.Damaged, damaged) {
				t.Fatalf("byte %d: Verify names %v, want %v", at, report.Damaged, damaged)
			}
			if _, err := ReadHeader(t.Context(), r, ref); (err != nil) != (at < int(h.HeadSize())) {
				t.Fatalf("byte %d: ReadHeader = %v", at, err)
			}
		}
	}
}

// TestVerify damages two objects of a segment larger than one read.
func TestVerify(t *testing.T) {
	m := newMaker(7)
	s := m.session(object.ClassData)
	b := NewBuilder(repository, object.ClassData, 32<<20)
	for _, size := range []int{1 << 20, 3<<20 + 1, 100, 6 << 20, 50, 1 << 20} {
		mustAdd(t, b, m.object(object.KindBlock, s, size), s)
	}
	seg := mustFinish(t, b, m.name())
	r := stored(seg)
	report, err := Verify(t.Context(), r, seg.Ref())
	if err != nil || report.Objects != 6 || report.Bytes != int64(len(seg.Bytes)) || report.Damaged != nil {
		t.Errorf("Verify = %+v, %v", report, err)
	}
	if r.bytes.Load() != int64(len(seg.Bytes)) || r.most.Load() != 6<<20 {
		t.Errorf("%d bytes read, at most %d at a time", r.bytes.Load(), r.most.Load())
	}
	for _, i := range []int{1, 4} {
		seg.Bytes[seg.Header.Objects[i].Offset]++
	}
	report, err = Verify(t.Context(), r, seg.Ref())
	want := []object.ID{seg.Header.Objects[1].ID, seg.Header.Objects[4].ID}
	if !errors.Is(err, ErrCorrupt) || report.Objects != 6 || !slices.Equal(report.Damaged, want) {
		t.Errorf("Verify = %+v, %v, want two damaged objects", report, err)
	}
}

// TestVerifyComparesWithRun has a segment that is right in itself and not the
// one that the run describes: another one with the same header.
func TestVerifyComparesWithRun(t *testing.T) {
	seg, _ := blocks(t, 8, 100)
	ref := seg.Ref()
	ref.Hash[0]++
	if report, err := Verify(t.Context(), stored(seg), ref); !errors.Is(err, ErrCorrupt) || report.Damaged != nil {
		t.Errorf("Verify = %+v, %v, want corrupt", report, err)
	}
}

func TestCutSegment(t *testing.T) {
	seg, _ := blocks(t, 9, 100, 100)
	ref := seg.Ref()
	for n := range seg.Bytes {
		r := &memory{data: map[string][]byte{seg.Name.Key(): seg.Bytes[:n]}}
		if _, err := Verify(t.Context(), r, ref); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("%d bytes: Verify = %v, want corrupt", n, err)
		}
	}
}
