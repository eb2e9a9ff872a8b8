package backup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"

	"bluesky/repo"
	"bluesky/seal"
	"bluesky/tree"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

// A backup is one attempt at a snapshot.
type backup struct {
	repo     *repo.Repo
	keys     *seal.Keys
	options  Options
	params   tree.Params
	target   target
	sink     *sink
	parent   *parent // nil if there is none
	resume   *resume // nil if there is none
	progress Progress
	quiet    bool // nobody listens to progress
	owners   *owners
	sealing  *sealing

	jobs     chan job
	failures atomic.Int64
	found    atomic.Bool // a source could be read
	counts   counts
	changes  changes
	open     openDirs

	// The rest belongs to the goroutine that walks.
	next  uint64 // lowest inode number never used
	used  bitset // numbers of this snapshot
	links map[fileKey]*link
	gone  []tree.Entry // of the parent: names that are no more, or lead to something else
}

func newBackup(r *repo.Repo, keys *seal.Keys, options Options, t target, p *parent, progress Progress) *backup {
	b := &backup{
		repo: r, keys: keys, options: options, params: tree.Params(r.Config().Tree),
		target: t, sink: newSink(keys, t, options), parent: p, progress: progress,
		owners: newOwners(), sealing: newSealing(),
		jobs:  make(chan job, 4*workers()),
		next:  tree.RootNumber + 1,
		links: map[fileKey]*link{},
	}
	_, b.quiet = progress.(NoProgress)
	if p != nil {
		b.next = max(b.next, p.record.Next)
	}
	b.changes.inodes.Params = b.params
	b.used.set(tree.RootNumber)
	return b
}

// walk visits all sources and returns when everything found is stored, but for
// the inode map and the snapshot.
func (b *backup) walk(ctx context.Context) error {
	// A directory that an error has kept from being stored is still open.
	defer b.open.closeAll()
	g, ctx := errgroup.WithContext(ctx)
	for range workers() {
		g.Go(func() error { return b.work(ctx) })
	}
	g.Go(func() error {
		defer close(b.jobs)
		return b.visitSources(ctx)
	})
	if err := g.Wait(); err != nil {
		return err
	}
	if !b.found.Load() {
		return ErrNoSources
	}
	return nil
}

// visitEntries visits the entries of an open directory: all of them, or of a
// directory in another file system those that lead to a path that was asked
// for.
func (b *backup) visitEntries(ctx context.Context, d *dir) error {
	names := d.plan.names()
	if !d.foreign {
		var err error
		if names, err = readNames(d.fd); err != nil {
			b.fail(orRoot(d.path()), err)
		}
	}
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := b.sink.keepUp(ctx); err != nil {
			return err
		}
		if err := b.visit(ctx, d, name); err != nil {
			return err
		}
	}
	b.noteGone(d)
	return nil
}

// visit stores the entry name of the open directory d, and all below it.
func (b *backup) visit(ctx context.Context, d *dir, name string) error {
	var st unix.Stat_t
	if err := ignoringEINTR(func() error {
		return unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}); err != nil {
		b.fail(d.join(name), err)
		return nil
	}
	kind := typeOf(&st)
	if b.options.Select != nil && !b.options.Select(d.join(name), &Info{Type: kind, Size: uint64(st.Size)}) {
		return nil
	}
	if err := storable(d, name, kind); err != nil {
		b.fail(d.join(name), err)
		return nil
	}
	before := d.before[name]
	if kind == tree.TypeDir {
		return b.visitDir(ctx, d, name, before)
	}
	return b.visitFile(ctx, d, name, kind, &st, before)
}

// storable returns an error for what no snapshot can hold. One such file must
// not end the backup of the others.
func storable(d *dir, name string, kind tree.Type) error {
	if !kind.Valid() {
		return errors.New("a file of unknown type")
	}
	if d.depth >= tree.MaxDepth {
		return fmt.Errorf("more than %d folders deep", tree.MaxDepth)
	}
	return tree.CheckName(name)
}

func (b *backup) visitDir(ctx context.Context, d *dir, name string, before tree.Entry) error {
	fd, err := openDir(d.fd, name)
	if err != nil {
		b.fail(d.join(name), err)
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		b.fail(d.join(name), err)
		return nil
	}
	sub := b.addDir(d, name, fd, before)
	sub.device = uint64(st.Dev)
	sub.foreign = b.options.OneFileSystem && !sub.plan.asked() && (d.foreign || d.device != 0 && sub.device != d.device)
	if err := b.openBefore(ctx, sub, before); err != nil {
		return err
	}
	if err := b.describeDir(ctx, sub, &st); err != nil {
		return err
	}
	if err := b.visitEntries(ctx, sub); err != nil {
		return err
	}
	return b.release(ctx, sub)
}

// addDir adds the directory behind fd, which is its from now on, to d, as one
// that the walk is in.
func (b *backup) addDir(d *dir, name string, fd int, before tree.Entry) *dir {
	sub := d.child(name, b.number(before))
	b.open.add(sub, fd)
	sub.pending.Store(1)
	d.pending.Add(1)
	d.add(tree.Entry{Name: name, Number: sub.number, Type: tree.TypeDir})
	b.noteReplaced(before, sub.number, tree.TypeDir)
	return sub
}

// describeDir fills in d.inode, but for its entries.
func (b *backup) describeDir(ctx context.Context, d *dir, st *unix.Stat_t) error {
	d.inode = b.inode(st, d.number, tree.TypeDir)
	if old := d.beforeInode; old != nil && !old.Waypoint() && b.compare(old, st, b.parent.start()) == same {
		d.inode.Xattrs, d.inode.Flags = old.Xattrs, old.Flags
		return nil
	}
	return b.readAttributes(ctx, &d.inode, attributes{fd: d.fd}, d.path)
}

// visitFile stores what is no directory, itself or by a worker.
func (b *backup) visitFile(ctx context.Context, d *dir, name string, kind tree.Type, st *unix.Stat_t, before tree.Entry) error {
	var l *link
	if st.Nlink > 1 {
		key := fileKey{uint64(st.Dev), st.Ino, kind}
		if l = b.links[key]; l != nil {
			return b.visitLink(ctx, d, name, l, before)
		}
		l = &link{number: b.number(before), kind: kind}
		b.links[key] = l
		return b.storeFile(ctx, job{dir: d, name: name, number: l.number, kind: kind, link: l}, st, before)
	}
	return b.storeFile(ctx, job{dir: d, name: name, number: b.number(before), kind: kind}, st, before)
}

// visitLink adds another name of a file that was visited before.
func (b *backup) visitLink(ctx context.Context, d *dir, name string, l *link, before tree.Entry) error {
	b.noteReplaced(before, l.number, l.kind)
	j := job{dir: d, name: name, number: l.number, kind: l.kind, link: l}
	j.index = d.add(tree.Entry{Name: name, Number: l.number, Type: l.kind})
	d.pending.Add(1)
	switch l.join(linkName{d, name, j.index}) {
	case linkStored:
		return b.release(ctx, d)
	case linkFailed: // under all names so far; this one may do
		return b.dispatch(ctx, j)
	}
	return nil
}

// storeFile adds the file of j to its directory. A file that is the same as in
// the parent is stored by that, any other by a worker.
func (b *backup) storeFile(ctx context.Context, j job, st *unix.Stat_t, before tree.Entry) error {
	b.noteReplaced(before, j.number, j.kind)
	j.index = j.dir.add(tree.Entry{Name: j.name, Number: j.number, Type: j.kind})
	var err error
	if j.old, err = b.beforeInodeOf(ctx, before, j.kind); err != nil {
		return err
	}
	if j.old != nil && b.compare(j.old, st, b.parent.start()) == same {
		in := b.inode(st, j.number, j.kind)
		takeContent(&in, j.old)
		in.Xattrs, in.Flags = j.old.Xattrs, j.old.Flags
		b.finishInode(j.dir, j.name, &in, j.old)
		j.link.stored()
		return nil
	}
	j.dir.pending.Add(1)
	return b.dispatch(ctx, j)
}

// dispatch hands a job to a worker.
func (b *backup) dispatch(ctx context.Context, j job) error {
	select {
	case b.jobs <- j:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// number returns the inode number of a path that had the entry before in the
// parent: the same, unless another name has taken it.
func (b *backup) number(before tree.Entry) uint64 {
	n := before.Number
	if n == 0 || b.used.has(n) {
		n = b.next
	}
	b.next = max(b.next, n+1) // n is below already unless the parent lies
	b.used.set(n)
	return n
}

// noteReplaced remembers an entry of the parent whose name now leads to another
// number, or is no directory any more, so that what was below it is gone.
func (b *backup) noteReplaced(before tree.Entry, number uint64, kind tree.Type) {
	if before.Number != 0 && (before.Number != number || before.Type == tree.TypeDir && kind != tree.TypeDir) {
		b.gone = append(b.gone, before)
	}
}

// noteGone remembers the entries of the parent's directory that d, all of
// whose entries are added, does not have.
func (b *backup) noteGone(d *dir) {
	for name, e := range d.before {
		if !d.has(name) {
			b.gone = append(b.gone, e)
		}
	}
	d.before = nil
}

// fail reports a source that cannot be read.
func (b *backup) fail(path string, err error) {
	b.failures.Add(1)
	b.progress.Error(path, err)
}

// A sourceReadError is an error of reading what is backed up, as opposed to
// one of storing it.
type sourceReadError struct{ err error }

func (e *sourceReadError) Error() string { return e.err.Error() }
func (e *sourceReadError) Unwrap() error { return e.err }

// readNames returns the sorted names in an open directory.
func readNames(fd int) ([]string, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(dup), "directory")
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		err = pathErr.Err // the caller knows the path
	}
	return names, err
}

// orRoot is path, or "/" if it is empty.
func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}
