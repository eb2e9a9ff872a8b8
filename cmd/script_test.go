package cmd

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

// TestMain makes bluesky a command that scripts can run, as a process of its
// own. probe is bluesky with one command more.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"bluesky": func() { os.Exit(Main()) },
		"probe":   func() { os.Exit(probeMain()) },
	})
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
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each process takes a second more
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exitcode": scriptExitCode,
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

// probeMain is Main with the command "probe".
func probeMain() int {
	return start(func(e *env) []*cobra.Command { return append(commands(e), newProbeCommand(e)) })
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
