package restore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"

	"bluesky/filter"
	"bluesky/restore/treetest"

	"golang.org/x/sys/unix"
)

// names returns the sorted paths below dir.
func names(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	must(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			list = append(list, path[len(dir)+1:])
		}
		return err
	}))
	return list
}

func makeSome(t *testing.T) string {
	source := t.TempDir()
	for _, name := range []string{"a/x.txt", "a/y.log", "a/deep/er/x.log", "b/x.txt", "b/c/x.log", "top.txt"} {
		writeFile(t, source+"/"+name, []byte(name))
	}
	must(t, os.Mkdir(source+"/empty", 0o711))
	return source
}

func TestSelect(t *testing.T) {
	source := makeSome(t)
	b := newMemoryBed(t)
	from := b.backup(t, source)
	include := func(patterns ...string) func(string, bool) (bool, bool) {
		list, err := filter.Parse(patterns)
		must(t, err)
		return func(path string, dir bool) (bool, bool) {
			selected := list.Match(path)
			return selected, dir && (selected || list.ChildMayMatch(path))
		}
	}
	exclude := func(patterns ...string) func(string, bool) (bool, bool) {
		list, err := filter.Parse(patterns)
		must(t, err)
		return func(path string, dir bool) (bool, bool) {
			selected := !list.Match(path)
			return selected, dir && selected
		}
	}
	tests := []struct {
		name    string
		subpath string
		sel     func(string, bool) (bool, bool)
		want    string
	}{
		{"all", "", nil, "a a/deep a/deep/er a/deep/er/x.log a/x.txt a/y.log b b/c b/c/x.log b/x.txt empty top.txt"},
		{"include by name", "", include("*.log"), "a a/deep a/deep/er a/deep/er/x.log a/y.log b b/c b/c/x.log"},
		{"include a directory", "", include("/b"), "b b/c b/c/x.log b/x.txt"},
		{"include an empty directory", "", include("empty"), "empty"},
		{"include nothing that is there", "", include("nothing"), ""},
		{"exclude by name", "", exclude("*.log"), "a a/deep a/deep/er a/x.txt b b/c b/x.txt empty top.txt"},
		{"exclude a directory", "", exclude("/a"), "b b/c b/c/x.log b/x.txt empty top.txt"},
		{"a directory", "a", nil, "deep deep/er deep/er/x.log x.txt y.log"},
		{"include below a directory", "a", include("/deep"), "deep deep/er deep/er/x.log"},
		{"a file", "a/x.txt", nil, "x.txt"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := filepath.Join(t.TempDir(), "new")
			result, rec := b.restore(t, from, Options{Target: target, Subpath: filepath.Join(source, tt.subpath), Select: tt.sel})
			got := names(t, target)
			if strings.Join(got, " ") != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for _, name := range got {
				from := filepath.Join(source, tt.subpath, name)
				if tt.subpath == "a/x.txt" {
					from = filepath.Join(source, tt.subpath)
				}
				want, err := os.Stat(from)
				must(t, err)
				is, err := os.Stat(filepath.Join(target, name))
				must(t, err)
				if is.Mode() != want.Mode() || !is.ModTime().Equal(want.ModTime()) {
					t.Errorf("%s: got %v %v, want %v %v", name, is.Mode(), is.ModTime(), want.Mode(), want.ModTime())
				}
			}
			if result.TotalEntries != len(got) || len(rec.items) != len(got) {
				t.Errorf("%d entries counted and %d reported, want %d", result.TotalEntries, len(rec.items), len(got))
			}
			for path := range rec.items {
				if !slices.Contains(got, path[1:]) {
					t.Errorf("%q is reported, which is not there", path)
				}
			}
		})
	}
	t.Run("no such path", func(t *testing.T) {
		_, err := Run(t.Context(), b.repo, b.keys, from, Options{Target: t.TempDir(), Subpath: source + "/none"}, nil)
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v, want %v", err, fs.ErrNotExist)
		}
	})
}

// TestSelectLink selects the second name of a file alone.
func TestSelectLink(t *testing.T) {
	source := t.TempDir()
	writeFile(t, source+"/a", []byte("content"))
	for _, name := range []string{"b", "c"} {
		must(t, os.Link(source+"/a", source+"/"+name))
	}
	b := newMemoryBed(t)
	target := t.TempDir()
	b.restore(t, b.backup(t, source), Options{Target: target, Subpath: source, Select: func(path string, _ bool) (bool, bool) {
		return path != "/a", true
	}})
	wantAbsent(t, target+"/a")
	wantFile(t, target+"/b", []byte("content"))
	if inodeOf(t, target+"/b") != inodeOf(t, target+"/c") {
		t.Error("b and c are no links to each other")
	}
}

func TestDryRun(t *testing.T) {
	source := makeSome(t)
	b := newMemoryBed(t)
	from := b.backup(t, source)
	parent := t.TempDir()
	for _, target := range []string{parent + "/absent", parent} {
		result, rec := b.restore(t, from, Options{Target: target, DryRun: true, Subpath: source})
		if got := names(t, parent); len(got) != 0 {
			t.Errorf("a dry run made %q", got)
		}
		if result.TotalEntries != 12 || len(rec.items) != 12 || rec.items["/a/x.txt"] != Restored {
			t.Errorf("got %+v, %v", result, rec.items)
		}
	}
	b.restore(t, from, Options{Target: parent, Subpath: source})
	before := names(t, parent)
	must(t, os.WriteFile(parent+"/top.txt", []byte("other"), 0o644))
	_, rec := b.restore(t, from, Options{Target: parent, DryRun: true, Subpath: source})
	if rec.items["/a/x.txt"] != Unchanged || rec.items["/top.txt"] != Updated {
		t.Errorf("got %v", rec.items)
	}
	wantFile(t, parent+"/top.txt", []byte("other"))
	if after := names(t, parent); !slices.Equal(before, after) {
		t.Errorf("got %q, want %q", after, before)
	}
}

// TestSpecial: setuid bits, capabilities and devices come back when root
// restores a whole snapshot, or when they are asked for.
func TestSpecial(t *testing.T) {
	if !treetest.Root() {
		t.Skip("NOT TESTED without root: devices, capabilities")
	}
	source := t.TempDir()
	must(t, unix.Mknod(source+"/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Mknod(source+"/disk", unix.S_IFBLK|0o666, int(unix.Mkdev(7, 3))))
	must(t, unix.Chmod(writeFile(t, source+"/setuid", nil), 0o6755))
	treetest.Run(t, source, "setcap", "cap_net_raw=ep", writeFile(t, source+"/capable", nil))
	must(t, os.Mkdir(source+"/shared", 0o755))
	must(t, unix.Chmod(source+"/shared", 0o3775))
	must(t, unix.Mkfifo(source+"/fifo", 0o600))
	b := newMemoryBed(t)
	from := b.backup(t, source)
	all := func(string, bool) (bool, bool) { return true, true }

	t.Run("whole", func(t *testing.T) {
		target := t.TempDir()
		b.restore(t, from, Options{Target: target})
		treetest.Compare(t, source, target+source)
	})
	t.Run("asked for", func(t *testing.T) {
		target := t.TempDir()
		b.restore(t, from, Options{Target: target, Subpath: source, Select: all, PreserveSpecial: true})
		treetest.Compare(t, source, target)
	})
	for name, options := range map[string]Options{"a part": {Subpath: source}, "selected": {Select: all}} {
		t.Run(name, func(t *testing.T) {
			options.Target = t.TempDir()
			rec := &record{}
			result, err := Run(t.Context(), b.repo, b.keys, from, options, rec)
			must(t, err)
			if result.Errors != 0 || result.Warnings != 4 || len(rec.warnings) != 4 {
				t.Errorf("got %+v, %q, %q; want 4 warnings and no errors", result, rec.errors, rec.warnings)
			}
			at := options.Target
			if options.Subpath == "" {
				at += source
			}
			wantAbsent(t, at+"/null")
			wantAbsent(t, at+"/disk")
			for name, want := range map[string]os.FileMode{
				"setuid": 0o755, "capable": 0o644, "shared": os.ModeDir | os.ModeSetgid | os.ModeSticky | 0o775, "fifo": os.ModeNamedPipe | 0o600,
			} {
				info, err := os.Lstat(at + "/" + name)
				must(t, err)
				if info.Mode() != want {
					t.Errorf("%s: got %v, want %v", name, info.Mode(), want)
				}
			}
			if n, err := unix.Getxattr(at+"/capable", "security.capability", nil); !errors.Is(err, unix.ENODATA) {
				t.Errorf("capabilities: %d bytes, %v; want none", n, err)
			}
		})
	}
}

// TestGuards restores immutable and append-only files and directories, with
// hard links, twice.
func TestGuards(t *testing.T) {
	if !treetest.Root() {
		t.Skip("NOT TESTED without root: immutable files")
	}
	source, target := t.TempDir(), t.TempDir()
	writeFile(t, source+"/immutable", []byte("x"))
	must(t, os.Link(source+"/immutable", source+"/link"))
	writeFile(t, source+"/log", []byte("x"))
	writeFile(t, source+"/dir/file", []byte("x"))
	guard := func(sign, dir string) {
		treetest.Run(t, dir, "chattr", sign+"i", "immutable", "dir")
		treetest.Run(t, dir, "chattr", sign+"a", "log")
	}
	guard("+", source)
	t.Cleanup(func() { guard("-", source) })
	b := newMemoryBed(t)
	from := b.backup(t, source)
	lift := func() { treetest.Run(t, target+source, "sh", "-c", "chattr -i immutable dir; chattr -a log") }
	t.Cleanup(lift)
	for range 2 {
		b.restore(t, from, Options{Target: target})
		treetest.Compare(t, source, target+source)
	}
	// A guard that is not of the snapshot is somebody's will.
	lift()
	must(t, os.WriteFile(target+source+"/dir/file", []byte("changed"), 0o644))
	treetest.Run(t, target+source, "chattr", "+i", "dir/file")
	rec := &record{}
	_, err := Run(t.Context(), b.repo, b.keys, from, Options{Target: target}, rec)
	must(t, err)
	treetest.Run(t, target+source, "chattr", "-i", "dir/file")
	if got := paths(rec.errors); len(got) != 1 || got[0] != source+"/dir/file" {
		t.Errorf("got errors %q, want one of dir/file", rec.errors)
	}
	wantFile(t, target+source+"/dir/file", []byte("changed"))
}

// TestInheritedACL restores into a directory whose default ACL everything that
// is made in it inherits.
func TestInheritedACL(t *testing.T) {
	source := makeSome(t)
	must(t, unix.Mkfifo(source+"/fifo", 0o604))
	b := newMemoryBed(t)
	target := t.TempDir()
	treetest.Run(t, target, "setfacl", "-d", "-m", "u:1234:rwx,g::rwx,o::rwx", ".")
	b.restore(t, b.backup(t, source), Options{Target: target, Subpath: source})
	treetest.Compare(t, source, target)
}

// TestNoSpace restores into a file system that is too small.
func TestNoSpace(t *testing.T) {
	source := t.TempDir()
	for _, name := range []string{"a", "b", "c", "d"} {
		writeFile(t, source+"/"+name, treetest.Bytes(uint64(name[0]), 1<<20))
	}
	b := newMemoryBed(t)
	from := b.backup(t, source)
	target := t.TempDir()
	if err := unix.Mount("tmpfs", target, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("NOT TESTED: a full disk: mount: %v", err)
	}
	defer unix.Unmount(target, unix.MNT_DETACH)
	result, err := Run(t.Context(), b.repo, b.keys, from, Options{Target: target, Subpath: source}, &record{})
	if !errors.Is(err, ErrNoSpace) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("got %v, want %v", err, ErrNoSpace)
	}
	if result.BytesRestored == 0 || result.BytesRestored >= result.TotalBytes {
		t.Errorf("got %+v", result)
	}
	must(t, unix.Mount("", target, "", unix.MS_REMOUNT, "size=16m"))
	rec := &record{}
	_, err = Run(t.Context(), b.repo, b.keys, from, Options{Target: target, Subpath: source}, rec)
	must(t, err)
	treetest.CompareContent(t, source, target)
}

func TestCanceled(t *testing.T) {
	source := makeSome(t)
	b := newMemoryBed(t)
	from := b.backup(t, source)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result, err := Run(ctx, b.repo, b.keys, from, Options{Target: t.TempDir()}, nil)
	if !errors.Is(err, context.Canceled) || result.Errors != 0 {
		t.Errorf("got %+v, %v", result, err)
	}
}

// TestTarget: a target that is no directory, and one that cannot be made.
func TestTarget(t *testing.T) {
	source := makeSome(t)
	b := newMemoryBed(t)
	from := b.backup(t, source)
	file := writeFile(t, t.TempDir()+"/file", nil)
	for _, target := range []string{file, file + "/below", ""} {
		if _, err := Run(t.Context(), b.repo, b.keys, from, Options{Target: target}, nil); err == nil {
			t.Errorf("target %q: no error", target)
		}
	}
}

// TestManyOpenFiles has more unfinished files than may be open, since the last
// blocks of all of them are in segments that come late.
func TestManyOpenFiles(t *testing.T) {
	source := t.TempDir()
	var want []string
	for i := range maxOpenFiles + 16 {
		data := append(treetest.Bytes(uint64(i), 70_000), treetest.Bytes(1000, 150_000)...)
		want = append(want, writeFile(t, filepath.Join(source, "d"+string(rune('a'+i%26)), string(rune('a'+i/26))), data))
	}
	sort.Strings(want)
	b := newMemoryBed(t)
	target := t.TempDir()
	result, rec := b.restore(t, b.backup(t, source), Options{Target: target, Subpath: source})
	treetest.Compare(t, source, target)
	if len(rec.items) != result.TotalEntries {
		t.Errorf("%d of %d entries reported", len(rec.items), result.TotalEntries)
	}
}
