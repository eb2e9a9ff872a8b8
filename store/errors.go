package store

import (
	"errors"
	"fmt"
	"strings"

	"bluesky/store/local"

	"gocloud.dev/gcerrors"
)

// Errors that callers may test for. A full disk or quota is
// errors.Is(err, syscall.ENOSPC) or syscall.EDQUOT.
var (
	ErrNotFound   = errors.New("not found")
	ErrExists     = errors.New("exists already")
	ErrPermission = errors.New("permission denied")
	ErrTooLarge   = errors.New("larger than expected")
	ErrShort      = errors.New("shorter than expected")
	ErrKey        = errors.New("not a valid key")
	ErrClosed     = errors.New("the store is closed")
	// ErrNotDurable marks a write that can be read now but may be lost at a
	// power cut, because the file system failed to sync it. Reading it back
	// proves nothing; the store's disk needs attention.
	ErrNotDurable = local.ErrNotDurable
)

func keyError(key, why string) error { return fmt.Errorf("%w: %q: %s", ErrKey, key, why) }

// opError is what the methods of a Store return.
type opError struct {
	op, key string
	kind    error // a sentinel, or nil
	err     error // what the bucket said, or nil
	passing bool  // see MayPass
}

// Error leaves out what a bucket said of keys that are missing or taken: for a
// cloud it is half a page and says no more.
func (e *opError) Error() string {
	text := e.op
	if e.key != "" {
		text += " " + e.key
	}
	switch {
	case e.err == nil, e.kind == ErrNotFound, e.kind == ErrExists, e.kind == ErrClosed:
		return text + ": " + e.kind.Error()
	case e.kind == nil || errors.Is(e.err, e.kind):
		return text + ": " + e.err.Error()
	}
	return text + ": " + e.kind.Error() + ": " + e.err.Error()
}

func (e *opError) Unwrap() []error {
	var list []error
	for _, err := range []error{e.kind, e.err} {
		if err != nil {
			list = append(list, err)
		}
	}
	return list
}

// wrap makes err, if it is one, an error of this package. kind is the sentinel
// that only the method knows.
func (s *Store) wrap(op, key string, kind, err error) error {
	if err == nil {
		return nil
	}
	switch {
	case s.closed.Load(): // gocloud.dev reports it like a lost race
		kind = ErrClosed
	case kind != nil:
	default:
		kind = kindOf(err)
	}
	return &opError{op: op, key: key, kind: kind, err: cause(err), passing: kind == nil && passing(err)}
}

func kindOf(err error) error {
	switch gcerrors.Code(err) {
	case gcerrors.NotFound:
		return ErrNotFound
	case gcerrors.PermissionDenied:
		return ErrPermission
	}
	return nil
}

func isConflict(err error) bool {
	code := gcerrors.Code(err)
	return code == gcerrors.FailedPrecondition || code == gcerrors.AlreadyExists
}

// cause strips what gocloud.dev wraps around a driver's error: its package's
// name, the key once more, and a code.
func cause(err error) error {
	if !strings.HasPrefix(err.Error(), "blob") {
		return err
	}
	if multi, ok := err.(interface{ Unwrap() []error }); ok {
		if list := multi.Unwrap(); len(list) > 0 && list[0] != nil {
			return list[0]
		}
	}
	return err
}
