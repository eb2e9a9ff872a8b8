package tree

import (
	"context"
	"iter"

	"bluesky/object"
)

// Content yields the extents of a file's content in order, wherever they
// stand. A file with inline content, or with none, has no extents. At most 16
// lists are in memory at a time.
//
// It stops with an error, which wraps [ErrCorrupt], if a list is not as
// [ListBuilder] would have made it or holds another number of bytes than the
// inode says. Until then, all extents it has yielded are inside that number.
func Content(ctx context.Context, src Source, p Params, in *Inode) iter.Seq2[Extent, error] {
	return func(yield func(Extent, error) bool) {
		if in.Type != TypeFile {
			return
		}
		for _, e := range in.Extents {
			if !yield(e, nil) {
				return
			}
		}
		if in.Root.IsZero() {
			return
		}
		r := listReader{ctx: ctx, src: src, params: &p, yield: yield}
		if err := r.root(in); err != nil && err != errStop {
			yield(Extent{}, err)
		}
	}
}

type listReader struct {
	ctx    context.Context
	src    Source
	params *Params
	yield  func(Extent, error) bool
	blocks int // entries of level 0 so far, counted up to the limit of extents
}

func (r *listReader) root(in *Inode) error {
	node, err := r.load(in.Root, in.ContentLength())
	if err != nil {
		return err
	}
	if node.level > 0 && len(node.entries) < 2 {
		return about(object.KindList, in.Root, corruptf("a root of level %d above one list", node.level))
	}
	if err := r.walk(node, in.Root, true); err != nil {
		return err
	}
	if r.blocks <= r.params.ExtentsMax {
		return about(object.KindList, in.Root, corruptf("a list of %d blocks", r.blocks))
	}
	return nil
}

// load reads a list that should hold length bytes.
func (r *listReader) load(id object.ID, length uint64) (*listNode, error) {
	refs, payload, err := r.src.Object(r.ctx, id, object.KindList)
	if err != nil {
		return nil, err
	}
	node, err := decodeList(refs, payload, r.params)
	if err != nil {
		return nil, about(object.KindList, id, err)
	}
	if sum := node.sum(); sum != length {
		return nil, about(object.KindList, id, corruptf("a list of %d bytes where %d belong", sum, length))
	}
	return node, nil
}

// walk yields the extents below node. last tells that no list of its level
// follows, which is the one that may end anywhere.
func (r *listReader) walk(node *listNode, id object.ID, last bool) error {
	end := len(node.entries) - 1
	if !last && !listEnds(r.params, &node.entries[end].id, end+1) {
		return about(object.KindList, id, corruptf("a list that ends too early"))
	}
	for i, e := range node.entries {
		if node.level == 0 {
			if r.blocks <= r.params.ExtentsMax {
				r.blocks++
			}
			if !r.yield(Extent{Block: e.id, Length: e.length}, nil) {
				return errStop
			}
			continue
		}
		child, err := r.load(e.id, e.length)
		if err != nil {
			return err
		}
		if child.level != node.level-1 {
			return about(object.KindList, e.id, corruptf("a list of level %d below one of level %d", child.level, node.level))
		}
		if err := r.walk(child, e.id, last && i == end); err != nil {
			return err
		}
	}
	return nil
}
