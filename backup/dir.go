package backup

import (
	"context"
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
	number      uint64
	device      uint64     // st_dev; 0 for a waypoint
	inode       tree.Inode // without its entries, until the dir is done
	beforeInode *tree.Inode
	before      map[string]tree.Entry // of the parent snapshot; nil when they are compared

	// pending counts what has to happen before the dir can be stored: the walk
	// has left it, and every file and directory in it is done.
	pending atomic.Int32

	mu      sync.Mutex
	entries []dirEntry // ascending by name
	fd      int
	opened  bool // fd is open
}

type dirEntry struct {
	tree.Entry
	failed bool // it could not be read and is left out
}

func (d *dir) child(name string, number uint64) *dir {
	return &dir{parent: d, name: name, number: number}
}

// path returns the absolute path of d; that of the root is empty.
func (d *dir) path() string {
	var names []string
	for ; d.parent != nil; d = d.parent {
		names = append(names, d.name)
	}
	var b strings.Builder
	for i := len(names) - 1; i >= 0; i-- {
		b.WriteByte('/')
		b.WriteString(names[i])
	}
	return b.String()
}

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

func (d *dir) closeFD() {
	if d.opened {
		unix.Close(d.fd) // read only: nothing is lost
		d.opened = false
	}
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
	d.closeFD()
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
	b.counts.add(change, in)
	path := d.path()
	if name != "" {
		path += "/" + name
	}
	b.progress.Item(path, change, in.Type == tree.TypeDir, in.Size)
}

// A link is a file with several names. All of them wait for the first.
type link struct {
	number uint64
	kind   tree.Type

	mu     sync.Mutex
	done   bool
	failed bool
	others []linkName
}

type linkName struct {
	dir   *dir
	index int
}

type fileKey struct{ device, inode uint64 }

// join adds another name of the file to the directory d.
func (l *link) join(d *dir, e tree.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed {
		return
	}
	index := d.add(e)
	if !l.done {
		d.pending.Add(1)
		l.others = append(l.others, linkName{d, index})
	}
}

// finish notes that the file is stored or could not be read, and returns the
// other names that have waited. A nil link has none.
func (l *link) finish(failed bool) []linkName {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done, l.failed = true, failed
	return l.others
}

// openBefore looks up what the parent snapshot has under number: the entries
// and the inode of d.
func (b *backup) openBefore(ctx context.Context, d *dir, number uint64) error {
	if b.parent == nil {
		return nil
	}
	in, ok, err := b.parent.inodes.Get(ctx, number)
	if err != nil || !ok || in.Type != tree.TypeDir {
		return err
	}
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
