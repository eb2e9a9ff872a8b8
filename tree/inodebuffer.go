package tree

import (
	"encoding/binary"
	"fmt"

	"bluesky/object"
)

// An InodeBuffer keeps many inodes in little memory: each takes what its
// encoding takes, about 70 bytes and 32 for each block, instead of the 400 and
// more of an [Inode]. The zero value is empty; it must not be used concurrently.
type InodeBuffer struct {
	Params Params

	encoder leafEncoder
	slabs   [][]byte
}

// slabSize is how many bytes an InodeBuffer allocates at a time. An inode that
// is larger has a slab of its own.
const slabSize = 256 << 10

// A BufferedInode says where an InodeBuffer has an inode.
type BufferedInode struct{ slab, offset uint32 }

// Add checks in and keeps a copy.
func (b *InodeBuffer) Add(in *Inode) (BufferedInode, error) {
	if err := in.Check(&b.Params); err != nil {
		return BufferedInode{}, err
	}
	b.encoder.reset()
	b.encoder.add(in)
	refs, leaf := b.encoder.refs.ids, b.encoder.payload()
	size := 2*binary.MaxVarintLen32 + len(refs)*len(object.ID{}) + len(leaf)
	last := len(b.slabs) - 1
	if last < 0 || cap(b.slabs[last])-len(b.slabs[last]) < size {
		b.slabs = append(b.slabs, make([]byte, 0, max(slabSize, size)))
		last++
	}
	slab := b.slabs[last]
	at := BufferedInode{uint32(last), uint32(len(slab))}
	slab = binary.AppendUvarint(slab, uint64(len(refs)))
	for i := range refs {
		slab = append(slab, refs[i][:]...)
	}
	slab = binary.AppendUvarint(slab, uint64(len(leaf)))
	b.slabs[last] = append(slab, leaf...)
	return at, nil
}

// Get returns the inode at a place that Add has returned.
func (b *InodeBuffer) Get(at BufferedInode) (Inode, error) {
	record := b.slabs[at.slab][at.offset:]
	count, n := binary.Uvarint(record)
	record = record[n:]
	refs := make([]object.ID, count)
	for i := range refs {
		record = record[copy(refs[i][:], record):]
	}
	size, n := binary.Uvarint(record)
	inodes, err := DecodeLeaf(refs, record[n:][:size], b.Params)
	if err != nil {
		return Inode{}, fmt.Errorf("a buffered inode: %w", err)
	}
	return inodes[0], nil
}
