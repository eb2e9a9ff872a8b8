package backup

import (
	"os"
	"path/filepath"
	"testing"

	"bluesky/object"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// A file of sysfs has a size of 4096 whatever is in it, and times that do not
// tell of a change. So what a dead backup has read of it says nothing of what is
// there now: neither that it is the same nor that it goes on behind that.
func TestLineOfShortFile(t *testing.T) {
	b := newBed(t)
	name := filepath.Join(t.TempDir(), "counter")
	options := paths(name)
	var st unix.Stat_t
	store := func(content string) tree.Inode {
		must(t, os.WriteFile(name, []byte(content), 0o644))
		if st.Ino == 0 {
			must(t, unix.Stat(name, &st))
			st.Size = 4096
		}
		target, err := openTarget(t.Context(), b.repo, b.keys, options)
		must(t, err)
		defer target.Close()
		w := worker{backup: newBackup(b.repo, b.keys, options, target, nil, NoProgress{})}
		w.resume, err = openResume(b.repo, b.keys, &options, w.series(), target, options.Now())
		must(t, err)
		defer w.resume.close(false)
		made, err := w.newWorker()
		must(t, err)
		fd, err := openFile(unix.AT_FDCWD, name)
		must(t, err)
		defer unix.Close(fd)
		in := w.inode(&st, 2, tree.TypeFile)
		must(t, made.storeContent(t.Context(), job{dir: &dir{}, name: "counter"}, fd, &st, &in))
		must(t, w.sink.addRun(t.Context())) // what its lines name is visible from now on
		return in
	}
	store("999\n")
	in := store("1000\n")
	if in.Size != 5 || len(in.Extents) != 1 || in.Extents[0].Block != b.keys.ID(object.KindBlock, nil, []byte("1000\n")) {
		t.Errorf("a file of 5 bytes is stored with %d, in %d blocks", in.Size, len(in.Extents))
	}
}
