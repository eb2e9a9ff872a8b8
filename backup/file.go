package backup

import (
	"context"
	"errors"
	"io"
	"runtime"

	"bluesky/chunk"
	"bluesky/object"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// A job is a file, of any type but directory, for a worker to store.
type job struct {
	dir    *dir
	name   string
	index  int // of its entry in dir
	number uint64
	kind   tree.Type
	old    *tree.Inode // of the same path in the parent, nil if there is none
	link   *link       // nil unless the file has several names
}

func (j *job) path() string { return j.dir.join(j.name) }

// workers is how many files are read at once: one more than there are
// processors, so that one can wait for a disk.
func workers() int { return runtime.GOMAXPROCS(0) + 1 }

// work stores files until there are no more.
func (b *backup) work(ctx context.Context) error {
	w, err := b.newWorker()
	if err != nil {
		return err
	}
	for j := range b.jobs {
		if err := w.finish(ctx, j); err != nil {
			return err
		}
	}
	return nil
}

// finish stores the file of j and releases the directories that have waited
// for it. An error of reading it leaves it out of them; any other is returned.
func (w *worker) finish(ctx context.Context, j job) error {
	for {
		err := w.store(ctx, j)
		var source *sourceReadError
		if err == nil {
			return w.releaseAll(ctx, append(j.link.stored(), linkName{dir: j.dir}))
		}
		if !errors.As(err, &source) {
			return err
		}
		w.fail(j.dir.join(j.name), source.err)
		j.dir.drop(j.index)
		next, again := j.link.failed()
		if !again {
			w.changes.remove(j.number)
		}
		if err := w.release(ctx, j.dir); err != nil || !again {
			return err
		}
		j.dir, j.name, j.index = next.dir, next.name, next.index
	}
}

func (w *worker) releaseAll(ctx context.Context, names []linkName) error {
	for _, name := range names {
		if err := w.release(ctx, name.dir); err != nil {
			return err
		}
	}
	return nil
}

// A worker stores one file at a time.
type worker struct {
	*backup
	cutter *chunk.Cutter
}

func (b *backup) newWorker() (*worker, error) {
	c := b.repo.Config().Chunker
	cutter, err := chunk.NewCutter(b.keys.Polynomial(), chunk.Params{Min: c.Min, Max: c.Max, Bits: uint(c.Bits)})
	return &worker{b, cutter}, err
}

// store stores the file of j and its inode. An error of reading the file is a
// *sourceReadError.
func (w *worker) store(ctx context.Context, j job) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	var in tree.Inode
	var err error
	if j.kind == tree.TypeFile {
		in, err = w.storeRegular(ctx, j)
	} else {
		in, err = w.storeSpecial(ctx, j)
	}
	if err != nil {
		return err
	}
	if err := in.Check(&w.params); err != nil {
		return &sourceReadError{err} // nothing that a sane file system has
	}
	w.finishInode(j.dir, j.name, &in, j.old)
	return nil
}

// storeSpecial stores what has no content.
func (w *worker) storeSpecial(ctx context.Context, j job) (tree.Inode, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(j.dir.fd, j.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return tree.Inode{}, &sourceReadError{err}
	}
	if typeOf(&st) != j.kind {
		return tree.Inode{}, &sourceReadError{errReplaced}
	}
	in := w.inode(&st, j.number, j.kind)
	switch j.kind {
	case tree.TypeSymlink:
		target, err := readLink(j.dir.fd, j.name)
		if err != nil {
			return tree.Inode{}, &sourceReadError{err}
		}
		in.Target = target
	case tree.TypeCharDevice, tree.TypeBlockDevice:
		in.Device = tree.Device{Major: unix.Major(uint64(st.Rdev)), Minor: unix.Minor(uint64(st.Rdev))}
	}
	err := w.readAttributes(ctx, &in, attributes{fd: j.dir.fd, name: j.name}, j.path)
	return in, err
}

var errReplaced = errors.New("it was replaced by a file of another type while it was read")

// storeRegular stores a regular file. Its inode is what fstat says once it is
// open; if it shrinks while it is read, its size is what could be read.
func (w *worker) storeRegular(ctx context.Context, j job) (tree.Inode, error) {
	fd, err := openFile(j.dir.fd, j.name)
	if err != nil {
		return tree.Inode{}, &sourceReadError{err}
	}
	defer unix.Close(fd) // read only: nothing is lost
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return tree.Inode{}, &sourceReadError{err}
	}
	if typeOf(&st) != tree.TypeFile {
		return tree.Inode{}, &sourceReadError{errReplaced}
	}
	in := w.inode(&st, j.number, j.kind)
	if err := w.readAttributes(ctx, &in, attributes{fd: fd}, j.path); err != nil {
		return tree.Inode{}, err
	}
	if j.old != nil && w.compare(j.old, &st, w.parent.start()) >= sameContent {
		takeContent(&in, j.old)
		return in, nil
	}
	if in.Holes, err = findHoles(fd, &st); err != nil {
		return tree.Inode{}, &sourceReadError{err}
	}
	return in, w.storeContent(ctx, j, fd, &st, &in)
}

// storeContent cuts, stores and lists what lies outside the holes of in, but for
// the beginning of it that an interrupted backup has stored.
func (w *worker) storeContent(ctx context.Context, j job, fd int, st *unix.Stat_t, in *tree.Inode) error {
	r := newContentReader(fd, in, w.progress)
	c := &content{list: tree.NewListBuilder(w.sink, w.params), trail: w.resume.trail(j.path, st, in)}
	for b := range c.trail.known(func(old *tree.Inode, start object.Time) bool {
		return w.compare(old, st, start) >= sameContent
	}) {
		r.skip(b.Length)
		if err := c.list.Add(ctx, b.Block, b.Length); err != nil {
			return err
		}
	}
	if !c.trail.whole() {
		if err := w.readContent(ctx, j, in, r, c); err != nil {
			return err
		}
	}
	var err error
	in.Size, in.Holes = r.read()
	in.Extents, in.Root, err = c.list.Finish(ctx)
	return err
}

// readContent stores what r has of a file.
func (w *worker) readContent(ctx context.Context, j job, in *tree.Inode, r io.Reader, c *content) error {
	if !w.quiet {
		path := j.path()
		w.progress.File(path, in.Size)
		defer w.progress.FileDone(path)
	}
	defer c.trail.flush()
	if in.ContentLength() > parallelFrom {
		return w.cutParallel(ctx, r, c)
	}
	return w.cut(ctx, r, c)
}

// A content is that of a file in the making: its list, and its lines in the
// resume file.
type content struct {
	list  *tree.ListBuilder
	trail *trail
}

func (c *content) add(ctx context.Context, block object.ID, length uint64) error {
	c.trail.add(block, length)
	return c.list.Add(ctx, block, length)
}

// cut stores chunk after chunk.
func (w *worker) cut(ctx context.Context, r io.Reader, c *content) error {
	w.cutter.Reset(r)
	for {
		data, err := w.cutter.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		id, err := w.sink.Put(ctx, object.KindBlock, nil, data)
		if err != nil {
			return err
		}
		if err := c.add(ctx, id, uint64(len(data))); err != nil {
			return err
		}
	}
}
