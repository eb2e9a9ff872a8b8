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

	"bluesky/restore/treetest"
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

var killing = blow{kill, wasKilled, []string{beforeBegin, begun, segmentStored, runStored, runRegistered, committed}}

// A kill at any moment of a backup harms nothing: what was reported is there,
// check is content, and the next backup needs no step before it.
func TestKilledBackups(t *testing.T) {
	t.Parallel()
	strikeBackups(t, 50, 25, time.Hour, killing)
}

func TestSoakKilledBackups(t *testing.T) {
	strikeBackups(t, 1000, 100, soak(t), killing)
}

// strikeBackups ends so many backups at random moments, as many as there is
// time for, in repositories for perRepository each. All phases are to be met; a
// moment that comes too late is no mistake, only no case.
func strikeBackups(t *testing.T, moments, perRepository int, limit time.Duration, b blow) {
	began := time.Now()
	met := map[string]int{}
	done := 0
	missing := func() bool { return slices.ContainsFunc(b.phases, func(phase string) bool { return met[phase] == 0 }) }
	for (done < moments || missing() && done < moments+200) && time.Since(began) < limit && !t.Failed() {
		seed := rand.Uint64()
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			c := newCampaign(t, rand.New(rand.NewPCG(seed, 1)), b)
			for struck := 0; struck < perRepository && time.Since(began) < limit; {
				c.tree.change()
				for range 1 + c.random.IntN(7) { // also several in a row
					if c.strike() {
						struck++
					}
				}
				c.aftermath()
			}
			c.finish()
			t.Logf("aimed at %v; %d were over before", c.events, c.other)
			for phase, n := range c.met {
				met[phase] += n
				done += n
			}
		})
	}
	t.Logf("%d backups were ended: %v", done, met)
	if missing() {
		t.Errorf("no backup was ended in one of the phases %q", b.phases)
	}
}

// A restore that was killed at any moment is run again, and then it is right.
func TestKilledRestores(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	m := newSmallSegments(t)
	newTree(m, "src", random)
	treetest.Make(t, m.mkdir("src/odd"))
	m.must("backup", "-q", "src")
	name := func(path string, mask uint32) string {
		if strings.HasPrefix(path, m.path("out")) {
			path = m.path("file")
		}
		return m.step(path, mask)
	}
	args := []string{"restore", "-q", "--preserve-special", "latest:" + m.path("src"), "-t", m.path("out")}
	usual := newWitness(t, name, m.repo, m.mkdir("out")).strike(m.command(t.Context(), args...), moment{}, func(*os.Process) {})
	killed := map[string]int{}
	for range 4 {
		if err := os.RemoveAll(m.path("out")); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			c := m.command(t.Context(), args...)
			at := randomMoment(random, usual)
			newWitness(t, name, m.repo, m.mkdir("out")).strike(c, at, func(p *os.Process) { kill(random, p) })
			if c.ProcessState.ExitCode() != 0 {
				killed[at.event]++
				if wrong := wasKilled(c, ""); wrong != "" {
					t.Errorf("at %+v: %s", at, wrong)
				}
			}
		}
		m.must(args...)
		treetest.Compare(t, m.path("src"), m.path("out"))
	}
	t.Logf("killed after %v", killed)
	if len(killed) == 0 {
		t.Error("no restore was killed")
	}
}

// After an init that was killed at any moment there is a repository, or there is
// none, which a backup says and the next init mends.
func TestKilledInits(t *testing.T) {
	t.Parallel()
	random := newRandom(t)
	var usual map[string]int
	found := map[string]int{}
	for round := range 16 {
		m := &machine{t: t, dir: fastDir(t)}
		m.repo, m.home = m.mkdir("repo"), m.mkdir("home")
		m.write("src/file", []byte("text"))
		c := m.command(t.Context(), "init", "-q")
		w := newWitness(t, m.step, m.repo, m.home)
		if round == 0 {
			usual = w.strike(c, moment{}, func(*os.Process) {})
			continue
		}
		at := randomMoment(random, usual)
		w.strike(c, at, func(p *os.Process) { kill(random, p) })
		got := m.run("backup", "-q", "src")
		again := m.run("init", "-q")
		switch {
		case got == ending{}:
			found["a repository"]++
			if again.code != exitFatal || !strings.Contains(again.stderr, "a repository exists here already") {
				t.Errorf("at %+v: init where there is one: %+v", at, again)
			}
		case got.code == exitNoRepository && strings.Contains(got.stderr, "\nhint: is its disk mounted, and the location right? bluesky init makes a new one\n"):
			found["none"]++
			if again != (ending{}) {
				t.Errorf("at %+v: the next init: %+v", at, again)
			}
			m.must("backup", "-q", "src")
		default:
			t.Errorf("at %+v: a backup after a killed init: %+v", at, got)
		}
		m.mustCheck()
		m.must("restore", "-q", "latest:"+m.path("src"), "-t", "out")
		treetest.Compare(t, m.path("src"), m.path("out"))
	}
	t.Logf("killed inits left %v", found)
	if len(found) < 2 {
		t.Error("all were killed on one side of the commit point")
	}
}
