package tree

import (
	"fmt"
	"slices"
	"strings"

	"pgregory.net/rapid"

	"bluesky/object"
)

// testParams makes small trees interesting: everything splits early.
func testParams() Params {
	p := DefaultParams()
	p.LeafBits = 2
	p.LeafBytes = 4096
	p.ListBits = 2
	p.ListMax = 8
	p.ExtentsMax = 4
	p.DirMax = 8
	p.InlineLimit = 16
	return p
}

func genTime() *rapid.Generator[object.Time] {
	return rapid.Custom(func(t *rapid.T) object.Time {
		return object.Time{Sec: rapid.Int64().Draw(t, "sec"), Nsec: rapid.Uint32Range(0, 1e9-1).Draw(t, "nsec")}
	})
}

func genID() *rapid.Generator[object.ID] {
	return rapid.Map(rapid.Uint64Range(0, 30), testID)
}

// genInode draws a valid inode of the given number.
func genInode(number uint64, p Params) *rapid.Generator[Inode] {
	return rapid.Custom(func(t *rapid.T) Inode {
		in := Inode{
			Number: number,
			Type:   Type(rapid.IntRange(1, 7).Draw(t, "type")),
			Mode:   rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
			UID:    rapid.Uint32().Draw(t, "uid"),
			GID:    rapid.Uint32Range(0, 70000).Draw(t, "gid"),
			User:   rapid.SampledFrom([]string{"", "root", "\xff"}).Draw(t, "user"),
			Group:  rapid.SampledFrom([]string{"", "wheel", "staff"}).Draw(t, "group"),
		}
		if in.Type == TypeDir {
			in.Root = genID().Draw(t, "root")
			if rapid.IntRange(0, 3).Draw(t, "waypoint") == 0 {
				in.Marks = MarkWaypoint
				return in
			}
		} else {
			in.Links = rapid.Uint32().Draw(t, "links")
		}
		genAttributes(t, &in, p)
		switch in.Type {
		case TypeFile:
			genContent(t, &in, p)
		case TypeSymlink:
			in.Target = rapid.StringN(0, 300, 300).Draw(t, "target")
		case TypeCharDevice, TypeBlockDevice:
			in.Device = Device{rapid.Uint32().Draw(t, "major"), rapid.Uint32Range(0, 3).Draw(t, "minor")}
		}
		return in
	})
}

func genAttributes(t *rapid.T, in *Inode, p Params) {
	in.MTime = genTime().Draw(t, "mtime")
	in.CTime = genTime().Draw(t, "ctime")
	if rapid.Bool().Draw(t, "atime asked") {
		at := genTime().Draw(t, "atime")
		in.ATime = &at
	}
	if rapid.Bool().Draw(t, "btime asked") {
		in.BTime = &object.Time{}
	}
	in.Source = rapid.Uint64().Draw(t, "source")
	if in.Type == TypeFile || in.Type == TypeDir {
		in.Flags = rapid.SampledFrom([]uint32{0, FlagAppend, FlagNoCOW | FlagCompressed, FlagsMask}).Draw(t, "flags")
	}
	for i := range rapid.IntRange(0, 3).Draw(t, "xattrs") {
		x := Xattr{Name: fmt.Sprintf("user.%d", i)}
		if rapid.Bool().Draw(t, "xattr block") {
			x.Block = genID().Draw(t, "block")
		} else {
			x.Value = []byte(strings.Repeat("v", rapid.IntRange(0, p.XattrInline).Draw(t, "value")))
		}
		in.Xattrs = append(in.Xattrs, x)
	}
}

func genContent(t *rapid.T, in *Inode, p Params) {
	length := uint64(0)
	switch rapid.IntRange(0, 3).Draw(t, "content") {
	case 0:
		in.Inline = rapid.SliceOfN(rapid.Byte(), 1, p.InlineLimit).Draw(t, "inline")
		length = uint64(len(in.Inline))
	case 1:
		for range rapid.IntRange(1, p.ExtentsMax).Draw(t, "extents") {
			e := Extent{Block: genID().Draw(t, "block"), Length: rapid.Uint64Range(1, 8<<20).Draw(t, "length")}
			if rapid.Bool().Draw(t, "inside") {
				e.Offset = rapid.Uint64Range(1, 8<<20).Draw(t, "offset")
				in.ContentHash[3] = 7
			}
			in.Extents = append(in.Extents, e)
			length += e.Length
		}
	case 2:
		in.Root = genID().Draw(t, "root")
		length = rapid.Uint64Range(1, 1<<50).Draw(t, "length")
	}
	at := rapid.Uint64Range(0, length).Draw(t, "first hole")
	for range rapid.IntRange(0, 3).Draw(t, "holes") {
		h := Hole{at, rapid.Uint64Range(1, 1<<40).Draw(t, "hole")}
		in.Holes = append(in.Holes, h)
		length += h.Length
		at = h.Offset + h.Length + 1 + rapid.Uint64Range(0, 3).Draw(t, "gap")
		if at > length {
			break
		}
	}
	in.Size = length
}

// genInodes draws inodes of ascending numbers. Left alone, rapid prefers few.
func genInodes(low, high int, p Params) *rapid.Generator[[]Inode] {
	return rapid.Custom(func(t *rapid.T) []Inode {
		low := rapid.IntRange(low, high).Draw(t, "at least")
		numbers := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 500), low, high, rapid.ID[uint64]).Draw(t, "numbers")
		slices.Sort(numbers)
		inodes := make([]Inode, len(numbers))
		for i, n := range numbers {
			inodes[i] = genInode(n, p).Draw(t, "inode")
		}
		return inodes
	})
}
