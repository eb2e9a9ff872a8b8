package tree

import (
	"math"

	"bluesky/object"
)

const (
	keyImapLevel    = 1
	keyImapChildren = 2
	imapFields      = 2
)

// An imapNode is an object of kind imap. Children of level 1 are leaves, of
// level n nodes of level n−1.
type imapNode struct {
	level    int
	children []imapChild
}

// An imapChild is a part of an inode map and the number of its first inode.
type imapChild struct {
	first uint64
	id    object.ID
}

// encode returns the refs and the payload. Children are distinct, since they
// hold different inodes, so the n-th has the ordinal n.
func (n *imapNode) encode() (refs []object.ID, payload []byte) {
	m := fieldWriter{b: append(make([]byte, 0, 8+15*len(n.children)), majorMap)}
	m.uint(keyImapLevel, uint64(n.level))
	m.array(keyImapChildren, len(n.children))
	refs = make([]object.ID, len(n.children))
	for i := range n.children {
		refs[i] = n.children[i].id
		m.pair(n.children[i].first, uint64(i))
	}
	m.b[0] |= byte(m.count)
	return refs, m.b
}

// decodeImap decodes an object of kind imap. The error wraps [ErrCorrupt].
func decodeImap(refs []object.ID, payload []byte) (*imapNode, error) {
	table, err := newRefReader(refs)
	if err != nil {
		return nil, corruptf("%w", err)
	}
	r := reader{b: payload}
	var node imapNode
	r.fields(imapFields, func(key uint64) {
		switch key {
		case keyImapLevel:
			node.level = int(r.nonzero(maxLevels - 1))
		case keyImapChildren:
			node.children = decodeImapChildren(&r, &table)
		}
	})
	if err := r.end(); err != nil {
		return nil, corruptf("%w", err)
	}
	if err := table.end(); err != nil {
		return nil, corruptf("%w", err)
	}
	if node.level == 0 || len(node.children) == 0 {
		return nil, corruptf("no level or no children")
	}
	return &node, nil
}

func decodeImapChildren(r *reader, table *refReader) []imapChild {
	children := make([]imapChild, r.array(1, MaxChildren, minPairSize))
	last := uint64(0)
	for i := range children {
		r.array(2, 2, 1)
		c := imapChild{first: r.nonzero(math.MaxUint64), id: table.take(r, 0)}
		if r.err == nil && (c.first <= last || table.used != i+1) {
			r.fail("child %d, of inode %d, after inode %d", i, c.first, last)
		}
		if r.err != nil {
			return nil
		}
		children[i] = c
		last = c.first
	}
	return children
}
