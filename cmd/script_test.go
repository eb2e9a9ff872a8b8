package cmd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"go.uber.org/goleak"

	"bluesky/seal"
)

// TestMain makes bluesky a command that scripts can run, as a process of its
// own. probe is bluesky with one command more.
func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){
		"bluesky": func() { os.Exit(start(cheapHost(), commands)) },
		"probe":   func() { os.Exit(probeMain()) },
	})
}

// A leakless runs tests, and fails if they leave a goroutine behind.
type leakless struct{ m *testing.M }

func (l leakless) Run() int {
	code := l.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

// cheapHost is that of the process, with key slots that take no time to open:
// the scripts open repositories some hundred times.
func cheapHost() host {
	h := processHost()
	h.slot = seal.SlotParams{Time: 1, Memory: 8, Lanes: 1}
	if right, err := strconv.ParseInt(os.Getenv(hurryEnv), 10, 64); err == nil {
		h.now = hurry(right)
	}
	return h
}

// hurryEnv names the variable that says how often the clock of a process is
// right, before it begins to hurry.
const hurryEnv = "BLUESKY_TEST_HURRY"

// hurry returns a clock that goes forward by some minutes each time somebody
// looks at it, after it was right for some looks. So a backup of many small files
// takes hours, and registers now and then what it has.
func hurry(right int64) func() time.Time {
	var looks atomic.Int64
	return func() time.Time {
		ahead := max(0, looks.Add(1)-right)
		return time.Now().Add(time.Duration(ahead) * 7 * time.Minute)
	}
}

// TestScripts runs testdata/script, each with an empty HOME and XDG folders.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			home := filepath.Join(env.WorkDir, ".home")
			for name, dir := range map[string]string{
				"HOME":            "",
				"XDG_CONFIG_HOME": "config",
				"XDG_DATA_HOME":   "data",
				"XDG_STATE_HOME":  "state",
				"XDG_CACHE_HOME":  "cache",
			} {
				dir = filepath.Join(home, dir)
				if err := os.MkdirAll(dir, 0o700); err != nil {
					return err
				}
				env.Setenv(name, dir)
			}
			env.Setenv("TERM", "xterm")
			env.Setenv("TZ", "UTC")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each process takes a second more
			return nil
		},
		Condition: func(condition string) (bool, error) {
			if condition != "root" {
				return false, fmt.Errorf("unknown condition %s", condition)
			}
			return os.Getuid() == 0, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exitcode": scriptExitCode,
			"messages": scriptMessages,
			"member":   scriptMember,
			"document": scriptDocument,
			"damage":   scriptDamage,
			"oddnames": scriptOddNames,
			"newerop":  scriptNewerOp,
			"garbage":  scriptGarbage,
		},
	})
}

// scriptExitCode is the script command "exitcode N program args…": it fails
// unless the program ends with exactly that code. stdout and stderr are as
// after exec.
func scriptExitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exitcode N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%s: %v", args[1], err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// scriptDamage is the script command "damage OFFSET FILE...": it changes one byte
// of each file. An offset below 0 counts from the end.
func scriptDamage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: damage OFFSET FILE...")
	}
	offset, err := strconv.Atoi(args[0])
	ts.Check(err)
	for _, pattern := range args[1:] {
		names, err := filepath.Glob(ts.MkAbs(pattern))
		ts.Check(err)
		if len(names) == 0 {
			ts.Fatalf("no file matches %s", pattern)
		}
		for _, name := range names {
			data, err := os.ReadFile(name)
			ts.Check(err)
			data[(offset+len(data))%len(data)] ^= 0x10
			ts.Check(os.WriteFile(name, data, 0o600))
		}
	}
}

// oddNames are names that would act on a terminal, or spoil a list.
var oddNames = []string{
	"new\nline", "\x1b[31mred", "\u009b31m", "\xff\xfe", " blank ", "\ttab", "\u202eleft", "\"quoted\"", "-rf", "\x7f",
}

// scriptOddNames is the script command "oddnames DIR": it makes files with odd
// names there, and a link to an odd target.
func scriptOddNames(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: oddnames DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	for _, name := range oddNames {
		ts.Check(os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
	}
	ts.Check(os.Symlink("\x1b[2J\n", filepath.Join(dir, "link")))
}

// probeMain is Main with the command "probe".
func probeMain() int {
	return start(processHost(), func(e *env) []*cobra.Command { return append(commands(e), newProbeCommand(e)) })
}

// newProbeCommand prints what the settings lead to, the password included.
func newProbeCommand(e *env) *cobra.Command {
	var fresh bool
	cmd := &cobra.Command{
		Use:  "probe",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := e.access()
			if err != nil {
				return err
			}
			location, err := a.repository()
			if err != nil {
				return err
			}
			read := e.password
			if fresh {
				read = e.newPassword
			}
			password, err := read(cmd.Context(), a.password)
			if err != nil {
				return err
			}
			e.printf("location %s\npassword %s\ncache %q\nstate %q\n", quote(location), quote(string(password)), e.cacheDir(), e.stateDir())
			if a.isDefault {
				e.printf("default\n")
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&fresh, "new", false, "ask as for a new password")
	// hang waits for an interrupt and then does not care for it.
	hang := &cobra.Command{
		Use:  "hang",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(e.stdout, "ready")
			<-cmd.Context().Done()
			if os.Getenv("STUBBORN") != "" {
				fmt.Fprintln(e.stdout, "cancelled")
				select {}
			}
			return nil
		},
	}
	cmd.AddCommand(hang)
	return cmd
}
