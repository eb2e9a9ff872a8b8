package pack

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bluesky/object"
)

// The vectors in testdata are whole segments. They are frozen: a change of one
// is a change of format. -update writes those of a new case; it must leave the
// others as they are.
var update = flag.Bool("update", false, "write testdata/vectors")

const vectors = "testdata/vectors"

// vectorHeader is the header that most vectors vary: three meta objects of 40
// bytes in two sessions, refs forwards, backwards and outside.
func vectorHeader() *Header {
	row := func(id byte, kind object.Kind, session uint16, refs uint32) Object {
		return Object{ID: object.ID{id, 9}, Sum: object.Sum{id, 8}, Length: 40, Kind: kind, Session: session, refs: refs}
	}
	return &Header{
		Prelude:    Prelude{Name: Name{0x0a, 0x0b}, Class: object.ClassMeta},
		Repository: repository,
		Sessions: []object.Session{
			{ID: object.SessionID{1}, Class: object.ClassMeta, Type: object.SessionDerived, Epoch: 3},
			{ID: object.SessionID{2}, Class: object.ClassMeta, Type: object.SessionHPKE, Wrap: bytes.Repeat([]byte{0xaa}, hpkeWrap)},
		},
		Objects:  []Object{row(0x50, object.KindInodes, 0, 0), row(0x20, object.KindDir, 1, 3), row(0x70, object.KindImap, 0, 3)},
		External: []object.ID{{0x10}, {0x60}},
		refs:     []uint32{4, 3, 1, 0}, // row 0: both outside and row 1; row 2: row 0
	}
}

// assemble puts a segment together whatever h says. Lengths and counts of the
// prelude follow from the tables.
func assemble(h *Header) []byte {
	p := &h.Prelude
	p.HeaderLength, p.BodyLength = 0, 0
	p.SessionCount, p.ObjectCount, p.ExternalCount = uint32(len(h.Sessions)), uint32(len(h.Objects)), uint32(len(h.External))
	p.HeaderLength = uint32(len(h.Append(nil)) - PreludeSize)
	var body []byte
	for i := range h.Objects {
		body = append(body, bytes.Repeat([]byte{byte(i) + 1}, int(min(h.Objects[i].Length, 1000)))...)
	}
	p.BodyLength = uint64(len(body))
	return append(append(h.Append(nil), body...), make([]byte, TrailerSize)...)
}

// A vectorCase is a file of testdata/vectors. Its class stands in its name.
type vectorCase struct {
	name string
	make func() []byte
}

func vectorCases(t *testing.T) []vectorCase {
	tables := func(edit func(h *Header)) func() []byte {
		return func() []byte { h := vectorHeader(); edit(h); return assemble(h) }
	}
	edited := func(edit func(b []byte)) func() []byte {
		return func() []byte { b := assemble(vectorHeader()); edit(b); return b }
	}
	set := func(at int, value byte) func() []byte { return edited(func(b []byte) { b[at] = value }) }
	add := func(at int, n uint32) func() []byte {
		return edited(func(b []byte) {
			binary.LittleEndian.PutUint32(b[at:], binary.LittleEndian.Uint32(b[at:])+n)
		})
	}
	// rows are where the object table begins: of row 0 with three refs.
	const rows = PreludeSize + headerFixed + 2*sessionFixed + hpkeWrap
	// insert lengthens the header by what is inserted at an offset.
	insert := func(at int, drop int, data ...byte) func() []byte {
		return func() []byte {
			b := assemble(vectorHeader())
			n := uint32(len(data) - drop)
			binary.LittleEndian.PutUint32(b[16:], binary.LittleEndian.Uint32(b[16:])+n)
			return slices.Concat(b[:at], data, b[at+drop:])
		}
	}
	builder := func(make func(testing.TB, uint64) (*Segment, []object.Sealed)) func() []byte {
		return func() []byte { s, _ := make(t, 1); return s.Bytes }
	}
	return []vectorCase{
		{"valid-built-meta", builder(graph)},
		{"valid-built-data", func() []byte { s, _ := blocks(t, 1, 34, 100, 35); return s.Bytes }},
		{"valid-one-object", func() []byte { s, _ := blocks(t, 2, 34); return s.Bytes }},
		{"valid-refs-and-sessions", tables(func(*Header) {})},
		{"valid-many-refs", tables(func(h *Header) { // ordinals and a count of two bytes
			for i := range 200 {
				h.refs = append(h.refs, uint32(len(h.Objects)+len(h.External)))
				h.External = append(h.External, object.ID{0x80, byte(i)})
			}
		})},
		{"version-next", set(8, 2)},
		{"version-high", set(9, 1)},
		{"version-parity", set(12, 1)},
		{"version-sealed-header", set(12, 2)},
		{"version-unknown-feature", set(15, 0x80)},
		{"version-session-type-0", tables(func(h *Header) { h.Sessions[0].Type = 0 })},
		{"version-session-type-3", tables(func(h *Header) { h.Sessions[1].Type = 3 })},
		{"corrupt-version-0", set(8, 0)},
		{"corrupt-empty", func() []byte { return nil }},
		{"corrupt-prelude-cut", func() []byte { return assemble(vectorHeader())[:63] }},
		{"corrupt-magic", set(0, 'b')},
		{"corrupt-class-0", set(10, 0)},
		{"corrupt-class-3", set(10, 3)},
		{"corrupt-class-of-sessions", set(10, 1)},
		{"corrupt-padding", set(11, 1)},
		{"corrupt-padding-end", set(47, 1)},
		{"corrupt-header-length", add(16, 1)},
		{"corrupt-header-longest", edited(func(b []byte) { binary.LittleEndian.PutUint32(b[16:], MaxHeader+1) })},
		{"corrupt-header-past-end", add(16, 1<<20)},
		{"corrupt-body-length", add(32, 1)},
		{"corrupt-body-length-overflow", edited(func(b []byte) { binary.LittleEndian.PutUint64(b[32:], 1<<63) })},
		{"corrupt-header-and-body-swapped", edited(func(b []byte) { b[16]--; b[32]++ })},
		{"corrupt-cut", func() []byte { b := assemble(vectorHeader()); return b[:len(b)-1] }},
		{"corrupt-bytes-behind", func() []byte { return append(assemble(vectorHeader()), 0) }},
		{"corrupt-sessions-none", edited(func(b []byte) { b[20] = 0 })},
		{"corrupt-sessions-more", add(20, 1)},
		{"corrupt-sessions-most", edited(func(b []byte) { binary.LittleEndian.PutUint32(b[20:], ^uint32(0)) })},
		{"corrupt-objects-none", edited(func(b []byte) { b[24] = 0 })},
		{"corrupt-objects-more", add(24, 1)},
		{"corrupt-objects-most", edited(func(b []byte) { binary.LittleEndian.PutUint32(b[24:], ^uint32(0)) })},
		{"corrupt-external-more", add(28, 1)},
		{"corrupt-external-fewer", add(28, ^uint32(0))},
		{"corrupt-external-most", edited(func(b []byte) { binary.LittleEndian.PutUint32(b[28:], ^uint32(0)) })},
		{"corrupt-session-class", tables(func(h *Header) { h.Sessions[0].Class = object.ClassData })},
		{"corrupt-sessions-out-of-order", tables(func(h *Header) { h.Sessions[0].ID[0] = 3 })},
		{"corrupt-session-twice", tables(func(h *Header) { h.Sessions[0].ID[0] = 2 })},
		{"corrupt-session-unused", tables(func(h *Header) { h.Objects[1].Session = 0 })},
		{"corrupt-session-derived-with-wrap", tables(func(h *Header) { h.Sessions[0].Wrap = []byte{1} })},
		{"corrupt-session-hpke-without-wrap", tables(func(h *Header) { h.Sessions[1].Wrap = nil })},
		{"corrupt-session-wrap-past-end", edited(func(b []byte) { b[PreludeSize+headerFixed+22] = 0xff })},
		{"corrupt-object-session", tables(func(h *Header) { h.Objects[2].Session = 2 })},
		{"corrupt-object-kind-0", tables(func(h *Header) { h.Objects[0].Kind = 0 })},
		{"corrupt-object-kind-7", tables(func(h *Header) { h.Objects[0].Kind = 7 })},
		{"corrupt-object-kind-of-other-class", tables(func(h *Header) { h.Objects[0].Kind = object.KindBlock })},
		{"corrupt-object-length-33", tables(func(h *Header) { h.Objects[0].Length = 33; h.Objects[1].Length = 47 })},
		{"corrupt-object-length-most", tables(func(h *Header) { h.Objects[0].Length = object.MaxSealed + 1 })},
		{"corrupt-object-past-body", add(rows+51, 1)},
		{"corrupt-object-before-end-of-body", add(rows+51, ^uint32(0))},
		{"corrupt-object-twice", tables(func(h *Header) { h.Objects[2].ID = h.Objects[0].ID })},
		{"corrupt-ref-to-itself", tables(func(h *Header) { h.refs[3] = 2 })},
		{"corrupt-ref-twice", tables(func(h *Header) { h.refs[2] = 4 })},
		{"corrupt-ref-past-tables", tables(func(h *Header) { h.refs[3] = 5 })},
		{"corrupt-ref-too-long", insert(rows+objectFixed+1, 1, 0x84, 0x00)},
		{"corrupt-ref-beyond-32-bits", insert(rows+objectFixed+1, 1, 0x84, 0x80, 0x80, 0x80, 0x10)},
		{"corrupt-ref-endless", insert(rows+objectFixed+1, 1, bytes.Repeat([]byte{0xff}, 12)...)},
		{"corrupt-ref-count-too-long", insert(rows+objectFixed, 1, 0x83, 0x00)},
		{"corrupt-ref-count-one-more", add(rows+objectFixed, 1)},
		{"corrupt-ref-count-most", insert(rows+objectFixed, 1, 0xff, 0xff, 0xff, 0xff, 0x0f)},
		{"corrupt-byte-behind-object-table", insert(rows+3*(objectFixed+1)+4, 0, 0)},
		{"corrupt-external-out-of-order", tables(func(h *Header) { h.External[0][0] = 0x61 })},
		{"corrupt-external-twice", tables(func(h *Header) { h.External[0] = h.External[1] })},
		{"corrupt-external-unused", tables(func(h *Header) { h.refs[0] = 2 })},
		{"corrupt-external-is-own", tables(func(h *Header) { h.External[1] = h.Objects[2].ID })},
	}
}

// decodeVector decodes the head of a whole segment.
func decodeVector(segment []byte) (*Header, error) {
	p, err := DecodePrelude(segment, int64(len(segment)))
	if err != nil {
		return nil, err
	}
	return DecodeHeader(segment[:p.HeadSize()], int64(len(segment)))
}

func TestVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range vectorCases(t) {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(vectors, c.name+".hex")
			seen[path] = true
			made := wrapHex(c.make())
			if *update {
				if err := os.WriteFile(path, []byte(made), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			data := readVector(t, path)
			if wrapHex(data) != made {
				t.Errorf("the vector is not what its case makes: one of both was changed")
			}
			judge(t, c.name, data)
		})
	}
	files, err := filepath.Glob(filepath.Join(vectors, "*.hex"))
	if err != nil || len(files) != len(seen) {
		t.Errorf("%d vectors for %d cases, %v", len(files), len(seen), err)
	}
}

// judge decodes a vector and compares the class of the error with its name.
func judge(t *testing.T, name string, data []byte) {
	t.Helper()
	h, err := decodeVector(data)
	switch class, _, _ := strings.Cut(name, "-"); class {
	case "valid":
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(h.Encode(), data[:h.HeadSize()]) {
			t.Errorf("it encodes to other bytes")
		}
	case "corrupt":
		if !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
			t.Errorf("error = %v, want corrupt", err)
		}
	case "version":
		if !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
			t.Errorf("error = %v, want version", err)
		}
	default:
		t.Errorf("no class of error in the name")
	}
}

// TestHeaderOfWrongLength gives DecodeHeader less or more than the head.
func TestHeaderOfWrongLength(t *testing.T) {
	segment := assemble(vectorHeader())
	h, err := decodeVector(segment)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int64{0, PreludeSize, h.HeadSize() - 1, h.HeadSize() + 1} {
		if _, err := DecodeHeader(segment[:n], int64(len(segment))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d of %d bytes: error = %v, want corrupt", n, h.HeadSize(), err)
		}
	}
}

// FuzzDecodeHeader decodes the heads of whole segments; what decodes is canonical, and all
// that its methods index exists.
func FuzzDecodeHeader(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(vectors, "*.hex"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds in %s: %v", vectors, err)
	}
	for _, path := range files {
		f.Add(readVector(f, path))
	}
	f.Fuzz(func(t *testing.T, segment []byte) {
		if p, err := DecodePrelude(segment, int64(len(segment))); err == nil && !bytes.Equal(p.Append(nil), segment[:PreludeSize]) {
			t.Fatalf("the prelude encodes to other bytes")
		}
		h, err := decodeVector(segment)
		if err != nil {
			if errors.Is(err, ErrCorrupt) == errors.Is(err, ErrVersion) {
				t.Fatalf("error of no class: %v", err)
			}
			return
		}
		if !bytes.Equal(h.Encode(), segment[:h.HeadSize()]) {
			t.Fatalf("it encodes to other bytes")
		}
		var refs []object.ID
		for i := range h.Objects {
			refs = h.Refs(i, refs[:0])
			o := &h.Objects[i]
			_ = segment[o.Offset : o.Offset+o.Length]
			if at, ok := h.Locate(o.ID, o.Offset); !ok || at != i || slices.Contains(refs, o.ID) {
				t.Fatalf("object %d is found at %d, %v", i, at, ok)
			}
		}
	})
}

// wrapHex writes data as lines of 32 bytes.
func wrapHex(data []byte) string {
	var b strings.Builder
	for line := range slices.Chunk(data, 32) {
		b.WriteString(hex.EncodeToString(line) + "\n")
	}
	return b.String()
}

func readVector(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return data
}
