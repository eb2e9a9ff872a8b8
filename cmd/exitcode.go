package cmd

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"bluesky/forget"
	"bluesky/keyring"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/snapshot"
	"bluesky/store"
)

// The exit codes, as restic has them. 2 is a crash of the Go runtime; 11, a
// locked repository, cannot happen: there are no locks.
const (
	exitOK            = 0
	exitFatal         = 1
	exitIncomplete    = 3   // some source data could not be read
	exitNoRepository  = 10  // there is no repository at the location
	exitWrongPassword = 12  // no key slot opens with the password
	exitInterrupted   = 130 // cancelled by a signal
)

// errIncomplete ends a backup that made a snapshot without some of its sources.
var errIncomplete = errors.New("at least one source file could not be read")

// An exitError is an error that brings its exit code, its hint or both. A code
// of 0 leaves the choice to the rules.
type exitError struct {
	code int
	hint string // the next step, without "hint:" and without a full stop
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// withHint adds the next step that whoever reads err could take.
func withHint(err error, format string, args ...any) error {
	return &exitError{hint: fmt.Sprintf(format, args...), err: err}
}

// An exitRule gives the exit code and the hint of an error of another package.
type exitRule struct {
	is   error
	code int
	hint string
}

const (
	hintRollback = "if it was restored from a copy on purpose, give --accept-rollback once"
	hintCheck    = "run bluesky check: it says what is damaged"
	hintSpace    = "free some space and run it again; what is there already stays usable"
	hintDisk     = "a disk fails to read or write, and the system's log says which; run it again when it works, what is there already stays usable"
	// A backup needs no right to change or delete.
	hintRights = "who runs this needs the right to read the repository and, to back up, to create files in it"
)

// exitRules is the one place where errors become exit codes; the first rule
// that applies counts: what is full comes first, since what could not be written
// is often missed as well.
func exitRules() []exitRule {
	return []exitRule{
		{is: errIncomplete, code: exitIncomplete},
		{is: syscall.ENOSPC, code: exitFatal, hint: hintSpace},
		{is: syscall.EDQUOT, code: exitFatal, hint: hintSpace},
		{is: store.ErrNotDurable, code: exitFatal, hint: hintDisk},
		{is: syscall.EIO, code: exitFatal, hint: hintDisk},
		{is: repo.ErrNoRepository, code: exitNoRepository, hint: "is its disk mounted, and the location right? bluesky init makes a new one"},
		{is: keyring.ErrWrongPassword, code: exitWrongPassword},
		{is: repo.ErrRollback, code: exitFatal, hint: hintRollback},
		{is: store.ErrPermission, code: exitFatal, hint: hintRights},
		{is: repo.ErrForeign, code: exitFatal, hint: "check the location of the repository; nothing was changed"},
		{is: forget.ErrNothingLeft, code: exitFatal, hint: "give a rule such as --keep-last 1 as well; nothing was forgotten"},
		{is: snapshot.ErrNotFound, code: exitFatal, hint: "bluesky snapshots lists what there is"},
		{is: object.ErrVersion, code: exitFatal, hint: "a newer bluesky wrote this; upgrade"},
		{is: object.ErrCorrupt, code: exitFatal, hint: hintCheck},
		{is: repo.ErrForgotten, code: exitFatal, hint: "bluesky snapshots lists what there is"},
		{is: repo.ErrNotFound, code: exitFatal, hint: hintCheck},
		{is: store.ErrNotFound, code: exitFatal, hint: hintCheck},
	}
}

// A failure is what is said about an error at the end, and the exit code.
type failure struct {
	code    int
	message string
	hint    string
}

// classify applies rules to err, which is not nil. What an exitError brings
// comes before what the rules say.
func classify(err error, rules []exitRule) failure {
	f := failure{code: exitFatal, message: sentence(err)}
	for _, rule := range rules {
		if errors.Is(err, rule.is) {
			f.code, f.hint = rule.code, rule.hint
			break
		}
	}
	if own, ok := errors.AsType[*exitError](err); ok {
		if own.code != 0 {
			f.code = own.code
		}
		if own.hint != "" {
			f.hint = own.hint
		}
	}
	return f
}

// sentence returns the text of err on one line: errors that were joined stand
// behind each other, with semicolons for the line breaks of [errors.Join].
func sentence(err error) string {
	text := err.Error()
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		if cause := e.Unwrap(); cause != nil {
			if before, ok := strings.CutSuffix(text, cause.Error()); ok {
				return before + sentence(cause)
			}
		}
	case interface{ Unwrap() []error }:
		var parts, sentences []string
		for _, part := range e.Unwrap() {
			parts = append(parts, part.Error())
			sentences = append(sentences, sentence(part))
		}
		if text == strings.Join(parts, "\n") {
			return strings.Join(sentences, "; ")
		}
	}
	return text
}

// report prints f on stderr: text, or the JSON document that restic prints.
func (e *env) report(f failure, asJSON bool) {
	if asJSON {
		e.writeJSON(e.stderr, exitErrorMessage{"exit_error", f.code, f.message, f.hint})
		return
	}
	word := "Fatal"
	if f.code == exitIncomplete {
		word = "Warning"
	}
	fmt.Fprintf(e.stderr, "%s: %s\n", word, printable(f.message))
	if f.hint != "" {
		fmt.Fprintf(e.stderr, "hint: %s\n", printable(f.hint))
	}
}

type exitErrorMessage struct {
	MessageType string `json:"message_type"`
	Code        int    `json:"code"`
	Message     string `json:"message"`
	Hint        string `json:"hint,omitempty"` // not restic's
}
