package restore

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bluesky/object"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// outside is a folder that no restore may touch, with a target beside it.
func outside(t *testing.T) (victim, target string) {
	dir := t.TempDir()
	victim, target = filepath.Join(dir, "victim"), filepath.Join(dir, "target")
	writeFile(t, filepath.Join(victim, "file"), []byte("untouched"))
	must(t, os.Mkdir(target, 0o755))
	return victim, target
}

func wantUntouched(t *testing.T, victim string) {
	t.Helper()
	wantFile(t, filepath.Join(victim, "file"), []byte("untouched"))
	list, err := os.ReadDir(victim)
	must(t, err)
	if len(list) != 1 {
		t.Errorf("outside of the target there are %v now", list)
	}
	info, err := os.Stat(filepath.Join(victim, "file"))
	must(t, err)
	if info.Mode() != 0o644 {
		t.Errorf("outside of the target a mode is %v now", info.Mode())
	}
}

// TestHostileNames restores a snapshot whose names lead out of the target.
func TestHostileNames(t *testing.T) {
	for _, name := range []string{"..", ".", "", "/", "../victim", "../victim/file", "/etc", "a/b", "a\x00b", strings.Repeat("n", 256)} {
		t.Run(fmt.Sprintf("%.20q", name), func(t *testing.T) {
			victim, target := outside(t)
			b := newMemoryBed(t)
			f := b.forge(t)
			f.file(3, "evil")
			f.dir(2, tree.Entry{Name: name, Number: 3, Type: tree.TypeFile})
			f.file(5, "good")
			f.dir(4, tree.Entry{Name: "file", Number: 5, Type: tree.TypeFile})
			f.dir(1, tree.Entry{Name: "bad", Number: 2, Type: tree.TypeDir}, tree.Entry{Name: "good", Number: 4, Type: tree.TypeDir})
			rec := &record{}
			result, err := Run(t.Context(), b.repo, b.keys, f.commit(), Options{Target: target}, rec)
			must(t, err)
			if result.Errors != 1 || len(rec.errors) != 1 || paths(rec.errors)[0] != "/bad" {
				t.Errorf("got errors %q, want one of /bad", rec.errors)
			}
			wantFile(t, target+"/good/file", []byte("good"))
			wantUntouched(t, victim)
		})
	}
}

// TestHostileTrees restores snapshots that are no trees.
func TestHostileTrees(t *testing.T) {
	entry := func(name string, number uint64, kind tree.Type) tree.Entry {
		return tree.Entry{Name: name, Number: number, Type: kind}
	}
	tests := []struct {
		name string
		make func(f *forge)
		want []string // paths of errors
	}{
		{"two entries that are equal", func(f *forge) {
			f.symlink(3, "../victim")
			f.file(4, "evil")
			f.dir(2, entry("x", 3, tree.TypeSymlink), entry("x", 4, tree.TypeFile))
			f.dir(1, entry("d", 2, tree.TypeDir))
		}, []string{"/d"}},
		{"a cycle", func(f *forge) {
			f.dir(3, entry("up", 2, tree.TypeDir))
			f.dir(2, entry("down", 3, tree.TypeDir))
			f.dir(1, entry("d", 2, tree.TypeDir))
		}, []string{"/d/down/up"}},
		{"the root below itself", func(f *forge) {
			f.dir(1, entry("d", 1, tree.TypeDir))
		}, []string{"/"}},
		{"a directory with two names", func(f *forge) {
			f.dir(2)
			f.dir(1, entry("a", 2, tree.TypeDir), entry("b", 2, tree.TypeDir))
		}, []string{"/b"}},
		{"an entry that leads nowhere", func(f *forge) {
			f.file(3, "good")
			f.dir(1, entry("a", 2, tree.TypeFile), entry("b", 3, tree.TypeFile))
		}, []string{"/a"}},
		{"an entry of another type", func(f *forge) {
			f.symlink(2, "../victim")
			f.dir(1, entry("a", 2, tree.TypeDir))
		}, []string{"/a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			victim, target := outside(t)
			b := newMemoryBed(t)
			f := b.forge(t)
			tt.make(f)
			rec := &record{}
			_, err := Run(t.Context(), b.repo, b.keys, f.commit(), Options{Target: target}, rec)
			must(t, err)
			if got := paths(rec.errors); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got errors %q, want of %q", rec.errors, tt.want)
			}
			wantUntouched(t, victim)
		})
	}
}

// TestDepth restores a directory chain of the greatest depth, which is deeper
// than the descriptors that are kept, and refuses one that is deeper.
func TestDepth(t *testing.T) {
	for _, tt := range []struct {
		depth  int
		errors int
	}{{tree.MaxDepth, 0}, {tree.MaxDepth + 1, 1}} {
		b := newMemoryBed(t)
		f := b.forge(t)
		name := "name" // 20 KiB of path in all
		f.file(1<<20, "bottom")
		f.dir(uint64(tt.depth), tree.Entry{Name: "file", Number: 1 << 20, Type: tree.TypeFile})
		for n := tt.depth - 1; n >= 1; n-- {
			f.dir(uint64(n), tree.Entry{Name: name, Number: uint64(n + 1), Type: tree.TypeDir})
		}
		rec := &record{}
		target := t.TempDir()
		_, err := Run(t.Context(), b.repo, b.keys, f.commit(), Options{Target: target, DryRun: tt.errors > 0}, rec)
		must(t, err)
		if len(rec.errors) != tt.errors {
			t.Errorf("depth %d: %d errors, want %d", tt.depth, len(rec.errors), tt.errors)
		}
		_, found := rec.items[strings.Repeat("/"+name, tt.depth-1)+"/file"]
		if found != (tt.errors == 0) || len(rec.items) < tt.depth-1 {
			t.Errorf("depth %d: the file at the bottom is among %d items: %t", tt.depth, len(rec.items), found)
		}
		if tt.errors == 0 {
			out, err := exec.Command("find", target, "-type", "f", "-printf", "%d %s").Output()
			if want := fmt.Sprintf("%d 6", tt.depth); err != nil || string(out) != want {
				t.Errorf("find sees %q, %v; want %q", out, err, want)
			}
		}
	}
}

// TestLinksInTarget restores into a target that holds links to elsewhere.
func TestLinksInTarget(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source")
	writeFile(t, source+"/dir/file", []byte("content"))
	writeFile(t, source+"/plain", []byte("content"))
	b := newMemoryBed(t)
	from := b.backup(t, source)

	t.Run("a symlink to a directory", func(t *testing.T) {
		victim, target := outside(t)
		must(t, os.Symlink(victim, target+"/dir"))
		b.restore(t, from, Options{Target: target, Subpath: source})
		wantFile(t, target+"/dir/file", []byte("content"))
		wantUntouched(t, victim)
	})
	t.Run("a symlink to a file", func(t *testing.T) {
		victim, target := outside(t)
		must(t, os.Symlink(victim+"/file", target+"/plain"))
		b.restore(t, from, Options{Target: target, Subpath: source})
		wantFile(t, target+"/plain", []byte("content"))
		wantUntouched(t, victim)
	})
	t.Run("a dangling symlink", func(t *testing.T) {
		victim, target := outside(t)
		must(t, os.Symlink(victim+"/new", target+"/plain"))
		b.restore(t, from, Options{Target: target, Subpath: source})
		wantFile(t, target+"/plain", []byte("content"))
		wantUntouched(t, victim)
	})
	for _, overwrite := range []Overwrite{OverwriteAlways, OverwriteIfChanged} {
		t.Run("a hard link, "+overwrite.String(), func(t *testing.T) {
			victim, target := outside(t)
			must(t, os.Link(victim+"/file", target+"/plain"))
			b.restore(t, from, Options{Target: target, Subpath: source, Overwrite: overwrite})
			wantFile(t, target+"/plain", []byte("content"))
			wantUntouched(t, victim)
		})
	}
	t.Run("a symlink on the way to what was backed up", func(t *testing.T) {
		victim, target := outside(t)
		first := strings.Split(source, "/")[1]
		must(t, os.Symlink(victim, target+"/"+first))
		rec := &record{}
		_, err := Run(t.Context(), b.repo, b.keys, from, Options{Target: target}, rec)
		must(t, err)
		if len(rec.errors) != 1 || paths(rec.errors)[0] != "/"+first {
			t.Errorf("got errors %q, want one of %q", rec.errors, first)
		}
		if link, err := os.Readlink(target + "/" + first); link != victim {
			t.Errorf("the link is gone: %q, %v", link, err)
		}
		wantUntouched(t, victim)
	})
	t.Run("the target is a link", func(t *testing.T) {
		_, target := outside(t)
		link := target + " link"
		must(t, os.Symlink(target, link))
		b.restore(t, from, Options{Target: link, Subpath: source})
		wantFile(t, target+"/plain", []byte("content"))
	})
}

// TestDirCacheNeverFollows swaps a directory for a link between two uses.
func TestDirCacheNeverFollows(t *testing.T) {
	victim, target := outside(t)
	must(t, os.MkdirAll(target+"/a/b", 0o755))
	open := func() (*dirCache, *dir) {
		fd, err := unix.Open(target, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		must(t, err)
		a := &dir{parent: &dir{}, name: "a", depth: 1}
		return newDirCache(fd, 1), &dir{parent: a, name: "b", depth: 2}
	}
	c, b := open()
	must(t, c.with(b, func(int) error { return nil }))
	c.close()
	must(t, os.RemoveAll(target+"/a"))
	must(t, os.Symlink(victim, target+"/a"))
	must(t, os.Mkdir(victim+"/b", 0o755))
	c, b = open()
	defer c.close()
	if err := c.with(b, func(int) error { return nil }); err == nil {
		t.Error("a directory was opened over a link")
	}
}

// TestEntryThatLeavesTheTarget: names are looked at once more where they are
// used, should package tree ever let one through.
func TestEntryThatLeavesTheTarget(t *testing.T) {
	b := newMemoryBed(t)
	f := b.forge(t)
	f.file(2, "evil")
	f.dir(1, tree.Entry{Name: "x", Number: 2, Type: tree.TypeFile})
	s := newRestorer(t.Context(), b.repo, b.keys, f.commit(), Options{}, NoProgress{})
	defer s.stop()
	for name, want := range map[string]error{"x": nil, "..": object.ErrCorrupt, "a/b": object.ErrCorrupt, "": object.ErrCorrupt} {
		if _, err := s.inode(tree.Entry{Name: name, Number: 2, Type: tree.TypeFile}); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", name, err, want)
		}
	}
}
