package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// ErrLocked: another process has the file, or has just removed it.
var ErrLocked = errors.New("another run holds it")

// A File is a journal that this process holds the lock of, by flock(2), which
// goes with the process. It is safe for concurrent use.
type File struct {
	path   string
	lock   *flock.Flock
	file   *os.File
	format Format

	mu     sync.Mutex
	end    int64 // of what counts
	begun  bool  // nothing stands behind end, and the header is there
	broken error // a record may be torn; what comes behind it would not count
}

// UnlockedSuffix stands behind the name of a journal that has no lock yet.
const UnlockedSuffix = ".new"

// Create makes the journal at path. Nobody finds it without its lock: it is
// made under another name, path with [UnlockedSuffix] behind it, and renamed.
// Who is killed in between leaves that name.
func Create(path string, format Format) (*File, error) {
	f, err := open(path+UnlockedSuffix, format, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	f.path = path
	if err := errors.Join(f.begin(), os.Rename(path+UnlockedSuffix, path)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Open opens the journal at path, which is made if create says so. The error
// wraps [ErrLocked] or [fs.ErrNotExist]. What of it is not scanned before the
// first Append is cut off by that.
func Open(path string, format Format, create bool) (*File, error) {
	flag := os.O_RDWR
	if create {
		flag |= os.O_CREATE
	}
	return open(path, format, flag)
}

func open(path string, format Format, flag int) (_ *File, err error) {
	f := &File{path: path, format: format, lock: flock.New(path, flock.SetFlag(flag), flock.SetPermissions(0o600))}
	locked, err := f.lock.TryLock()
	if err != nil {
		return nil, err
	}
	if !locked {
		return nil, fmt.Errorf("%s: %w", path, ErrLocked)
	}
	// Its holder may have removed it while this one waited between open and lock.
	if f.file, err = os.OpenFile(path, os.O_RDWR, 0); errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", path, ErrLocked)
	}
	if err == nil {
		err = f.checkSame()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkSame returns an error unless the file is the one that is locked.
func (f *File) checkSame() error {
	locked, err := f.lock.Stat()
	if err != nil {
		return err
	}
	info, err := f.file.Stat()
	if err == nil && !os.SameFile(locked, info) {
		err = fmt.Errorf("%s: %w", f.path, ErrLocked)
	}
	return err
}

// Path returns where the file is.
func (f *File) Path() string { return f.path }

// Age returns how long ago the file was written to.
func (f *File) Age(now time.Time) (time.Duration, error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, err
	}
	return now.Sub(info.ModTime()), nil
}

// Scan calls fn with each record that counts, in order, which may keep the
// body. The next Append follows the last of them.
//
// The error wraps [ErrForeign] for a file of another scope and
// [object.ErrVersion] for one of a newer program; the file is theirs.
func (f *File) Scan(fn func(offset int64, body []byte)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	f.begun = false
	f.end, err = f.format.scan(io.NewSectionReader(f.file, 0, info.Size()), info.Size(), fn)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	return nil
}

// ReadAt returns the body of the record that Scan has found at offset, and
// false if it is there no more.
func (f *File) ReadAt(offset int64) ([]byte, bool) {
	info, err := f.file.Stat()
	if err != nil {
		return nil, false
	}
	room := info.Size() - offset
	body, err := f.format.decode(io.NewSectionReader(f.file, offset, room), offset, room)
	return body, err == nil
}

// Append adds a record. It reaches the disk when the system likes; a process
// that is killed afterwards loses nothing. After a write that failed all calls
// do.
func (f *File) Append(body []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.broken != nil {
		return f.broken
	}
	if f.broken = f.begin(); f.broken != nil {
		return f.broken
	}
	record, err := f.format.encode(f.end, body)
	if err != nil {
		return err
	}
	f.broken = f.write(record)
	return f.broken
}

// begin cuts off what does not count, and writes the header if there is none.
// It needs f.mu.
func (f *File) begin() error {
	if f.begun {
		return nil
	}
	if err := f.file.Truncate(f.end); err != nil {
		return err
	}
	if f.end == 0 {
		if err := f.write(f.format.header()); err != nil {
			return err
		}
	}
	f.begun = true
	return nil
}

func (f *File) write(b []byte) error {
	_, err := f.file.WriteAt(b, f.end)
	if err == nil {
		f.end += int64(len(b))
	}
	return err
}

// Remove removes the file. It stays open, and locked, until Close.
func (f *File) Remove() error {
	if err := os.Remove(f.path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Close closes the file, which goes with the lock.
func (f *File) Close() error {
	var err error
	if f.file != nil {
		err = f.file.Close()
	}
	return errors.Join(err, f.lock.Unlock())
}

// RemoveOld removes the files of dir that nobody holds and nobody has written
// to for age.
func RemoveOld(dir string, now time.Time, age time.Duration) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil || !info.Mode().IsRegular() || now.Sub(info.ModTime()) < age {
			continue
		}
		f, err := Open(filepath.Join(dir, entry.Name()), Format{}, false)
		if err != nil {
			continue // somebody has it, or has removed it
		}
		if err := errors.Join(f.Remove(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
