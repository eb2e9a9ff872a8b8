package cmd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bluesky/restore/treetest"
)

// An interrupter ends processes as a person does, and as a system that shuts
// down.
type interrupter struct{ signals []os.Signal }

func (i *interrupter) hit(random *rand.Rand, p *os.Process) {
	i.signals = [][]os.Signal{
		{syscall.SIGINT}, {syscall.SIGINT}, {syscall.SIGTERM}, {syscall.SIGINT, syscall.SIGINT},
	}[random.IntN(4)]
	for _, s := range i.signals {
		_ = p.Signal(s) // it may be over
	}
}

// ended says what is wrong with the end of a process that was hit.
func (i *interrupter) ended(c *exec.Cmd, stderr string) string {
	status := c.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case status.Signaled() && stderr == "" && slices.Contains(i.signals, os.Signal(status.Signal())):
		return "" // before the program listened; a shell calls that 130, too
	case status.ExitStatus() == exitInterrupted && stderr == `{"message_type":"exit_error","code":130,"message":"interrupted"}`+"\n":
		return ""
	case status.ExitStatus() == exitInterrupted && stderr == "" && len(i.signals) > 1:
		return "" // the second one ends it at once
	}
	return fmt.Sprintf("%v ended it with %v", i.signals, c.ProcessState)
}

func interrupting() blow {
	i := new(interrupter)
	return blow{i.hit, i.ended, []string{beforeBegin, segmentStored, runStored, runRegistered, committed}}
}

// An interrupt at any moment of a backup ends it with 130 and harms nothing: the
// next backup needs no step in between.
func TestInterruptedBackups(t *testing.T) {
	t.Parallel()
	strikeBackups(t, 50, 25, time.Hour, interrupting())
}

func TestSoakInterruptedBackups(t *testing.T) {
	strikeBackups(t, 1000, 100, soak(t), interrupting())
}

// A full disk ends a backup with a sentence that says so; what was there before
// can be used, and with space again the next backup works.
func TestFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a small file system")
	}
	t.Parallel()
	m := newMachine(t)
	small := m.mkdir("small")
	if err := unix.Mount("none", small, "tmpfs", 0, "size=6m"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(small, 0); err != nil {
			t.Error(err)
		}
	}()
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
	if err := unix.Mount("none", small, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
		t.Fatal(err)
	}
	m.must("backup", "-q", "src")
	m.mustCheck()
}
