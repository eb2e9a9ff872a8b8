package tree

import (
	"context"
	"errors"
	"fmt"

	"bluesky/object"
)

// A ListBuilder makes the content of a file of its blocks, one after the
// other: extents for a few, else a list, whose parts it stores as they
// complete. It holds one unfinished list of each level.
//
// A builder that has returned an error is of no more use. It must not be used
// concurrently.
type ListBuilder struct {
	sink   Sink
	params Params

	extents []Extent // until there are too many
	levels  []listLevel
	total   uint64
}

type listLevel struct {
	pending []listEntry // of the list that is being filled
	lists   int         // that are stored
	last    object.ID   // the one that was stored last
}

// NewListBuilder returns a builder that has no blocks yet.
func NewListBuilder(sink Sink, p Params) *ListBuilder {
	return &ListBuilder{sink: sink, params: p}
}

// Add appends a block, all length bytes of it.
func (b *ListBuilder) Add(ctx context.Context, block object.ID, length uint64) error {
	switch {
	case block.IsZero():
		return errors.New("list: a block without an id")
	case length == 0 || length > object.MaxPayload:
		return fmt.Errorf("list: a block of %d bytes", length)
	case b.total+length < b.total:
		return errors.New("list: the length does not fit 64 bits")
	}
	b.total += length
	if b.levels == nil && len(b.extents) < b.params.ExtentsMax {
		b.extents = append(b.extents, Extent{Block: block, Length: length})
		return nil
	}
	for _, e := range b.extents {
		if err := b.push(ctx, 0, listEntry{e.Block, e.Length}); err != nil {
			return err
		}
	}
	b.extents = nil
	return b.push(ctx, 0, listEntry{block, length})
}

// Length returns the number of bytes of all blocks so far.
func (b *ListBuilder) Length() uint64 { return b.total }

// push appends an entry to the list of a level that is being filled.
func (b *ListBuilder) push(ctx context.Context, level int, e listEntry) error {
	if level == maxLevels {
		if b.levels[maxLevels-1].lists > 1 {
			return fmt.Errorf("list: more than %d levels", maxLevels)
		}
		return nil // the root
	}
	if level == len(b.levels) {
		b.levels = append(b.levels, listLevel{})
	}
	l := &b.levels[level]
	l.pending = append(l.pending, e)
	if listEnds(&b.params, &e.id, len(l.pending)) {
		return b.put(ctx, level)
	}
	return nil
}

// put stores the list of a level that is being filled, and begins another.
func (b *ListBuilder) put(ctx context.Context, level int) error {
	l := &b.levels[level]
	node := listNode{level, l.pending}
	refs, payload := node.encode()
	id, err := b.sink.Put(ctx, object.KindList, refs, payload)
	if err != nil {
		return err
	}
	l.pending = l.pending[:0]
	l.lists++
	l.last = id
	return b.push(ctx, level+1, listEntry{id, node.sum()})
}

// Finish returns the content of the file: extents, or the root of a list, or
// neither for a file that has none.
func (b *ListBuilder) Finish(ctx context.Context) (extents []Extent, root object.ID, err error) {
	if b.levels == nil {
		return b.extents, object.ID{}, nil
	}
	for level := 0; ; level++ {
		if len(b.levels[level].pending) > 0 {
			if err := b.put(ctx, level); err != nil {
				return nil, object.ID{}, err
			}
		}
		if b.levels[level].lists == 1 {
			return nil, b.levels[level].last, nil
		}
	}
}
