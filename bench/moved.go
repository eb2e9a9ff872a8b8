package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// moved is what a process and those it waited for have read and written.
type moved struct{ read, written int64 }

// runCounted runs cmd and returns what it has moved. The kernel tells that of a
// process that has ended as long as nobody has waited for it.
func runCounted(cmd *exec.Cmd) (m moved, err error) {
	if err := cmd.Start(); err != nil {
		return m, err
	}
	ended := waitid(cmd.Process.Pid)
	if ended == nil {
		m, ended = movedBy(cmd.Process.Pid)
	}
	if err := cmd.Wait(); err != nil {
		return m, err
	}
	return m, ended
}

// waitid returns when the process has ended, and leaves it to be waited for.
func waitid(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// movedBy reads the account of a process: proc_pid_io(5).
func movedBy(pid int) (m moved, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return m, err
	}
	_, err = fmt.Sscanf(strings.ReplaceAll(string(text), "\n", " "), "rchar: %d wchar: %d", &m.read, &m.written)
	if err != nil {
		return m, fmt.Errorf("/proc/%d/io: %w", pid, err)
	}
	return m, nil
}
