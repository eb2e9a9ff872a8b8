package cmd

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"bluesky/seal"
)

// A host is the world around a command line. processHost is the real one.
type host struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	// Which streams are terminals.
	stdinTerminal, stderrTerminal bool
	// width returns the columns of the terminal on stderr, 0 if unknown.
	width func() int
	// ask reads a line from the terminal on stdin without showing it.
	ask    askFunc
	getenv func(string) string
	now    func() time.Time
	// program is the file that runs; "" if unknown.
	program string
	// slot is what a key slot costs to open, where init makes one; zero is
	// the default. Only tests have another.
	slot seal.SlotParams
}

func processHost() host {
	program, _ := os.Executable() // which only hints are made of
	return host{
		stdin:          os.Stdin,
		stdout:         os.Stdout,
		stderr:         os.Stderr,
		stdinTerminal:  term.IsTerminal(int(os.Stdin.Fd())),
		stderrTerminal: term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb",
		width: func() int {
			columns, _, err := term.GetSize(int(os.Stderr.Fd()))
			if err != nil {
				return 0
			}
			return columns
		},
		ask:    askTerminal(int(os.Stdin.Fd())),
		getenv: os.Getenv,
		now:    time.Now,

		program: program,
	}
}

// An env is what a command works with: the streams, the world around, and,
// once the command line is parsed, the settings.
//
// stdout and stderr share a screen: a status line is cleared before anything
// else is printed. They are safe for concurrent use. An error of stdout is
// remembered and ends the command with exit code 1, so commands need not check.
type env struct {
	host
	screen   *screen
	stdout   io.Writer
	stderr   io.Writer
	dirs     userDirs
	settings settings // zero until the flags are parsed, then constant
	rules    []exitRule
	stopNote func() // ends the wait for an interrupt; nil if nothing waits

	warnedCache, warnedState, notedDefault sync.Once
}

func newEnv(h host) *env {
	s := &screen{stdout: h.stdout, stderr: h.stderr, live: h.stderrTerminal}
	return &env{
		host:   h,
		screen: s,
		stdout: stream{s, h.stdout, true},
		stderr: stream{s, h.stderr, false},
		dirs:   findDirs(h.getenv),
		rules:  exitRules(),
	}
}

func (e *env) json() bool { return e.settings.JSON }

// message prints one line on stderr: what is going on, for a person. With
// --quiet or --json it prints nothing.
func (e *env) message(format string, args ...any) {
	if !e.settings.Quiet && !e.json() {
		fmt.Fprintln(e.stderr, printable(fmt.Sprintf(format, args...)))
	}
}

// warn prints a warning on stderr, whatever --quiet says.
func (e *env) warn(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if e.json() {
		e.writeJSON(e.stderr, warningMessage{"warning", text})
		return
	}
	fmt.Fprintf(e.stderr, "warning: %s\n", printable(text))
}

type warningMessage struct {
	MessageType string `json:"message_type"`
	Message     string `json:"message"`
}
