package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"gocloud.dev/gcerrors"
)

// Errors of this driver that callers may test for.
var (
	// ErrNotDurable marks a write that took effect but whose name could not be
	// synced: it may be seen now and be gone after a power cut. Reading it back
	// proves nothing. The folder takes no more writes from this [Bucket].
	ErrNotDurable = errors.New("not durable, a power cut may undo it")
	// ErrNoExclusiveCreate marks a file system that cannot create a name only
	// if it is free, and so cannot hold a repository.
	ErrNoExclusiveCreate = errors.New("the file system supports neither hard links nor exclusive renames, so it cannot hold a repository; use another file system")
)

// coded carries the code by which gocloud.dev tells errors apart.
type coded struct {
	code gcerrors.ErrorCode
	error
}

func (e coded) Unwrap() error { return e.error }

// notFound gives the code to errors of a path that does not lead to a file:
// for a reader, an object where a folder should be is a missing key too.
func notFound(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return coded{gcerrors.NotFound, err}
	}
	return err
}

// also adds to err the errors of what had to be done after it.
func also(err error, more ...error) error {
	for _, e := range more {
		switch {
		case e == nil:
		case err == nil:
			err = e
		default:
			err = fmt.Errorf("%w; also: %w", err, e)
		}
	}
	return err
}

// ErrorCode implements driver.Bucket.
func (b *Bucket) ErrorCode(err error) gcerrors.ErrorCode {
	var c coded
	switch {
	case errors.As(err, &c):
		return c.code
	case errors.Is(err, context.Canceled):
		return gcerrors.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return gcerrors.DeadlineExceeded
	case errors.Is(err, fs.ErrNotExist):
		return gcerrors.NotFound
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return gcerrors.PermissionDenied
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return gcerrors.ResourceExhausted
	}
	return gcerrors.Unknown
}
