package tree

import (
	"bytes"
	"math"

	"bluesky/object"
)

// The fewest bytes that encode the parts of a leaf, for judging counts.
const (
	minInodeSize  = 10 // a waypoint: a map of number, type, root and marks
	minXattrSize  = 5  // [1 byte of name, no value, no block]
	minPairSize   = 3
	minTripleSize = 4
)

// DecodeLeaf decodes an object of kind inodes. The inodes share no memory with
// refs and payload. The error wraps [ErrCorrupt].
func DecodeLeaf(refs []object.ID, payload []byte, p Params) ([]Inode, error) {
	table, err := newRefReader(refs)
	if err != nil {
		return nil, corruptf("%w", err)
	}
	d := leafDecoder{reader: reader{b: payload}, refs: table, params: &p}
	inodes := d.inodes()
	if err := d.end(); err != nil {
		return nil, corruptf("%w", err)
	}
	if err := d.refs.end(); err != nil {
		return nil, corruptf("%w", err)
	}
	if len(inodes) > 1 && len(payload) > p.LeafBytes {
		return nil, corruptf("%d bytes, more than %d", len(payload), p.LeafBytes)
	}
	return inodes, nil
}

type leafDecoder struct {
	reader
	refs   refReader
	params *Params

	// The last strings, since neighbours tend to have the same owner.
	user, group string
}

func (d *leafDecoder) inodes() []Inode {
	n := d.array(1, math.MaxInt32, minInodeSize)
	inodes := make([]Inode, 0, min(n, 1024)) // the rest must first be seen to exist
	last := uint64(0)
	for i := 0; i < n && d.err == nil; i++ {
		inodes = append(inodes, Inode{})
		in := &inodes[i]
		d.inode(in)
		if d.err == nil && in.Number <= last {
			d.fail("inode %d after inode %d", in.Number, last)
		}
		last = in.Number
	}
	return inodes
}

func (d *leafDecoder) inode(in *Inode) {
	times := 0 // how many of mtime and ctime there are
	d.fields(inodeFields, func(key uint64) {
		if key == keyMTime || key == keyCTime {
			times++
		}
		if key < keyDevice {
			d.attribute(in, key)
		} else {
			d.content(in, key)
		}
	})
	if d.err != nil {
		return
	}
	if times != 2 && !in.Waypoint() || times != 0 && in.Waypoint() {
		d.fail("inode %d: %d times", in.Number, times)
		return
	}
	if err := in.Check(d.params); err != nil {
		d.fail("%w", err)
	}
}

func (d *leafDecoder) attribute(in *Inode, key uint64) {
	switch key {
	case keyNumber:
		in.Number = d.nonzero(math.MaxUint64)
	case keyType:
		in.Type = Type(d.nonzero(math.MaxUint8))
	case keyMode:
		in.Mode = uint32(d.nonzero(math.MaxUint32))
	case keyUID:
		in.UID = uint32(d.nonzero(math.MaxUint32))
	case keyGID:
		in.GID = uint32(d.nonzero(math.MaxUint32))
	case keyUser:
		in.User = d.cached(&d.user)
	case keyGroup:
		in.Group = d.cached(&d.group)
	case keySize:
		in.Size = d.nonzero(math.MaxUint64)
	case keyLinks:
		in.Links = uint32(d.nonzero(math.MaxUint32))
	case keyMTime:
		in.MTime = d.time()
	case keyCTime:
		in.CTime = d.time()
	case keyATime:
		in.ATime = d.optionalTime()
	case keyBTime:
		in.BTime = d.optionalTime()
	}
}

func (d *leafDecoder) content(in *Inode, key uint64) {
	switch key {
	case keyDevice:
		d.array(2, 2, 1)
		in.Device = Device{uint32(d.uint(math.MaxUint32)), uint32(d.uint(math.MaxUint32))}
		if in.Device == (Device{}) {
			d.fail("a zero that should be left out")
		}
	case keyTarget:
		in.Target = string(d.nonempty(MaxTarget))
	case keyXattrs:
		in.Xattrs = d.xattrs()
	case keyFlags:
		in.Flags = uint32(d.nonzero(math.MaxUint32))
	case keySource:
		in.Source = d.nonzero(math.MaxUint64)
	case keyHoles:
		in.Holes = d.holes()
	case keyContent:
		in.ContentHash = d.contentHash()
	case keyInline:
		in.Inline = bytes.Clone(d.nonempty(d.params.InlineLimit))
	case keyExtents:
		in.Extents = d.extents()
	case keyRoot:
		in.Root = d.refs.take(&d.reader, 1)
	case keyMarks:
		in.Marks = Marks(d.nonzero(math.MaxUint32))
	}
}

// cached takes a string and shares it with the one before, if they are equal.
func (d *leafDecoder) cached(last *string) string {
	if s := d.nonempty(object.MaxPayload); string(s) != *last {
		*last = string(s)
	}
	return *last
}

func (d *leafDecoder) nonempty(limit int) []byte {
	s := d.bytes(limit)
	if len(s) == 0 {
		d.fail("an empty string that should be left out")
	}
	return s
}

func (d *leafDecoder) optionalTime() *object.Time {
	t := d.time()
	return &t
}

func (d *leafDecoder) contentHash() (hash [16]byte) {
	if n := copy(hash[:], d.nonempty(len(hash))); n != len(hash) && d.err == nil {
		d.fail("a content hash of %d bytes", n)
	}
	if hash == [16]byte{} {
		d.fail("a content hash of zero")
	}
	return hash
}

func (d *leafDecoder) xattrs() []Xattr {
	xattrs := make([]Xattr, d.array(1, MaxXattrs, minXattrSize))
	for i := range xattrs {
		x := &xattrs[i]
		d.array(3, 3, 1)
		x.Name = string(d.bytes(MaxName))
		x.Value = bytes.Clone(d.bytes(d.params.XattrInline))
		if d.array(0, 1, 1) == 1 {
			x.Block = d.refs.take(&d.reader, 0)
		}
		if d.err != nil {
			return nil
		}
	}
	return xattrs
}

func (d *leafDecoder) holes() []Hole {
	holes := make([]Hole, d.array(1, MaxHoles, minPairSize))
	for i := range holes {
		d.array(2, 2, 1)
		holes[i] = Hole{d.uint(math.MaxUint64), d.uint(math.MaxUint64)}
		if d.err != nil {
			return nil
		}
	}
	return holes
}

func (d *leafDecoder) extents() []Extent {
	extents := make([]Extent, d.array(1, d.params.ExtentsMax, minTripleSize))
	for i := range extents {
		d.array(3, 3, 1)
		extents[i] = Extent{d.refs.take(&d.reader, 0), d.uint(math.MaxUint64), d.uint(math.MaxUint64)}
		if d.err != nil {
			return nil
		}
	}
	return extents
}
