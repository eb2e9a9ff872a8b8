package restore

import (
	"errors"
	"fmt"

	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// ensure makes d and those above it, or enters them where they are. It reports
// why it could not.
func (s *restorer) ensure(d *dir) bool {
	if d.made || d.absent {
		return true
	}
	if d.failed || !s.ensure(d.parent) {
		d.failed = true
		return false
	}
	s.found(0)
	var err error
	if s.options.DryRun {
		err = s.lookAt(d)
	} else {
		err = s.makeDir(d)
	}
	if err != nil {
		d.failed = true
		s.fail(d.path(), fmt.Errorf("%w; nothing below it is restored", err))
		return false
	}
	if s.options.DryRun {
		s.item(d.path(), d.action(), true, 0)
	}
	return true
}

func (d *dir) action() Action {
	if d.fresh || d.absent {
		return Restored
	}
	return Updated
}

// lookAt finds out whether d is there, for a dry run.
func (s *restorer) lookAt(d *dir) error {
	st, err := s.lstat(d.parent, d.name)
	if err != nil {
		return err
	}
	d.made = st != nil && isDir(st)
	d.absent = !d.made
	return nil
}

// makeDir makes d with mode 0700, or enters the directory that is there. What
// is no directory is removed before, but not for a waypoint: it was not backed
// up itself, and may have been a link when the way led over it.
func (s *restorer) makeDir(d *dir) error {
	return s.dirs.with(d.parent, func(at int) error {
		err := unix.Mkdirat(at, d.name, 0o700)
		if errors.Is(err, unix.EEXIST) {
			st, statErr := lstatAt(at, d.name)
			switch {
			case statErr != nil:
				return statErr
			case st != nil && isDir(st):
				return s.enterDir(at, d, st)
			case d.finish == finishWaypoint:
				return errors.New("what stands here is no directory, and the snapshot only has one on the way to what it holds")
			case s.options.Overwrite == OverwriteNever || s.options.Overwrite == OverwriteIfNewer:
				return fmt.Errorf("what stands here is no directory, and is not overwritten (%s)", s.options.Overwrite)
			}
			if err := s.remove(at, d.name, st); err != nil {
				return err
			}
			err = unix.Mkdirat(at, d.name, 0o700)
		}
		if err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		d.made, d.fresh = true, true
		s.made = append(s.made, d)
		return nil
	})
}

// enterDir takes the directory that is there, and sees to it that entries can
// be made in it: an earlier run may have finished it.
func (s *restorer) enterDir(at int, d *dir, st *unix.Stat_t) error {
	if d.finish == finishWaypoint {
		d.finish = finishNothing // it is not part of what was backed up
	}
	if d.finish == finishAll {
		if d.flags != 0 && s.root {
			if err := s.liftGuards(at, d.name, d.flags); err != nil {
				return err
			}
		}
		if !s.root && st.Mode&0o700 != 0o700 {
			fd, err := openBeneath(at, d.name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			if err := unix.Chmod(procPath(fd), st.Mode&0o7777|0o700); err != nil && !errors.Is(err, unix.EPERM) {
				return err
			}
		}
	}
	d.made = true
	s.made = append(s.made, d)
	return nil
}

// remove removes an entry that is in the way.
func (s *restorer) remove(at int, name string, st *unix.Stat_t) error {
	flags := 0
	if isDir(st) {
		flags = unix.AT_REMOVEDIR
	}
	err := retry(func() error { return unix.Unlinkat(at, name, flags) })
	switch {
	case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, unix.EEXIST):
		return errors.New("a directory stands here that is not empty")
	case err != nil && !errors.Is(err, unix.ENOENT):
		return fmt.Errorf("remove what stands here: %w", err)
	}
	return nil
}

// lstat returns what is under name in d, nil if that is nothing.
func (s *restorer) lstat(d *dir, name string) (st *unix.Stat_t, err error) {
	if d.fresh || d.absent {
		return nil, nil
	}
	err = s.dirs.with(d, func(at int) error {
		st, err = lstatAt(at, name)
		return err
	})
	return st, err
}

func lstatAt(at int, name string) (*unix.Stat_t, error) {
	st := new(unix.Stat_t)
	err := retry(func() error { return unix.Fstatat(at, name, st, unix.AT_SYMLINK_NOFOLLOW) })
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at what stands here: %w", err)
	}
	return st, nil
}

func isDir(st *unix.Stat_t) bool     { return st.Mode&unix.S_IFMT == unix.S_IFDIR }
func isRegular(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }

// An identity tells whether two names lead to the same file.
type identity struct{ device, inode uint64 }

func identityOf(st *unix.Stat_t) identity { return identity{uint64(st.Dev), st.Ino} }

// formatOf returns the type bits of st_mode.
func formatOf(t tree.Type) uint32 {
	switch t {
	case tree.TypeFile:
		return unix.S_IFREG
	case tree.TypeDir:
		return unix.S_IFDIR
	case tree.TypeSymlink:
		return unix.S_IFLNK
	case tree.TypeFIFO:
		return unix.S_IFIFO
	case tree.TypeSocket:
		return unix.S_IFSOCK
	case tree.TypeCharDevice:
		return unix.S_IFCHR
	case tree.TypeBlockDevice:
		return unix.S_IFBLK
	}
	return 0
}
