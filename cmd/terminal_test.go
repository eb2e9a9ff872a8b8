package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal returns both ends of a pseudo terminal: what a person has in
// front, and what a program has as its stdin.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	fd := int(person.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

func TestAskTerminal(t *testing.T) {
	person, program := openTerminal(t)
	shown := ""
	show := func(text string) {
		if shown == "" {
			person.WriteString("my secret\n")
		}
		shown += text
	}
	got, err := askTerminal(int(program.Fd()))(t.Context(), show, "password: ")
	if err != nil || string(got) != "my secret" || shown != "password: \n" {
		t.Errorf("got %q, %v, shown %q", got, err, shown)
	}
	if !echoes(t, program) {
		t.Error("the terminal stays without echo")
	}
}

// Who gives up at the prompt gets back a terminal that shows what is typed.
func TestAskTerminalInterrupted(t *testing.T) {
	person, program := openTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := askTerminal(int(program.Fd()))(ctx, func(string) {}, "")
		done <- err
	}()
	for echoes(t, program) { // until the password is being read
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a cancellation", err)
	}
	if !echoes(t, program) {
		t.Error("the terminal stays without echo")
	}
	person.WriteString("\n") // ends the read that was left behind
}

func TestAskWithoutTerminal(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if _, err := askTerminal(int(null.Fd()))(t.Context(), func(string) {}, ""); err == nil {
		t.Error("/dev/null answered")
	}
}
