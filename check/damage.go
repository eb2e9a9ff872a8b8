package check

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/tree"
)

// traceDamage finds the snapshots that lost objects concern and, with the key,
// the files. Without damage it does nothing.
func (c *checker) traceDamage(ctx context.Context) error {
	if c.book.lostCount() == 0 {
		return nil
	}
	if c.keys != nil && !c.options.ReadData {
		// The trees were read up to the damage only: find all of it.
		unread := func(s *segment) bool { return !s.absent && !s.whole && s.Class == object.ClassMeta }
		err := c.eachSegment(ctx, "open all metadata", unread, c.openSegment)
		if err != nil {
			return err
		}
	}
	t, err := c.trace(ctx)
	if err != nil {
		return err
	}
	snapshots := slices.Clone(c.state.Snapshots)
	slices.Reverse(snapshots) // newest first: its paths are the ones people know
	for _, snap := range snapshots {
		for at := range t.explain(snap.ID, snap.Root) {
			c.book.nameSnapshot(at, snap.ID)
		}
	}
	if c.keys == nil {
		return nil
	}
	c.progress.Phase("find the files that are affected", uint64(len(snapshots)))
	for _, snap := range snapshots {
		if err := t.nameFiles(ctx, snap); err != nil {
			return err
		}
		c.progress.Step(1)
	}
	return nil
}

// A trace knows the objects from which lost ones can be reached.
type trace struct {
	c        *checker
	problems map[object.ID]int         // lost objects, by the problem that says so
	above    map[object.ID][]object.ID // what leads to lost objects, to the refs that do
	named    map[object.ID]bool        // objects whose files have been named
	seed     maphash.Seed
	files    map[fileName]struct{} // that have been named
}

// A fileName stands for a path that was named with a problem.
type fileName struct {
	problem int
	path    uint64 // its hash
}

// trace walks the graph from the lost objects upwards. Objects are mostly
// written after what they refer to, so that few passes over the headers do.
func (c *checker) trace(ctx context.Context) (*trace, error) {
	t := &trace{c: c, problems: c.book.lostObjects(), above: map[object.ID][]object.ID{}, named: map[object.ID]bool{}}
	t.seed, t.files = maphash.MakeSeed(), map[fileName]struct{}{}
	for changed := true; changed; {
		changed = false
		for _, s := range c.segments {
			if s.absent || s.Class != object.ClassMeta {
				continue
			}
			h, err := pack.ReadHeader(ctx, c, s.Ref())
			if err != nil {
				if isDamage(err) && ctx.Err() == nil {
					continue
				}
				return nil, err
			}
			changed = t.pass(h) || changed
		}
	}
	return t, nil
}

func (b *book) lostObjects() map[object.ID]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	lost := make(map[object.ID]int, len(b.lost))
	for id, at := range b.lost {
		lost[id] = at
	}
	return lost
}

// pass looks at one header and reports whether it learnt something.
func (t *trace) pass(h *pack.Header) (changed bool) {
	var leads []object.ID
	for i := range h.Objects {
		id := h.Objects[i].ID
		leads = leads[:0]
		for _, ref := range h.Ordinals(i) {
			if r := h.RefID(ref); t.leads(r) {
				leads = append(leads, r)
			}
		}
		if len(leads) > len(t.above[id]) {
			t.above[id] = slices.Clone(leads)
			changed = true
		}
	}
	return changed
}

// leads reports whether id is lost, or leads to what is.
func (t *trace) leads(id object.ID) bool {
	if _, ok := t.problems[id]; ok {
		return true
	}
	_, ok := t.above[id]
	return ok
}

// reach returns all objects on the ways from ids to lost ones, these included.
func (t *trace) reach(ids ...object.ID) []object.ID {
	seen := map[object.ID]bool{}
	var all []object.ID
	for len(ids) > 0 {
		id := ids[len(ids)-1]
		ids = ids[:len(ids)-1]
		if seen[id] || !t.leads(id) {
			continue
		}
		seen[id] = true
		all = append(all, id)
		ids = append(ids, t.above[id]...)
	}
	return all
}

// explain returns the problems that explain the loss of what ids lead to.
func (t *trace) explain(ids ...object.ID) map[int]struct{} {
	problems := map[int]struct{}{}
	for _, id := range t.reach(ids...) {
		if at, ok := t.problems[id]; ok {
			problems[at] = struct{}{}
		}
	}
	return problems
}

// name names a path with a problem, once.
func (t *trace) name(problem int, path string) {
	key := fileName{problem, maphash.String(t.seed, path)}
	if _, ok := t.files[key]; problem < 0 || ok {
		return
	}
	t.files[key] = struct{}{}
	t.c.book.nameFile(problem, path)
}

// nameFiles walks the tree of a snapshot as far as it can be read and names the
// files that damage concerns. A snapshot that shares all damaged parts with
// those before it has nothing to add.
func (t *trace) nameFiles(ctx context.Context, snap repo.Snapshot) error {
	reach := t.reach(snap.Root)
	if !slices.ContainsFunc(reach, func(id object.ID) bool { return !t.named[id] }) {
		return nil
	}
	for _, id := range reach {
		t.named[id] = true
	}
	w := namer{trace: t, ctx: ctx, dirs: map[uint64]bool{}}
	w.m = tree.OpenMap(objects{t.c, snap.ID}, t.c.keys, t.c.params(), snap.Root)
	root, ok, err := w.m.Get(ctx, tree.RootNumber)
	if err != nil || !ok {
		w.gone(err, "/")
		return ctx.Err()
	}
	w.visit("", &root, 0)
	return ctx.Err()
}

// A namer walks one tree.
type namer struct {
	*trace
	ctx  context.Context
	m    *tree.Map
	dirs map[uint64]bool // visited: a damaged tree may be none
}

// visit names the file at path if damage concerns it, and goes on below it.
func (w *namer) visit(path string, in *tree.Inode, depth int) {
	isDir, name := in.Type == tree.TypeDir, path
	if isDir {
		name += "/"
	}
	for problem := range w.explain(contents(in)...) {
		w.name(problem, name)
	}
	if !isDir || w.dirs[in.Number] || depth > tree.MaxDepth {
		return
	}
	w.dirs[in.Number] = true
	for e, err := range w.m.SortedEntries(w.ctx, in) {
		if err != nil || w.ctx.Err() != nil {
			return // named above
		}
		below := path + "/" + e.Name
		child, ok, err := w.m.Get(w.ctx, e.Number)
		switch {
		case err != nil && e.Type == tree.TypeDir:
			w.gone(err, below+"/")
		case err != nil:
			w.gone(err, below)
		case ok:
			w.visit(below, &child, depth+1)
		}
	}
}

// contents are the objects that an inode uses.
func contents(in *tree.Inode) []object.ID {
	var ids []object.ID
	for i := range in.Extents {
		ids = append(ids, in.Extents[i].Block)
	}
	for i := range in.Xattrs {
		if id := in.Xattrs[i].Block; !id.IsZero() {
			ids = append(ids, id)
		}
	}
	if !in.Root.IsZero() {
		ids = append(ids, in.Root)
	}
	return ids
}

// gone names a path whose inode cannot be read.
func (w *namer) gone(err error, path string) {
	lost := new(lostError)
	if !errors.As(err, &lost) {
		return
	}
	if at, ok := w.problems[lost.id]; ok {
		w.name(at, path)
	}
}
