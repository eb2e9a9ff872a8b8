package tree

import (
	"container/list"
	"sync"
	"unsafe"

	"bluesky/object"
)

// mapCacheBytes is about the memory that a [Map] keeps nodes in: the inodes of
// some hundred directories, when they are visited in the order in which they
// were numbered.
const mapCacheBytes = 16 << 20

// A nodeCache keeps the nodes that were used last, up to a sum of costs. It
// may be used concurrently.
type nodeCache struct {
	limit int

	mu    sync.Mutex
	nodes map[object.ID]*list.Element // of *cachedNode; guarded by mu, as is all below
	order *list.List                  // the last used first
	cost  int
}

type cachedNode struct {
	id   object.ID
	node *mapNode
	cost int
}

func newNodeCache(limit int) nodeCache {
	return nodeCache{limit: limit, nodes: make(map[object.ID]*list.Element), order: list.New()}
}

// nodeCost estimates the bytes that a node takes in memory: its inodes or
// children, and what the rest of a payload becomes.
func nodeCost(n *mapNode, payload int) int {
	return len(n.inodes)*int(unsafe.Sizeof(Inode{})) + len(n.children)*int(unsafe.Sizeof(imapChild{})) + 4*payload
}

func (c *nodeCache) get(id object.ID) *mapNode {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.nodes[id]
	if !ok {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cachedNode).node
}

// put keeps a node. The one that was put last stays, whatever it costs.
func (c *nodeCache) put(id object.ID, n *mapNode, cost int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.nodes[id]; ok {
		return // two readers wanted it at once
	}
	c.nodes[id] = c.order.PushFront(&cachedNode{id, n, cost})
	c.cost += cost
	for c.cost > c.limit && c.order.Len() > 1 {
		e := c.order.Back()
		old := c.order.Remove(e).(*cachedNode)
		delete(c.nodes, old.id)
		c.cost -= old.cost
	}
}
