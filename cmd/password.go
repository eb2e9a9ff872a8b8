package cmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/term"
)

// An askFunc shows prompt and reads a line from a terminal without echo.
type askFunc func(ctx context.Context, show func(string), prompt string) ([]byte, error)

var (
	errPasswordEmpty    = errors.New("the password is empty")
	errPasswordMismatch = errors.New("the two passwords are not the same")
	errPasswordNone     = errors.New("no password is given, and there is no terminal to ask for it")
)

const hintPassword = "give one with --password-file, --password-command or " + passwordVariable

// password returns the password that source names; the caller owns it and may
// overwrite it. It is never part of an error.
//
// As in restic, white space at both ends of a file's or a command's text is not
// part of the password; BLUESKY_PASSWORD is taken as it is.
func (e *env) password(ctx context.Context, source passwordSource) ([]byte, error) {
	return e.readPassword(ctx, source, "enter password for repository: ")
}

// newPassword is password for one that is about to be set: a person types it
// twice.
func (e *env) newPassword(ctx context.Context, source passwordSource) ([]byte, error) {
	first, err := e.readPassword(ctx, source, "enter new password: ")
	if err != nil || source.kind != passwordAsk {
		return first, err
	}
	second, err := e.readPassword(ctx, source, "enter password again: ")
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(first, second) {
		return nil, errPasswordMismatch
	}
	return first, nil
}

// canRetry reports whether another attempt could give another password: a
// person is there to type it.
func (e *env) canRetry(source passwordSource) bool {
	return source.kind == passwordAsk && e.stdinTerminal
}

func (e *env) readPassword(ctx context.Context, source passwordSource, prompt string) ([]byte, error) {
	var password []byte
	var err error
	switch source.kind {
	case passwordEmpty:
		return []byte{}, nil
	case passwordFile:
		password, err = readSmallFile(source.file)
		password, err = bytes.TrimSpace(password), wrap("password file", err)
	case passwordCommand:
		password, err = e.runPasswordCommand(ctx, source.command)
		password, err = bytes.TrimSpace(password), wrap("password command", err)
	case passwordEnvironment:
		password = []byte(e.getenv(passwordVariable))
	default:
		password, err = e.askPassword(ctx, prompt)
	}
	if err != nil {
		return nil, err
	}
	if len(password) == 0 {
		return nil, withHint(errPasswordEmpty, "--insecure-no-password allows that")
	}
	return password, nil
}

func (e *env) askPassword(ctx context.Context, prompt string) ([]byte, error) {
	if !e.stdinTerminal {
		return nil, withHint(errPasswordNone, "%s", hintPassword)
	}
	show := func(text string) { fmt.Fprint(e.stderr, text) }
	return e.ask(ctx, show, prompt)
}

// runPasswordCommand returns what command prints. Its stderr is ours: it may
// have to say something to the person in front. Errors do not repeat its
// arguments, which may be the secret.
func (e *env) runPasswordCommand(ctx context.Context, command string) ([]byte, error) {
	args, err := splitCommand(command)
	if err != nil {
		return nil, err
	}
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Stderr = e.stderr
	c.WaitDelay = time.Second // for what it started and left behind
	output, err := c.Output()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return output, err
}

// askTerminal returns the askFunc of the terminal fd.
//
// A read of a terminal cannot be interrupted. When ctx ends first, the terminal
// gets its echo back and the read is left behind, for the end of the process.
func askTerminal(fd int) askFunc {
	return func(ctx context.Context, show func(string), prompt string) ([]byte, error) {
		before, err := term.GetState(fd)
		if err != nil {
			return nil, fmt.Errorf("asking for the password: %w", err)
		}
		type answer struct {
			password []byte
			err      error
		}
		answers := make(chan answer, 1)
		show(prompt)
		go func() {
			password, err := term.ReadPassword(fd)
			answers <- answer{password, err}
		}()
		select {
		case <-ctx.Done():
			show("\n")
			return nil, errors.Join(ctx.Err(), term.Restore(fd, before))
		case a := <-answers:
			show("\n")
			return a.password, wrap("asking for the password", a.err)
		}
	}
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
