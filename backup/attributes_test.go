package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bluesky/object"
	"bluesky/snapshot"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

func TestXattrs(t *testing.T) {
	b := newDefaultBed(t)
	dir := t.TempDir()
	mountTmpfs(t, dir, "4m") // one that has attributes of 64 KiB
	file, sub, link := write(t, filepath.Join(dir, "file"), "1"), filepath.Join(dir, "sub"), filepath.Join(dir, "link")
	must(t, os.Mkdir(sub, 0o755), os.Symlink("file", link))
	for _, name := range []string{file, sub} {
		for _, size := range []int{0, 1, 256, 257, 64 << 10} {
			if err := unix.Setxattr(name, fmt.Sprint("user.size", size), random(byte(size), size), 0); err != nil {
				t.Skipf("NOT TESTED: no attributes of %d bytes: %v", size, err)
			}
		}
	}
	must(t, unix.Lsetxattr(link, "trusted.link", []byte("value"), 0))
	s := b.verify(t, paths(dir), dir)
	for _, name := range []string{file, sub} {
		blocks := 0
		for _, x := range b.inode(t, s, name).Xattrs {
			if !x.Block.IsZero() {
				blocks++
			}
		}
		if blocks != 2 {
			t.Errorf("%s: %d attributes in blocks, want those above 256 bytes", name, blocks)
		}
	}
	waitTick(t)
	must(t, unix.Setxattr(file, "user.size1", []byte("2"), 0), unix.Removexattr(sub, "user.size257"))
	options := paths(dir)
	options.Parent = s
	b.verify(t, options, dir)
}

// A file whose attributes cannot be read is there without them, which is told,
// and told again by the next backup, instead of taking it for unchanged.
func TestXattrsThatCannotBeRead(t *testing.T) {
	w := testWorker(t, newBed(t))
	log := &progressLog{}
	w.progress = log
	in := tree.Inode{CTime: object.Time{Sec: 5}}
	must(t, w.readAttributes(t.Context(), &in, attributes{fd: -1}, func() string { return "/the/file" }))
	if len(log.errors) != 1 || !strings.HasPrefix(log.errors[0], "/the/file: extended attributes: ") || w.failures.Load() != 1 {
		t.Errorf("told of %q", log.errors)
	}
	st := unix.Stat_t{Ctim: unix.Timespec{Sec: 5}}
	if w.compare(&in, &st, object.Time{Sec: 100}) != different {
		t.Error("the next backup would take the file for unchanged")
	}
}

func TestFlags(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	name := write(t, filepath.Join(dir, "file"), "1")
	fd, err := unix.Open(name, unix.O_RDONLY, 0)
	must(t, err)
	defer unix.Close(fd)
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		t.Skipf("NOT TESTED: no flags here: %v", err)
	}
	must(t, unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|int(tree.FlagNoDump|tree.FlagNoAtime)))
	s := b.verify(t, paths(dir), dir)
	if got := b.inode(t, s, name).Flags; got&(tree.FlagNoDump|tree.FlagNoAtime) != tree.FlagNoDump|tree.FlagNoAtime {
		t.Errorf("flags %#x", got)
	}
	options := paths(dir)
	options.Parent = s
	if again := b.verify(t, options, dir); again.Root != s.Root {
		t.Error("an unchanged file with flags has changed")
	}
}

// Everything that is no regular file, and owners that nobody knows.
func TestSpecialFiles(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	must(t,
		unix.Mkfifo(in("fifo"), 0o640), unix.Mknod(in("socket"), unix.S_IFSOCK|0o600, 0),
		os.Symlink(strings.Repeat("x/", 2000), in("long link")), os.Symlink("\xff\n", in("link to bytes")),
		os.Mkdir(in("empty"), 0o1777))
	write(t, in(strings.Repeat("n", 255)), "1")
	write(t, in("not \xff UTF-8\n"), "1")
	must(t, os.Chmod(write(t, in("setuid"), "1"), 0o755|os.ModeSetuid|os.ModeSticky))
	if os.Geteuid() == 0 {
		must(t,
			unix.Mknod(in("char"), unix.S_IFCHR|0o600, int(unix.Mkdev(4, 70000))),
			unix.Mknod(in("block"), unix.S_IFBLK|0o600, int(unix.Mkdev(4000, 7))),
			os.Lchown(write(t, in("of nobody known"), "1"), 54321, 65432),
			os.Lchown(in("long link"), 54321, 65432))
	} else {
		t.Log("NOT TESTED: devices and owners need root")
	}
	var parent *snapshot.Snapshot
	for range 2 {
		options := paths(dir)
		options.Parent = parent
		parent = b.verify(t, options, dir)
	}
	if in := b.inode(t, parent, in("of nobody known")); os.Geteuid() == 0 && (in.User != "" || in.Group != "") {
		t.Errorf("an unknown owner is called %q, %q", in.User, in.Group)
	}
}
