package cmd

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A machine runs bluesky as processes of their own, with a home and a
// repository of its own. TestMain has put bluesky into the PATH.
type machine struct {
	t    testing.TB
	dir  string // of the test
	repo string
	home string
	env  []string // beside the usual
}

// newMachine returns a machine with a repository, made with the default cost
// of bluesky in tests.
func newMachine(t testing.TB) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, dir: dir, repo: filepath.Join(dir, "repo"), home: filepath.Join(dir, "home")}
	m.mkdir("home")
	m.must("init", "-q")
	return m
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) mkdir(name string) string {
	m.t.Helper()
	path := m.path(name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		m.t.Fatal(err)
	}
	return path
}

func (m *machine) write(name string, data []byte) string {
	m.t.Helper()
	path := m.path(name)
	m.mkdir(filepath.Dir(name))
	if err := os.WriteFile(path, data, 0o644); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// command returns bluesky with args as a process that was not started.
func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "bluesky", args...)
	c.Dir = m.dir
	c.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + m.home, "TZ=UTC", "TMPDIR=" + os.TempDir(), "GORACE=atexit_sleep_ms=0",
		"BLUESKY_REPOSITORY=" + m.repo, "BLUESKY_PASSWORD=secret",
	}, m.env...)
	return c
}

// An ending is how a process ended.
type ending struct {
	code           int
	stdout, stderr string
}

func (m *machine) run(args ...string) ending {
	m.t.Helper()
	c := m.command(m.t.Context(), args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err := c.Run()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		m.t.Fatalf("bluesky %q: %v", args, err)
	}
	return ending{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// must runs bluesky, which has to succeed, and returns its stdout.
func (m *machine) must(args ...string) string {
	m.t.Helper()
	got := m.run(args...)
	if got.code != 0 {
		m.t.Fatalf("bluesky %s: exit code %d\n%s%s", strings.Join(args, " "), got.code, got.stdout, got.stderr)
	}
	return got.stdout
}

// mustCheck fails the test unless everything in the repository is right.
func (m *machine) mustCheck() {
	m.t.Helper()
	if out := m.must("check", "--read-data"); !strings.Contains(out, "OK, checked: ") {
		m.t.Fatalf("check: %s", out)
	}
}

// size returns the sum of the sizes of all files below dir, in bytes.
func size(t testing.TB, dir string) int64 {
	t.Helper()
	var sum int64
	eachFile(t, dir, func(_ string, info fs.FileInfo) { sum += info.Size() })
	return sum
}

func eachFile(t testing.TB, dir string, fn func(path string, info fs.FileInfo)) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			fn(path, info)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
