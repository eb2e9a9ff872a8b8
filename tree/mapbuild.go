package tree

import (
	"context"
	"errors"
	"fmt"

	"bluesky/object"
)

// A MapBuilder makes an inode map of its inodes, one after the other, and
// stores its nodes as they complete. It holds one unfinished node of each
// level, which is at most [Params.LeafBytes] of a leaf and [MaxChildren]
// children of each other.
//
// A builder that has returned an error is of no more use. It must not be used
// concurrently.
type MapBuilder struct {
	sink   Sink
	hasher Hasher
	params Params

	leaf   leafEncoder
	last   uint64     // the greatest number so far
	levels []mapLevel // level n at n; that of the leaves, 0, has no pending
}

type mapLevel struct {
	pending []imapChild // of the node that is being filled
	nodes   int         // that are complete
	root    object.ID   // the one that was completed last
	reused  bool        // whether that came from an earlier map
}

// NewMapBuilder returns a builder that has no inodes yet.
func NewMapBuilder(sink Sink, hasher Hasher, p Params) *MapBuilder {
	return &MapBuilder{sink: sink, hasher: hasher, params: p, levels: make([]mapLevel, 1)}
}

// Add appends an inode. Numbers ascend. It keeps nothing of in.
func (b *MapBuilder) Add(ctx context.Context, in *Inode) error {
	if err := in.Check(&b.params); err != nil {
		return err
	}
	if in.Number <= b.last {
		return fmt.Errorf("inode %d after inode %d", in.Number, b.last)
	}
	b.last = in.Number
	mark := b.leaf.add(in)
	if b.leaf.count > 1 && b.leaf.size() > b.params.LeafBytes {
		b.leaf.undo(mark)
		if err := b.putLeaf(ctx); err != nil {
			return err
		}
		b.leaf.add(in)
	}
	if b.leaf.size() > object.MaxPayload {
		return fmt.Errorf("inode %d: %d bytes of metadata, more than %d", in.Number, b.leaf.size(), object.MaxPayload)
	}
	if b.boundary(0, in.Number) {
		return b.putLeaf(ctx)
	}
	return nil
}

// boundary reports whether a node of a level ends behind the child that begins
// with inode n, or a leaf behind n itself.
func (b *MapBuilder) boundary(level int, n uint64) bool {
	return onBoundary(b.hasher.MapHash(uint8(level), n), b.params.LeafBits)
}

func (b *MapBuilder) putLeaf(ctx context.Context) error {
	id, err := b.sink.Put(ctx, object.KindInodes, b.leaf.refs.ids, b.leaf.payload())
	if err != nil {
		return err
	}
	first := b.leaf.first
	b.leaf.reset()
	return b.complete(ctx, 0, imapChild{first, id})
}

// complete takes a node of a level, stored by now, into the level above.
func (b *MapBuilder) complete(ctx context.Context, level int, c imapChild) error {
	b.levels[level].nodes++
	b.levels[level].root = c.id
	b.levels[level].reused = false
	level++
	if level == maxLevels {
		if b.levels[maxLevels-1].nodes > 1 {
			return fmt.Errorf("inode map: more than %d levels", maxLevels)
		}
		return nil // the root
	}
	if level == len(b.levels) {
		b.levels = append(b.levels, mapLevel{})
	}
	l := &b.levels[level]
	l.pending = append(l.pending, c)
	if n := len(l.pending); n == MaxChildren || n > 1 && b.boundary(level, c.first) {
		return b.putNode(ctx, level)
	}
	return nil
}

func (b *MapBuilder) putNode(ctx context.Context, level int) error {
	l := &b.levels[level]
	node := imapNode{level, l.pending}
	first := l.pending[0].first
	refs, payload := node.encode()
	id, err := b.sink.Put(ctx, object.KindImap, refs, payload)
	if err != nil {
		return err
	}
	l.pending = l.pending[:0]
	return b.complete(ctx, level, imapChild{first, id})
}

// Finish stores what is unfinished and returns the root of the map, an object
// of kind imap. A map has at least one inode.
func (b *MapBuilder) Finish(ctx context.Context) (root object.ID, err error) {
	if b.leaf.count > 0 {
		if err := b.putLeaf(ctx); err != nil {
			return object.ID{}, err
		}
	}
	for level := 1; level < len(b.levels); level++ {
		if len(b.levels[level].pending) > 0 {
			if err := b.putNode(ctx, level); err != nil {
				return object.ID{}, err
			}
		}
		if b.levels[level].nodes == 1 {
			return b.levels[level].root, nil
		}
	}
	return object.ID{}, errors.New("inode map: no inodes")
}

// rootReused returns the level of the root that Finish has returned if that
// root was reused, else 0.
func (b *MapBuilder) rootReused() (level int) {
	for level, l := range b.levels {
		if level > 0 && l.nodes == 1 && l.reused {
			return level
		}
	}
	return 0
}

// aligned reports whether nothing is unfinished up to a level, so that the
// next inode begins a node of each level up to it.
func (b *MapBuilder) aligned(level int) bool {
	if b.leaf.count > 0 {
		return false
	}
	for l := 1; l <= min(level, len(b.levels)-1); l++ {
		if len(b.levels[l].pending) > 0 {
			return false
		}
	}
	return true
}

// reuse takes a node of a level, stored with some earlier map, with all that
// is below it. The caller knows that adding its inodes one by one would give
// this very node. The builder must be aligned at its level.
func (b *MapBuilder) reuse(ctx context.Context, level int, c imapChild) error {
	if c.first <= b.last {
		return fmt.Errorf("inode %d after inode %d", c.first, b.last)
	}
	b.last = c.first
	for len(b.levels) <= level {
		b.levels = append(b.levels, mapLevel{})
	}
	for l := range level {
		b.levels[l].nodes += 2 // or one: then the root that is found has one child
	}
	if err := b.complete(ctx, level, c); err != nil {
		return err
	}
	b.levels[level].reused = true
	return nil
}
