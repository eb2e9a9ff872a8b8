package treetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Make makes, in the empty directory dir, a tree with every type of file and
// odd name that Linux allows, attributes of all kinds, and times of five
// centuries. Contents are the same each time.
func Make(t testing.TB, dir string) {
	t.Helper()
	m := maker{t, dir}
	m.deep()
	m.shallow()
}

// shallow makes all but the paths that are too long.
func (m maker) shallow() {
	m.t.Helper()
	m.contents()
	m.names()
	m.links()
	m.special()
	m.attributes()
	m.acls()
	m.modes()
	m.owners()
	m.flags()
	m.times() // last: all else changes directories
}

// Bytes returns n bytes that do not compress, the same for the same seed.
func Bytes(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	data := make([]byte, n)
	rand.NewChaCha8(key).Read(data) // never fails
	return data
}

// A maker makes one tree.
type maker struct {
	t   testing.TB
	dir string
}

func (m maker) path(name string) string { return filepath.Join(m.dir, name) }

func (m maker) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m maker) write(name string, data []byte) string {
	m.t.Helper()
	path := m.path(name)
	m.must(os.MkdirAll(filepath.Dir(path), 0o755))
	m.must(os.WriteFile(path, data, 0o644))
	return path
}

// asRoot reports whether what only root can make is made; if not it is logged.
func (m maker) asRoot(what string) bool {
	m.t.Helper()
	if !Root() {
		m.t.Logf("NOT TESTED without root: %s", what)
	}
	return Root()
}

func (m maker) contents() {
	m.write("content/empty", nil)
	m.write("content/one byte", []byte{0})
	m.write("content/text", bytes.Repeat([]byte("all work and no play\n"), 5000))
	m.write("content/random", Bytes(1, 3<<20))
	m.write("content/again", Bytes(1, 3<<20)) // the same blocks
	m.write("content/zeros", make([]byte, 1<<20))
	m.must(os.MkdirAll(m.path("content/empty directory"), 0o755))
	m.holes("content/all hole", 4<<20)
	m.holes("content/hole in front", 4<<20, 4<<20-100)
	m.holes("content/hole behind", 4<<20, 0)
	// A block reaches over these holes.
	m.holes("content/many holes", 2<<20, 4<<10, 256<<10, 1<<20, 1<<20+512<<10, 2<<20-100)
	for i := range 150 {
		m.write(fmt.Sprintf("content/many/file %d", i), Bytes(uint64(i), 37*i))
	}
}

// holes makes a file of the given size with 100 bytes at each offset.
func (m maker) holes(name string, size int64, offsets ...int64) {
	m.t.Helper()
	f, err := os.Create(m.path(name))
	m.must(err)
	defer f.Close()
	for _, at := range offsets {
		_, err := f.WriteAt(Bytes(uint64(at), 100), at)
		m.must(err)
	}
	m.must(f.Truncate(size))
	m.must(f.Close())
}

func (m maker) names() {
	for i, name := range []string{
		"new\nline", "\n", "tab\t", " ", "-dash", "--", "*", "back\\slash", "quote\"'", "...", "$HOME",
		"\xff\xfe not UTF-8", "\x01\x1b[31mcontrol\x7f", "ünïcödé", strings.Repeat("x", 255),
		strings.Repeat("\xf0", 255), "{}", ";",
	} {
		m.write("names/"+name, []byte(name))
		m.write(fmt.Sprintf("names in directories/%d/%s/%s", i, name, name), []byte(name))
	}
}

// deep makes a tree whose paths are longer than PATH_MAX.
func (m maker) deep() {
	name := strings.Repeat("d", 250)
	at, err := unix.Open(m.dir, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	m.must(err)
	for depth := range 20 {
		m.must(unix.Mkdirat(at, name, 0o755))
		next, err := unix.Openat(at, name, unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		m.must(err)
		unix.Close(at)
		at = next
		fd, err := unix.Openat(at, "file", unix.O_CREAT|unix.O_WRONLY|unix.O_CLOEXEC, 0o640)
		m.must(err)
		_, err = unix.Write(fd, fmt.Appendf(nil, "at depth %d", depth))
		m.must(err)
		m.must(unix.Close(fd))
		m.must(unix.Symlinkat(strings.Repeat("../", depth+1)+"nowhere", at, "link"))
	}
	m.must(unix.Linkat(at, "file", at, "hard link", 0))
	unix.Close(at)
}

func (m maker) links() {
	m.must(os.MkdirAll(m.path("links/a/b"), 0o755))
	m.must(os.Symlink("no such file", m.path("links/dangling")))
	m.must(os.Symlink(strings.Repeat("/", 4000)+"x", m.path("links/long")))
	m.must(os.Symlink("/etc/passwd", m.path("links/absolute")))
	m.must(os.Symlink("\xff\n", m.path("links/odd")))
	first := m.write("links/first", Bytes(7, 100<<10))
	m.must(os.Link(first, m.path("links/a/second")))
	m.must(os.Link(first, m.path("links/a/b/third")))
	m.must(unix.Linkat(unix.AT_FDCWD, m.path("links/odd"), unix.AT_FDCWD, m.path("links/a/odd too"), 0))
	empty := m.write("links/empty", nil)
	m.must(os.Link(empty, m.path("links/empty too")))
}

func (m maker) special() {
	m.must(os.MkdirAll(m.path("special"), 0o755))
	m.must(unix.Mkfifo(m.path("special/fifo"), 0o640))
	m.must(os.Link(m.path("special/fifo"), m.path("special/the same fifo")))
	m.must(unix.Mknod(m.path("special/socket"), unix.S_IFSOCK|0o755, 0))
	if m.asRoot("devices") {
		m.must(unix.Mknod(m.path("special/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
		m.must(unix.Mknod(m.path("special/loop"), unix.S_IFBLK|0o660, int(unix.Mkdev(7, 300))))
	}
}

func (m maker) attributes() {
	path := m.write("attributes/file", []byte("x"))
	m.must(unix.Setxattr(path, "user.empty", nil, 0))
	m.must(unix.Setxattr(path, "user.small", []byte("value"), 0))
	m.must(unix.Setxattr(path, "user.binary", []byte("\x00\xff\n"), 0))
	m.must(unix.Setxattr(path, "user.long", Bytes(3, 1500), 0))
	path = m.write("attributes/read-only", []byte("x"))
	m.must(unix.Setxattr(path, "user.on a read-only file", []byte("1"), 0))
	m.must(os.Chmod(path, 0o400))
	m.must(os.MkdirAll(m.path("attributes/dir"), 0o755))
	m.must(unix.Setxattr(m.path("attributes/dir"), "user.dir", Bytes(4, 300), 0))
	if m.asRoot("trusted attributes, capabilities") {
		m.must(unix.Setxattr(m.path("attributes/dir"), "trusted.dir", []byte("1"), 0))
		m.must(os.Symlink("target", m.path("attributes/link")))
		m.must(unix.Lsetxattr(m.path("attributes/link"), "trusted.link", []byte("of the link"), 0))
		m.must(unix.Mkfifo(m.path("attributes/fifo"), 0o600))
		m.must(unix.Lsetxattr(m.path("attributes/fifo"), "trusted.fifo", []byte("1"), 0))
		Run(m.t, m.dir, "setcap", "cap_net_bind_service+ep", m.write("attributes/capable", []byte("program")))
		m.must(os.Chown(m.path("attributes/capable"), 1, 1)) // takes them away
		Run(m.t, m.dir, "setcap", "cap_net_raw,cap_chown=eip", m.path("attributes/capable"))
	}
}

func (m maker) acls() {
	m.write("acl/file", []byte("x"))
	Run(m.t, m.dir, "setfacl", "-m", "u:1234:rwx,g:5678:r--,m::rw-", "acl/file")
	m.must(os.MkdirAll(m.path("acl/dir"), 0o755))
	// What is made in it inherits ACLs that these files do not have.
	m.write("acl/dir/before", []byte("x"))
	m.must(os.MkdirAll(m.path("acl/dir/sub"), 0o700))
	Run(m.t, m.dir, "setfacl", "-d", "-m", "u:1234:rwx,o::---", "acl/dir")
	Run(m.t, m.dir, "setfacl", "-m", "u:4321:--x", "acl/dir")
	m.write("acl/dir/after", []byte("x"))
}

func (m maker) modes() {
	for _, mode := range []uint32{0, 0o001, 0o400, 0o200, 0o111, 0o777, 0o7777, 0o4755, 0o2755, 0o2644, 0o1644} {
		name := fmt.Sprintf("modes/%04o", mode)
		path := m.write(name, []byte(name))
		m.must(unix.Chmod(path, mode))
		m.write(name+" dir/file", []byte(name))
		if mode != 0 || Root() {
			m.must(unix.Chmod(path+" dir", mode|0o500))
		}
	}
	if m.asRoot("a directory of mode 0") {
		m.write("modes/no entry/file", nil)
		m.must(os.Chmod(m.path("modes/no entry"), 0))
	}
}

func (m maker) owners() {
	if !m.asRoot("owners") {
		return
	}
	m.must(os.Chown(m.write("owners/file", []byte("x")), 123456, 65533))
	m.must(os.Chown(m.path("owners"), 123456, 123456))
	m.must(os.Symlink("x", m.path("owners/link")))
	m.must(os.Lchown(m.path("owners/link"), 123456, 7))
	path := m.write("owners/setuid of another", []byte("x"))
	m.must(os.Chown(path, 123456, 123456))
	m.must(unix.Chmod(path, 0o6755))
	m.must(unix.Mkfifo(m.path("owners/fifo"), 0o600))
	m.must(os.Lchown(m.path("owners/fifo"), 4294967294, 1))
}

// flags sets inode flags, where the file system has them.
func (m maker) flags() {
	for _, name := range []string{"flags/nodump", "flags/dir/noatime"} {
		m.write(name, []byte(name))
	}
	for name, flag := range map[string]int{"flags/nodump": 0x40, "flags/dir": 0x80, "flags/dir/noatime": 0xc0} {
		f, err := os.Open(m.path(name))
		m.must(err)
		now, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
		if err == nil {
			err = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, now|flag)
		}
		f.Close()
		if err != nil {
			m.t.Logf("NOT TESTED on this file system: inode flags: %v", err)
			return
		}
	}
}

// times sets times at the ends of what ext4 holds, and between.
func (m maker) times() {
	at := func(year, month, day int) int64 {
		return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix()
	}
	for name, sec := range map[string]int64{
		"1901": at(1901, 12, 14), "1969": at(1969, 12, 31), "1970": 0, "2038": at(2038, 1, 20), "2262": at(2262, 5, 1), "2400": at(2400, 2, 29),
	} {
		m.write("times/"+name, []byte(name))
		m.must(os.MkdirAll(m.path("times/dir "+name), 0o755))
		m.must(os.Symlink(name, m.path("times/link "+name)))
		for _, path := range []string{name, "dir " + name, "link " + name} {
			ts := []unix.Timespec{{Sec: sec, Nsec: 1}, {Sec: sec, Nsec: 123456789}}
			m.must(unix.UtimesNanoAt(unix.AT_FDCWD, m.path("times/"+path), ts, unix.AT_SYMLINK_NOFOLLOW))
		}
	}
	old := []unix.Timespec{{Sec: 1e9, Nsec: 1}, {Sec: 1e9, Nsec: 999999999}}
	for _, name := range []string{"content/random", "content/many/file 0", "links/a", "special/fifo", "names", "content", "times"} {
		m.must(unix.UtimesNanoAt(unix.AT_FDCWD, m.path(name), old, unix.AT_SYMLINK_NOFOLLOW))
	}
}
