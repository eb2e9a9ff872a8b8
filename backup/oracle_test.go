package backup

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"bluesky/object"
	"bluesky/snapshot"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// A node is what a file is, by its own account or by that of a snapshot.
type node struct {
	kind         tree.Type
	mode         uint32
	uid, gid     uint32
	size         uint64
	mtime, ctime object.Time
	target       string
	major, minor uint32
	links        uint32
	first        string // the first of its names
	xattrs       string
	content      string // hash
}

// diskView is what lies at and below roots, found with package os and lstat(2).
func diskView(t tester, roots ...string) map[string]node {
	t.Helper()
	view := map[string]node{}
	firsts := map[[2]uint64]string{}
	// Depth first, so "b/c" is before "b.c".
	slices.SortFunc(roots, func(a, b string) int {
		return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
	})
	for _, root := range roots {
		must(t, filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			view[path] = diskNode(t, path, firsts)
			return nil
		}))
	}
	return view
}

func diskNode(t tester, path string, firsts map[[2]uint64]string) node {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	n := node{
		mode: st.Mode & 0o7777, uid: st.Uid, gid: st.Gid,
		mtime: object.Time{Sec: st.Mtim.Sec, Nsec: uint32(st.Mtim.Nsec)},
		ctime: object.Time{Sec: st.Ctim.Sec, Nsec: uint32(st.Ctim.Nsec)},
		links: uint32(st.Nlink), xattrs: diskXattrs(t, path),
	}
	var err error
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		n.kind, n.size = tree.TypeFile, uint64(st.Size)
		n.content = diskHash(t, path)
	case unix.S_IFDIR:
		n.kind, n.links = tree.TypeDir, 0
	case unix.S_IFLNK:
		n.kind = tree.TypeSymlink
		n.target, err = os.Readlink(path)
		must(t, err)
	case unix.S_IFIFO:
		n.kind = tree.TypeFIFO
	case unix.S_IFSOCK:
		n.kind = tree.TypeSocket
	case unix.S_IFCHR:
		n.kind, n.major, n.minor = tree.TypeCharDevice, unix.Major(st.Rdev), unix.Minor(st.Rdev)
	case unix.S_IFBLK:
		n.kind, n.major, n.minor = tree.TypeBlockDevice, unix.Major(st.Rdev), unix.Minor(st.Rdev)
	}
	if n.links > 1 {
		key := [2]uint64{st.Dev, st.Ino}
		if firsts[key] == "" {
			firsts[key] = path
		}
		n.first = firsts[key]
	}
	return n
}

func diskHash(t tester, path string) string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	must(t, err)
	return string(h.Sum(nil))
}

func diskXattrs(t tester, path string) string {
	t.Helper()
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	must(t, err)
	var all []string
	for name := range strings.SplitSeq(string(list[:n]), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		must(t, err)
		all = append(all, fmt.Sprintf("%s=%x\n", name, sha256.Sum256(value[:n])))
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

// snapshotView is what a snapshot shows, waypoints left out. It reads every
// byte, and holds the map to what no single reader checks: each inode has a
// name, each number is below Next, no number stands there twice.
func (b *bed) view(t tester, s *snapshot.Snapshot) map[string]node {
	t.Helper()
	m, source := b.tree(s)
	view := map[string]node{}
	firsts := map[uint64]string{}
	names := map[uint64]int{}
	err := tree.Walk(t.Context(), m, func(path []string, in *tree.Inode) error {
		names[in.Number]++
		if in.Waypoint() {
			return nil
		}
		view["/"+strings.Join(path, "/")] = b.node(t, m, source, path, in, firsts)
		return nil
	})
	must(t, err)
	last := uint64(0)
	for in, err := range m.All(t.Context()) {
		must(t, err)
		if in.Number <= last {
			t.Errorf("inode %d behind inode %d", in.Number, last)
		}
		last = in.Number
		if names[last] == 0 {
			t.Errorf("inode %d, a %s, has no name", last, in.Type)
		}
		delete(names, last)
	}
	if len(names) > 0 {
		t.Errorf("names without inodes: %v", names)
	}
	if last >= s.Record.Next {
		t.Errorf("inode %d, and the next is said to be %d", last, s.Record.Next)
	}
	return view
}

func (b *bed) node(t tester, m *tree.Map, source tree.Source, path []string, in *tree.Inode, firsts map[uint64]string) node {
	t.Helper()
	n := node{
		kind: in.Type, mode: in.Mode, uid: in.UID, gid: in.GID, size: in.Size, mtime: in.MTime, ctime: in.CTime,
		target: in.Target, major: in.Device.Major, minor: in.Device.Minor, links: in.Links,
	}
	for _, x := range in.Xattrs {
		value, err := x.Load(t.Context(), source, tree.Params(b.repo.Config().Tree))
		must(t, err)
		n.xattrs += fmt.Sprintf("%s=%x\n", x.Name, sha256.Sum256(value))
	}
	if in.Type == tree.TypeFile {
		h := sha256.New()
		copyContent(t, m, source, in, h)
		n.content = string(h.Sum(nil))
	}
	if n.links > 1 {
		if firsts[in.Number] == "" {
			firsts[in.Number] = "/" + strings.Join(path, "/")
		}
		n.first = firsts[in.Number]
	}
	return n
}

// copyContent writes a file as a restore does, zeros for holes.
func copyContent(t tester, m *tree.Map, source tree.Source, in *tree.Inode, h hash.Hash) {
	t.Helper()
	offset, holes := uint64(0), in.Holes
	zeros := make([]byte, 64<<10)
	skip := func() {
		for len(holes) > 0 && holes[0].Offset == offset {
			for left := holes[0].Length; left > 0; {
				n := min(left, uint64(len(zeros)))
				h.Write(zeros[:n])
				left -= n
			}
			offset += holes[0].Length
			holes = holes[1:]
		}
	}
	put := func(data []byte) {
		for len(data) > 0 {
			skip()
			n := uint64(len(data))
			if len(holes) > 0 {
				n = min(n, holes[0].Offset-offset)
			}
			h.Write(data[:n])
			offset, data = offset+n, data[n:]
		}
	}
	put(in.Inline)
	for e, err := range m.Content(t.Context(), in) {
		must(t, err)
		_, data, err := source.Object(t.Context(), e.Block, object.KindBlock)
		must(t, err)
		put(data[e.Offset : e.Offset+e.Length])
	}
	skip()
	if offset != in.Size {
		t.Errorf("inode %d: %d bytes of content, size %d", in.Number, offset, in.Size)
	}
}

// sameView reports every difference of two views.
func sameView(t tester, what string, got, want map[string]node) {
	t.Helper()
	all := maps.Clone(got)
	maps.Copy(all, want)
	shown := 0
	for _, path := range slices.Sorted(maps.Keys(all)) {
		g, inGot := got[path]
		w, inWant := want[path]
		if g == w && inGot == inWant {
			continue
		}
		if shown++; shown > 10 {
			t.Errorf("%s: and more", what)
			return
		}
		t.Errorf("%s: %q:\n got %v %+v\nwant %v %+v", what, path, inGot, g, inWant, w)
	}
}

// verify backs up and compares the snapshot with what the disk holds at roots.
func (b *bed) verify(t tester, options Options, roots ...string) *snapshot.Snapshot {
	t.Helper()
	s := b.snapshot(t, b.run(t, options).Snapshot)
	b.compare(t, s, roots...)
	return s
}

// compare compares a snapshot with what the disk holds at roots.
func (b *bed) compare(t tester, s *snapshot.Snapshot, roots ...string) {
	t.Helper()
	sameView(t, "snapshot and disk", b.view(t, s), diskView(t, slices.Clone(roots)...))
}

// sizeOf returns the bytes of the objects of after that are not in before.
func sizeOf(before, after map[string][]byte) (n int) {
	for key, data := range after {
		if !bytes.Equal(before[key], data) {
			n += len(data)
		}
	}
	return n
}
