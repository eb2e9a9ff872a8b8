package cmd

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// kill ends a process as a crash does.
func kill(_ *rand.Rand, p *os.Process) { _ = p.Kill() } // it may be over

// wasKilled says what is wrong with the end of a process that kill has met.
func wasKilled(c *exec.Cmd, stderr string) string {
	status := c.ProcessState.Sys().(syscall.WaitStatus)
	if !status.Signaled() || status.Signal() != syscall.SIGKILL || stderr != "" {
		return "it ended by itself: " + c.ProcessState.String()
	}
	return ""
}

// A kill at any moment of a backup harms nothing: what was reported is there,
// check is content, and the next backup needs no step before it.
func TestKilledBackups(t *testing.T) {
	t.Parallel()
	strikeBackups(t, 50, time.Hour, kill, wasKilled)
}

func TestSoakKilledBackups(t *testing.T) {
	strikeBackups(t, 1000, soak(t), kill, wasKilled)
}

// strikeBackups ends so many backups at random moments, as many as there is
// time for. Each campaign has a repository of its own.
func strikeBackups(t *testing.T, moments int, limit time.Duration, hit func(*rand.Rand, *os.Process), ended func(*exec.Cmd, string) string) {
	began := time.Now()
	total := map[string]int{}
	done := 0
	for part := 0; done < moments && time.Since(began) < limit; part++ {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			c := newCampaign(t, rand.New(rand.NewPCG(seed, 1)))
			c.hit, c.ended = hit, ended
			most := min(100, moments-done)
			// All phases are to be met. A moment that comes too late is no
			// mistake, only no case.
			for struck := 0; time.Since(began) < limit && (struck < most || len(c.missing()) > 0 && struck < 3*most); {
				c.tree.change()
				for range 1 + c.random.IntN(3) { // also several in a row
					before := c.other
					c.strike()
					struck += 1 - (c.other - before)
				}
				c.aftermath()
			}
			c.finish(20)
			for phase, n := range c.phases {
				total[phase] += n
				done += n
			}
			t.Logf("aimed at %v; %d were over before", c.events, c.other)
			if missing := c.missing(); len(missing) > 0 {
				t.Errorf("no backup ended %v", missing)
			}
		})
		if t.Failed() {
			break
		}
	}
	t.Logf("%d backups were ended: %v", done, total)
}
