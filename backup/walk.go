package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
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
	progress Progress
	owners   *owners
	rhythm   rhythm
	sealing  *sealing

	jobs     chan job
	busy     sync.WaitGroup // jobs that are not done
	failures atomic.Int64
	counts   counts
	changes  changes

	// The rest belongs to the goroutine that walks.
	next  uint64 // lowest inode number never used
	used  bitset // numbers of this snapshot
	links map[fileKey]*link
	gone  []tree.Entry // of the parent: names that are no more, or have another number
	found bool         // a source could be read
}

func newBackup(r *repo.Repo, keys *seal.Keys, options Options, t target, p *parent, progress Progress) *backup {
	b := &backup{
		repo: r, keys: keys, options: options, params: tree.Params(r.Config().Tree),
		target: t, sink: newSink(keys, t, options), parent: p, progress: progress,
		owners: newOwners(), rhythm: newRhythm(options.Now), sealing: newSealing(),
		jobs:  make(chan job, 4*workers()),
		next:  tree.RootNumber + 1,
		links: map[fileKey]*link{},
	}
	if p != nil {
		b.next = max(b.next, p.record.Next)
	}
	b.used.set(tree.RootNumber)
	return b
}

// walk visits all sources and returns when everything found is stored, but for
// the inode map and the snapshot.
func (b *backup) walk(ctx context.Context) error {
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
	if !b.found {
		return ErrNoSources
	}
	return nil
}

// visitSources visits what was asked for below the synthetic root.
func (b *backup) visitSources(ctx context.Context) error {
	root := &dir{number: tree.RootNumber, inode: tree.Inode{
		Number: tree.RootNumber, Type: tree.TypeDir, Mode: 0o755, Marks: tree.MarkWaypoint,
	}}
	if err := b.openBefore(ctx, root, tree.RootNumber); err != nil {
		return err
	}
	root.pending.Store(1)
	if err := b.visitWaypoint(ctx, root, planSources(b.options.Paths)); err != nil {
		return err
	}
	return b.release(ctx, root)
}

// visitWaypoint visits the sources below a directory that is only on the way
// to them.
func (b *backup) visitWaypoint(ctx context.Context, d *dir, plan *sourcePlan) error {
	if plan.source {
		return b.visitOpened(ctx, d)
	}
	for _, name := range plan.names() {
		child := plan.children[name]
		if child.source {
			if err := b.visitSource(ctx, d, name); err != nil {
				return err
			}
			continue
		}
		sub, err := b.enterWaypoint(ctx, d, name)
		if err != nil {
			return err
		}
		if sub == nil {
			continue
		}
		if err := b.visitWaypoint(ctx, sub, child); err != nil {
			return err
		}
		if err := b.release(ctx, sub); err != nil {
			return err
		}
	}
	b.noteGone(d)
	return nil
}

// visitSource visits one path that was asked for.
func (b *backup) visitSource(ctx context.Context, d *dir, name string) error {
	fd, err := openDir(unix.AT_FDCWD, orRoot(d.path()), true)
	if err != nil {
		b.fail(path.Join(d.path(), name), err)
		return nil
	}
	d.fd, d.opened = fd, true
	defer d.closeFD() // the next source may lead through another folder
	if err := b.visit(ctx, d, name); err != nil {
		return err
	}
	b.found = b.found || d.has(name)
	return nil
}

// visitOpened visits the root directory itself, when that was asked for.
func (b *backup) visitOpened(ctx context.Context, d *dir) error {
	fd, err := openDir(unix.AT_FDCWD, "/", true)
	if err != nil {
		return err
	}
	d.fd, d.opened, b.found = fd, true, true
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	d.device = uint64(st.Dev)
	return b.visitEntries(ctx, d)
}

// enterWaypoint makes the inode of a directory on the way to a source. It
// returns nil if there is no such directory, which is reported.
func (b *backup) enterWaypoint(ctx context.Context, d *dir, name string) (*dir, error) {
	var st unix.Stat_t
	p := d.path() + "/" + name
	err := unix.Stat(p, &st) // follows links: the way may lead over them
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFDIR {
		err = unix.ENOTDIR
	}
	if err != nil {
		b.fail(p, err)
		return nil, nil
	}
	before := d.before[name]
	sub := d.child(name, b.number(before))
	sub.inode = tree.Inode{
		Number: sub.number, Type: tree.TypeDir, Mode: uint32(st.Mode) & 0o7777,
		UID: st.Uid, GID: st.Gid, User: b.owners.user(st.Uid), Group: b.owners.group(st.Gid),
		Marks: tree.MarkWaypoint,
	}
	sub.pending.Store(1)
	d.add(tree.Entry{Name: name, Number: sub.number, Type: tree.TypeDir})
	d.pending.Add(1)
	b.noteReplaced(before, sub.number)
	if before.Type == tree.TypeDir {
		return sub, b.openBefore(ctx, sub, before.Number)
	}
	return sub, nil
}

// visitEntries visits all entries of an open directory.
func (b *backup) visitEntries(ctx context.Context, d *dir) error {
	names, err := readNames(d.fd)
	if err != nil {
		b.fail(orRoot(d.path()), err)
	}
	for _, name := range names {
		if err := context.Cause(ctx); err != nil {
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
		b.fail(d.path()+"/"+name, err)
		return nil
	}
	kind := typeOf(&st)
	if b.options.Select != nil && !b.options.Select(d.path()+"/"+name, &Info{Type: kind, Size: uint64(st.Size)}) {
		return nil
	}
	if !kind.Valid() {
		b.fail(d.path()+"/"+name, errors.New("a file of unknown type"))
		return nil
	}
	before := d.before[name]
	if kind == tree.TypeDir {
		return b.visitDir(ctx, d, name, &st, before)
	}
	return b.visitFile(ctx, d, name, kind, &st, before)
}

func (b *backup) visitDir(ctx context.Context, d *dir, name string, st *unix.Stat_t, before tree.Entry) error {
	fd, err := openDir(d.fd, name, false)
	if err != nil {
		b.fail(d.path()+"/"+name, err)
		return nil
	}
	sub := d.child(name, b.number(before))
	sub.fd, sub.opened, sub.device = fd, true, uint64(st.Dev)
	sub.pending.Store(1)
	d.add(tree.Entry{Name: name, Number: sub.number, Type: tree.TypeDir})
	d.pending.Add(1)
	b.noteReplaced(before, sub.number)
	if before.Type == tree.TypeDir {
		if err := b.openBefore(ctx, sub, before.Number); err != nil {
			return err
		}
	}
	if err := b.describeDir(ctx, sub, st); err != nil {
		return err
	}
	if b.options.OneFileSystem && d.device != 0 && sub.device != d.device {
		b.noteGone(sub) // a mount point, empty here
	} else if err := b.visitEntries(ctx, sub); err != nil {
		return err
	}
	return b.release(ctx, sub)
}

// describeDir fills in sub.inode, but for its entries. found is what the
// directory above told of it.
func (b *backup) describeDir(ctx context.Context, d *dir, found *unix.Stat_t) error {
	st := *found
	if err := unix.Fstat(d.fd, &st); err != nil {
		b.fail(d.path(), err)
	}
	if old := d.beforeInode; old != nil && !old.Waypoint() && b.unchanged(old, &st) {
		d.inode = *old
		d.inode.Number = d.number
		return nil
	}
	d.inode = b.inode(&st, d.number, tree.TypeDir)
	return b.sourceError(d.path(), b.readAttributes(ctx, &d.inode, attributes{fd: d.fd}))
}

// visitFile stores what is no directory, itself or by a worker.
func (b *backup) visitFile(ctx context.Context, d *dir, name string, kind tree.Type, st *unix.Stat_t, before tree.Entry) error {
	var l *link
	if st.Nlink > 1 {
		key := fileKey{uint64(st.Dev), st.Ino}
		if l = b.links[key]; l != nil {
			b.noteReplaced(before, l.number)
			l.join(d, tree.Entry{Name: name, Number: l.number, Type: l.kind})
			return nil
		}
	}
	number := b.number(before)
	b.noteReplaced(before, number)
	if st.Nlink > 1 {
		l = &link{number: number, kind: kind}
		b.links[fileKey{uint64(st.Dev), st.Ino}] = l
	}
	index := d.add(tree.Entry{Name: name, Number: number, Type: kind})
	old, err := b.beforeInodeOf(ctx, before, kind)
	if err != nil {
		return err
	}
	if old != nil && b.unchanged(old, st) {
		same := *old
		same.Number = number
		b.finishInode(d, name, &same, old)
		l.finish(false)
		return nil
	}
	d.pending.Add(1)
	return b.dispatch(ctx, job{dir: d, name: name, index: index, number: number, kind: kind, old: old, link: l})
}

// dispatch hands a job to a worker, after an add-run if one is due.
func (b *backup) dispatch(ctx context.Context, j job) error {
	if b.rhythm.due(b.target.Stats().StoredBytes) {
		b.busy.Wait() // AddRun wants all that was claimed to be added
		if err := b.target.AddRun(ctx); err != nil {
			return err
		}
	}
	b.busy.Add(1)
	select {
	case b.jobs <- j:
		return nil
	case <-ctx.Done():
		b.busy.Done()
		return context.Cause(ctx)
	}
}

// number returns the inode number of a path that had the entry before in the
// parent: the same, unless another name has taken it.
func (b *backup) number(before tree.Entry) uint64 {
	n := before.Number
	if n == 0 || b.used.has(n) {
		n = b.next
		b.next++
	}
	b.used.set(n)
	return n
}

// noteReplaced remembers an entry of the parent whose name now has another
// number or is no directory any more.
func (b *backup) noteReplaced(before tree.Entry, number uint64) {
	if before.Number != 0 && before.Number != number {
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

// sourceError reports err if it is one of reading a source and returns it if
// it is another, which ends the backup.
func (b *backup) sourceError(path string, err error) error {
	var source *sourceReadError
	if errors.As(err, &source) {
		b.fail(path, source.err)
		return nil
	}
	return err
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

// sourcePlan is the tree of the paths that were asked for.
type sourcePlan struct {
	source   bool // asked for itself; what is below goes without saying
	children map[string]*sourcePlan
}

func planSources(paths []string) *sourcePlan {
	root := &sourcePlan{}
	for _, p := range paths {
		at := root
		for _, name := range strings.FieldsFunc(p, func(r rune) bool { return r == '/' }) {
			if at.children == nil {
				at.children = map[string]*sourcePlan{}
			}
			if at.children[name] == nil {
				at.children[name] = &sourcePlan{}
			}
			at = at.children[name]
		}
		at.source = true
	}
	return root
}

func (p *sourcePlan) names() []string {
	var names []string
	for name := range p.children {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
