package tree

import (
	"context"
	"iter"
	"slices"
	"strings"

	"bluesky/object"
)

// dirWindow is how many entries of a split directory are sorted at a time.
const dirWindow = 1 << 17

// ReadDir returns all entries of the directory at id, sorted. It takes memory
// for all of them; [Entries] and [SortedEntries] do not.
func ReadDir(ctx context.Context, src Source, hasher Hasher, p Params, id object.ID) ([]Entry, error) {
	var all []Entry
	for e, err := range Entries(ctx, src, hasher, p, id) {
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Entries yields the entries of the directory at id in the order in which they
// are stored: sorted if it is not split, else by no order of use to a reader.
// At most 32 nodes are in memory at a time.
//
// It stops with an error, which wraps [ErrCorrupt], if a name stands where
// [Lookup] would not find it or a split should not have been. So no name is
// yielded twice.
func Entries(ctx context.Context, src Source, hasher Hasher, p Params, id object.ID) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		r := dirReader{ctx: ctx, src: src, hasher: hasher, params: &p, yield: yield}
		if _, err := r.walk(id); err != nil && err != errStop {
			yield(Entry{}, err)
		}
	}
}

// A dirReader goes through a directory, depth first.
type dirReader struct {
	ctx    context.Context
	src    Source
	hasher Hasher
	params *Params
	yield  func(Entry, error) bool

	slots []int // the way from the root to where it is
}

// walk yields the entries of the node at id and returns their number.
func (r *dirReader) walk(id object.ID) (int, error) {
	node, err := loadDir(r.ctx, r.src, r.params, id, len(r.slots))
	if err != nil {
		return 0, err
	}
	if !node.split {
		return len(node.entries), r.leaf(id, node.entries)
	}
	total := 0
	for i, child := range node.children {
		if child.IsZero() {
			continue
		}
		r.slots = append(r.slots, i)
		n, err := r.walk(child)
		r.slots = r.slots[:len(r.slots)-1]
		if err != nil {
			return 0, err
		}
		total += n
	}
	if total <= r.params.DirMax {
		return 0, about(object.KindDir, id, corruptf("a split of %d entries", total))
	}
	return total, nil
}

func (r *dirReader) leaf(id object.ID, entries []Entry) error {
	for _, e := range entries {
		if len(r.slots) > 0 && !r.belongs(e.Name) {
			return about(object.KindDir, id, corruptf("the entry %q stands in the wrong part of its directory", e.Name))
		}
		if !r.yield(e, nil) {
			return errStop
		}
	}
	return nil
}

func (r *dirReader) belongs(name string) bool {
	hash := r.hasher.NameHash([]byte(name))
	for level, s := range r.slots {
		if slot(&hash, level) != s {
			return false
		}
	}
	return true
}

// loadDir reads the node at id, which stands below level splits.
func loadDir(ctx context.Context, src Source, p *Params, id object.ID, level int) (*dirNode, error) {
	refs, payload, err := src.Object(ctx, id, object.KindDir)
	if err != nil {
		return nil, err
	}
	node, err := decodeDir(refs, payload, p)
	switch {
	case err != nil:
		return nil, about(object.KindDir, id, err)
	case node.split && node.level != level:
		return nil, about(object.KindDir, id, corruptf("a split of level %d below %d splits", node.level, level))
	case level > 0 && !node.split && len(node.entries) == 0:
		return nil, about(object.KindDir, id, corruptf("no entries below a split"))
	}
	return node, nil
}

// Lookup returns the entry of the given name in the directory at id, and
// whether there is one. It reads only the nodes on the way to it.
func Lookup(ctx context.Context, src Source, hasher Hasher, p Params, id object.ID, name string) (Entry, bool, error) {
	hash := hasher.NameHash([]byte(name))
	for level := 0; ; level++ { // a split of a level past the limit does not decode
		node, err := loadDir(ctx, src, &p, id, level)
		if err != nil {
			return Entry{}, false, err
		}
		if !node.split {
			i, ok := slices.BinarySearchFunc(node.entries, name, func(e Entry, name string) int {
				return strings.Compare(e.Name, name)
			})
			if !ok {
				return Entry{}, false, nil
			}
			return node.entries[i], true, nil
		}
		if id = node.children[slot(&hash, level)]; id.IsZero() {
			return Entry{}, false, nil
		}
	}
}

// SortedEntries yields the entries of the directory at id in bytewise order of
// their names. A split directory is read once for each 131,072 of its entries,
// of which twice that many are in memory at a time. Errors are those of
// [Entries].
func SortedEntries(ctx context.Context, src Source, hasher Hasher, p Params, id object.ID) iter.Seq2[Entry, error] {
	return sortedEntries(ctx, src, hasher, p, id, dirWindow)
}

func sortedEntries(ctx context.Context, src Source, hasher Hasher, p Params, id object.ID, window int) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		root, err := loadDir(ctx, src, &p, id, 0)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		if !root.split {
			yieldAll(root.entries, yield)
			return
		}
		w := sortWindow{size: window}
		for more := true; more; {
			w.begin()
			for e, err := range Entries(ctx, src, hasher, p, id) {
				if err != nil {
					yield(Entry{}, err)
					return
				}
				w.add(e)
			}
			more = w.end()
			if !yieldAll(w.entries, yield) {
				return
			}
		}
	}
}

func yieldAll(entries []Entry, yield func(Entry, error) bool) bool {
	for _, e := range entries {
		if !yield(e, nil) {
			return false
		}
	}
	return true
}

// A sortWindow keeps the size smallest of the entries that are added to it and
// greater than those of the window before.
type sortWindow struct {
	size    int
	entries []Entry
	after   string // the last name of the window before; no name is empty
	before  string // if not empty, what is not less is not needed
	dropped bool   // entries that belong behind this window
}

func (w *sortWindow) begin() {
	if len(w.entries) > 0 {
		w.after = w.entries[len(w.entries)-1].Name
	}
	w.entries, w.before, w.dropped = w.entries[:0], "", false
}

func (w *sortWindow) add(e Entry) {
	if e.Name <= w.after {
		return
	}
	if w.before != "" && e.Name >= w.before {
		w.dropped = true
		return
	}
	e.Name = strings.Clone(e.Name) // it would keep its whole node in memory
	w.entries = append(w.entries, e)
	if len(w.entries) >= 2*w.size {
		w.end()
		w.before = w.entries[w.size-1].Name
	}
}

// end sorts the window, cuts it to its size, and reports whether entries
// belong behind it.
func (w *sortWindow) end() (more bool) {
	slices.SortFunc(w.entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	if len(w.entries) > w.size {
		clear(w.entries[w.size:])
		w.entries = w.entries[:w.size]
		w.dropped = true
	}
	return w.dropped
}
