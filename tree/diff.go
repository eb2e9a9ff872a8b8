package tree

import (
	"context"
	"errors"
	"iter"
)

// A Delta is the difference that one inode number makes between two maps.
type Delta struct {
	Number uint64
	Old    *Inode // nil if it was added
	New    *Inode // nil if it was removed
}

// Diff yields the differences between two maps of one repository, in the order
// of their numbers. Parts that both share are not read, so the cost follows
// the changes.
func Diff(ctx context.Context, old, new *Map) iter.Seq2[Delta, error] {
	return func(yield func(Delta, error) bool) {
		if old.root == new.root {
			return
		}
		d := differ{ctx: ctx, yield: yield}
		err := d.old.begin(ctx, old)
		if err == nil {
			err = d.new.begin(ctx, new)
		}
		for err == nil && (d.old.more() || d.new.more()) {
			err = d.step()
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(Delta{}, err)
		}
	}
}

// A differ goes through both maps at once. What stands ahead of a cursor is a
// whole node until something about it differs.
type differ struct {
	ctx      context.Context
	yield    func(Delta, error) bool
	old, new diffCursor
}

// A diffCursor is a place in a map: inodes that are read, and behind them
// nodes that are not, the next one last.
type diffCursor struct {
	m      *Map
	inodes []Inode
	nodes  []span
}

func (c *diffCursor) begin(ctx context.Context, m *Map) error {
	s, _, err := m.open(ctx)
	*c = diffCursor{m: m, nodes: []span{s}}
	return err
}

func (c *diffCursor) more() bool { return len(c.inodes)+len(c.nodes) > 0 }

// ahead returns the number of the next inode and the node that it begins, if
// that is not read yet. At the end it returns a number behind all others.
func (c *diffCursor) ahead() (first uint64, node *span) {
	switch {
	case len(c.inodes) > 0:
		return c.inodes[0].Number, nil
	case len(c.nodes) > 0:
		s := &c.nodes[len(c.nodes)-1]
		return s.first, s
	}
	return 0, nil
}

// expand replaces the node ahead by what it holds.
func (c *diffCursor) expand(ctx context.Context) error {
	s := c.nodes[len(c.nodes)-1]
	n, err := c.m.load(ctx, s, false)
	if err != nil {
		return err
	}
	c.nodes = c.nodes[:len(c.nodes)-1]
	c.inodes = n.inodes
	for i := len(n.children) - 1; i >= 0; i-- {
		c.nodes = append(c.nodes, s.child(n, i))
	}
	return nil
}

func (c *diffCursor) skip() { c.nodes = c.nodes[:len(c.nodes)-1] }

func (c *diffCursor) take() *Inode {
	in := &c.inodes[0]
	c.inodes = c.inodes[1:]
	return in
}

// step skips what both share, or reads one node, or takes one inode number.
func (d *differ) step() error {
	oldFirst, oldNode := d.old.ahead()
	newFirst, newNode := d.new.ahead()
	switch {
	case oldNode == nil && newNode == nil:
		return d.compare(oldFirst, newFirst)
	case newNode == nil:
		if d.new.more() && newFirst < oldFirst {
			return d.compare(oldFirst, newFirst)
		}
		return d.old.expand(d.ctx)
	case oldNode == nil:
		if d.old.more() && oldFirst < newFirst {
			return d.compare(oldFirst, newFirst)
		}
		return d.new.expand(d.ctx)
	case oldNode.id == newNode.id:
		d.old.skip()
		d.new.skip()
		return nil
	}
	// What begins first is not a part of the other, since the other begins
	// later. Of two that begin together, the lower may be a part of the higher.
	if oldFirst < newFirst || oldFirst == newFirst && oldNode.level >= newNode.level {
		return d.old.expand(d.ctx)
	}
	return d.new.expand(d.ctx)
}

// compare takes the next inode of the map in which it comes first, or of both.
func (d *differ) compare(oldFirst, newFirst uint64) error {
	var delta Delta
	switch {
	case !d.new.more() || d.old.more() && oldFirst < newFirst:
		delta = Delta{Number: oldFirst, Old: d.old.take()}
	case !d.old.more() || newFirst < oldFirst:
		delta = Delta{Number: newFirst, New: d.new.take()}
	default:
		delta = Delta{Number: oldFirst, Old: d.old.take(), New: d.new.take()}
		if delta.Old.Equal(delta.New) {
			return nil
		}
	}
	if !d.yield(delta, nil) {
		return errStop
	}
	return nil
}
