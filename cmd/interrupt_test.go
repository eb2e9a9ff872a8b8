package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bluesky/restore/treetest"
)

// An interrupt at any moment of a backup ends it with 130 and harms nothing: the
// next backup needs no step in between.
func TestInterruptedBackups(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	change := func(round int) {
		for i := range 40 {
			m.write(fmt.Sprintf("src/%d/%d", i%5, i), treetest.Bytes(random.Uint64(), random.IntN(256<<10)))
		}
		m.write("src/round", fmt.Appendf(nil, "%d", round))
	}
	change(0)
	began := time.Now()
	m.must("backup", "-q", "src")
	usual := time.Since(began)

	interrupted := 0
	rounds := 0 // on a busy machine all of the first ten can come too early or too late
	for round := 0; round < 10 || interrupted == 0 && round < 60; round++ {
		rounds++
		change(round + 1)
		c := m.command(t.Context(), "backup", "-v", "src")
		var stderr bytes.Buffer
		c.Stderr = &stderr
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(random.Int64N(int64(usual)))) // the moment is the subject of this test
		if err := c.Process.Signal(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Fatal(err)
		}
		_ = c.Wait()
		status := c.ProcessState.Sys().(syscall.WaitStatus)
		switch code := c.ProcessState.ExitCode(); {
		case code == 0: // it came too late
		case status.Signaled() && status.Signal() == syscall.SIGINT: // before the program listened; a shell calls that 130, too
		case code == exitInterrupted:
			interrupted++
			if !strings.HasSuffix(stderr.String(), "Fatal: interrupted\n") {
				t.Errorf("round %d: stderr %q", round, stderr.String())
			}
		default:
			t.Fatalf("round %d: exit code %d, stderr %q", round, code, stderr.String())
		}
		if round%3 == 2 {
			m.must("backup", "-q", "src")
		}
	}
	t.Logf("%d of %d were interrupted; a whole backup takes %v", interrupted, rounds, usual)
	if interrupted == 0 {
		t.Error("no backup was interrupted")
	}
	change(rounds + 1)
	m.must("backup", "-q", "src")
	m.mustCheck()
	m.must("restore", "-q", "latest:"+m.path("src"), "-t", "out")
	if out, err := exec.Command("diff", "-r", m.path("src"), m.path("out")).CombinedOutput(); err != nil {
		t.Errorf("the restored tree differs: %s", out)
	}
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
