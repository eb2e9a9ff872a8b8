package backup

import (
	"errors"
	"os/user"
	"strconv"
	"sync"
	"time"

	"bluesky/object"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// typeOf returns the type of the file that st describes, 0 if there is none.
func typeOf(st *unix.Stat_t) tree.Type {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return tree.TypeFile
	case unix.S_IFDIR:
		return tree.TypeDir
	case unix.S_IFLNK:
		return tree.TypeSymlink
	case unix.S_IFIFO:
		return tree.TypeFIFO
	case unix.S_IFSOCK:
		return tree.TypeSocket
	case unix.S_IFCHR:
		return tree.TypeCharDevice
	case unix.S_IFBLK:
		return tree.TypeBlockDevice
	}
	return 0
}

// inode returns what st says of a file.
func (b *backup) inode(st *unix.Stat_t, number uint64, kind tree.Type) tree.Inode {
	in := tree.Inode{
		Number: number, Type: kind, Mode: uint32(st.Mode) & 0o7777,
		UID: st.Uid, GID: st.Gid, User: b.owners.user(st.Uid), Group: b.owners.group(st.Gid),
		MTime: timeOf(st.Mtim), CTime: timeOf(st.Ctim), Source: st.Ino,
	}
	if kind != tree.TypeDir {
		in.Links = uint32(st.Nlink)
	}
	if b.options.WithATime {
		at := timeOf(st.Atim)
		in.ATime = &at
	}
	return in
}

func timeOf(t unix.Timespec) object.Time {
	return object.Time{Sec: int64(t.Sec), Nsec: uint32(t.Nsec)}
}

// clockTick is how much older than the clock a time that the kernel gives a
// file may be.
const clockTick = 20 * time.Millisecond

// unchanged reports whether the file that st describes is the one that old was
// made from: same size, mtime, ctime and inode number. One that was changed
// when the parent snapshot was under way, or after, may have been changed
// again within the same tick of the kernel's clock, so it counts as changed.
func (b *backup) unchanged(old *tree.Inode, st *unix.Stat_t) bool {
	if old.Type == tree.TypeFile && old.Size != uint64(st.Size) {
		return false
	}
	racy := object.TimeOf(b.parent.record.Counts.BackupStart.Time().Add(-clockTick))
	ctime := timeOf(st.Ctim)
	return old.MTime == timeOf(st.Mtim) &&
		(b.options.IgnoreCTime || old.CTime == ctime && ctime.Before(racy)) &&
		(b.options.IgnoreInode || old.Source == st.Ino)
}

// owners remembers the names of users and groups.
type owners struct {
	mu     sync.Mutex
	users  map[uint32]string
	groups map[uint32]string
}

func newOwners() *owners {
	return &owners{users: map[uint32]string{}, groups: map[uint32]string{}}
}

// user returns the name of uid, empty if it has none.
func (o *owners) user(uid uint32) string {
	return o.lookup(o.users, uid, func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

// group returns the name of gid, empty if it has none.
func (o *owners) group(gid uint32) string {
	return o.lookup(o.groups, gid, func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

func (o *owners) lookup(known map[uint32]string, id uint32, find func(string) (string, error)) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	name, ok := known[id]
	if !ok {
		name, _ = find(strconv.FormatUint(uint64(id), 10)) // the number is recorded as well
		known[id] = name
	}
	return name
}

// openDir opens a directory for reading its names. Only what a user has named
// may be reached over a link.
func openDir(at int, name string, follow bool) (int, error) {
	flags := unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC
	if !follow {
		flags |= unix.O_NOFOLLOW
	}
	return openat(at, name, flags)
}

// openFile opens a file for reading. It does not wait for what took the place
// of a regular file, such as a FIFO without a writer.
func openFile(at int, name string) (int, error) {
	return openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC)
}

// openat opens without changing the access time where that is allowed.
func openat(at int, name string, flags int) (fd int, err error) {
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(at, name, flags|unix.O_NOATIME, 0)
		if errors.Is(err, unix.EPERM) {
			fd, err = unix.Openat(at, name, flags, 0)
		}
		return err
	})
	return fd, err
}

func ignoringEINTR(fn func() error) error {
	for {
		if err := fn(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// readLink returns the target of a symlink.
func readLink(at int, name string) (string, error) {
	for size := 256; ; size *= 4 {
		buffer := make([]byte, size)
		n, err := unix.Readlinkat(at, name, buffer)
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buffer[:n]), nil
		}
		if size > tree.MaxTarget {
			return "", unix.ENAMETOOLONG
		}
	}
}
