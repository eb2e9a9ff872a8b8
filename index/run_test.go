package index

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"bluesky/object"
	"bluesky/pack"
)

func TestRunName(t *testing.T) {
	n, err := NewRunName(bytes.NewReader([]byte("\x3f\x9a0123456789abcd")))
	if err != nil {
		t.Fatal(err)
	}
	const want = "idx/3f9a3031323334353637383961626364"
	if n.Key() != want {
		t.Errorf("key = %s, want %s", n.Key(), want)
	}
	if got, err := ParseKey(want); err != nil || got != n {
		t.Errorf("ParseKey = %v, %v", got, err)
	}
	for _, key := range []string{"", "idx/", want + "0", want[:len(want)-1] + "F", want[4:], "cnt/" + want[4:]} {
		if got, err := ParseKey(key); err == nil {
			t.Errorf("ParseKey(%q) = %v, want an error", key, got)
		}
	}
}

// TestRandomRuns makes runs of random segments, some of which hold the same
// objects, and finds each object of each header where it stands.
func TestRandomRuns(t *testing.T) {
	for seed := range uint64(40) {
		m := newMaker(seed)
		shared := m.ids(20)
		var segments []*pack.Segment
		var at []uint64
		for range 1 + m.rand.IntN(12) {
			ids := append(m.ids(m.rand.IntN(80)), shared[:1+m.rand.IntN(len(shared))]...)
			segments = append(segments, m.segment(t, object.Class(1+m.rand.IntN(2)), ids...))
			at = append(at, m.rand.Uint64N(4))
		}
		r := m.run(t, segments, at)
		rows := 0
		for i, s := range segments {
			for j := range s.Header.Objects {
				rows++
				findOne(t, r, s, at[i], j)
			}
		}
		if r.Len() != rows || r.SegmentCount() != len(segments) {
			t.Fatalf("seed %d: %d rows of %d segments, want %d of %d", seed, r.Len(), r.SegmentCount(), rows, len(segments))
		}
		for range 200 {
			if id := m.id(); r.Has(id) || r.Lookup(id) != nil {
				t.Fatalf("seed %d: found an object that is not there", seed)
			}
		}
		if n := len(slices.Collect(r.Rows())); n != rows {
			t.Fatalf("seed %d: Rows goes through %d rows of %d", seed, n, rows)
		}
	}
}

// findOne checks that r has exactly one row for object j of s, and a right one.
func findOne(t *testing.T, r *Run, s *pack.Segment, at uint64, j int) {
	t.Helper()
	o := &s.Header.Objects[j]
	found := 0
	for _, row := range r.Lookup(o.ID) {
		seg := r.Segment(int(row.Segment))
		if seg.Name != s.Name {
			continue
		}
		found++
		if row.Sum != o.Sum || row.Kind != o.Kind || row.Length != o.Length || row.Offset != o.Offset {
			t.Fatalf("row %+v for object %+v", row, o)
		}
		if seg.Ref() != s.Ref() || seg.RegisteredAt != at || seg.Class != s.Header.Class {
			t.Fatalf("segment %+v for %+v", seg, s.Ref())
		}
		if i, ok := s.Header.Locate(row.ID, row.Offset); !ok || i != j {
			t.Fatalf("Locate = %d, %v, want %d", i, ok, j)
		}
	}
	if found != 1 || !r.Has(o.ID) {
		t.Fatalf("found %d rows for an object of segment %s, want 1", found, s.Name)
	}
}

// TestLayout reads a run by the tables of docs/format.md alone.
func TestLayout(t *testing.T) {
	m := newMaker(1)
	id := m.id()
	older, newer := m.segment(t, object.ClassData, id), m.segment(t, object.ClassMeta, id)
	data, want := m.encode(t, []*pack.Segment{newer, older}, []uint64{7, 3})
	if len(data) != 96+2*128+2*64 || string(data[:8]) != "BLUERUN\n" || data[8] != 1 || !bytes.Equal(data[9:16], make([]byte, 7)) {
		t.Fatalf("%d bytes, beginning with %x", len(data), data[:16])
	}
	u64 := func(at int) uint64 { return binary.LittleEndian.Uint64(data[at:]) }
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(data[at:]) }
	if u64(16) != 2 || u64(24) != 2 || object.RepositoryID(data[32:]) != repository || RunName(data[48:]) != want.Name {
		t.Errorf("prelude %x", data[:64])
	}
	for i, s := range []*pack.Segment{older, newer} {
		b := 64 + 128*i
		if pack.Name(data[b:]) != s.Name || u64(b+16) != uint64(len(s.Bytes)) || u32(b+24) != s.Header.HeaderLength ||
			u32(b+28) != uint32(s.Header.Class) || object.Hash(data[b+32:]) != s.HeaderHash || object.Hash(data[b+64:]) != s.Hash ||
			u64(b+96) != []uint64{3, 7}[i] || object.SessionID(data[b+104:]) != (object.SessionID{byte(1 - i)}) || u64(b+120) != 0 {
			t.Errorf("segment row %d: %x", i, data[b:b+128])
		}
		o := &s.Header.Objects[0]
		b = 64 + 2*128 + 64*i
		if object.ID(data[b:]) != id || u32(b+32) != uint32(i) || u32(b+36) != o.Offset || u32(b+40) != o.Length ||
			u32(b+44) != uint32(o.Kind) || object.Sum(data[b+48:]) != o.Sum {
			t.Errorf("row %d: %x", i, data[b:b+64])
		}
	}
	hash := object.HashBytes("run", data[:len(data)-32])
	if want.Hash != hash || object.Hash(data[len(data)-32:]) != hash {
		t.Errorf("trailer differs")
	}
}

func TestEmptyRun(t *testing.T) {
	m := newMaker(1)
	r := m.run(t, nil, nil)
	if r.Len() != 0 || r.Size() != 96 || r.Has(m.id()) {
		t.Errorf("an empty run has %d rows and %d bytes", r.Len(), r.Size())
	}
}

func TestAddSegmentRefuses(t *testing.T) {
	m := newMaker(1)
	s := m.segment(t, object.ClassData, m.ids(2)...)
	other := *m.segment(t, object.ClassData, m.ids(2)...).Header
	other.Repository[0]++
	var b Builder
	good := SegmentOf(s, object.SessionID{})
	if err := b.AddSegment(good, s.Header); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(*Segment){
		"name":   func(s *Segment) { s.Name[0]++ },
		"size":   func(s *Segment) { s.Size++ },
		"length": func(s *Segment) { s.HeaderLength++ },
		"class":  func(s *Segment) { s.Class = object.ClassMeta },
		"again":  func(*Segment) {},
	} {
		seg := good
		edit(&seg)
		if err := b.AddSegment(seg, s.Header); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	foreign := Segment{Name: other.Name, Size: other.Size(), HeaderLength: other.HeaderLength, Class: other.Class}
	if err := b.AddSegment(foreign, &other); err == nil {
		t.Errorf("a segment of another repository was added")
	}
	if _, _, err := b.Encode(other.Repository, RunName{}); err == nil {
		t.Errorf("segments were encoded into the run of another repository")
	}
	if b.Len() != 2 {
		t.Errorf("%d rows, want 2", b.Len())
	}
}

// TestEncodeGoesOn adds a segment after an Encode and expects the same run as
// if there had been none.
func TestEncodeGoesOn(t *testing.T) {
	m := newMaker(2)
	a, b := m.segment(t, object.ClassData, m.ids(9)...), m.segment(t, object.ClassData, m.ids(9)...)
	var results [][]byte
	for _, early := range []bool{false, true} {
		var builder Builder
		for _, s := range []*pack.Segment{a, b} {
			if err := builder.AddSegment(SegmentOf(s, object.SessionID{}), s.Header); err != nil {
				t.Fatal(err)
			}
			if early {
				builder.Encode(repository, RunName{})
			}
		}
		data, _, err := builder.Encode(repository, RunName{})
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, data)
	}
	if !bytes.Equal(results[0], results[1]) {
		t.Errorf("an Encode in between changes the run")
	}
}

func TestLoadComparesWithStatement(t *testing.T) {
	m := newMaker(1)
	data, want := m.encode(t, []*pack.Segment{m.segment(t, object.ClassData, m.ids(3)...)}, nil)
	tests := []struct {
		name string
		edit func(*Meta)
	}{
		{"size", func(w *Meta) { w.Size++ }},
		{"name", func(w *Meta) { w.Name[0]++ }},
		{"repository", func(w *Meta) { w.Repository[0]++ }},
		{"hash", func(w *Meta) { w.Hash[0]++ }},
	}
	for _, tt := range tests {
		w := want
		tt.edit(&w)
		if _, err := Load(data, w); !errors.Is(err, ErrCorrupt) {
			t.Errorf("another %s: error = %v, want corrupt", tt.name, err)
		}
	}
	if _, err := Load(data, want); err != nil {
		t.Error(err)
	}
}

// TestLoadTellsDamageFromVersion: a flipped bit in the version is damage, since
// the statement knows the hash; a run that was registered so needs an upgrade.
func TestLoadTellsDamageFromVersion(t *testing.T) {
	m := newMaker(1)
	good, want := m.encode(t, []*pack.Segment{m.segment(t, object.ClassData, m.ids(3)...)}, nil)
	for name, at := range map[string]int{"version": 9, "feature": 13} {
		data := bytes.Clone(good)
		data[at] ^= 1
		if _, err := Load(data, want); !errors.Is(err, ErrCorrupt) {
			t.Errorf("damaged %s: error = %v, want corrupt", name, err)
		}
		newer := want
		newer.Hash = object.HashBytes("run", data[:len(data)-trailerSize])
		if _, err := Load(data, newer); !errors.Is(err, ErrVersion) {
			t.Errorf("registered %s: error = %v, want version", name, err)
		}
	}
}
