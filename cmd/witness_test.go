package cmd

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A witness sees what a process does to files, by inotify(7). So a test can end
// the process at a moment that it names by what has happened, and comes to
// every phase on a slow machine as on a fast one. It sees a little late; the
// process has gone on, which is as good a moment.
type witness struct {
	t    testing.TB
	file *os.File
	fd   int
	name func(path string, mask uint32) string // what an event is called; "" is none
	dirs map[int32]string
}

const (
	sawNew   = unix.IN_CREATE | unix.IN_MOVED_TO
	sawEvent = sawNew | unix.IN_OPEN | unix.IN_DELETE | unix.IN_CLOSE_WRITE
)

// newWitness watches the directories dirs and all below them.
func newWitness(t testing.TB, name func(string, uint32) string, dirs ...string) *witness {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{t: t, fd: fd, file: os.NewFile(uintptr(fd), "inotify"), name: name, dirs: map[int32]string{}}
	for _, dir := range dirs {
		w.watch(dir)
	}
	return w
}

// watch watches dir and all below it, and returns what is called new there.
func (w *witness) watch(dir string) (found []string) {
	// What vanishes meanwhile is not watched.
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if !entry.IsDir() {
			found = append(found, path)
			return nil
		}
		if wd, err := unix.InotifyAddWatch(w.fd, path, sawEvent|unix.IN_ONLYDIR); err == nil {
			w.dirs[int32(wd)] = path
		}
		return nil
	})
	return found
}

// see calls saw with the name of each event until the witness is closed.
func (w *witness) see(saw func(name string)) {
	call := func(path string, mask uint32) {
		if name := w.name(path, mask); name != "" {
			saw(name)
		}
	}
	buffer := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buffer)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				w.t.Errorf("inotify: %v", err)
			}
			return
		}
		for b := buffer[:n]; len(b) >= unix.SizeofInotifyEvent; {
			wd := int32(binary.NativeEndian.Uint32(b))
			mask := binary.NativeEndian.Uint32(b[4:])
			end := unix.SizeofInotifyEvent + int(binary.NativeEndian.Uint32(b[12:]))
			path := filepath.Join(w.dirs[wd], string(bytes.TrimRight(b[unix.SizeofInotifyEvent:end], "\x00")))
			b = b[end:]
			if mask&unix.IN_ISDIR == 0 {
				call(path, mask)
			} else if mask&sawNew != 0 {
				for _, path := range w.watch(path) {
					call(path, unix.IN_CREATE)
				}
			}
		}
	}
}

// A moment of the life of a process is some time after the n-th event of a
// name, or after its start if the name is "".
type moment struct {
	event string
	n     int // from 1
	after time.Duration
}

// randomMoment chooses one: after an event of those that such a process usually
// sees, each name as often as the others, or after some time. Half of them are
// just when something new is there.
func randomMoment(random *rand.Rand, usual map[string]int) moment {
	names := append(slices.Sorted(maps.Keys(usual)), "")
	creates := func(name string) bool { return strings.HasPrefix(name, "create ") }
	if random.IntN(2) == 0 && slices.ContainsFunc(names, creates) {
		names = slices.DeleteFunc(names, func(name string) bool { return !creates(name) })
	}
	name := names[random.IntN(len(names))]
	if name == "" {
		return moment{after: time.Duration(random.Int64N(int64(30 * time.Millisecond)))}
	}
	at := moment{event: name, n: 1 + random.IntN(usual[name])}
	if random.IntN(2) == 0 {
		at.after = time.Duration(random.Int64N(int64(3 * time.Millisecond)))
	}
	return at
}

// strike starts c and calls hit at the moment, if it comes. It waits for the end
// of c, and returns how often each event was seen.
func (w *witness) strike(c *exec.Cmd, at moment, hit func(*os.Process)) map[string]int {
	w.t.Helper()
	if err := c.Start(); err != nil {
		w.t.Fatal(err)
	}
	strike := func() {
		time.Sleep(at.after) // the moment is the subject of the test
		hit(c.Process)
	}
	seen := map[string]int{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.see(func(name string) {
			seen[name]++
			if name == at.event && seen[name] == at.n {
				strike()
			}
		})
	}()
	if at.event == "" {
		strike()
	}
	_ = c.Wait() // its end is in c.ProcessState
	w.file.Close()
	<-done
	return seen
}

// step names an event of a process of m, by what it is for bluesky.
func (m *machine) step(path string, mask uint32) string {
	what := "read "
	switch {
	case mask&sawNew != 0:
		what = "create "
	case mask&unix.IN_DELETE != 0:
		what = "delete "
	case mask&unix.IN_CLOSE_WRITE != 0:
		what = "write "
	}
	if rest, ok := strings.CutPrefix(path, m.repo+"/"); ok {
		kind, _, _ := strings.Cut(rest, "/")
		return what + kind
	}
	rest, ok := strings.CutPrefix(path, m.home+"/")
	switch {
	case !ok:
		return what + "file"
	case strings.Contains(rest, ".cache/"):
		return what + "cache"
	case strings.Contains(rest, "journal"):
		return what + "journal"
	case strings.Contains(rest, "trust"), strings.Contains(rest, ".tmp"):
		return what + "trust"
	}
	return what + "local file"
}
