// Package cmd is the command line of bluesky: it parses flags, calls one
// package for each command, and prints.
//
// The names of commands and flags, the environment variables (BLUESKY_ for
// RESTIC_), the exit codes and the JSON shapes are those of restic wherever
// both have the same thing. What a command needs of the world, its streams, the
// environment and the clock, it gets from an [env]; there are no globals. The
// answer goes to stdout; progress, warnings and errors go to stderr. Nothing
// from outside reaches a terminal unquoted.
package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// gcPercent makes the heap grow by a quarter, not to the double, between two
// collections. Most of it are buffers, which hold no pointers and cost a
// collection nothing. docs/decisions.md has the figures.
const gcPercent = 25

// Main runs the command line of this process and returns its exit code.
//
// The first SIGINT or SIGTERM cancels the command, which ends with exit code
// 130 once it has stopped cleanly; the second one ends the process at once.
func Main() int {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return start(processHost(), commands)
}

// start is Main in the world h, with the given commands.
func start(h host, commands func(*env) []*cobra.Command) int {
	e := newEnv(h)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, stop := interruptible(context.Background(), signals, os.Exit)
	defer stop()
	return run(ctx, e, newRootCommand(e, commands(e)...), os.Args[1:])
}

// run executes one command line and reports its error, if any.
func run(ctx context.Context, e *env, root *cobra.Command, args []string) int {
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if e.stopNote != nil {
		e.stopNote()
	}
	f, failed := e.failure(ctx, err)
	if !failed {
		return exitOK
	}
	// Not e.json: a command line with a mistake never became settings.
	e.report(f, flagSettings(cmd.Flags()).JSON)
	return f.code
}

// failure judges how a command ended. Other errors of an interrupted command
// are mostly consequences of that, and one that swallowed its cancellation has
// not done what was asked; neither has one whose answer did not arrive.
func (e *env) failure(ctx context.Context, err error) (failure, bool) {
	if lost := e.screen.failed(); lost != nil && (err == nil || errors.Is(err, lost)) {
		// No %w: the rules know what a full disk means for a repository, and
		// this is where the answer should have gone.
		err = fmt.Errorf("writing the output: %v", lost)
	}
	if ctx.Err() != nil {
		f := failure{code: exitInterrupted, message: "interrupted"}
		if own, ok := errors.AsType[*exitError](err); ok {
			f.hint = own.hint
		}
		return f, true
	}
	if err == nil {
		return failure{}, false
	}
	return classify(err, e.rules), true
}

// interruptible returns a context that the first signal cancels; the second
// signal calls exit. stop releases what is held and waits.
func interruptible(parent context.Context, signals <-chan os.Signal, exit func(int)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(parent)
	done := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		for count := 0; ; count++ {
			select {
			case <-done:
				return
			case <-signals:
			}
			if count > 0 {
				exit(exitInterrupted)
				return
			}
			cancel()
		}
	}()
	return ctx, func() {
		close(done)
		<-finished
		cancel()
	}
}

// noteDelay is how long an interrupted command may take to end before a person
// is told that it still runs.
const noteDelay = 200 * time.Millisecond

// noteInterrupts says, from now on and until e.stopNote is called, why a command
// whose ctx was cancelled still runs.
func (e *env) noteInterrupts(ctx context.Context) {
	ended, noted := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(noted)
		select {
		case <-time.After(noteDelay):
			e.message("interrupted: finishing; a second interrupt ends at once")
		case <-ended:
		}
	})
	e.stopNote = func() {
		close(ended)
		if !stop() {
			<-noted
		}
	}
}
