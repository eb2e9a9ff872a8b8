package restore

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// A file is a regular file that is being restored, from the time the walk finds
// it until its metadata is there.
//
// It is written under its final name, with mode 0600, and its times are set
// last. So after a crash it may have any size and content, but not its time of
// modification, and the next run looks at all of it.
type file struct {
	dir    *dir
	name   string
	number uint64 // of its inode
	size   uint64 // holes included
	layout layout
	early  uint32 // inode flags that have to be set while it is empty
	link   *link  // nil unless it has several names

	// pending counts what has to happen before it can be finished: all blocks
	// it needs are known, and each of them is written or has failed.
	pending atomic.Int32

	mu        sync.Mutex // guards all below
	fd        int        // -1 unless it is open
	made      bool       // it is there, and id is known
	id        identity
	existed   bool // it was there before this run
	dirty     bool // existed, and was made ready to be written
	unchanged bool // existed, with all the content that it should have
	err       error
	errors    int // blocks that are missing
}

func (f *file) path() string { return f.dir.path() + "/" + f.name }

// setErr notes that f cannot be restored. The first error is kept.
func (f *file) setErr(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.note(err)
}

// note needs f.mu.
func (f *file) note(err error) {
	if f.err == nil {
		f.err = err
	}
	f.errors++
}

// openFile sees to it that f is open for reading and writing, and makes it if
// it is not there. It needs f.mu.
func (s *restorer) openFile(f *file) error {
	if f.fd >= 0 {
		return nil
	}
	return s.dirs.with(f.dir, func(at int) error {
		if f.made {
			return f.reopen(at)
		}
		return f.create(at)
	})
}

// create makes f. Nothing may be there: it was looked for and removed.
func (f *file) create(at int) error {
	fd, err := openBeneath(at, f.name, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return fmt.Errorf("make file: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd) // nothing was written
		return err
	}
	f.fd, f.made, f.id = fd, true, identityOf(&st)
	if f.early != 0 {
		setFlags(fd, f.early) // compared and reported when it is finished
	}
	if len(f.layout.holes) > 0 { // the last of them may end the file
		return retry(func() error { return unix.Ftruncate(fd, int64(f.size)) })
	}
	return nil
}

// reopen opens f again, if its name still leads to it.
func (f *file) reopen(at int) error {
	fd, err := openBeneath(at, f.name, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open file again: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || identityOf(&st) != f.id || !isRegular(&st) || st.Nlink != 1 {
		unix.Close(fd) // nothing was written
		return errors.Join(errors.New("the file was replaced while it was restored"), err)
	}
	f.fd = fd
	return nil
}

// makeReady prepares a file that existed for being written: private, as long as
// it should be, and empty in its holes. It needs f.mu, and f open.
func (f *file) makeReady() error {
	if !f.existed || f.dirty {
		return nil
	}
	if err := unix.Fchmod(f.fd, 0o600); err != nil {
		return fmt.Errorf("chmod: %w", err)
	}
	if err := retry(func() error { return unix.Ftruncate(f.fd, int64(f.size)) }); err != nil {
		return fmt.Errorf("set the size: %w", err)
	}
	for _, h := range f.layout.holes {
		if err := punch(f.fd, h); err != nil {
			return fmt.Errorf("make a hole: %w", err)
		}
	}
	f.dirty = true
	return nil
}

// write writes content that begins at offset at of the content, holes left out.
func (s *restorer) write(f *file, at uint64, data []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil // it will be removed
	}
	if err := s.openFile(f); err != nil {
		return err
	}
	s.handles.touch(f)
	if err := f.makeReady(); err != nil {
		return err
	}
	for part := range f.layout.parts(at, uint64(len(data))) {
		if err := writeAll(f.fd, data[:part.length], int64(part.offset)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		data = data[part.length:]
	}
	return nil
}

// done notes that one thing f waits for has happened. Whoever brings the last
// one finishes it.
func (s *restorer) done(f *file) {
	if f.pending.Add(-1) == 0 {
		s.finishFile(f)
	}
}

// finishFile gives f its metadata, or removes it if it could not be restored.
func (s *restorer) finishFile(f *file) {
	if s.ctx.Err() != nil {
		return // stop closes it
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var metaErr error
	if f.err == nil {
		f.err = s.complete(f, &metaErr)
	}
	s.handles.forget(f)
	if f.err == nil {
		f.err = f.close() // some file systems say only here that a write was lost
	}
	if f.err != nil {
		f.link.fail()
		s.discard(f)
		s.fail(f.path(), f.problem())
		return
	}
	if metaErr != nil {
		s.fail(f.path(), metaErr)
	}
	s.item(f.path(), f.action(), false, f.size)
}

// complete does what is left to do once the content is there. It needs f.mu.
func (s *restorer) complete(f *file, metaErr *error) error {
	in, ok, err := s.tree.Get(s.ctx, f.number)
	if err != nil || !ok {
		return errors.Join(fmt.Errorf("read inode %d", f.number), err)
	}
	if err := s.openFile(f); err != nil {
		return err
	}
	if !f.unchanged {
		if err := f.makeReady(); err != nil {
			return err
		}
	}
	if s.options.Verify {
		if err := s.verify(f, &in); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
	}
	*metaErr = s.applyMetadata(entry{fd: f.fd, path: f.path}, &in)
	s.noteGuards(f.dir, f.name, &in)
	return nil
}

func (f *file) action() Action {
	switch {
	case f.unchanged:
		return Unchanged
	case f.existed:
		return Updated
	}
	return Restored
}

// problem returns what kept f from being restored.
func (f *file) problem() error {
	err := f.err
	if f.errors > 1 {
		err = fmt.Errorf("%w, and %d other parts of it", err, f.errors-1)
	}
	switch {
	case f.existed:
		return fmt.Errorf("the file that stood here is kept, in part overwritten: %w", err)
	case f.made:
		return fmt.Errorf("what was restored of it is removed: %w", err)
	}
	return err
}

// discard sees to it that a file that could not be restored does not look as if
// it were. What this run made is removed. What was there before stays, since it
// may hold what the repository has lost, and is marked by its time. It needs
// f.mu.
func (s *restorer) discard(f *file) {
	if !f.made {
		return
	}
	if f.existed {
		if s.openFile(f) == nil {
			setTimes(entry{fd: f.fd}, nil)
		}
		f.close() // it is reported already
		return
	}
	f.close()
	err := s.dirs.with(f.dir, func(at int) error {
		st, err := lstatAt(at, f.name)
		if err != nil || st == nil || identityOf(st) != f.id {
			return err
		}
		return unix.Unlinkat(at, f.name, 0)
	})
	if err != nil {
		f.note(fmt.Errorf("remove it: %w", err))
	}
}

// close closes f if it is open. It needs f.mu.
func (f *file) close() error {
	if f.fd < 0 {
		return nil
	}
	fd := f.fd
	f.fd = -1
	return unix.Close(fd)
}

// writeAll is pwrite(2) for all of data.
func writeAll(fd int, data []byte, offset int64) error {
	for len(data) > 0 {
		n, err := unix.Pwrite(fd, data, offset)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		data, offset = data[n:], offset+int64(n)
	}
	return nil
}

// readFull is pread(2) for all of buffer. It is false if the file ends before.
func readFull(fd int, buffer []byte, offset int64) (bool, error) {
	for len(buffer) > 0 {
		n, err := unix.Pread(fd, buffer, offset)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return false, err
		}
		buffer, offset = buffer[n:], offset+int64(n)
	}
	return true, nil
}

// punch makes a hole in an open file, or zeros where the file system has none.
func punch(fd int, h tree.Hole) error {
	err := retry(func() error {
		return unix.Fallocate(fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(h.Offset), int64(h.Length))
	})
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	zeros := make([]byte, min(h.Length, 1<<20))
	for done := uint64(0); done < h.Length; {
		n := min(h.Length-done, uint64(len(zeros)))
		if err := writeAll(fd, zeros[:n], int64(h.Offset+done)); err != nil {
			return err
		}
		done += n
	}
	return nil
}
