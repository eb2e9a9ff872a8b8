package restore

import (
	"errors"
	"fmt"

	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// makeSpecial restores what has no content: links, FIFOs, sockets, devices.
func (s *restorer) makeSpecial(d *dir, name string, in *tree.Inode, st *unix.Stat_t, l *link) {
	if s.ctx.Err() != nil {
		return
	}
	path := func() string { return d.path() + "/" + name }
	var action Action
	made := false
	err := s.dirs.with(d, func(at int) (err error) {
		if action, err = s.putSpecial(at, name, in, st); err != nil {
			return err
		}
		made = true
		return s.finishSpecial(at, name, path, in)
	})
	if err != nil {
		s.fail(path(), err)
	}
	if made {
		s.item(path(), action, false, 0)
	} else {
		l.fail()
	}
}

// putSpecial makes the file, unless one like it is there that has no other
// name.
func (s *restorer) putSpecial(at int, name string, in *tree.Inode, st *unix.Stat_t) (Action, error) {
	action := Restored
	if st != nil {
		if st.Nlink == 1 && likeSpecial(at, name, in, st) {
			return Unchanged, nil
		}
		if err := s.remove(at, name, st); err != nil {
			return 0, err
		}
		action = Updated
	}
	if in.Type == tree.TypeSymlink {
		if err := unix.Symlinkat(in.Target, at, name); err != nil {
			return 0, fmt.Errorf("make link: %w", err)
		}
		return action, nil
	}
	device := 0
	if in.Type == tree.TypeCharDevice || in.Type == tree.TypeBlockDevice {
		device = int(unix.Mkdev(in.Device.Major, in.Device.Minor))
	}
	if err := unix.Mknodat(at, name, formatOf(in.Type)|0o600, device); err != nil {
		return 0, fmt.Errorf("make %s: %w", in.Type, err)
	}
	return action, nil
}

// likeSpecial reports whether what stands under name differs from in by nothing
// but metadata.
func likeSpecial(at int, name string, in *tree.Inode, st *unix.Stat_t) bool {
	if uint32(st.Mode)&unix.S_IFMT != formatOf(in.Type) {
		return false
	}
	switch in.Type {
	case tree.TypeSymlink:
		buffer := make([]byte, len(in.Target)+1)
		n, err := unix.Readlinkat(at, name, buffer)
		return err == nil && string(buffer[:n]) == in.Target
	case tree.TypeCharDevice, tree.TypeBlockDevice:
		return uint64(st.Rdev) == unix.Mkdev(in.Device.Major, in.Device.Minor)
	}
	return true
}

// finishSpecial gives the file under name its metadata.
func (s *restorer) finishSpecial(at int, name string, path func() string, in *tree.Inode) error {
	how := unix.OpenHow{
		Flags:   unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS, // NO_SYMLINKS would refuse the link itself
	}
	fd, err := retryFD(func() (int, error) { return unix.Openat2(at, name, &how) })
	if err != nil {
		return fmt.Errorf("open what was made: %w", err)
	}
	defer unix.Close(fd) // O_PATH: nothing is lost
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if uint32(st.Mode)&unix.S_IFMT != formatOf(in.Type) {
		return errors.New("it was replaced while it was restored")
	}
	return s.applyMetadata(entry{fd: fd, byPath: true, path: path}, in)
}
