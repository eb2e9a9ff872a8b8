package tree

import (
	"errors"
	"fmt"

	"bluesky/object"
)

// The keys of an inode's fields; docs/format.md, "inodes".
const (
	keyNumber   = 1
	keyType     = 2
	keyMode     = 3
	keyUID      = 4
	keyGID      = 5
	keyUser     = 6
	keyGroup    = 7
	keySize     = 8
	keyLinks    = 9
	keyMTime    = 10
	keyCTime    = 11
	keyATime    = 12
	keyBTime    = 13
	keyDevice   = 14
	keyTarget   = 15
	keyXattrs   = 16
	keyFlags    = 17
	keySource   = 18
	keyHoles    = 19
	keyContent  = 20
	keyInline   = 21
	keyExtents  = 22
	keyRoot     = 23
	keyMarks    = 24
	inodeFields = 24
)

// EncodeLeaf returns the object of kind inodes that holds the given inodes,
// which stand in the order of their numbers. Only [MapBuilder] knows which
// inodes belong in one leaf.
func EncodeLeaf(inodes []Inode, p Params) (refs []object.ID, payload []byte, err error) {
	var e leafEncoder
	for i := range inodes {
		if err := inodes[i].Check(&p); err != nil {
			return nil, nil, err
		}
		if i > 0 && inodes[i].Number <= inodes[i-1].Number {
			return nil, nil, fmt.Errorf("inode %d after inode %d", inodes[i].Number, inodes[i-1].Number)
		}
		e.add(&inodes[i])
	}
	if e.count == 0 {
		return nil, nil, errors.New("a leaf without inodes")
	}
	if size := e.size(); size > object.MaxPayload || e.count > 1 && size > p.LeafBytes {
		return nil, nil, fmt.Errorf("a leaf of %d bytes", size)
	}
	return e.refs.ids, e.payload(), nil
}

// A leafEncoder holds the encoding of a leaf that is not full yet.
type leafEncoder struct {
	refs  refTable
	body  []byte // the inodes, without the head of their array
	first uint64 // number of the first inode
	count int
}

// add appends an inode that has been checked and returns what undo needs to
// take it away again.
func (e *leafEncoder) add(in *Inode) (mark leafMark) {
	mark = leafMark{len(e.refs.ids), len(e.body)}
	if e.count == 0 {
		e.first = in.Number
	}
	e.body = e.appendInode(e.body, in)
	e.count++
	return mark
}

type leafMark struct{ refs, body int }

func (e *leafEncoder) undo(m leafMark) {
	e.refs.truncate(m.refs)
	e.body = e.body[:m.body]
	e.count--
}

func (e *leafEncoder) reset() {
	e.refs.truncate(0)
	e.body = e.body[:0]
	e.count = 0
}

func (e *leafEncoder) size() int { return headSize(uint64(e.count)) + len(e.body) }

func (e *leafEncoder) payload() []byte {
	b := make([]byte, 0, e.size())
	b = appendHead(b, majorArray, uint64(e.count))
	return append(b, e.body...)
}

// appendInode appends the map of in. It has fewer than 24 fields, since no
// type has more, so its head is one byte, which is filled in when they are
// counted.
func (e *leafEncoder) appendInode(b []byte, in *Inode) []byte {
	start := len(b)
	m := fieldWriter{b: append(b, majorMap)}
	m.uint(keyNumber, in.Number)
	m.uint(keyType, uint64(in.Type))
	m.uint(keyMode, uint64(in.Mode))
	m.uint(keyUID, uint64(in.UID))
	m.uint(keyGID, uint64(in.GID))
	m.string(keyUser, in.User)
	m.string(keyGroup, in.Group)
	m.uint(keySize, in.Size)
	m.uint(keyLinks, uint64(in.Links))
	m.times(in)
	if in.Device != (Device{}) {
		m.key(keyDevice)
		m.pair(uint64(in.Device.Major), uint64(in.Device.Minor))
	}
	m.string(keyTarget, in.Target)
	e.appendXattrs(&m, in.Xattrs)
	m.uint(keyFlags, uint64(in.Flags))
	m.uint(keySource, in.Source)
	e.appendContent(&m, in)
	m.uint(keyMarks, uint64(in.Marks))
	m.b[start] |= byte(m.count)
	return m.b
}

func (e *leafEncoder) appendXattrs(m *fieldWriter, xattrs []Xattr) {
	if len(xattrs) == 0 {
		return
	}
	m.array(keyXattrs, len(xattrs))
	for i := range xattrs {
		x := &xattrs[i]
		m.b = appendHead(m.b, majorArray, 3)
		m.b = appendBytes(m.b, x.Name)
		m.b = appendBytes(m.b, x.Value)
		if x.Block.IsZero() {
			m.b = appendHead(m.b, majorArray, 0)
		} else {
			m.b = appendHead(m.b, majorArray, 1)
			m.b = appendUint(m.b, e.refs.ordinal(x.Block))
		}
	}
}

func (e *leafEncoder) appendContent(m *fieldWriter, in *Inode) {
	if len(in.Holes) != 0 {
		m.array(keyHoles, len(in.Holes))
		for _, h := range in.Holes {
			m.pair(h.Offset, h.Length)
		}
	}
	if in.ContentHash != [16]byte{} {
		m.key(keyContent)
		m.b = appendBytes(m.b, in.ContentHash[:])
	}
	if len(in.Inline) != 0 {
		m.key(keyInline)
		m.b = appendBytes(m.b, in.Inline)
	}
	if len(in.Extents) != 0 {
		m.array(keyExtents, len(in.Extents))
		for i := range in.Extents {
			x := &in.Extents[i]
			m.b = appendHead(m.b, majorArray, 3)
			m.b = appendUint(m.b, e.refs.ordinal(x.Block))
			m.b = appendUint(m.b, x.Offset)
			m.b = appendUint(m.b, x.Length)
		}
	}
	if !in.Root.IsZero() {
		m.uint(keyRoot, 1+e.refs.ordinal(in.Root))
	}
}

// A fieldWriter appends fields of a map and counts them. Defaults are left out.
type fieldWriter struct {
	b     []byte
	count int
}

func (m *fieldWriter) key(key uint64) {
	m.b = appendUint(m.b, key)
	m.count++
}

func (m *fieldWriter) uint(key, n uint64) {
	if n != 0 {
		m.key(key)
		m.b = appendUint(m.b, n)
	}
}

func (m *fieldWriter) string(key uint64, s string) {
	if s != "" {
		m.key(key)
		m.b = appendBytes(m.b, s)
	}
}

func (m *fieldWriter) array(key uint64, n int) {
	m.key(key)
	m.b = appendHead(m.b, majorArray, uint64(n))
}

func (m *fieldWriter) pair(x, y uint64) {
	m.b = appendHead(m.b, majorArray, 2)
	m.b = appendUint(m.b, x)
	m.b = appendUint(m.b, y)
}

// times appends the times. A time has no default: 1970 is a time like any
// other. All but waypoints have the first two.
func (m *fieldWriter) times(in *Inode) {
	if !in.Waypoint() {
		m.time(keyMTime, in.MTime)
		m.time(keyCTime, in.CTime)
	}
	if in.ATime != nil {
		m.time(keyATime, *in.ATime)
	}
	if in.BTime != nil {
		m.time(keyBTime, *in.BTime)
	}
}

func (m *fieldWriter) time(key uint64, t object.Time) {
	m.key(key)
	m.b = appendTime(m.b, t)
}
