package tree

import (
	"context"
	"fmt"
	"iter"

	"bluesky/object"
)

// A Change is what becomes of one inode number: the inode that it has from now
// on, or none.
type Change struct {
	Number uint64
	Inode  *Inode // nil to remove it
}

// Update stores the map that old becomes by the changes, in ascending order of
// their numbers, and returns its root. It is the map that a [MapBuilder] makes
// of the inodes that result. Removing a number that is not there changes
// nothing.
//
// Nodes that stay as they are are neither read nor stored. Memory is bounded
// as it is for a MapBuilder, plus a node of each level of old.
//
// An error of changes ends it.
func Update(ctx context.Context, old *Map, sink Sink, changes iter.Seq2[Change, error]) (root object.ID, err error) {
	next, stop := iter.Pull2(changes)
	defer stop()
	u := updater{ctx: ctx, old: old, b: NewMapBuilder(sink, old.hasher, old.params), pull: next}
	if err := u.advance(); err != nil {
		return object.ID{}, err
	}
	s, n, err := old.open(ctx)
	if err != nil {
		return object.ID{}, err
	}
	if u.next == nil {
		return old.root, nil
	}
	if err := u.merge(s, n); err != nil {
		return object.ID{}, err
	}
	return u.finish()
}

// An updater goes through the old map with the changes beside it.
type updater struct {
	ctx  context.Context
	old  *Map
	b    *MapBuilder
	pull func() (Change, error, bool)
	next *Change // the first that is not merged yet; nil if none is left
	last uint64  // the number before that
}

func (u *updater) advance() error {
	c, err, ok := u.pull()
	switch {
	case !ok:
		u.next = nil
		return nil
	case err != nil:
		return err
	case c.Number <= u.last:
		return fmt.Errorf("a change of inode %d after one of inode %d", c.Number, u.last)
	case c.Inode != nil && c.Inode.Number != c.Number:
		return fmt.Errorf("a change of inode %d to inode %d", c.Number, c.Inode.Number)
	}
	u.next, u.last = &c, c.Number
	return nil
}

// unchanged reports whether the new map has the very node of the old one that
// stands at s. It does if building comes to it with nothing unfinished, and no
// change reaches from its first inode to the first one behind it: that one
// counts too, since a leaf may have ended because it did not fit.
func (u *updater) unchanged(s span) bool {
	if u.next != nil && (s.end == 0 || u.next.Number <= s.end) {
		return false
	}
	return u.b.aligned(s.level)
}

// merge adds what becomes of the node n, which stands at s.
func (u *updater) merge(s span, n *mapNode) error {
	if s.level == 0 {
		return u.mergeLeaf(s, n)
	}
	for i := range n.children {
		at := s.child(n, i)
		if u.unchanged(at) {
			if err := u.b.reuse(u.ctx, at.level, at.imapChild); err != nil {
				return err
			}
			continue
		}
		child, err := u.old.load(u.ctx, at, false)
		if err != nil {
			return err
		}
		if err := u.merge(at, child); err != nil {
			return err
		}
	}
	return nil
}

// mergeLeaf adds the inodes of a leaf and the changes that lie before the next
// one.
func (u *updater) mergeLeaf(s span, n *mapNode) error {
	for i := range n.inodes {
		in := &n.inodes[i]
		if err := u.addChanges(in.Number); err != nil {
			return err
		}
		if u.next != nil && u.next.Number == in.Number {
			continue // it comes with the changes before the next number, or not at all
		}
		if err := u.b.Add(u.ctx, in); err != nil {
			return err
		}
	}
	return u.addChanges(s.end)
}

// addChanges adds the changes of numbers below end; 0 means all.
func (u *updater) addChanges(end uint64) error {
	for u.next != nil && (end == 0 || u.next.Number < end) {
		if u.next.Inode != nil {
			if err := u.b.Add(u.ctx, u.next.Inode); err != nil {
				return err
			}
		}
		if err := u.advance(); err != nil {
			return err
		}
	}
	return nil
}

// finish returns the root of the new map. If all that is left of the old one
// is a node with one child, the way down to where it divides is no part of the
// new one.
func (u *updater) finish() (object.ID, error) {
	root, err := u.b.Finish(u.ctx)
	if err != nil {
		return object.ID{}, err
	}
	for level := u.b.rootReused(); level > 1; level-- {
		n, err := u.old.read(u.ctx, root, object.KindImap, false)
		if err != nil {
			return object.ID{}, err
		}
		if len(n.children) > 1 {
			break
		}
		root = n.children[0].id
	}
	return root, nil
}
