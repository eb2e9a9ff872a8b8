package tree

import (
	"errors"
	"fmt"
	"math"

	"bluesky/object"
)

// An Entry is a name in a directory. Names are bytes, not text, and sort
// bytewise.
type Entry struct {
	Name   string
	Number uint64 // of the inode
	Type   Type   // of the inode
}

func (e *Entry) check() error {
	if err := CheckName(e.Name); err != nil {
		return err
	}
	if e.Number <= RootNumber {
		return fmt.Errorf("the entry %q is of inode %d", e.Name, e.Number)
	}
	if !e.Type.Valid() {
		return fmt.Errorf("the entry %q is of unknown %s", e.Name, e.Type)
	}
	return nil
}

const (
	dirFanout = 16 // children of a split; dir_bits is 4

	keyDirEntries = 1
	keyDirSplit   = 2
	keyDirLevel   = 3
	dirFields     = 3
)

// A dirNode is an object of kind dir: entries, or a split.
type dirNode struct {
	entries  []Entry
	split    bool
	level    int                  // of a split: the number of splits above it
	children [dirFanout]object.ID // of a split: zero for a child without entries
}

// slot returns the child of a split at level that holds the names of this
// hash: 4 bits of it, counted from the lowest bit of the first byte.
func slot(hash *[32]byte, level int) int {
	return int(hash[level/2]>>(level%2*4)) & (dirFanout - 1)
}

func encodeEntries(entries []Entry) []byte {
	if len(entries) == 0 {
		return appendHead(nil, majorMap, 0)
	}
	size := 8
	for i := range entries {
		size += 16 + len(entries[i].Name)
	}
	b := appendHead(make([]byte, 0, size), majorMap, 1)
	b = appendUint(b, keyDirEntries)
	b = appendHead(b, majorArray, uint64(len(entries)))
	for i := range entries {
		e := &entries[i]
		b = appendHead(b, majorArray, 3)
		b = appendBytes(b, e.Name)
		b = appendUint(b, e.Number)
		b = appendUint(b, uint64(e.Type))
	}
	return b
}

// encodeSplit returns the refs and the payload of a split. Its children are
// distinct: no name is in two of them.
func encodeSplit(children *[dirFanout]object.ID, level int) (refs []object.ID, payload []byte) {
	m := fieldWriter{b: append(make([]byte, 0, 24), majorMap)}
	m.array(keyDirSplit, dirFanout)
	for _, id := range children {
		if id.IsZero() {
			m.b = appendUint(m.b, 0)
			continue
		}
		refs = append(refs, id)
		m.b = appendUint(m.b, uint64(len(refs)))
	}
	m.uint(keyDirLevel, uint64(level))
	m.b[0] |= byte(m.count)
	return refs, m.b
}

// encode is the inverse of decodeDir.
func (n *dirNode) encode() (refs []object.ID, payload []byte) {
	if n.split {
		return encodeSplit(&n.children, n.level)
	}
	return nil, encodeEntries(n.entries)
}

// decodeDir decodes an object of kind dir. The error wraps [ErrCorrupt].
func decodeDir(refs []object.ID, payload []byte, p *Params) (*dirNode, error) {
	table, err := newRefReader(refs)
	if err != nil {
		return nil, corruptf("%w", err)
	}
	d := dirDecoder{reader: reader{b: payload}, refs: table, params: p, text: string(payload)}
	d.fields(dirFields, d.field)
	if err := d.end(); err != nil {
		return nil, corruptf("%w", err)
	}
	if err := d.refs.end(); err != nil {
		return nil, corruptf("%w", err)
	}
	if len(d.node.entries) == 0 && !d.node.split && len(payload) != 1 {
		return nil, corruptf("a level and no split")
	}
	return &d.node, nil
}

type dirDecoder struct {
	reader
	refs   refReader
	params *Params
	text   string // the payload, which names are parts of
	node   dirNode
}

func (d *dirDecoder) field(key uint64) {
	switch key {
	case keyDirEntries:
		d.entries()
	case keyDirSplit:
		if len(d.node.entries) != 0 {
			d.fail("entries and a split")
			return
		}
		d.split()
	case keyDirLevel:
		if !d.node.split {
			d.fail("a level and no split")
			return
		}
		d.node.level = int(d.nonzero(maxDirLevels - 1))
	}
}

func (d *dirDecoder) entries() {
	n := d.array(1, d.params.DirMax, minTripleSize)
	d.node.entries = make([]Entry, n)
	for i := range d.node.entries {
		e := &d.node.entries[i]
		d.array(3, 3, 1)
		name := d.bytes(MaxName)
		end := len(d.text) - len(d.b)
		e.Name = d.text[end-len(name) : end]
		e.Number = d.uint(math.MaxUint64)
		e.Type = Type(d.uint(math.MaxUint8))
		if d.err != nil {
			return
		}
		if err := e.check(); err != nil {
			d.fail("%w", err)
		}
		if i > 0 && e.Name <= d.node.entries[i-1].Name {
			d.fail("the entry %q after %q", e.Name, d.node.entries[i-1].Name)
		}
	}
}

// split takes the slots of a split. Their refs are distinct, and so ascending.
func (d *dirDecoder) split() {
	d.node.split = true
	d.array(dirFanout, dirFanout, 1)
	for i := range d.node.children {
		if len(d.b) > 0 && d.b[0] == 0 {
			d.b = d.b[1:]
			continue
		}
		used := d.refs.used
		d.node.children[i] = d.refs.take(&d.reader, 1)
		if d.err == nil && d.refs.used == used {
			d.fail("two slots with the same ref")
		}
	}
	if d.err == nil && d.refs.used == 0 {
		d.err = errors.New("a split without children")
	}
}
