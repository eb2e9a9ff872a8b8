package index

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
	"bluesky/pack"
)

// The vectors in testdata are frozen: a change of one is a change of format.
// -update writes those of a new case; it must leave the others as they are.
var update = flag.Bool("update", false, "write testdata/vectors")

const vectors = "testdata/vectors"

// vectorName is the name of every run in the vectors.
var vectorName = RunName{0x0a, 0x0b}

// vectorRun is the run that the vectors vary: two segments, of which the
// second stands in the table as registered at 5, and an object in both.
func vectorRun() *Builder {
	segment := func(first byte, class object.Class, at uint64) Segment {
		s := Segment{Name: pack.Name{first, 1}, Size: 1000, HeaderLength: 200, Class: class, RegisteredAt: at}
		s.HeaderHash, s.Hash, s.Session = object.Hash{first, 2}, object.Hash{first, 3}, object.SessionID{first, 4}
		return s
	}
	row := func(id byte, segment, offset uint32, kind object.Kind) Row {
		return Row{ID: object.ID{id, 9}, Sum: object.Sum{id, 8}, Segment: segment, Offset: offset, Length: 100, Kind: kind}
	}
	return &Builder{
		repository: repository,
		segments:   []Segment{segment(0x70, object.ClassData, 0), segment(0x30, object.ClassMeta, 5)},
		rows: []Row{
			row(0x11, 1, 264, object.KindInodes), row(0x80, 0, 264, object.KindBlock), row(0x80, 1, 364, object.KindDir),
			row(0x80, 1, 868, object.KindDir), row(0xf0, 0, 364, object.KindBlock),
		},
	}
}

// reseal puts the right trailer behind what an edit left.
func reseal(data []byte) []byte {
	end := len(data) - trailerSize
	hash := object.HashBytes("run", data[:end])
	return append(data[:end:end], hash[:]...)
}

const (
	atSegment = preludeSize
	atRow     = preludeSize + 2*segmentSize
)

// A vectorCase is a file of testdata/vectors. Its class stands in its name.
type vectorCase struct {
	name string
	make func() []byte
}

func vectorCases(t *testing.T) []vectorCase {
	encode := func(b *Builder) []byte {
		data, _, err := b.Encode(repository, vectorName)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	valid := func() []byte { return encode(vectorRun()) }
	edited := func(edit func(d []byte)) func() []byte {
		return func() []byte { d := valid(); edit(d); return reseal(d) }
	}
	set := func(at int, value byte) func() []byte { return edited(func(d []byte) { d[at] = value }) }
	u32 := func(at int, v uint32) func() []byte {
		return edited(func(d []byte) { binary.LittleEndian.PutUint32(d[at:], v) })
	}
	u64 := func(at int, v uint64) func() []byte {
		return edited(func(d []byte) { binary.LittleEndian.PutUint64(d[at:], v) })
	}
	swap := func(at, size int) func() []byte {
		return edited(func(d []byte) {
			first := bytes.Clone(d[at : at+size])
			copy(d[at:], d[at+size:at+2*size])
			copy(d[at+size:], first)
		})
	}
	return []vectorCase{
		{"valid-empty", func() []byte { return encode(&Builder{}) }},
		{"valid-two-segments", valid},
		{"valid-segment-without-rows", func() []byte { b := vectorRun(); b.rows = nil; return encode(b) }},
		{"version-next", set(8, 2)},
		{"version-high", set(9, 1)},
		{"version-feature", set(12, 1)},
		{"version-highest-feature", set(15, 0x80)},
		{"corrupt-version-0", set(8, 0)},
		{"corrupt-magic", set(7, 0)},
		{"corrupt-empty", func() []byte { return nil }},
		{"corrupt-prelude-cut", func() []byte { return valid()[:63] }},
		{"corrupt-prelude-padding", set(10, 1)},
		{"corrupt-segments-more", u64(16, 3)},
		{"corrupt-rows-more", u64(24, 6)},
		{"corrupt-rows-overflow", u64(24, 5+1<<58)},
		{"corrupt-segments-overflow", u64(16, 2+1<<57)},
		{"corrupt-another-repository", set(32, 0)},
		{"corrupt-another-name", set(48, 0)},
		{"corrupt-trailer", func() []byte { d := valid(); d[len(d)-1] ^= 1; return d }},
		{"corrupt-bytes-behind", func() []byte { return append(valid(), 0) }},
		{"corrupt-cut", func() []byte { d := valid(); return d[:len(d)-1] }},
		{"corrupt-segment-class", set(atSegment+28, 3)},
		{"corrupt-segment-padding", set(atSegment+31, 1)},
		{"corrupt-segment-padding-end", set(atSegment+127, 1)},
		{"corrupt-segment-too-small", u64(atSegment+16, pack.MinSize-1)},
		{"corrupt-segment-too-large", u64(atSegment+16, 1<<32)},
		{"corrupt-segment-size-negative", u64(atSegment+16, 1<<63)},
		{"corrupt-segment-header-past-end", u32(atSegment+24, 1000-64-32-33)},
		{"corrupt-segment-header-longest", u32(atSegment+24, ^uint32(0))},
		{"corrupt-segments-out-of-order", swap(atSegment, segmentSize)},
		{"corrupt-segment-twice-in-order", edited(func(d []byte) { copy(d[atSegment+segmentSize:], d[atSegment:atSegment+16]) })},
		{"corrupt-segment-twice", edited(func(d []byte) { copy(d[atSegment+segmentSize:atRow], d[atSegment:]) })},
		{"corrupt-row-padding", set(atRow+45, 1)},
		{"corrupt-row-padding-end", set(atRow+47, 1)},
		{"corrupt-row-segment", u32(atRow+32, 2)},
		{"corrupt-row-segment-highest", u32(atRow+32, ^uint32(0))},
		{"corrupt-row-kind-0", set(atRow+44, 0)},
		{"corrupt-row-kind-7", set(atRow+44, 7)},
		{"corrupt-row-kind-of-other-class", set(atRow+44, byte(object.KindBlock))},
		{"corrupt-row-before-body", u32(atRow+36, 263)},
		{"corrupt-row-past-body", u32(atRow+36, 869)},
		{"corrupt-row-offset-highest", u32(atRow+36, ^uint32(0))},
		{"corrupt-row-length-33", u32(atRow+40, 33)},
		{"corrupt-row-length-past-body", u32(atRow+40, 705)},
		{"corrupt-row-length-highest", u32(atRow+40, ^uint32(0))},
		{"corrupt-rows-out-of-order", swap(atRow, rowSize)},
		{"corrupt-rows-of-id-out-of-order", swap(atRow+rowSize, rowSize)},
		{"corrupt-rows-of-segment-out-of-order", swap(atRow+2*rowSize, rowSize)},
		{"corrupt-row-twice", edited(func(d []byte) { copy(d[atRow+rowSize:], d[atRow:atRow+rowSize]) })},
	}
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
	r, err := Decode(data, repository, vectorName)
	switch class, _, _ := strings.Cut(name, "-"); class {
	case "valid":
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(reencode(t, r), data) {
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

// reencode makes the bytes of r from what its methods return.
func reencode(t testing.TB, r *Run) []byte {
	b := Builder{repository: r.Repository(), segments: r.Segments(), rows: slices.Collect(r.Rows())}
	data, _, err := b.Encode(r.Repository(), r.Name())
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// FuzzDecode decodes what the fuzzer makes, with the trailer put right so that
// it gets further, and looks up what is there.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob(filepath.Join(vectors, "*.hex"))
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds in %s: %v", vectors, err)
	}
	for _, path := range files {
		f.Add(readVector(f, path))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= preludeSize+trailerSize {
			data = reseal(data)
		}
		r, err := Decode(data, repository, vectorName)
		if err != nil {
			if errors.Is(err, ErrCorrupt) == errors.Is(err, ErrVersion) {
				t.Fatalf("error of no class: %v", err)
			}
			return
		}
		if !bytes.Equal(reencode(t, r), data) {
			t.Fatalf("it encodes to other bytes")
		}
		for row := range r.Rows() {
			if !slices.Contains(r.Lookup(row.ID), row) {
				t.Fatalf("row %+v is not found", row)
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
