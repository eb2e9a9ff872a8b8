package tree

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"pgregory.net/rapid"

	"bluesky/object"
)

func TestLeafRoundTrip(t *testing.T) {
	p := testParams()
	p.LeafBytes = 1 << 20
	rapid.Check(t, func(t *rapid.T) {
		inodes := genInodes(1, 8, p).Draw(t, "inodes")
		refs, payload, err := EncodeLeaf(inodes, p)
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeLeaf(refs, payload, p)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, inodes, func(a, b Inode) bool { return a.Equal(&b) }) {
			t.Fatalf("got %+v\nwant %+v", got, inodes)
		}
	})
}

// A libraryInode is the record of docs/format.md as the CBOR library sees it.
type libraryInode struct {
	Number  uint64          `cbor:"1,keyasint"`
	Type    uint8           `cbor:"2,keyasint"`
	Mode    uint32          `cbor:"3,keyasint,omitzero"`
	UID     uint32          `cbor:"4,keyasint,omitzero"`
	GID     uint32          `cbor:"5,keyasint,omitzero"`
	User    cbor.ByteString `cbor:"6,keyasint,omitzero"`
	Group   cbor.ByteString `cbor:"7,keyasint,omitzero"`
	Size    uint64          `cbor:"8,keyasint,omitzero"`
	Links   uint32          `cbor:"9,keyasint,omitzero"`
	MTime   *object.Time    `cbor:"10,keyasint,omitempty"`
	CTime   *object.Time    `cbor:"11,keyasint,omitempty"`
	ATime   *object.Time    `cbor:"12,keyasint,omitempty"`
	BTime   *object.Time    `cbor:"13,keyasint,omitempty"`
	Device  [2]uint32       `cbor:"14,keyasint,omitzero"`
	Target  cbor.ByteString `cbor:"15,keyasint,omitzero"`
	Xattrs  []libraryXattr  `cbor:"16,keyasint,omitempty"`
	Flags   uint32          `cbor:"17,keyasint,omitzero"`
	Source  uint64          `cbor:"18,keyasint,omitzero"`
	Holes   [][2]uint64     `cbor:"19,keyasint,omitempty"`
	Content []byte          `cbor:"20,keyasint,omitempty"`
	Inline  []byte          `cbor:"21,keyasint,omitempty"`
	Extents [][3]uint64     `cbor:"22,keyasint,omitempty"`
	Root    uint32          `cbor:"23,keyasint,omitzero"`
	Marks   uint32          `cbor:"24,keyasint,omitzero"`
}

type libraryXattr struct {
	_        struct{} `cbor:",toarray"`
	Name     []byte
	Value    []byte
	Ordinals []uint32
}

// toLibrary converts inodes, with ordinals given in the order of first use.
func toLibrary(inodes []Inode) []libraryInode {
	var refs refTable
	var out []libraryInode
	for _, in := range inodes {
		l := libraryInode{
			Number: in.Number, Type: uint8(in.Type), Mode: in.Mode, UID: in.UID, GID: in.GID,
			User: cbor.ByteString(in.User), Group: cbor.ByteString(in.Group), Size: in.Size, Links: in.Links,
			ATime: in.ATime, BTime: in.BTime,
			Device: [2]uint32{in.Device.Major, in.Device.Minor}, Target: cbor.ByteString(in.Target),
			Flags: in.Flags, Source: in.Source, Inline: in.Inline, Marks: uint32(in.Marks),
		}
		if !in.Waypoint() {
			l.MTime, l.CTime = &in.MTime, &in.CTime
		}
		for _, x := range in.Xattrs {
			lx := libraryXattr{Name: []byte(x.Name), Value: x.Value}
			if !x.Block.IsZero() {
				lx.Ordinals = []uint32{uint32(refs.ordinal(x.Block))}
			}
			l.Xattrs = append(l.Xattrs, lx)
		}
		for _, h := range in.Holes {
			l.Holes = append(l.Holes, [2]uint64{h.Offset, h.Length})
		}
		if in.ContentHash != [16]byte{} {
			l.Content = in.ContentHash[:]
		}
		for _, e := range in.Extents {
			l.Extents = append(l.Extents, [3]uint64{refs.ordinal(e.Block), e.Offset, e.Length})
		}
		if !in.Root.IsZero() {
			l.Root = uint32(1 + refs.ordinal(in.Root))
		}
		out = append(out, l)
	}
	return out
}

// The codec of this package and the library's agree on the bytes.
func TestLeafEqualsLibrary(t *testing.T) {
	p := testParams()
	p.LeafBytes = 1 << 20
	rapid.Check(t, func(t *rapid.T) {
		inodes := genInodes(1, 5, p).Draw(t, "inodes")
		_, got, err := EncodeLeaf(inodes, p)
		if err != nil {
			t.Fatal(err)
		}
		want, err := object.EncodeCBOR(toLibrary(inodes))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("got  %x\nwant %x", got, want)
		}
		var decoded []libraryInode
		if err := object.DecodeCBOR(got, &decoded); err != nil {
			t.Fatal(err)
		}
	})
}

func TestInodeCheck(t *testing.T) {
	p := testParams()
	id := testID(1)
	file := Inode{Number: 2, Type: TypeFile, Size: 100, Extents: []Extent{{id, 0, 100}}}
	dir := Inode{Number: 2, Type: TypeDir, Root: id}
	link := Inode{Number: 2, Type: TypeSymlink, Target: "x"}
	tests := []struct {
		name string
		in   Inode
		edit func(*Inode)
		ok   bool
	}{
		{"file", file, func(in *Inode) {}, true},
		{"directory", dir, func(in *Inode) {}, true},
		{"symlink", link, func(in *Inode) {}, true},
		{"empty file", file, func(in *Inode) { in.Size, in.Extents = 0, nil }, true},
		{"number 0", file, func(in *Inode) { in.Number = 0 }, false},
		{"type 0", file, func(in *Inode) { in.Type = 0 }, false},
		{"type 8", link, func(in *Inode) { in.Type = 8 }, false},
		{"mode of 13 bits", file, func(in *Inode) { in.Mode = 0o10000 }, false},
		{"symlink with a size", link, func(in *Inode) { in.Size = 1 }, false},
		{"symlink with a root", link, func(in *Inode) { in.Root = id }, false},
		{"symlink with flags", link, func(in *Inode) { in.Flags = FlagAppend }, false},
		{"symlink with a long target", link, func(in *Inode) { in.Target = strings.Repeat("x", 65536) }, false},
		{"file with a target", file, func(in *Inode) { in.Target = "x" }, false},
		{"file with a device", file, func(in *Inode) { in.Device.Minor = 1 }, false},
		{"file with marks", file, func(in *Inode) { in.Marks = MarkWaypoint }, false},
		{"file with unknown flags", file, func(in *Inode) { in.Flags = 1 }, false},
		{"time of 1e9 ns", file, func(in *Inode) { in.MTime.Nsec = 1e9 }, false},
		{"atime of 1e9 ns", file, func(in *Inode) { in.ATime = &object.Time{Nsec: 1e9} }, false},
		{"directory with links", dir, func(in *Inode) { in.Links = 2 }, false},
		{"directory without a root", dir, func(in *Inode) { in.Root = object.ID{} }, false},
		{"unknown mark", dir, func(in *Inode) { in.Marks = 2 }, false},
		{"waypoint", dir, func(in *Inode) { in.Marks, in.Mode, in.User = MarkWaypoint, 0o755, "root" }, true},
		{"waypoint with a time", dir, func(in *Inode) { in.Marks, in.ATime = MarkWaypoint, &object.Time{} }, false},
		{"waypoint with a source", dir, func(in *Inode) { in.Marks, in.Source = MarkWaypoint, 1 }, false},
		{"content in two places", file, func(in *Inode) { in.Root = id }, false},
		{"content in no place", file, func(in *Inode) { in.Extents = nil }, false},
		{"content of an empty file", file, func(in *Inode) { in.Size = 0 }, false},
		{"extents short of the size", file, func(in *Inode) { in.Size++ }, false},
		{"empty extent", file, func(in *Inode) { in.Extents = append(in.Extents, Extent{id, 0, 0}) }, false},
		{"extent without a block", file, func(in *Inode) { in.Extents[0].Block = object.ID{} }, false},
		{"offset without a hash", file, func(in *Inode) { in.Extents[0].Offset = 1 }, false},
		{"offset with a hash", file, func(in *Inode) { in.Extents[0].Offset, in.ContentHash[0] = 1, 1 }, true},
		{"offset past any block", file, func(in *Inode) { in.Extents[0].Offset, in.ContentHash[0] = math.MaxUint64, 1 }, false},
		{"length past any block", file, func(in *Inode) { in.Size, in.Extents[0].Length = 16<<20+1, 16<<20+1 }, false},
		{"more extents than fit", file, func(in *Inode) { in.Extents, in.Size = slices.Repeat(in.Extents, 5), 500 }, false},
		{"inline too long", file, func(in *Inode) { in.Extents, in.Inline, in.Size = nil, make([]byte, 17), 17 }, false},
		{"inline short", file, func(in *Inode) { in.Extents, in.Inline, in.Size = nil, make([]byte, 3), 4 }, false},
		{"one hole", file, func(in *Inode) { in.Size, in.Holes = 110, []Hole{{100, 10}} }, true},
		{"only a hole", file, func(in *Inode) { in.Extents, in.Holes = nil, []Hole{{0, 100}} }, true},
		{"hole past the size", file, func(in *Inode) { in.Size, in.Holes = 110, []Hole{{101, 10}} }, false},
		{"hole that overflows", file, func(in *Inode) { in.Holes = []Hole{{1, math.MaxUint64}} }, false},
		{"empty hole", file, func(in *Inode) { in.Holes = []Hole{{1, 0}} }, false},
		{"adjacent holes", file, func(in *Inode) { in.Size, in.Holes = 120, []Hole{{0, 10}, {10, 10}} }, false},
		{"holes out of order", file, func(in *Inode) { in.Size, in.Holes = 120, []Hole{{20, 10}, {5, 10}} }, false},
		{"xattr without a name", link, func(in *Inode) { in.Xattrs = []Xattr{{}} }, false},
		{"xattr with NUL", link, func(in *Inode) { in.Xattrs = []Xattr{{Name: "a\x00"}} }, false},
		{"xattr of a long name", link, func(in *Inode) { in.Xattrs = []Xattr{{Name: strings.Repeat("x", 256)}} }, false},
		{"xattrs out of order", link, func(in *Inode) { in.Xattrs = []Xattr{{Name: "b"}, {Name: "a"}} }, false},
		{"xattr twice", link, func(in *Inode) { in.Xattrs = []Xattr{{Name: "a"}, {Name: "a"}} }, false},
		{"xattr with two values", link, func(in *Inode) { in.Xattrs = []Xattr{{"a", []byte{1}, id}} }, false},
		{"xattr too long for the inode", link, func(in *Inode) { in.Xattrs = []Xattr{{"a", make([]byte, 257), object.ID{}}} }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := tt.in
			in.Extents = slices.Clone(in.Extents)
			tt.edit(&in)
			if err := in.Check(&p); (err == nil) != tt.ok {
				t.Fatalf("Check gives %v, want ok = %v", err, tt.ok)
			}
			_, _, err := EncodeLeaf([]Inode{in}, p)
			if (err == nil) != tt.ok {
				t.Fatalf("EncodeLeaf gives %v, want ok = %v", err, tt.ok)
			}
			if tt.ok {
				return
			}
			// What the encoder refuses, the decoder must refuse as well.
			var e leafEncoder
			e.add(&in)
			if _, err := DecodeLeaf(e.refs.ids, e.payload(), p); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("DecodeLeaf gives %v, want %v", err, ErrCorrupt)
			}
		})
	}
}

func TestEncodeLeafRefusesDisorder(t *testing.T) {
	p := testParams()
	a, b := Inode{Number: 2, Type: TypeFIFO}, Inode{Number: 3, Type: TypeFIFO}
	for _, inodes := range [][]Inode{{}, {b, a}, {a, a}} {
		if _, _, err := EncodeLeaf(inodes, p); err == nil {
			t.Errorf("EncodeLeaf takes %v", inodes)
		}
	}
}

func TestLeafRefs(t *testing.T) {
	p := testParams()
	file := Inode{Number: 2, Type: TypeFile, Size: 3, Extents: []Extent{{testID(1), 0, 1}, {testID(2), 0, 1}, {testID(1), 0, 1}}}
	refs, payload, err := EncodeLeaf([]Inode{file}, p)
	if err != nil {
		t.Fatal(err)
	}
	if want := []object.ID{testID(1), testID(2)}; !slices.Equal(refs, want) {
		t.Fatalf("refs are %v, want %v", refs, want)
	}
	for name, refs := range map[string][]object.ID{
		"one too many": {testID(1), testID(2), testID(3)},
		"one too few":  {testID(1)},
		"one twice":    {testID(1), testID(1)},
		"one zero":     {testID(1), {}},
		"none":         nil,
	} {
		if _, err := DecodeLeaf(refs, payload, p); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want %v", name, err, ErrCorrupt)
		}
	}
}
