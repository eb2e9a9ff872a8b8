package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A sample is what one command took. Times are in seconds.
type sample struct {
	Tool  string `json:"tool"`
	Phase string `json:"phase"`
	Round int    `json:"round"`

	Wall   float64 `json:"wall"`
	Sync   float64 `json:"sync"` // until what it has written was on the disk
	User   float64 `json:"user"`
	System float64 `json:"system"`
	// PeakMiB is the largest resident set of the program, or of one that it
	// started.
	PeakMiB  float64 `json:"peak_mib"`
	FloorMiB float64 `json:"floor_mib"` // a smaller peak could not be seen
	// Read and Written are bytes that went through read(2) and write(2) and their
	// like, whether the disk saw them or not.
	Read      int64 `json:"read"`
	Written   int64 `json:"written"`
	RepoBytes int64 `json:"repo_bytes"`
	RepoFiles int   `json:"repo_files"`
}

// CPU returns seconds of processor time.
func (s *sample) CPU() float64 { return s.User + s.System }

// measure runs one command of o. Nothing of earlier writers is left to be
// written when it starts.
func (o *tool) measure(ctx context.Context, c line, at place) (*sample, error) {
	if c.before != "" {
		if _, err := o.measure(ctx, line{args: c.before, env: c.env}, at); err != nil {
			return nil, err
		}
	}
	if err := syncfs(at.state); err != nil {
		return nil, err
	}
	floor, err := forgetPeak()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, o.path, at.fill(c.args)...)
	cmd.Env = o.environment(at, c)
	if cmd.Dir = at.state; c.inTarget {
		cmd.Dir = at.target
	}
	var said tail
	cmd.Stdout, cmd.Stderr = &said, &said
	start := time.Now()
	moved, err := runCounted(cmd)
	wall := time.Since(start)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", o.kind, c.args, err, said.text)
	}
	if err := syncfs(at.state); err != nil {
		return nil, err
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	return &sample{
		Wall: wall.Seconds(), Sync: (time.Since(start) - wall).Seconds(),
		User: cmd.ProcessState.UserTime().Seconds(), System: cmd.ProcessState.SystemTime().Seconds(),
		PeakMiB: float64(usage.Maxrss) / 1024, FloorMiB: floor, Read: moved.read, Written: moved.written,
	}, nil
}

// forgetPeak makes the largest resident set of this process small and returns
// it in MiB: in the accounts of Linux a process that is started begins with as
// much as the one that starts it.
func forgetPeak() (float64, error) {
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return 0, err
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	if _, err := fmt.Sscanf(rest, "%f kB", &kib); err != nil {
		return 0, fmt.Errorf("/proc/self/status: VmHWM: %w", err)
	}
	return kib / 1024, nil
}

// A tail keeps the last of what a program says.
type tail struct{ text []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.text = append(t.text, p...)
	if excess := len(t.text) - 4<<10; excess > 0 {
		t.text = append(t.text[:0], t.text[excess:]...)
	}
	return len(p), nil
}

// syncfs waits until what was written to the file system of folder is on the
// disk.
func syncfs(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close() // read only
	return unix.Syncfs(int(f.Fd()))
}

// count returns how many regular files there are below folder, and their bytes.
func count(folder string) (files int, bytes int64, err error) {
	err = filepath.WalkDir(folder, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		files, bytes = files+1, bytes+info.Size()
		return nil
	})
	return files, bytes, err
}

// A place is where a program finds and puts things.
type place struct {
	repo   string
	source string
	target string // an empty folder to restore into
	state  string // home folder, caches, configuration, temporary files
}

func (p place) names() *strings.Replacer {
	return strings.NewReplacer("REPO", p.repo, "SOURCE", p.source, "TARGET", p.target, "STATE", p.state)
}

// fill returns the words of args with the paths in place of their names.
func (p place) fill(args string) []string {
	names := p.names()
	words := strings.Fields(args)
	for i, word := range words {
		words[i] = names.Replace(word)
	}
	return words
}
