package backup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// names returns the base names of a view, sorted.
func names(view map[string]node) string {
	var list []string
	for path := range view {
		list = append(list, filepath.Base(path))
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// asNobody runs the test again as a user who may not read everything, when it
// runs as root. It reports whether the caller is that user.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	dir, err := os.MkdirTemp("", "nobody")
	must(t, err, os.Chmod(dir, 0o777))
	defer os.RemoveAll(dir)
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "TMPDIR="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("as another user: %v\n%s", err, out)
	}
	return false
}

// What cannot be read is reported and left out, with all below it; the rest is
// there, and neither is in the map without the other.
func TestUnreadable(t *testing.T) {
	if !asNobody(t) {
		return
	}
	b := newBed(t)
	root := t.TempDir()
	in := func(name string) string { return filepath.Join(root, name) }
	write(t, in("dir/a"), "1")
	write(t, in("dir/b"), "1")
	write(t, in("file"), "1")
	write(t, in("other"), "1")
	must(t, os.Link(in("file"), in("file2")))
	first := b.verify(t, paths(root), root)
	waitTick(t)
	must(t, os.Chmod(in("dir"), 0), os.Chmod(in("file"), 0))
	t.Cleanup(func() { os.Chmod(in("dir"), 0o700) })

	options := paths(root)
	options.Parent = first
	log := &progressLog{}
	result, err := Run(t.Context(), b.repo, b.keys, options, log)
	must(t, err)
	second := b.snapshot(t, result.Snapshot)
	if got, want := names(b.view(t, second)), filepath.Base(root)+" other"; got != want {
		t.Errorf("the snapshot has %s, want %s", got, want)
	}
	slices.Sort(log.errors)
	want := []string{in("dir") + ": permission denied", in("file2") + ": permission denied", in("file") + ": permission denied"}
	if !slices.Equal(log.errors, want) || result.Errors != 3 {
		t.Errorf("%d errors %q, want %q", result.Errors, log.errors, want)
	}
	// All is back when it can be read again.
	must(t, os.Chmod(in("dir"), 0o700), os.Chmod(in("file"), 0o600))
	options.Parent = second
	b.verify(t, options, root)

	// The way to a source need not be readable, only open.
	must(t, os.Chmod(in("dir"), 0o100))
	b.verify(t, paths(in("dir/a"), in("dir/b")), in("dir/a"), in("dir/b"))

	_, err = Run(t.Context(), b.repo, b.keys, paths(in("none"), in("other/none")), log)
	if !errors.Is(err, ErrNoSources) {
		t.Errorf("without any source: %v", err)
	}
	must(t, os.Chmod(in("file"), 0))
	if _, err = Run(t.Context(), b.repo, b.keys, paths(in("file")), log); !errors.Is(err, ErrNoSources) {
		t.Errorf("with a source that cannot be read: %v", err)
	}
	if n := len(b.list(t)); n != 4 {
		t.Errorf("%d snapshots", n)
	}
}

func TestPathsAreChecked(t *testing.T) {
	b := newBed(t)
	for _, p := range []string{"relative", "/a/../b", "/a/", ""} {
		if _, err := Run(t.Context(), b.repo, b.keys, paths(p), nil); err == nil {
			t.Errorf("%q was accepted", p)
		}
	}
}

// What takes the place of a file between a look and the next.
func TestReplaced(t *testing.T) {
	tests := []struct {
		name   string
		change func(t *testing.T, name string)
		want   string // the error
		kept   bool   // the snapshot has something of that name
	}{
		{"file vanishes", func(t *testing.T, n string) { must(t, os.Remove(n)) }, "no such file", false},
		{"file to FIFO", func(t *testing.T, n string) { must(t, os.Remove(n), unix.Mkfifo(n, 0o644)) }, "replaced", false},
		{"file to folder", func(t *testing.T, n string) { must(t, os.Remove(n), os.Mkdir(n, 0o755)) }, "replaced", false},
		{"file to symlink", func(t *testing.T, n string) { must(t, os.Remove(n), os.Symlink("/etc/passwd", n)) }, "symbolic link", false},
		{"file to socket", func(t *testing.T, n string) {
			must(t, os.Remove(n), unix.Mknod(n, unix.S_IFSOCK|0o644, 0))
		}, "no such device", false},
		{"file to file", func(t *testing.T, n string) { must(t, os.Remove(n)); write(t, n, "another one") }, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			root := filepath.Join(t.TempDir(), "root")
			name := write(t, filepath.Join(root, "a"), "content")
			write(t, filepath.Join(root, "b"), "content")
			first := b.verify(t, paths(root), root)
			waitTick(t)
			write(t, name, "changed")
			options := paths(root)
			options.Parent = first
			options.Select = func(path string, _ *Info) bool {
				if path == name {
					tt.change(t, name)
				}
				return true
			}
			log := &progressLog{}
			result, err := Run(t.Context(), b.repo, b.keys, options, log)
			must(t, err)
			view := b.view(t, b.snapshot(t, result.Snapshot))
			if _, ok := view[name]; ok != tt.kept || len(view) < 2 {
				t.Errorf("the snapshot has %s", names(view))
			}
			if (tt.want == "") != (len(log.errors) == 0) || tt.want != "" && !strings.Contains(log.errors[0], tt.want) {
				t.Errorf("errors %q, want one of %q", log.errors, tt.want)
			}
			if result.Errors != len(log.errors) {
				t.Errorf("%d errors counted, %d told", result.Errors, len(log.errors))
			}
		})
	}
}

// A folder that becomes a symlink must not be followed.
func TestFolderReplacedBySymlink(t *testing.T) {
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	write(t, filepath.Join(root, "dir/a"), "content")
	options := paths(root)
	options.Select = func(path string, _ *Info) bool {
		if filepath.Base(path) == "dir" {
			must(t, os.RemoveAll(path), os.Symlink("/etc", path))
		}
		return true
	}
	log := &progressLog{}
	result, err := Run(t.Context(), b.repo, b.keys, options, log)
	must(t, err)
	if got := names(b.view(t, b.snapshot(t, result.Snapshot))); got != "root" || len(log.errors) != 1 {
		t.Errorf("the snapshot has %s, errors %q", got, log.errors)
	}
}

// A file with several names is stored under whichever can be read.
func TestLinkWhoseFirstNameVanishes(t *testing.T) {
	for _, tt := range []struct {
		unlink []string
		early  bool // each only when the error of the one before was told
		want   string
	}{
		{[]string{"a"}, false, "b c root z"},
		{[]string{"a"}, true, "b c root z"},
		{[]string{"a", "b"}, false, "c root z"},
		{[]string{"a", "b"}, true, "c root z"},
		{[]string{"a", "b", "c"}, false, "root z"},
		{[]string{"a", "b", "c"}, true, "root z"},
	} {
		t.Run(fmt.Sprint(tt.unlink, tt.early), func(t *testing.T) {
			b := newBed(t)
			root := filepath.Join(t.TempDir(), "root")
			in := func(name string) string { return filepath.Join(root, name) }
			write(t, in("a"), "content")
			write(t, in("z"), "content")
			must(t, os.Link(in("a"), in("b")), os.Link(in("a"), in("c")))
			parent := b.verify(t, paths(root), root)
			waitTick(t)
			must(t, os.Chmod(in("a"), 0o600)) // it has changed
			log := &progressLog{}
			told := func(n int) bool {
				log.mu.Lock()
				defer log.mu.Unlock()
				return len(log.errors) >= n
			}
			seen := 0
			options := paths(root)
			options.Parent = parent
			options.Select = func(path string, _ *Info) bool {
				for tt.early && seen > 0 && seen <= len(tt.unlink) && !told(seen) {
					time.Sleep(time.Millisecond) // until a worker has come to the one before
				}
				if slices.Contains(tt.unlink, filepath.Base(path)) {
					must(t, os.Remove(path))
					seen++
				}
				return true
			}
			result, err := Run(t.Context(), b.repo, b.keys, options, log)
			must(t, err)
			s := b.snapshot(t, result.Snapshot)
			if got := names(b.view(t, s)); got != tt.want {
				t.Errorf("the snapshot has %s, want %s", got, tt.want)
			}
			if result.Errors != len(tt.unlink) {
				t.Errorf("%d errors: %q", result.Errors, log.errors)
			}
			options = paths(root)
			options.Parent = s
			b.verify(t, options, root)
		})
	}
}

// A folder whose names cannot be read to the end keeps what was read.
func TestNamesCannotBeRead(t *testing.T) {
	b := newBed(t)
	w := testWorker(t, b)
	name := write(t, filepath.Join(t.TempDir(), "file"), "")
	fd, err := unix.Open(name, unix.O_RDONLY, 0) // of which no names can be read
	must(t, err)
	log := &progressLog{}
	w.progress = log
	d := &dir{number: 7, before: map[string]tree.Entry{"x": {Name: "x", Number: 9, Type: tree.TypeFile}}}
	w.open.add(d, fd)
	defer w.open.closeAll()
	must(t, w.visitEntries(t.Context(), d))
	if len(log.errors) != 1 || len(w.gone) != 1 || len(d.kept()) != 0 {
		t.Errorf("errors %q, gone %v", log.errors, w.gone)
	}
}

// A tree deeper than a path may be long, and one deeper than a snapshot is.
func TestDeep(t *testing.T) {
	var limit unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &limit))
	b := newBed(t)
	for _, tt := range []struct{ depth, length, errors int }{{40, 250, 0}, {tree.MaxDepth + 5, 1, 1}} {
		if raceEnabled && tt.depth > 1000 {
			continue // the other is enough, and this takes long
		}
		if uint64(tt.depth+100) > limit.Cur {
			t.Logf("NOT TESTED: %d folders deep with %d descriptors", tt.depth, limit.Cur)
			continue
		}
		root := t.TempDir()
		fd, err := unix.Open(root, unix.O_DIRECTORY, 0)
		must(t, err)
		name := strings.Repeat("d", tt.length)
		for range tt.depth {
			must(t, unix.Mkdirat(fd, name, 0o755))
			next, err := unix.Openat(fd, name, unix.O_DIRECTORY, 0)
			must(t, err, unix.Close(fd))
			fd = next
		}
		file, err := unix.Openat(fd, "file", unix.O_CREAT|unix.O_WRONLY, 0o644)
		must(t, err, unix.Symlinkat("target", fd, "link"), unix.Close(file), unix.Close(fd))
		log := &progressLog{}
		options := paths(root)
		result, err := Run(t.Context(), b.repo, b.keys, options, log)
		must(t, err)
		if result.Errors != tt.errors {
			t.Errorf("%d deep: %d errors, want %d", tt.depth, result.Errors, tt.errors)
		}
		s := b.snapshot(t, result.Snapshot)
		deepest, links := 0, 0
		m, _ := b.tree(s)
		must(t, tree.Walk(t.Context(), m, func(path []string, in *tree.Inode) error {
			deepest = max(deepest, len(path))
			if in.Type == tree.TypeSymlink {
				links++
			}
			return nil
		}))
		above := len(strings.Split(root, "/")) - 1
		if want := min(above+tt.depth+1, tree.MaxDepth); deepest != want || links != 1-tt.errors {
			t.Errorf("%d deep: %d names, want %d; %d links", tt.depth, deepest, want, links)
		}
	}
}

// A file that another process holds a lease on is waited for.
func TestLease(t *testing.T) {
	name := write(t, filepath.Join(t.TempDir(), "leased"), "content")
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_WRLCK); err != nil {
		t.Skipf("NOT TESTED: no leases here: %v", err)
	}
	if _, err := unix.Open(name, unix.O_RDONLY|unix.O_NONBLOCK, 0); !errors.Is(err, unix.EAGAIN) {
		t.Skipf("NOT TESTED: a lease does not delay its own process: %v", err)
	}
	opened := make(chan error, 1)
	go func() {
		fd, err := openFile(unix.AT_FDCWD, name)
		if err == nil {
			unix.Close(fd)
		}
		opened <- err
	}()
	_, err = unix.FcntlInt(f.Fd(), unix.F_SETLEASE, unix.F_UNLCK)
	must(t, err, <-opened)
}
