package check

import (
	"context"
	"fmt"
	"sync"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
)

// mayRefer are the kinds that objects of a kind may refer to.
var mayRefer = map[object.Kind][]object.Kind{
	object.KindBlock:    nil,
	object.KindList:     {object.KindBlock, object.KindList},
	object.KindDir:      {object.KindDir},
	object.KindInodes:   {object.KindBlock, object.KindList, object.KindDir},
	object.KindImap:     {object.KindInodes, object.KindImap},
	object.KindSnapshot: {object.KindImap},
}

// A graph checks invariant I1: what a visible object refers to is visible, and
// of a kind that it may refer to. Objects that are missing are gathered, so
// that each is one problem however many refer to it.
type graph struct {
	c     *checker
	roots map[object.ID]object.ID // of the snapshots whose data is there, by snapshot

	mu      sync.Mutex
	missing map[object.ID]object.ID // to one that refers to it
	order   []object.ID             // of missing
}

func newGraph(c *checker) *graph {
	g := &graph{c: c, missing: map[object.ID]object.ID{}, roots: map[object.ID]object.ID{}}
	for snap := range c.state.AllSnapshots() {
		g.roots[snap.ID] = snap.Root
	}
	return g
}

// check checks the refs of those objects of a segment that are shown.
func (g *graph) check(h *pack.Header, shown []bool) {
	kinds := make([]object.Kind, len(h.Objects)+len(h.External)) // by ref ordinal; 0 is missing
	for i := range kinds {
		if i < len(shown) && shown[i] {
			kinds[i] = h.Objects[i].Kind
		} else if at := g.c.index.Lookup(h.RefID(uint32(i))); len(at) > 0 {
			kinds[i] = at[0].Row.Kind
		}
	}
	for i := range h.Objects {
		if shown[i] {
			g.object(h, i, kinds)
		}
	}
}

func (g *graph) object(h *pack.Header, i int, kinds []object.Kind) {
	o, refs := &h.Objects[i], h.Ordinals(i)
	if least, most := refCount(o.Kind); len(refs) < least || most >= 0 && len(refs) > most {
		g.c.book.add(Error, h.Name.Key(), fmt.Sprintf("object %s, a %s, has %d refs", o.ID.Short(), o.Kind, len(refs)))
	}
	if root, ok := g.roots[o.ID]; ok && len(refs) == 1 && h.RefID(refs[0]) != root {
		g.c.book.add(Error, "snapshot "+o.ID.String(), "its object refers to another inode map than the log says")
	}
	for _, ref := range refs {
		switch kind := kinds[ref]; {
		case kind == 0:
			g.miss(h.RefID(ref), o.ID)
		case !allowed(o.Kind, kind):
			g.c.book.add(Error, h.Name.Key(), fmt.Sprintf("object %s, a %s, refers to %s, a %s",
				o.ID.Short(), o.Kind, h.RefID(ref).Short(), kind))
		}
	}
}

func (g *graph) miss(id, from object.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, ok := g.missing[id]; !ok {
		g.missing[id] = from
		g.order = append(g.order, id)
	}
}

// report records what is missing. Where a run is lost, that explains all of it.
func (g *graph) report() {
	if len(g.order) == 0 {
		return
	}
	if g.c.lostRun {
		g.c.book.damaged("idx/", g.order, fmt.Sprintf(
			"%d objects that others refer to stand in no run that can be read; the first is %s", len(g.order), g.order[0]))
		return
	}
	for _, id := range g.order {
		g.c.book.damaged("object "+id.String(), []object.ID{id}, fmt.Sprintf(
			"object %s refers to it, and %s", g.missing[id].Short(), g.c.whyAbsent(id)))
	}
}

func allowed(from, to object.Kind) bool {
	for _, kind := range mayRefer[from] {
		if kind == to {
			return true
		}
	}
	return false
}

// refCount returns how many refs an object of a kind has, -1 for no upper bound.
func refCount(kind object.Kind) (least, most int) {
	switch kind {
	case object.KindBlock:
		return 0, 0
	case object.KindSnapshot:
		return 1, 1
	case object.KindList, object.KindImap:
		return 1, -1
	}
	return 0, -1
}

// checkSnapshots checks that the object and the root of each snapshot that is
// live, or forgotten and not collected, are visible, and of the kinds that belong
// there.
func (c *checker) checkSnapshots(context.Context) error {
	for snap := range c.state.AllSnapshots() {
		c.checkRoot(snap)
	}
	return nil
}

func (c *checker) checkRoot(snap *repo.Snapshot) {
	subject := "snapshot " + snap.ID.String()
	for _, want := range []struct {
		id    object.ID
		what  string
		kinds []object.Kind
	}{
		{snap.ID, "object", []object.Kind{object.KindSnapshot}},
		{snap.Root, "inode map", mayRefer[object.KindSnapshot]},
	} {
		at := c.index.Lookup(want.id)
		if len(at) == 0 {
			c.book.damaged(subject, []object.ID{want.id}, fmt.Sprintf("its %s %s is gone: %s", want.what, want.id.Short(), c.whyAbsent(want.id)))
			return
		}
		ok := false
		for _, kind := range want.kinds {
			ok = ok || kind == at[0].Row.Kind
		}
		if !ok {
			c.book.add(Error, subject, fmt.Sprintf("its %s %s is a %s", want.what, want.id.Short(), at[0].Row.Kind))
		}
	}
}
