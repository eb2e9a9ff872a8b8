package cmd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
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
