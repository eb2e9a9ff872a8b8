package backup

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bluesky/snapshot"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// Random edits with a backup after each few: an incremental snapshot shows
// what is on the disk, as one from scratch does, and nothing else.
func TestRandomEdits(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		b := newBed(t)
		e := &editor{t: rt, root: filepath.Join(t.TempDir(), "src")}
		must(t, os.Mkdir(e.root, 0o755))
		var parent *snapshot.Snapshot
		for range rapid.IntRange(1, 6).Draw(rt, "backups") {
			for range rapid.IntRange(0, 12).Draw(rt, "edits") {
				e.edit()
			}
			parent = checkIncremental(rt, t, b, e, parent)
		}
	})
}

func checkIncremental(rt *rapid.T, t *testing.T, b *bed, e *editor, parent *snapshot.Snapshot) *snapshot.Snapshot {
	options := paths(e.sources()...)
	fresh := b.verify(rt, options, options.Paths...)
	options.Parent = parent
	next := b.verify(rt, options, options.Paths...)
	if parent != nil && next.Record.Next < parent.Record.Next {
		rt.Errorf("next inode number %d below the parent's, %d", next.Record.Next, parent.Record.Next)
	}
	sameView(rt, "incremental and full", b.view(rt, next), b.view(rt, fresh))
	waitTick(t) // the temporary folder of t, not of rt, which has none
	// Nothing has changed, so nothing is stored.
	options.Parent = next
	again := b.run(rt, options)
	if s := b.snapshot(rt, again.Snapshot); s.Root != next.Root {
		rt.Errorf("a backup of the same files made inode map %s of %s", s.Root.Short(), next.Root.Short())
	}
	return next
}

// An editor changes a tree at random.
type editor struct {
	t    *rapid.T
	root string
}

// names lists what is below the root.
func (e *editor) names(want func(os.FileInfo) bool) (list []string) {
	err := filepath.WalkDir(e.root, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && want(info) {
			list = append(list, path)
		}
		return err
	})
	must(e.t, err)
	return list
}

func isDir(i os.FileInfo) bool  { return i.IsDir() }
func isFile(i os.FileInfo) bool { return i.Mode().IsRegular() }
func anything(os.FileInfo) bool { return true }

// pick returns one of the names, "" if there is none. It is never the root
// unless folders are asked for.
func (e *editor) pick(what string, want func(os.FileInfo) bool) string {
	list := e.names(want)
	if list = slices.DeleteFunc(list, func(n string) bool { return n == e.root && what != "folder" }); len(list) == 0 {
		return ""
	}
	return rapid.SampledFrom(list).Draw(e.t, what)
}

// free returns a name that may be taken.
func (e *editor) free() string {
	name := rapid.SampledFrom([]string{"a", "b", "b.c", "c", "d", "e\xff", "f\n"}).Draw(e.t, "name")
	return filepath.Join(e.pick("folder", isDir), name)
}

// sources returns what is backed up: the root, or what happens to be below it.
func (e *editor) sources() []string {
	list := []string{e.root}
	switch rapid.IntRange(0, 5).Draw(e.t, "sources") {
	case 0, 1:
		list = nil
		for range rapid.IntRange(1, 3).Draw(e.t, "count") {
			list = append(list, e.pick("folder", isDir))
		}
	case 2:
		if name := e.pick("source", anything); name != "" {
			list = []string{name}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// content is from a few seeds, so that files come to be equal, and sometimes
// long enough to be cut.
func (e *editor) content() []byte {
	size := rapid.SampledFrom([]int{0, 1, 100, 5000, 5000, 200 << 10}).Draw(e.t, "size")
	data := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{byte(rapid.IntRange(0, 3).Draw(e.t, "seed"))})
	rng.Read(data)
	return data
}

// edit makes one change. One that is impossible is none.
func (e *editor) edit() {
	switch rapid.IntRange(0, 12).Draw(e.t, "edit") {
	case 0, 1, 2:
		_ = os.WriteFile(e.free(), e.content(), 0o644)
	case 3:
		if name := e.pick("file", isFile); name != "" {
			f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
			must(e.t, err)
			_, err = f.Write(e.content())
			must(e.t, err, f.Close())
		}
	case 4:
		if name := e.pick("any", anything); name != "" {
			must(e.t, os.RemoveAll(name))
		}
	case 5, 6:
		if name := e.pick("any", anything); name != "" {
			_ = os.Rename(name, e.free()) // refused where a folder would move into itself
		}
	case 7, 8:
		if name := e.pick("file", isFile); name != "" {
			_ = os.Link(name, e.free())
		}
	case 9:
		_ = os.Symlink(fmt.Sprint("target", rapid.IntRange(0, 2).Draw(e.t, "target")), e.free())
	case 10:
		if name := e.pick("any", func(i os.FileInfo) bool { return isDir(i) || isFile(i) }); name != "" {
			must(e.t, os.Chmod(name, os.FileMode(rapid.SampledFrom([]int{0o700, 0o755, 0o444 | 0o200}).Draw(e.t, "mode"))))
		}
	case 11:
		_ = os.MkdirAll(filepath.Join(e.free(), "a", "b"), 0o755)
	case 12:
		if name := e.pick("file", isFile); name != "" {
			must(e.t, unix.Lsetxattr(name, "user.test", fmt.Append(nil, rapid.IntRange(0, 2).Draw(e.t, "value")), 0))
		}
	}
}
