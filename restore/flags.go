package restore

import (
	"errors"
	"fmt"

	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// guards are the inode flags that forbid changes. Only root sets them.
const guards = tree.FlagImmutable | tree.FlagAppend

// A guarded file waits for its guards.
type guarded struct {
	dir   *dir
	name  string
	flags uint32
}

// applyFlags sets the inode flags but for guards. What a file system does not
// know is a warning: no content or access depends on it.
func (s *restorer) applyFlags(e entry, in *tree.Inode) {
	now, err := getFlags(e.fd)
	if err != nil {
		if in.Flags != 0 && !errors.Is(err, unix.EPERM) {
			s.warn(e.path(), fmt.Errorf("set inode flags %#x: %w", in.Flags, err))
		}
		return
	}
	want := now&^tree.FlagsMask | in.Flags&^guards
	if want != now {
		if err := setFlags(e.fd, want); err != nil {
			s.warn(e.path(), fmt.Errorf("set inode flags %#x: %w", in.Flags&^guards, err))
		}
	}
	if in.Flags&guards != 0 && !s.root {
		s.warn(e.path(), errors.New("only root makes files immutable or append-only: it is neither"))
	}
}

// noteGuards remembers that a file has to be guarded in the end.
func (s *restorer) noteGuards(d *dir, name string, in *tree.Inode) {
	if in.Flags&guards == 0 || !s.root {
		return
	}
	s.flagsMu.Lock()
	defer s.flagsMu.Unlock()
	s.guarded = append(s.guarded, guarded{d, name, in.Flags})
}

// applyGuards makes files immutable or append-only, after all else was done
// with them, hard links included.
func (s *restorer) applyGuards() {
	for _, g := range s.guarded {
		path := func() string { return g.dir.path() + "/" + g.name }
		err := s.dirs.with(g.dir, func(at int) error {
			fd, err := openBeneath(at, g.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd) // read only: nothing is lost
			s.guard(fd, path, g.flags)
			return nil
		})
		if err != nil {
			s.warn(path(), fmt.Errorf("set inode flags %#x: %w", g.flags, err))
		}
	}
}

// guard sets the guards of an open file.
func (s *restorer) guard(fd int, path func() string, flags uint32) {
	now, err := getFlags(fd)
	if err == nil && now&guards != flags&guards {
		err = setFlags(fd, now|flags&guards)
	}
	if err != nil {
		s.warn(path(), fmt.Errorf("set inode flags %#x: %w", flags, err))
	}
}

// liftGuards takes those guards from what stands under name that the snapshot
// has too: then an earlier run has set them. Others are somebody's will.
func (s *restorer) liftGuards(at int, name string, flags uint32) error {
	fd, err := openBeneath(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("open what stands here: %w", err)
	}
	defer unix.Close(fd) // read only: nothing is lost
	now, err := getFlags(fd)
	if err != nil || now&flags == 0 {
		return nil // there are none, or the next step will say so
	}
	if err := setFlags(fd, now&^flags); err != nil {
		return fmt.Errorf("clear inode flags %#x: %w", flags, err)
	}
	return nil
}

func getFlags(fd int) (uint32, error) {
	return unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
}

func setFlags(fd int, flags uint32) error {
	return unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, int(flags))
}
