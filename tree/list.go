package tree

import (
	"encoding/binary"
	"fmt"
	"math"

	"bluesky/object"
)

const (
	keyListLevel   = 1
	keyListEntries = 2
	listFields     = 2
)

// A listNode is an object of kind list: entries of level 0 are blocks, of
// level n lists of level n−1.
type listNode struct {
	level   int
	entries []listEntry
}

// A listEntry is a block or a list and the bytes of content that it holds.
type listEntry struct {
	id     object.ID
	length uint64
}

// sum returns the length of all entries; decodeList has checked that it fits.
func (n *listNode) sum() uint64 {
	sum := uint64(0)
	for i := range n.entries {
		sum += n.entries[i].length
	}
	return sum
}

// listEnds reports whether the n-th entry of a list, counted from 1, ends it,
// when others follow. The rule needs no key: ids are keyed hashes. Two entries
// are the fewest, so that every level is at most half as long as the one below
// even where one block repeats whose id would end a list each time.
func listEnds(p *Params, id *object.ID, n int) bool {
	return n == p.ListMax || n > 1 && onBoundary(binary.LittleEndian.Uint32(id[:4]), p.ListBits)
}

func (n *listNode) encode() (refs []object.ID, payload []byte) {
	var table refTable
	m := fieldWriter{b: append(make([]byte, 0, 8+10*len(n.entries)), majorMap)}
	m.uint(keyListLevel, uint64(n.level))
	m.array(keyListEntries, len(n.entries))
	for i := range n.entries {
		m.pair(table.ordinal(n.entries[i].id), n.entries[i].length)
	}
	m.b[0] |= byte(m.count)
	return table.ids, m.b
}

// decodeList decodes an object of kind list. The sum of its lengths fits 64
// bits, and it has no entry but the last that would have ended it. The error
// wraps [ErrCorrupt].
func decodeList(refs []object.ID, payload []byte, p *Params) (*listNode, error) {
	table, err := newRefReader(refs)
	if err != nil {
		return nil, corruptf("%w", err)
	}
	r := reader{b: payload}
	var node listNode
	r.fields(listFields, func(key uint64) {
		switch key {
		case keyListLevel:
			node.level = int(r.nonzero(maxLevels - 1))
		case keyListEntries:
			node.entries = decodeListEntries(&r, &table, p)
		}
	})
	if err := r.end(); err != nil {
		return nil, corruptf("%w", err)
	}
	if err := table.end(); err != nil {
		return nil, corruptf("%w", err)
	}
	if err := node.check(p); err != nil {
		return nil, corruptf("%w", err)
	}
	return &node, nil
}

func decodeListEntries(r *reader, table *refReader, p *Params) []listEntry {
	entries := make([]listEntry, r.array(1, p.ListMax, minPairSize))
	for i := range entries {
		r.array(2, 2, 1)
		entries[i] = listEntry{table.take(r, 0), r.nonzero(math.MaxUint64)}
		if r.err != nil {
			return nil
		}
	}
	return entries
}

func (n *listNode) check(p *Params) error {
	if len(n.entries) == 0 {
		return fmt.Errorf("no entries")
	}
	sum := uint64(0)
	for i := range n.entries {
		e := &n.entries[i]
		if n.level == 0 && e.length > object.MaxPayload {
			return fmt.Errorf("a block of %d bytes", e.length)
		}
		if sum+e.length < sum {
			return fmt.Errorf("lengths that do not fit 64 bits")
		}
		sum += e.length
		if i < len(n.entries)-1 && listEnds(p, &e.id, i+1) {
			return fmt.Errorf("entry %d should be the last", i)
		}
	}
	return nil
}
