package tree

import (
	"context"
	"errors"
	"iter"
	"slices"

	"bluesky/object"
)

// A Map finds the inodes of one snapshot by their number. It may be used
// concurrently. It keeps nodes that it has read lately, about 16 MiB of them.
//
// What it reads is checked as far as it goes: the way down to an inode, or the
// whole map by [Map.All]. An error that wraps [ErrCorrupt] says which object
// is wrong.
type Map struct {
	src    Source
	hasher Hasher
	params Params
	root   object.ID
	cache  nodeCache
}

// OpenMap returns the inode map with the given root. It reads nothing yet.
func OpenMap(src Source, hasher Hasher, p Params, root object.ID) *Map {
	return &Map{src: src, hasher: hasher, params: p, root: root, cache: newNodeCache(mapCacheBytes)}
}

// Root returns the id of the root.
func (m *Map) Root() object.ID { return m.root }

// A mapNode is a node of any level: inodes of level 0, else children.
type mapNode struct {
	level    int
	inodes   []Inode
	children []imapChild
}

// first returns the number of the first inode below n.
func (n *mapNode) first() uint64 {
	if n.level == 0 {
		return n.inodes[0].Number
	}
	return n.children[0].first
}

// last returns the number of the last inode of a leaf, or of the first one
// below the last child.
func (n *mapNode) last() uint64 {
	if n.level == 0 {
		return n.inodes[len(n.inodes)-1].Number
	}
	return n.children[len(n.children)-1].first
}

// A span is where a node stands in the map: its level, the number of its first
// inode, and the number that all of its inodes are below, which is that of the
// first inode behind it.
type span struct {
	imapChild
	level int
	end   uint64 // 0 if nothing is behind it
}

// child returns where the i-th child of n, a node at s, stands.
func (s span) child(n *mapNode, i int) span {
	end := s.end
	if i+1 < len(n.children) {
		end = n.children[i+1].first
	}
	return span{n.children[i], n.level - 1, end}
}

// open reads the root.
func (m *Map) open(ctx context.Context) (span, *mapNode, error) {
	root, err := m.read(ctx, m.root, object.KindImap, true)
	if err != nil {
		return span{}, nil, err
	}
	if root.level > 1 && len(root.children) == 1 {
		return span{}, nil, about(object.KindImap, m.root, corruptf("a root of level %d above one node", root.level))
	}
	return span{imapChild{root.first(), m.root}, root.level, 0}, root, nil
}

// load reads the node that stands at s and checks that it belongs there.
func (m *Map) load(ctx context.Context, s span, keep bool) (*mapNode, error) {
	kind := object.KindImap
	if s.level == 0 {
		kind = object.KindInodes
	}
	n, err := m.read(ctx, s.id, kind, keep)
	if err != nil {
		return nil, err
	}
	switch {
	case n.level != s.level:
		err = corruptf("a node of level %d where one of level %d belongs", n.level, s.level)
	case n.first() != s.first:
		err = corruptf("a node that begins with inode %d, not %d", n.first(), s.first)
	case s.end != 0 && n.last() >= s.end:
		err = corruptf("a node that reaches inode %d, with inode %d behind it", n.last(), s.end)
	default:
		return n, nil
	}
	return nil, about(kind, s.id, err)
}

// read returns a node, which it keeps for the next time if keep is set.
func (m *Map) read(ctx context.Context, id object.ID, kind object.Kind, keep bool) (*mapNode, error) {
	if n := m.cache.get(id); n != nil {
		return n, nil
	}
	refs, payload, err := m.src.Object(ctx, id, kind)
	if err != nil {
		return nil, err
	}
	n, err := decodeNode(kind, refs, payload, m.params)
	if err != nil {
		return nil, about(kind, id, err)
	}
	if keep {
		m.cache.put(id, n, nodeCost(n, len(payload)))
	}
	return n, nil
}

func decodeNode(kind object.Kind, refs []object.ID, payload []byte, p Params) (*mapNode, error) {
	if kind == object.KindInodes {
		inodes, err := DecodeLeaf(refs, payload, p)
		if err != nil {
			return nil, err
		}
		return &mapNode{inodes: inodes}, nil
	}
	node, err := decodeImap(refs, payload)
	if err != nil {
		return nil, err
	}
	return &mapNode{level: node.level, children: node.children}, nil
}

// Get returns the inode of the given number, and whether there is one.
func (m *Map) Get(ctx context.Context, number uint64) (Inode, bool, error) {
	s, n, err := m.open(ctx)
	if err != nil {
		return Inode{}, false, err
	}
	for n.level > 0 {
		i, found := slices.BinarySearchFunc(n.children, number, func(c imapChild, number uint64) int {
			return compareNumbers(c.first, number)
		})
		if !found {
			i--
		}
		if i < 0 {
			return Inode{}, false, nil
		}
		s = s.child(n, i)
		if n, err = m.load(ctx, s, true); err != nil {
			return Inode{}, false, err
		}
	}
	i, found := slices.BinarySearchFunc(n.inodes, number, func(in Inode, number uint64) int {
		return compareNumbers(in.Number, number)
	})
	if !found {
		return Inode{}, false, nil
	}
	return n.inodes[i], true, nil
}

func compareNumbers(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// All yields all inodes in the order of their numbers. It holds one node of
// each level and does not disturb what Get has kept.
func (m *Map) All(ctx context.Context) iter.Seq2[Inode, error] {
	return func(yield func(Inode, error) bool) {
		s, root, err := m.open(ctx)
		if err == nil {
			err = m.all(ctx, s, root, yield)
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(Inode{}, err)
		}
	}
}

func (m *Map) all(ctx context.Context, s span, n *mapNode, yield func(Inode, error) bool) error {
	for i := range n.inodes {
		if !yield(n.inodes[i], nil) {
			return errStop
		}
	}
	for i := range n.children {
		at := s.child(n, i)
		child, err := m.load(ctx, at, false)
		if err != nil {
			return err
		}
		if err := m.all(ctx, at, child, yield); err != nil {
			return err
		}
	}
	return nil
}
