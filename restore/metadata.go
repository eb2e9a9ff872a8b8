package restore

import (
	"errors"
	"fmt"
	"strconv"
	"unsafe"

	"bluesky/object"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// An entry is a file of any type that gets its metadata.
type entry struct {
	// fd is open: for reading if the file is regular or a directory, else of
	// O_PATH, since opening a device or a FIFO has effects.
	fd     int
	byPath bool          // fd is of O_PATH
	path   func() string // for reports
}

// procPath is a path that leads to what fd is open for, even if it has no name
// any more.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// applyMetadata gives an entry its owner, attributes, mode, times and flags. It
// goes on after an error, and returns all of them.
//
// The order is a matter of what undoes what: a change of owner takes away
// setuid bits and capabilities, so both come after it; a change of mode changes
// an ACL, so that comes after it; user attributes need the permission to write,
// which the mode may take away from an owner who is not root; nothing but
// another write changes the time of modification; and a file that is immutable
// takes none of all that, so what forbids changes waits for the end of the run.
func (s *restorer) applyMetadata(e entry, in *tree.Inode) error {
	if in.Waypoint() {
		return s.applyWaypoint(e, in)
	}
	attributes, err := s.loadAttributes(e, in)
	failed := []error{err}
	failed = append(failed, removeOthers(e, in))
	failed = append(failed, s.chown(e.fd, in))
	failed = append(failed, s.setAttributes(e, attributes, beforeMode))
	failed = append(failed, s.chmod(e, in))
	failed = append(failed, s.setAttributes(e, attributes, accessList))
	failed = append(failed, s.setAttributes(e, attributes, capability))
	if err := setTimes(e, in); err != nil {
		failed = append(failed, fmt.Errorf("set times: %w", err))
	}
	if !e.byPath {
		s.applyFlags(e, in)
	}
	return errors.Join(failed...)
}

// applyWaypoint gives a directory that was not backed up itself the owner and
// mode that it had.
func (s *restorer) applyWaypoint(e entry, in *tree.Inode) error {
	return errors.Join(s.chown(e.fd, in), s.chmod(e, in))
}

// chown sets owner and group, by number. Who is not root may give files to
// nobody, which is not worth a word; to a group of theirs they may.
func (s *restorer) chown(fd int, in *tree.Inode) error {
	err := unix.Fchownat(fd, "", int(in.UID), int(in.GID), unix.AT_EMPTY_PATH)
	if err != nil && !s.root {
		_ = unix.Fchownat(fd, "", -1, int(in.GID), unix.AT_EMPTY_PATH)
		return nil
	}
	if err != nil {
		return fmt.Errorf("set owner %d and group %d: %w", in.UID, in.GID, err)
	}
	return nil
}

// setIDs are the bits of a mode that let others act as the owner or group. On a
// directory they say who owns what is made in it, which is harmless.
const setIDs = unix.S_ISUID | unix.S_ISGID

func (s *restorer) chmod(e entry, in *tree.Inode) error {
	if in.Type == tree.TypeSymlink {
		return nil // has none on Linux
	}
	mode := in.Mode
	if in.Type != tree.TypeDir && mode&setIDs != 0 && !s.special {
		mode &^= setIDs
		s.warn(e.path(), fmt.Errorf("the setuid and setgid bits of mode %04o are left out: %w", in.Mode, errSpecial))
	}
	var err error
	if e.byPath {
		err = unix.Chmod(procPath(e.fd), mode)
	} else {
		err = unix.Fchmod(e.fd, mode)
	}
	if err != nil {
		return fmt.Errorf("set mode %04o: %w", mode, err)
	}
	return nil
}

// setTimes sets the times of in, or the present time if in is nil. The time of
// access stays if it was not recorded. Times that the file system cannot hold
// become the nearest that it can.
func setTimes(e entry, in *tree.Inode) error {
	now := unix.Timespec{Nsec: unix.UTIME_NOW}
	times := [2]unix.Timespec{now, now}
	if in != nil {
		times[0] = unix.Timespec{Nsec: unix.UTIME_OMIT}
		if in.ATime != nil {
			times[0] = timespec(*in.ATime)
		}
		times[1] = timespec(in.MTime)
	}
	if !e.byPath {
		return futimens(e.fd, &times)
	}
	return unix.UtimesNanoAt(e.fd, "", times[:], unix.AT_EMPTY_PATH)
}

func timespec(t object.Time) unix.Timespec {
	return unix.Timespec{Sec: t.Sec, Nsec: int64(t.Nsec)}
}

// futimens is utimensat(2) without a path, which x/sys does not offer.
func futimens(fd int, times *[2]unix.Timespec) error {
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(times)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// finishDirs gives directories their metadata, those further down first: what
// is made in a directory changes its times, and its mode may not let anybody
// in.
func (s *restorer) finishDirs() {
	for i := len(s.made) - 1; i >= 0 && s.ctx.Err() == nil; i-- {
		d := s.made[i]
		s.made[i] = nil
		if err := s.finishDir(d); err != nil {
			s.fail(orRoot(d.path()), err)
		}
		if d.parent != nil {
			s.item(d.path(), d.action(), true, 0)
		}
	}
}

func (s *restorer) finishDir(d *dir) error {
	if d.finish == finishNothing {
		return nil
	}
	in, ok, err := s.tree.Get(s.ctx, d.number)
	if err != nil || !ok {
		return errors.Join(fmt.Errorf("read inode %d", d.number), err)
	}
	return s.dirs.with(d, func(at int) error {
		fd, err := openBeneath(at, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return fmt.Errorf("open directory: %w", err)
		}
		defer unix.Close(fd) // read only: nothing is lost
		path := func() string { return orRoot(d.path()) }
		err = s.applyMetadata(entry{fd: fd, path: path}, &in)
		if in.Flags&guards != 0 && s.root {
			s.guard(fd, path, in.Flags)
		}
		return err
	})
}
