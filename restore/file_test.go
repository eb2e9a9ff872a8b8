package restore

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/restore/treetest"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// TestReopen: a file that was closed meanwhile is opened again under its name,
// if that still leads to it and to nothing else.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	at, err := unix.Open(dir, unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(at)
	f := &file{name: "file", fd: -1}
	must(t, f.create(at))
	must(t, f.close())
	must(t, f.reopen(at))
	must(t, f.close())
	for name, edit := range map[string]func(){
		"another file":    func() { writeFile(t, dir+"/new", nil); must(t, os.Rename(dir+"/new", dir+"/file")) },
		"another name":    func() { must(t, os.Link(dir+"/file", dir+"/other")) },
		"a link":          func() { must(t, os.Remove(dir+"/file")); must(t, os.Symlink("other", dir+"/file")) },
		"nothing":         func() { must(t, os.Remove(dir+"/file")) },
		"a FIFO, no wait": func() { must(t, os.Remove(dir+"/file")); must(t, unix.Mkfifo(dir+"/file", 0o600)) },
	} {
		os.Remove(dir + "/file")
		os.Remove(dir + "/other")
		f := &file{name: "file", fd: -1}
		must(t, f.create(at))
		must(t, f.close())
		edit()
		if err := f.reopen(at); err == nil {
			t.Errorf("%s: it is opened", name)
			f.close()
		}
	}
	os.Remove(dir + "/file") // what is there depends on which edit came last
	writeFile(t, dir+"/file", nil)
	if err := (&file{name: "file", fd: -1}).create(at); err == nil {
		t.Error("a file is made where one is")
	}
}

// TestMakeReady: a file that existed is private and empty where it should be
// before anything is written to it.
func TestMakeReady(t *testing.T) {
	path := writeFile(t, t.TempDir()+"/file", treetest.Bytes(1, 300_000))
	must(t, os.Chmod(path, 0o6777))
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
	must(t, err)
	hole := tree.Hole{Offset: 65536, Length: 65536}
	f := &file{fd: fd, existed: true, size: 200_000, layout: newLayout([]tree.Hole{hole})}
	must(t, f.makeReady())
	info, err := os.Stat(path)
	must(t, err)
	if info.Mode() != 0o600 || info.Size() != 200_000 {
		t.Errorf("got mode %v and %d bytes", info.Mode(), info.Size())
	}
	want := treetest.Bytes(1, 200_000)
	clear(want[hole.Offset : hole.Offset+hole.Length])
	wantFile(t, path, want)
	must(t, f.close())
}

// TestListWithOtherLength restores a file whose list gives a block less than it
// holds, though the sum is right.
func TestListWithOtherLength(t *testing.T) {
	b := newMemoryBed(t)
	f := b.forge(t)
	add := func(number uint64, edit func(i int, length uint64) uint64) {
		list := tree.NewListBuilder(forgeSink{f}, f.params)
		size := uint64(0)
		for i := range f.params.ExtentsMax + 10 {
			data := fmt.Appendf(nil, "block %04d", i)
			length := edit(i, uint64(len(data)))
			must(t, list.Add(t.Context(), f.put(object.KindBlock, nil, data), length))
			size += length
		}
		_, root, err := list.Finish(t.Context())
		must(t, err)
		f.inodes[number] = &tree.Inode{Number: number, Type: tree.TypeFile, Mode: 0o644, Links: 1, Size: size, Root: root}
	}
	add(2, func(_ int, length uint64) uint64 { return length })
	add(3, func(i int, length uint64) uint64 { return length - uint64(i%2) })
	f.dir(1, tree.Entry{Name: "good", Number: 2, Type: tree.TypeFile}, tree.Entry{Name: "short", Number: 3, Type: tree.TypeFile})
	target := t.TempDir()
	rec := &record{}
	_, err := Run(t.Context(), b.repo, b.keys, f.commit(), Options{Target: target}, rec)
	must(t, err)
	if len(rec.errors) != 1 || paths(rec.errors)[0] != "/short" || !strings.Contains(rec.errors[0], "corrupt") {
		t.Errorf("got errors %q, want one of /short", rec.errors)
	}
	wantAbsent(t, target+"/short")
	data, err := os.ReadFile(target + "/good")
	must(t, err)
	if !strings.HasPrefix(string(data), "block 0000block 0001") || len(data) != 10*(f.params.ExtentsMax+10) {
		t.Errorf("got %d bytes, %.30q", len(data), data)
	}
}

func TestCut(t *testing.T) {
	r := &reading{segment: index.Segment{Size: 7}}
	const n = 2*maxItems + 5
	for i := range n {
		r.items = append(r.items, item{block: int32(i), offset: uint32((i*7919)%n) * 64})
	}
	pieces := cut([]*reading{r, {items: []item{{block: n}}}})
	if len(pieces) != 4 {
		t.Fatalf("%d pieces, want 4", len(pieces))
	}
	seen := map[int32]bool{}
	last := int64(-1)
	for i, p := range pieces {
		if i < 3 && p.segment.Size != 7 {
			t.Errorf("piece %d is of another segment", i)
		}
		for _, it := range p.items {
			if i < 3 && int64(it.offset) <= last {
				t.Fatalf("piece %d: offset %d after %d", i, it.offset, last)
			}
			last = int64(it.offset)
			seen[it.block] = true
		}
	}
	if len(seen) != n+1 {
		t.Errorf("%d blocks, want %d", len(seen), n+1)
	}
}

// TestInline restores content that stands inside the inode, into nothing and
// over something else.
func TestInline(t *testing.T) {
	b := newMemoryBed(t, func(c *repo.Config) { c.Tree.InlineLimit = 100 })
	f := b.forge(t)
	f.inodes[2] = &tree.Inode{
		Number: 2, Type: tree.TypeFile, Mode: 0o644, Links: 1, Size: 30, Inline: []byte("0123456789"),
		Holes: []tree.Hole{{Offset: 5, Length: 20}},
	}
	f.dir(1, tree.Entry{Name: "file", Number: 2, Type: tree.TypeFile})
	from := f.commit()
	target := t.TempDir()
	want := []byte("01234" + strings.Repeat("\x00", 20) + "56789")
	for _, there := range []string{"", "something else, which is longer than that"} {
		if there != "" {
			must(t, os.WriteFile(target+"/file", []byte(there), 0o600))
		}
		result, _ := b.restore(t, from, Options{Target: target, Verify: true})
		wantFile(t, target+"/file", want)
		if result.BytesRestored != 10 || result.TotalBytes != 10 {
			t.Errorf("got %+v, want 10 bytes", result)
		}
	}
}
