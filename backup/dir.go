package backup

import (
	"context"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// A dir is a directory that is being backed up, from the time it is found
// until everything in it is stored.
type dir struct {
	parent      *dir // nil for the root
	name        string
	depth       int    // names above and its own
	short       string // the path, unless it is long; see shortPath
	number      uint64
	plan        *sourcePlan // the paths below it that were asked for
	device      uint64      // st_dev; 0 for a waypoint
	foreign     bool        // in a file system that is left out
	inode       tree.Inode  // without its entries, until the dir is done
	beforeInode *tree.Inode
	before      map[string]tree.Entry // of the parent snapshot; nil when they are compared

	// pending counts what has to happen before the dir can be stored: the walk
	// has left it, and every file and directory in it is done.
	pending atomic.Int32

	fd int // that of openDirs

	mu      sync.Mutex
	entries []dirEntry // ascending by name
}

type dirEntry struct {
	tree.Entry
	failed bool // it could not be read and is left out
}

func (d *dir) child(name string, number uint64) *dir {
	c := &dir{parent: d, name: name, number: number, depth: d.depth + 1, plan: d.plan.below(name)}
	if n := len(d.short) + 1 + len(name); n <= shortPath && (d.parent == nil || d.short != "") {
		c.short = d.short + "/" + name
	}
	return c
}

// shortPath is the most bytes of a path that a directory keeps. All open ones
// together would keep gigabytes of the longest.
const shortPath = 1024

// path returns the absolute path of d; that of the root is empty.
func (d *dir) path() string {
	var names []string
	for ; d.short == "" && d.parent != nil; d = d.parent {
		names = append(names, d.name)
	}
	if len(names) == 0 {
		return d.short
	}
	slices.Reverse(names)
	return d.short + "/" + strings.Join(names, "/")
}

// join returns the path of the entry name.
func (d *dir) join(name string) string { return d.path() + "/" + name }

// add appends an entry, in ascending order, and returns its index.
func (d *dir) add(e tree.Entry) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries = append(d.entries, dirEntry{Entry: e})
	return len(d.entries) - 1
}

// has reports whether an entry was added under this name.
func (d *dir) has(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	i := sort.Search(len(d.entries), func(i int) bool { return d.entries[i].Name >= name })
	return i < len(d.entries) && d.entries[i].Name == name
}

// drop leaves out an entry that could not be read.
func (d *dir) drop(index int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.entries[index].failed = true
}

func (d *dir) kept() []tree.Entry {
	d.mu.Lock()
	defer d.mu.Unlock()
	var kept []tree.Entry
	for _, e := range d.entries {
		if !e.failed {
			kept = append(kept, e.Entry)
		}
	}
	d.entries = nil
	return kept
}

// openDirs are the directories that hold a descriptor.
type openDirs struct {
	mu   sync.Mutex
	dirs map[*dir]struct{}
}

// add makes fd that of d.
func (o *openDirs) add(d *dir, fd int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.dirs == nil {
		o.dirs = map[*dir]struct{}{}
	}
	o.dirs[d] = struct{}{}
	d.fd = fd
}

// close closes d.
func (o *openDirs) close(d *dir) {
	o.mu.Lock()
	delete(o.dirs, d)
	o.mu.Unlock()
	unix.Close(d.fd) // read only: nothing is lost
}

// closeAll closes what is left when nobody works on it any more.
func (o *openDirs) closeAll() {
	for d := range o.dirs {
		unix.Close(d.fd)
	}
	o.dirs = nil
}

// release notes that one thing d waits for has happened. Whoever brings the
// last one stores the directory, and releases the one above.
func (b *backup) release(ctx context.Context, d *dir) error {
	for ; d != nil && d.pending.Add(-1) == 0; d = d.parent {
		if err := b.finishDir(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// finishDir stores the entries and the inode of d.
func (b *backup) finishDir(ctx context.Context, d *dir) error {
	b.open.close(d)
	root, err := tree.BuildDir(ctx, b.sink, b.keys, b.params, d.kept())
	if err != nil {
		return err
	}
	d.inode.Root = root
	in := d.inode // d may live on as the parent of others, without it
	b.finishInode(d, "", &in, d.beforeInode)
	return nil
}

// finishInode notes a complete inode: it is a change unless it equals old, the
// one of the same path in the parent. Its path is that of d and, unless it is
// d itself, name.
func (b *backup) finishInode(d *dir, name string, in, old *tree.Inode) {
	change := New
	if old != nil {
		was := *old
		was.Number = in.Number
		if change = Modified; was.Equal(in) {
			change = Unmodified
		}
	}
	if change != Unmodified || old.Number != in.Number {
		b.changes.set(in)
	}
	if in.Waypoint() {
		return
	}
	b.found.Store(true)
	b.counts.add(change, in)
	if b.quiet {
		return
	}
	path := orRoot(d.path())
	if name != "" {
		path = d.join(name)
	}
	b.progress.Item(path, change, in.Type == tree.TypeDir, in.Size)
}

// openBefore looks up what the parent snapshot has of d, where it had the entry
// before: the entries and the inode.
func (b *backup) openBefore(ctx context.Context, d *dir, before tree.Entry) error {
	old, err := b.beforeInodeOf(ctx, before, tree.TypeDir)
	if old == nil {
		return err
	}
	in := *old
	entries, err := tree.ReadDir(ctx, b.parent.source, b.keys, b.params, in.Root)
	if err != nil {
		return err
	}
	d.beforeInode = &in
	d.before = make(map[string]tree.Entry, len(entries))
	for _, e := range entries {
		d.before[e.Name] = e
	}
	return nil
}

// beforeInodeOf returns the inode that an entry of the parent names, nil if it
// is not of the wanted type.
func (b *backup) beforeInodeOf(ctx context.Context, e tree.Entry, want tree.Type) (*tree.Inode, error) {
	if b.parent == nil || e.Number == 0 || e.Type != want {
		return nil, nil
	}
	in, ok, err := b.parent.inodes.Get(ctx, e.Number)
	if err != nil || !ok || in.Type != want {
		return nil, err
	}
	return &in, nil
}
