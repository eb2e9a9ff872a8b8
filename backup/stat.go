package backup

import (
	"errors"
	"fmt"
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
	if kind == tree.TypeFile {
		in.Size = uint64(st.Size)
	}
	if b.options.WithATime {
		at := timeOf(st.Atim)
		in.ATime = &at
	}
	return in
}

// timeOf converts t, of which a strange file system may have more nanoseconds
// than a second has.
func timeOf(t unix.Timespec) object.Time { return object.TimeOf(time.Unix(t.Unix())) }

// A likeness is how much of what the parent has of a file still holds.
type likeness int

const (
	different   likeness = iota
	sameContent          // only the attributes have to be read again
	same
)

// compare tells how alike the file that st describes and old are, the inode
// that a backup which began at start has of it.
//
// They are the same if size, mtime, ctime and inode number are. Options may
// make it ignore ctime or inode number. The kernel changes the ctime with
// everything else, so without it only the content of a regular file is taken
// for unchanged.
func (b *backup) compare(old *tree.Inode, st *unix.Stat_t, start object.Time) likeness {
	regular := old.Type == tree.TypeFile
	mtime, ctime := timeOf(st.Mtim), timeOf(st.Ctim)
	switch {
	case regular && old.Size != uint64(st.Size), old.MTime != mtime:
		return different
	case old.Source != st.Ino && !b.options.IgnoreInode:
		return different
	case old.CTime == ctime && !racy(ctime, start):
		return same
	case regular && b.options.IgnoreCTime && !racy(mtime, start):
		return sameContent
	}
	return different
}

// Resolutions of the times that files get. The kernel's clock ticks every 10 ms
// at most; some file systems store whole seconds, or every second one.
const (
	clockTick  = 20 * time.Millisecond
	coarseTick = 2 * time.Second
)

// racy reports whether a file with the time t of its last change may have
// changed once more, after it was read by a backup that began at start, and
// still have that time: the backup was under way, or about to begin, within the
// same tick of the clock.
func racy(t, start object.Time) bool {
	tick := clockTick
	if t.Nsec == 0 {
		tick = coarseTick
	}
	return !t.Before(object.TimeOf(start.Time().Add(-tick)))
}

// takeContent gives in the content of old, or what else no attribute tells.
func takeContent(in, old *tree.Inode) {
	in.Size, in.Holes, in.ContentHash = old.Size, old.Holes, old.ContentHash
	in.Inline, in.Extents, in.Root = old.Inline, old.Extents, old.Root
	in.Target, in.Device = old.Target, old.Device
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

// openDir opens a directory for reading its names, not over a link.
func openDir(at int, name string) (int, error) {
	return openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC)
}

// openWaypoint opens a directory that a user has named on the way to another.
// It may be reached over a link, and need not be readable.
func openWaypoint(at int, name string) (fd int, err error) {
	err = ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(at, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// openFile opens a file for reading. It does not wait for what took the place
// of a regular file, such as a FIFO without a writer, but for the holder of a
// lease, as file servers are.
func openFile(at int, name string) (int, error) {
	fd, err := openat(at, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC)
	if !errors.Is(err, unix.EAGAIN) {
		return fd, err
	}
	pinned, err := unix.Openat(at, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(pinned)
	var st unix.Stat_t
	if err := unix.Fstat(pinned, &st); err != nil {
		return -1, err
	}
	if typeOf(&st) != tree.TypeFile {
		return -1, errReplaced
	}
	return openat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", pinned), unix.O_RDONLY|unix.O_CLOEXEC)
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
