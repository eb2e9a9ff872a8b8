// Package local keeps objects as files in a folder: a driver for
// gocloud.dev/blob that can hold a repository, which the one of gocloud.dev
// cannot, since it neither syncs nor creates exclusively.
//
// An object is one file, at the path that its key names; nothing else is
// stored, so content types are not kept and metadata is refused. What holds:
//
//   - A write that returned nil survives a power cut, with the folders it made.
//   - A write with IfNotExist has one winner among all processes and, where the
//     file system has it, among all machines. There are no locks.
//   - A key is absent or whole, never partly written, whatever fails or stops.
//   - A failed sync is final. If it was of the bytes, the key stays as it was;
//     if it was of the name, the error wraps [ErrNotDurable].
//   - A listing is complete or an error. It names the keys in bytewise order.
//   - Files have mode 0600 and folders 0700, whatever the umask.
//   - Nothing is written, and no link followed, outside the folder.
//
// A write fills a file that has no name, syncs it, links it to its key, which
// is the commit point, and syncs the folder. File systems without unnamed files
// get a name beginning with ".tmp-" for the time being; those without hard
// links get an exclusive rename; those with neither are refused. A crash may
// leave ".tmp-" files behind. They are no objects; the first write of a process
// to a folder removes those that nobody wrote to for 24 hours. (A writer that
// really took longer gets an error.) Folders are never removed.
//
// docs/architecture.md, "A put into a local folder", has the states after a crash.
package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

// A Bucket is the driver.Bucket of one folder. It may be used concurrently,
// as may any number of Buckets of the same folder in any number of processes.
type Bucket struct {
	fs  FS
	now func() time.Time

	// What the file system turned out not to have. Learned from writes that
	// then succeeded otherwise.
	noUnnamed, noLink atomic.Bool

	mu      sync.Mutex
	folders map[string]*folder // guarded by mu
	walks   []*walk            // guarded by mu; listings between two pages, oldest first
}

var _ driver.Bucket = (*Bucket)(nil)

// Open opens the folder at path, which must exist.
func Open(path string) (*Bucket, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	fsys, err := openOS(path)
	if err != nil {
		return nil, err
	}
	return New(fsys, time.Now), nil
}

// New makes a Bucket of a file system, which it closes with [Bucket.Close].
// now is compared with the times of abandoned temporary files.
func New(fsys FS, now func() time.Time) *Bucket {
	return &Bucket{fs: fsys, now: now, folders: map[string]*folder{}}
}

// Create makes the folder at path with mode 0700, and those above it that are
// missing. On return their names are durable. A folder that exists is left as
// it is.
func Create(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is not a folder", path)
	case !errors.Is(err, os.ErrNotExist):
		return err
	}
	if err := Create(filepath.Dir(path)); err != nil {
		return err
	}
	if err := os.Mkdir(path, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	if err := tolerateNoModes(os.Chmod(path, dirMode)); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return also(f.Sync(), f.Close())
}

// Delete implements driver.Bucket. The deletion is durable on return.
func (b *Bucket) Delete(ctx context.Context, key string, opts *driver.DeleteOptions) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if opts.BeforeDelete != nil {
		if err := opts.BeforeDelete(noAs); err != nil {
			return err
		}
	}
	path, name := splitKey(key)
	dir, err := b.fs.OpenDir(path)
	if err != nil {
		return notFound(err)
	}
	defer dir.Close() // its Sync counted
	info, err := dir.Lstat(name)
	if err != nil {
		return notFound(err)
	}
	if info.IsDir() {
		return coded{gcerrors.NotFound, fmt.Errorf("%s is a folder", name)}
	}
	if err := dir.Remove(name); err != nil {
		return notFound(err)
	}
	return b.folder(path).sync(dir)
}

// Close implements driver.Bucket.
func (b *Bucket) Close() error { return b.fs.Close() }

var errUnimplemented = coded{gcerrors.Unimplemented, errors.New("not supported by folders")}

// Copy implements driver.Bucket: nothing in a repository is copied in place.
func (b *Bucket) Copy(context.Context, string, string, *driver.CopyOptions) error {
	return errUnimplemented
}

// SignedURL implements driver.Bucket.
func (b *Bucket) SignedURL(context.Context, string, *driver.SignedURLOptions) (string, error) {
	return "", errUnimplemented
}

// As implements driver.Bucket: there are no types to give.
func (b *Bucket) As(any) bool { return false }

// ErrorAs implements driver.Bucket: errors.As serves.
func (b *Bucket) ErrorAs(error, any) bool { return false }

func noAs(any) bool { return false }
