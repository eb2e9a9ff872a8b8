package tree

import "fmt"

// Params are the parameters that shape trees. They are drawn when a repository
// is made and never change: other parameters make other objects of the same
// files. docs/format.md, "bluesky.json", member tree.
type Params struct {
	LeafBits    int `json:"leaf_bits"`    // boundaries of the inode map: one in 2^LeafBits
	LeafBytes   int `json:"leaf_bytes"`   // most bytes of a leaf of more than one inode
	ListBits    int `json:"list_bits"`    // boundaries of lists: one in 2^ListBits
	ListMax     int `json:"list_max"`     // most entries of a list
	ExtentsMax  int `json:"extents_max"`  // most extents of an inode; more make a list
	DirBits     int `json:"dir_bits"`     // a split directory has 2^DirBits children
	DirMax      int `json:"dir_max"`      // most entries of a directory that is not split
	XattrInline int `json:"xattr_inline"` // most bytes of an xattr value inside the inode
	InlineLimit int `json:"inline_limit"` // most bytes of content inside the inode
}

// DefaultParams returns the parameters that version 1 writes.
func DefaultParams() Params {
	return Params{
		LeafBits:    5,
		LeafBytes:   1 << 20,
		ListBits:    6,
		ListMax:     1024,
		ExtentsMax:  64,
		DirBits:     4,
		DirMax:      4096,
		XattrInline: 256,
		InlineLimit: 0,
	}
}

// Validate returns an error if p is outside of what a reader accepts. All
// functions of this package expect parameters that are inside.
func (p Params) Validate() error {
	limits := [...]struct {
		name             string
		value, low, high int
	}{
		{"leaf_bits", p.LeafBits, 1, 16},
		{"leaf_bytes", p.LeafBytes, 4096, 8 << 20},
		{"list_bits", p.ListBits, 1, 16},
		{"list_max", p.ListMax, 2, 65536},
		{"extents_max", p.ExtentsMax, 2, 65536},
		{"dir_bits", p.DirBits, 4, 4},
		{"dir_max", p.DirMax, 2, 65536},
		{"xattr_inline", p.XattrInline, 0, 65536},
		{"inline_limit", p.InlineLimit, 0, 65536},
	}
	for _, l := range limits {
		if l.value < l.low || l.value > l.high {
			return fmt.Errorf("tree parameter %s is %d, not within %d and %d", l.name, l.value, l.low, l.high)
		}
	}
	return nil
}

// onBoundary reports whether the low bits of hash are zero.
func onBoundary(hash uint32, bits int) bool { return hash&(1<<bits-1) == 0 }
