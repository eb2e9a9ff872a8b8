package restore

import (
	"errors"
	"fmt"

	"bluesky/object"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// reuse looks at the regular file that stands where f belongs, and gathers the
// blocks that it does not hold in their places.
//
// The file is changed in place, unless it has other names: those may lie
// anywhere, and what they show is not for this run to change, be it content or
// mode. Then, and if it cannot be written, its name is given to a new file, and
// the blocks that are right are copied.
func (s *restorer) reuse(f *file, in *tree.Inode) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, err := s.openExisting(f, in)
	if err != nil {
		return err
	}
	if old.fd < 0 {
		return s.compare(f, in, -1)
	}
	if old.inPlace {
		f.fd, f.made, f.existed, f.id = old.fd, true, true, identityOf(&old.st)
		s.handles.touch(f)
		same := uint64(old.st.Size) == in.Size
		if s.options.Overwrite == OverwriteIfChanged && same && mtimeOf(&old.st) == in.MTime {
			f.unchanged = true
			s.kept(in.ContentLength())
			return nil
		}
		before := f.pending.Load()
		if err := s.compare(f, in, old.fd); err != nil {
			return err
		}
		f.unchanged = same && !f.dirty && f.pending.Load() == before && holesAreEmpty(f.fd, in.Holes)
		return nil
	}
	defer unix.Close(old.fd) // read only: nothing is lost
	return s.compare(f, in, old.fd)
}

// existing is a file that stands where another belongs.
type existing struct {
	fd      int // -1 if there is nothing to read
	st      unix.Stat_t
	inPlace bool // it may be written, else its name is free now
}

// openExisting opens what stands where f belongs, and removes the name if the
// file must not be written. It needs f.mu.
func (s *restorer) openExisting(f *file, in *tree.Inode) (old existing, err error) {
	err = s.dirs.with(f.dir, func(at int) error {
		old, err = s.openExistingAt(at, f.name, in)
		return err
	})
	return old, err
}

func (s *restorer) openExistingAt(at int, name string, in *tree.Inode) (existing, error) {
	if in.Flags&guards != 0 && s.root {
		if err := s.liftGuards(at, name, in.Flags&guards); err != nil {
			return existing{}, err
		}
	}
	const flags = unix.O_NOFOLLOW | unix.O_NONBLOCK
	fd, err := openBeneath(at, name, flags|unix.O_RDWR, 0)
	writable := err == nil
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.ETXTBSY) {
		fd, err = openBeneath(at, name, flags|unix.O_RDONLY, 0)
	}
	if err != nil && !errors.Is(err, unix.EACCES) {
		return existing{}, fmt.Errorf("open what stands here: %w", err)
	}
	old := existing{fd: fd}
	if err != nil {
		old.fd = -1 // it cannot be read, so nothing of it can be used
	} else if err := unix.Fstat(fd, &old.st); err != nil || !isRegular(&old.st) {
		unix.Close(fd) // nothing was written
		return existing{}, errors.Join(errors.New("what stands here was replaced while it was looked at"), err)
	}
	old.inPlace = writable && old.st.Nlink == 1
	if !old.inPlace {
		if err := unix.Unlinkat(at, name, 0); err != nil {
			if old.fd >= 0 {
				unix.Close(old.fd) // read only
			}
			return existing{}, fmt.Errorf("remove what stands here: %w", err)
		}
	}
	return old, nil
}

// compare gathers the blocks of f that the open file old, -1 if there is none,
// does not hold in their places. If old is another file than f, blocks that it
// holds are copied. It needs f.mu.
func (s *restorer) compare(f *file, in *tree.Inode, old int) error {
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	at := uint64(0)
	for e, err := range s.tree.Content(s.ctx, in) {
		if err != nil {
			return fmt.Errorf("read the list of its blocks: %w", err)
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
		same := false
		if old >= 0 && e.Offset == 0 {
			if same, err = s.holds(old, f.layout, at, e, buffer); err != nil {
				return fmt.Errorf("read what stands here: %w", err)
			}
		}
		switch {
		case !same:
			s.want(f, in, e, at)
		case old == f.fd:
			s.kept(e.Length)
		default:
			if err := s.copyBlock(f, at, *buffer); err != nil {
				return err
			}
			s.kept(e.Length)
		}
		at += e.Length
	}
	if len(in.Inline) > 0 {
		if err := f.makeReady(); err != nil {
			return err
		}
		if err := s.copyBlock(f, 0, in.Inline); err != nil {
			return err
		}
		s.wrote(len(in.Inline))
	}
	return nil
}

// holds reports whether the open file fd holds the block of e at offset at of
// its content, and leaves it in buffer.
func (s *restorer) holds(fd int, l layout, at uint64, e tree.Extent, buffer *[]byte) (bool, error) {
	if uint64(cap(*buffer)) < e.Length {
		*buffer = make([]byte, e.Length)
	}
	*buffer = (*buffer)[:e.Length]
	rest := *buffer
	for p := range l.parts(at, e.Length) {
		whole, err := readFull(fd, rest[:p.length], int64(p.offset))
		if err != nil || !whole {
			return false, err
		}
		rest = rest[p.length:]
	}
	return s.keys.ID(object.KindBlock, nil, *buffer) == e.Block, nil
}

// copyBlock writes content into f. It needs f.mu.
func (s *restorer) copyBlock(f *file, at uint64, data []byte) error {
	if err := s.openFile(f); err != nil {
		return err
	}
	s.handles.touch(f)
	for p := range f.layout.parts(at, uint64(len(data))) {
		if err := writeAll(f.fd, data[:p.length], int64(p.offset)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		data = data[p.length:]
	}
	return nil
}

// holesAreEmpty reports whether an open file has no data in its holes.
func holesAreEmpty(fd int, holes []tree.Hole) bool {
	for _, h := range holes {
		data, err := unix.Seek(fd, int64(h.Offset), unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return true // none up to the end of the file
		}
		if err != nil || uint64(data) < h.Offset+h.Length {
			return false
		}
	}
	return true
}
