package cmd

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bluesky/restore/treetest"
)

// A smallDisk is a file system that a test fills.
type smallDisk struct {
	t   testing.TB
	dir string
}

// mountSmall mounts one below the folder of m, until the test ends.
func mountSmall(m *machine, options string) *smallDisk {
	m.t.Helper()
	if os.Getuid() != 0 {
		m.t.Skip("only root can mount a small file system")
	}
	d := &smallDisk{m.t, m.mkdir("small")}
	if err := unix.Mount("none", d.dir, "tmpfs", 0, options); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		if err := unix.Unmount(d.dir, 0); err != nil {
			m.t.Error(err)
		}
	})
	m.write("small/ballast", []byte("0 pages would mean any number"))
	return d
}

// resize changes the options of d.
func (d *smallDisk) resize(options string) {
	d.t.Helper()
	if err := unix.Mount("none", d.dir, "tmpfs", unix.MS_REMOUNT, options); err != nil {
		d.t.Fatalf("%s: %v", options, err)
	}
}

// use returns the pages and the inodes that are in use.
func (d *smallDisk) use() (pages, inodes uint64) {
	d.t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		d.t.Fatal(err)
	}
	return st.Blocks - st.Bfree, st.Files - st.Ffree
}

const roomy = "size=64m,nr_inodes=10000"

// leave leaves free room for so many pages and inodes.
func (d *smallDisk) leave(pages, inodes uint64) {
	d.t.Helper()
	usedPages, usedInodes := d.use()
	d.resize(fmt.Sprintf("size=%d,nr_inodes=%d", (usedPages+pages)*uint64(os.Getpagesize()), usedInodes+inodes))
}

// A disk that is full at any step of a backup ends it with a sentence; what was
// there stays right, and with space again the next backup needs no step before
// it.
func TestFullAtEveryStep(t *testing.T) {
	t.Parallel()
	m := newSmallSegments(t)
	d := mountSmall(m, roomy)
	tr := newTree(m, "src", newRandom(t))
	m.must("backup", "-q", "src")
	tr.change()
	for i := range 4 { // some segments that are full before the end
		m.write(fmt.Sprintf("src/large%d", i), treetest.Bytes(uint64(i), 50_000))
	}
	template := m.repo
	m.repo = d.dir + "/repo"
	begin := func() {
		t.Helper()
		treetest.Run(t, d.dir, "rm", "-rf", "repo")
		d.resize(roomy)
		treetest.Run(t, d.dir, "cp", "-a", template, "repo")
		// This machine has seen more of the log than a new copy holds.
		treetest.Run(t, d.dir, "rm", "-rf", m.home+"/.local/state")
	}
	begin()
	pages, inodes := d.use()
	m.must("backup", "-q", "src")
	after, more := d.use()
	pages, inodes = after-pages, more-inodes

	met := map[string]int{}
	try := func(freePages, freeInodes uint64) {
		t.Helper()
		begin()
		d.leave(freePages, freeInodes)
		got := m.run("backup", "-q", "src")
		if got.code == 0 {
			met["none"]++ // what one backup needs is not to the page what another does
		} else {
			met[m.wantFull(got)]++
		}
		m.must("check", "-q")
		d.resize(roomy)
		m.must("backup", "-q", "src")
		if list := m.open().State().Unfinished(); len(list) > 0 {
			t.Errorf("sessions %v are unfinished", list)
		}
	}
	for free := range pages {
		if free+6 > pages || free%(pages/4) == 0 { // the metadata and what comes behind it are small
			try(free, 100)
		}
	}
	for free := range inodes {
		if free+4 > inodes || free%3 == 0 {
			try(1000, free)
		}
	}
	// A backup may take a segment more or less than the one that was measured, and
	// then the steps are elsewhere. The generation is the last of its files.
	missing := func(step string) bool { return met[step] == 0 }
	for k := uint64(0); k < 40 && slices.ContainsFunc(fullSteps, missing); k++ {
		try(1000, inodes-3+k%5)
	}
	m.mustCheck()
	out := m.mkdir("out")
	m.must("restore", "-q", "latest:"+m.path("src"), "-t", out)
	treetest.Compare(t, m.path("src"), out)
	t.Logf("a backup takes %d pages and %d inodes; full at %v", pages, inodes, met)
	for _, step := range fullSteps {
		if met[step] == 0 {
			t.Errorf("the disk was never full at: %s", step)
		}
	}
}

// fullSteps are the beginnings of what is said where the disk is full. The commit
// flushes the last data segment, then the metadata.
var fullSteps = []string{"segment ", "commit: segment ", "commit: run ", "commit: create generation "}

// wantFull checks that a backup has ended over a full disk, and returns at which
// step.
func (m *machine) wantFull(got ending) string {
	m.t.Helper()
	message, hint, _ := strings.Cut(got.stderr, "\n")
	if got.code != exitFatal || !strings.HasPrefix(message, "Fatal: ") || !strings.Contains(message, ": no space left on device") ||
		hint != "hint: "+hintSpace+"\n" {
		m.t.Errorf("exit code %d, stderr %q", got.code, got.stderr)
	}
	for _, step := range fullSteps {
		if strings.HasPrefix(message, "Fatal: "+step) {
			return step
		}
	}
	return message
}

// A disk that is full where this machine keeps what it knows of repositories is
// no reason to lose a backup: it is made, and warns.
func TestFullLocalFolders(t *testing.T) {
	for _, folder := range []string{"STATE", "CACHE"} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			d := mountSmall(m, roomy)
			m.env = append(m.env, "XDG_"+folder+"_HOME="+d.dir)
			m.write("src/file", []byte("fits"))
			warned := 0
			for known := range 2 { // a machine that has never used the repository, and one that has
				for _, room := range [][2]uint64{{0, 100}, {1, 100}, {100, 0}, {100, 1}, {100, 4}} {
					d.leave(room[0], room[1])
					got := m.run("backup", "-q", "src")
					if got.code != 0 || got.stdout != "" {
						t.Errorf("with room %v: %+v", room, got)
					}
					for line := range strings.Lines(got.stderr) {
						warned++
						if !strings.HasPrefix(line, "warning: ") || !strings.Contains(line, "no space left on device") {
							t.Errorf("with room %v: stderr %q", room, line)
						}
					}
					m.run("restore", "-q", "latest:"+m.path("src"), "-t", m.mkdir("out"))
					treetest.CompareContent(t, m.path("src"), m.path("out"))
					d.resize(roomy)
					if known == 0 {
						treetest.Run(t, d.dir, "rm", "-rf", "bluesky")
					}
				}
				if got := m.run("backup", "-q", "src"); got != (ending{}) {
					t.Errorf("with space again: %+v", got)
				}
			}
			if warned == 0 {
				t.Error("the disk was never full")
			}
			m.mustCheck()
		})
	}
}

// A full disk ends a backup with a sentence that says so; what was there before
// can be used, and with space again the next backup works.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	d := mountSmall(m, "size=6m")
	small := d.dir
	m.repo = small + "/repo"
	m.must("init", "-q")
	m.write("src/file", []byte("fits"))
	m.must("backup", "-q", "src")

	m.write("src/large", treetest.Bytes(1, 12<<20))
	for range 3 { // each finds the disk as the one before has left it
		got := m.run("backup", "-q", "src")
		message, hint, _ := strings.Cut(got.stderr, "\n")
		if got.code != exitFatal || !strings.HasPrefix(message, "Fatal: ") || !strings.Contains(message, ": no space left on device") ||
			hint != "hint: "+hintSpace+"\n" {
			t.Fatalf("exit code %d, stderr %q", got.code, got.stderr)
		}
	}
	m.must("snapshots")
	m.must("restore", "-q", "latest:"+m.path("src"), "-t", "out")
	m.mustCheck()

	// A target that is too small says so as well.
	m.repo = m.path("repo")
	m.must("backup", "-q", "src")
	got := m.run("restore", "-q", "latest", "-t", small+"/out")
	if got.code != exitFatal || !strings.Contains(got.stderr, "no space is left in the target") || !strings.Contains(got.stderr, "hint: "+hintSpace) {
		t.Errorf("restore: exit code %d, stderr %q", got.code, got.stderr)
	}

	m.repo = small + "/repo"
	if err := os.RemoveAll(small + "/out"); err != nil {
		t.Fatal(err)
	}
	d.resize("size=64m")
	m.must("backup", "-q", "src")
	m.mustCheck()
}
