package tree

import (
	"bytes"
	"fmt"
	"slices"

	"bluesky/object"
)

// A Type is the type of an inode.
type Type uint8

// The types of format version 1.
const (
	TypeFile        Type = 1
	TypeDir         Type = 2
	TypeSymlink     Type = 3
	TypeFIFO        Type = 4
	TypeSocket      Type = 5
	TypeCharDevice  Type = 6
	TypeBlockDevice Type = 7
)

var typeNames = [...]string{"", "file", "directory", "symlink", "fifo", "socket", "character device", "block device"}

// Valid reports whether t is a type of format version 1.
func (t Type) Valid() bool { return t >= TypeFile && t <= TypeBlockDevice }

func (t Type) String() string {
	if !t.Valid() {
		return fmt.Sprintf("type(%d)", uint8(t))
	}
	return typeNames[t]
}

// RootNumber is the number of the inode of "/", which is a waypoint unless "/"
// itself was asked for.
const RootNumber = 1

// Marks are bits that say more about an inode.
type Marks uint32

// MarkWaypoint marks a directory above the paths that were asked for. It has a
// mode, an owner and entries, and nothing else.
const MarkWaypoint Marks = 1 << 0

// Inode flags, as FS_IOC_GETFLAGS gives them. No others are recorded.
const (
	FlagCompressed uint32 = 0x04
	FlagImmutable  uint32 = 0x10
	FlagAppend     uint32 = 0x20
	FlagNoDump     uint32 = 0x40
	FlagNoAtime    uint32 = 0x80
	FlagNoCOW      uint32 = 0x800000

	FlagsMask = FlagCompressed | FlagImmutable | FlagAppend | FlagNoDump | FlagNoAtime | FlagNoCOW
)

// An Inode is what a snapshot holds of a file, whatever its type, but for its
// names, which stand in directories. docs/format.md, "inodes", says which
// fields which types have; [Inode.Check] holds them to it.
//
// Inodes that readers of this package return share memory with each other:
// what their slices and pointers lead to must not be changed.
type Inode struct {
	Number uint64 // unique within a snapshot, at least 1
	Type   Type
	Mode   uint32 // the low 12 bits of st_mode
	UID    uint32
	GID    uint32
	User   string // name of UID at the time of backup, may be empty
	Group  string
	Size   uint64 // bytes, holes included
	Links  uint32 // st_nlink
	MTime  object.Time
	CTime  object.Time
	ATime  *object.Time // nil if it was not asked for
	BTime  *object.Time // nil if it was not asked for
	Device Device
	Target string // of a symlink
	Xattrs []Xattr
	Flags  uint32 // of FlagsMask
	Source uint64 // st_ino at the time of backup
	Holes  []Hole

	// ContentHash is keyed, over the content. It is zero if it is absent, which
	// it may not be where an extent begins inside its block.
	ContentHash [16]byte

	// A file's content, if there is any, is exactly one of the bytes Inline,
	// the blocks Extents and the list Root. A directory's entries are in the
	// dir Root.
	Inline  []byte
	Extents []Extent
	Root    object.ID

	Marks Marks
}

// A Device is the number of a character or block device.
type Device struct{ Major, Minor uint32 }

// An Xattr is an extended attribute. A value of more than
// [Params.XattrInline] bytes is in a block of its own. [StoreXattr] makes one
// and [Xattr.Load] reads it.
type Xattr struct {
	Name  string
	Value []byte    // empty if Block is set
	Block object.ID // zero if Value holds it
}

// A Hole is a part of a file that takes no space and reads as zeros.
type Hole struct{ Offset, Length uint64 }

// An Extent is Length bytes of a block from Offset on. Extents hold the content
// of a file in order, its holes left out.
type Extent struct {
	Block  object.ID
	Offset uint64
	Length uint64
}

// ContentLength returns the number of bytes outside the holes of a file.
func (in *Inode) ContentLength() uint64 {
	n := in.Size
	for _, h := range in.Holes {
		n -= h.Length
	}
	return n
}

// Waypoint reports whether in is a directory above the paths that were asked
// for, which were not backed up themselves.
func (in *Inode) Waypoint() bool { return in.Marks&MarkWaypoint != 0 }

// Equal reports whether in and other have the same encoding.
func (in *Inode) Equal(other *Inode) bool {
	return in.Number == other.Number && in.Type == other.Type && in.Mode == other.Mode &&
		in.UID == other.UID && in.GID == other.GID && in.User == other.User && in.Group == other.Group &&
		in.Size == other.Size && in.Links == other.Links &&
		in.MTime == other.MTime && in.CTime == other.CTime &&
		equalTime(in.ATime, other.ATime) && equalTime(in.BTime, other.BTime) &&
		in.Device == other.Device && in.Target == other.Target &&
		in.Flags == other.Flags && in.Source == other.Source && in.Marks == other.Marks &&
		in.equalContent(other) && slices.EqualFunc(in.Xattrs, other.Xattrs, Xattr.equal)
}

func (in *Inode) equalContent(other *Inode) bool {
	return in.ContentHash == other.ContentHash && in.Root == other.Root &&
		bytes.Equal(in.Inline, other.Inline) &&
		slices.Equal(in.Holes, other.Holes) &&
		slices.Equal(in.Extents, other.Extents)
}

func (x Xattr) equal(y Xattr) bool {
	return x.Name == y.Name && x.Block == y.Block && bytes.Equal(x.Value, y.Value)
}

func equalTime(a, b *object.Time) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
