package pack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"bluesky/object"
)

// TestLayout reads a segment by the tables of docs/format.md alone.
func TestLayout(t *testing.T) {
	seg, objects := graph(t, 1)
	b := seg.Bytes
	u32 := func(at int) int { return int(binary.LittleEndian.Uint32(b[at:])) }
	if string(b[:8]) != "BLUESEGM" || b[8] != 1 || b[9] != 0 || b[10] != 2 || !bytes.Equal(b[11:16], make([]byte, 5)) {
		t.Fatalf("prelude begins with %x", b[:16])
	}
	headerLength, sessions, rows, external := u32(16), u32(20), u32(24), u32(28)
	if sessions != 2 || rows != 5 || external != 3 {
		t.Fatalf("%d sessions, %d objects, %d external refs, want 2, 5, 3", sessions, rows, external)
	}
	if body := int(binary.LittleEndian.Uint64(b[32:])); 64+headerLength+body+32 != len(b) {
		t.Errorf("header %d, body %d, segment %d bytes", headerLength, body, len(b))
	}
	if Name(b[48:64]) != seg.Name || object.RepositoryID(b[64:80]) != repository {
		t.Errorf("name %x, repository %x", b[48:64], b[64:80])
	}
	// Sessions: of 24 and of 1,224 bytes, in order of their ids.
	if bytes.Compare(b[80:96], b[80+24+int(binary.LittleEndian.Uint16(b[102:])):][:16]) >= 0 {
		t.Errorf("sessions are out of order")
	}
	at := 80 + 24 + 24 + 1200
	externals := b[64+headerLength-3*32 : 64+headerLength]
	offset := 64 + headerLength
	for i, o := range objects {
		if object.ID(b[at:]) != o.ID || object.Sum(b[at+32:]) != o.Sum() || object.Kind(b[at+48]) != o.Kind {
			t.Errorf("row %d: id, sum or kind differ", i)
		}
		if n := u32(at + 51); n != len(o.Bytes) || !bytes.Equal(b[offset:offset+n], o.Bytes) {
			t.Errorf("row %d: sealed bytes are not at %d", i, offset)
		}
		offset += len(o.Bytes)
		if int(b[at+55]) != len(o.Refs) {
			t.Errorf("row %d: %d refs, want %d", i, b[at+55], len(o.Refs))
		}
		for j, ref := range b[at+56 : at+56+len(o.Refs)] { // all below 128
			var id object.ID
			if int(ref) < rows {
				id = objects[ref].ID
			} else {
				id = object.ID(externals[32*(int(ref)-rows):])
			}
			if id != o.Refs[j] {
				t.Errorf("row %d: ref %d is %s, want %s", i, j, id.Short(), o.Refs[j].Short())
			}
		}
		at += 56 + len(o.Refs)
	}
	if !bytes.Equal(b[at:64+headerLength], externals) {
		t.Errorf("object table ends at %d", at)
	}
	if seg.HeaderHash != object.HashBytes("segment header", b[:64+headerLength]) {
		t.Errorf("header hash differs")
	}
	if want := object.HashBytes("segment", b[:len(b)-32]); seg.Hash != want || object.Hash(b[len(b)-32:]) != want {
		t.Errorf("trailer differs")
	}
}

// TestRandomSegments packs random graphs with one builder and compares all
// that comes out of the bytes with what went in.
func TestRandomSegments(t *testing.T) {
	b := NewBuilder(repository, object.ClassMeta, 1<<16)
	for seed := range uint64(60) {
		m := newMaker(seed)
		sessions := []object.Session{m.session(object.ClassMeta), m.hpke(object.ClassMeta), m.session(object.ClassMeta)}
		pool := m.ids(1 + m.rand.IntN(200))
		var objects []object.Sealed
		var used []object.Session
		for {
			s := sessions[m.rand.IntN(len(sessions))]
			refs := slices.Clone(pool)
			m.rand.Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
			o := m.object(object.KindInodes, s, MinSealed+m.rand.IntN(2000), refs[:m.rand.IntN(min(len(refs), 60)+1)]...)
			if m.rand.IntN(3) == 0 { // an object that others refer to already, or will
				i := m.rand.IntN(len(pool))
				if b.Has(pool[i]) || slices.Contains(o.Refs, pool[i]) {
					continue
				}
				o.ID = pool[i]
			}
			if !b.Fits(o) {
				break
			}
			mustAdd(t, b, o, s)
			objects, used = append(objects, o), append(used, s)
		}
		bound := b.Size()
		seg := mustFinish(t, b, m.name())
		refs := 0
		for _, o := range objects {
			refs += len(o.Refs)
		}
		if size := int64(len(seg.Bytes)); size > 1<<16 || size > bound || bound-size > int64(3*refs) {
			t.Fatalf("seed %d: %d bytes, at most %d were announced, target %d", seed, size, bound, 1<<16)
		}
		compare(t, seg, objects, used)
		b.Reset()
	}
}

func compare(t *testing.T, seg *Segment, objects []object.Sealed, sessions []object.Session) {
	t.Helper()
	h, err := DecodeHeader(seg.Bytes[:seg.Header.HeadSize()], int64(len(seg.Bytes)))
	if err != nil {
		t.Fatal(err)
	}
	if got := seg.Header.Encode(); !bytes.Equal(got, h.Encode()) || !bytes.Equal(got, seg.Bytes[:len(got)]) {
		t.Fatalf("the builder's header and the decoded one differ")
	}
	if len(h.Objects) != len(objects) {
		t.Fatalf("%d objects, want %d", len(h.Objects), len(objects))
	}
	r := stored(seg)
	for i, want := range objects {
		got, s, err := h.Read(t.Context(), r, i)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != want.ID || got.Kind != want.Kind || !slices.Equal(got.Refs, want.Refs) || !bytes.Equal(got.Bytes, want.Bytes) {
			t.Fatalf("object %d differs", i)
		}
		if s.ID != sessions[i].ID || s.Type != sessions[i].Type || s.Epoch != sessions[i].Epoch || !bytes.Equal(s.Wrap, sessions[i].Wrap) {
			t.Fatalf("object %d: session %v, want %v", i, s.ID, sessions[i].ID)
		}
		if at, ok := h.Locate(want.ID, h.Objects[i].Offset); !ok || at != i {
			t.Fatalf("Locate finds object %d at %d, %v", i, at, ok)
		}
		if _, ok := h.Locate(want.ID, h.Objects[i].Offset+1); ok {
			t.Fatalf("Locate finds object %d at another offset", i)
		}
	}
	if _, err := Verify(t.Context(), r, seg.Ref()); err != nil {
		t.Fatal(err)
	}
}

func TestAddRefuses(t *testing.T) {
	m := newMaker(3)
	s := m.session(object.ClassMeta)
	first := m.object(object.KindDir, s, 40, m.ids(2)...)
	other := s
	other.Epoch++
	foreign := m.session(object.ClassData)
	badWrap := m.session(object.ClassMeta)
	badWrap.Wrap = make([]byte, 3)
	unknown := m.session(object.ClassMeta)
	unknown.Type = 3
	ok := func() object.Sealed { return m.object(object.KindList, s, 40, m.ids(2)...) }
	tests := []struct {
		name    string
		session object.Session
		edit    func(o *object.Sealed)
		want    error
	}{
		{"the same id", s, func(o *object.Sealed) { o.ID = first.ID }, ErrDuplicate},
		{"a block", s, func(o *object.Sealed) { o.Kind = object.KindBlock }, nil},
		{"an unknown kind", s, func(o *object.Sealed) { o.Kind = 7 }, nil},
		{"a session of the other class", foreign, func(o *object.Sealed) { o.Session = foreign.ID }, nil},
		{"another session", s, func(o *object.Sealed) { o.Session[0]++ }, nil},
		{"the same session with another epoch", other, func(*object.Sealed) {}, nil},
		{"a wrap that should not be", badWrap, func(o *object.Sealed) { o.Session = badWrap.ID }, nil},
		{"an unknown session type", unknown, func(o *object.Sealed) { o.Session = unknown.ID }, nil},
		{"too few bytes", s, func(o *object.Sealed) { o.Bytes = o.Bytes[:MinSealed-1] }, nil},
		{"too many bytes", s, func(o *object.Sealed) { o.Bytes = make([]byte, object.MaxSealed+1) }, nil},
		{"itself as a ref", s, func(o *object.Sealed) { o.Refs[1] = o.ID }, nil},
		{"a new ref twice", s, func(o *object.Sealed) { o.Refs[1] = o.Refs[0] }, nil},
		{"an old ref twice", s, func(o *object.Sealed) { o.Refs = []object.ID{m.id(), first.ID, first.ID} }, nil},
	}
	build := func(withErrors bool) *Segment {
		b := NewBuilder(repository, object.ClassMeta, 1<<16)
		mustAdd(t, b, first, s)
		if withErrors {
			for _, tt := range tests {
				o := ok()
				tt.edit(&o)
				before := b.Size()
				if err := b.Add(o, tt.session); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
					t.Errorf("%s: error = %v", tt.name, err)
				}
				if b.Size() != before || b.Len() != 1 {
					t.Errorf("%s: size %d and %d objects behind the error, want %d and 1", tt.name, b.Size(), b.Len(), before)
				}
			}
		}
		mustAdd(t, b, object.Sealed{ID: object.ID{1}, Kind: object.KindDir, Session: s.ID, Refs: first.Refs, Bytes: first.Bytes}, s)
		return mustFinish(t, b, Name{1})
	}
	if with, without := build(true), build(false); !bytes.Equal(with.Bytes, without.Bytes) {
		t.Errorf("objects that were refused left something in the segment")
	}
}

func TestFinish(t *testing.T) {
	m := newMaker(4)
	s := m.session(object.ClassData)
	b := NewBuilder(repository, object.ClassData, 1<<16)
	if _, err := b.Finish(m.name()); err == nil {
		t.Errorf("an empty builder finished a segment")
	}
	o := m.object(object.KindBlock, s, 1000)
	if !b.Fits(m.object(object.KindBlock, s, 1<<17)) {
		t.Errorf("an empty builder refuses an object larger than the target")
	}
	mustAdd(t, b, o, s)
	if b.Fits(m.object(object.KindBlock, s, 1<<16)) {
		t.Errorf("an object as large as the target fits into a segment that has one")
	}
	seg := mustFinish(t, b, m.name())
	if _, err := b.Finish(m.name()); err == nil {
		t.Errorf("a segment was finished twice")
	}
	if err := b.Add(m.object(object.KindBlock, s, 100), s); err == nil {
		t.Errorf("an object was added behind the trailer")
	}
	again := bytes.Clone(seg.Bytes)
	b.Reset()
	if b.Len() != 0 || b.Has(o.ID) {
		t.Errorf("after Reset there are %d objects", b.Len())
	}
	mustAdd(t, b, o, s)
	if seg := mustFinish(t, b, seg.Name); !bytes.Equal(seg.Bytes, again) {
		t.Errorf("the same object makes another segment after Reset")
	}
}

// TestHeaderOutgrowsRoom has headers much longer than their bodies, so that the
// body must move, in place and to new memory.
func TestHeaderOutgrowsRoom(t *testing.T) {
	for _, target := range []int{1 << 16, 1 << 20} {
		m := newMaker(5)
		s := m.session(object.ClassMeta)
		b := NewBuilder(repository, object.ClassMeta, target)
		for range 3 {
			var objects []object.Sealed
			var sessions []object.Session
			for {
				o := m.object(object.KindImap, s, 100, m.ids(20)...)
				if !b.Fits(o) {
					break
				}
				mustAdd(t, b, o, s)
				objects, sessions = append(objects, o), append(sessions, s)
			}
			compare(t, mustFinish(t, b, m.name()), objects, sessions)
			b.Reset()
		}
	}
}
