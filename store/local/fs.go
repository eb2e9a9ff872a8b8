package local

import (
	"io"
	"io/fs"
)

// An FS is the file system below one repository folder: every system call of
// the driver goes through it, so that a test can refuse one, or forget what was
// not synced. Folder names are slash-separated, relative, "." for the
// repository's own folder, and never lead out of it.
//
// Nothing that an FS, Dir or File does is durable until the Sync that covers
// it returned nil: [File.Sync] the bytes of a file, [Dir.Sync] the names in a
// folder. Methods may be called concurrently, those of one File may not.
// Errors wrap the system's, so that errors.Is finds fs.ErrExist or
// syscall.ENOSPC in them.
type FS interface {
	// OpenDir opens a folder. The caller closes it.
	OpenDir(name string) (Dir, error)
	// Mkdir makes a folder with mode 0700, whatever the umask. The error wraps
	// fs.ErrExist when the name is taken.
	Mkdir(name string) error
	// Close releases the repository's folder. Open Dirs and Files stay usable.
	Close() error
}

// A Dir is an open folder. Names are single elements, and none of the methods
// follows a symbolic link out of the folder.
type Dir interface {
	// CreateUnnamed opens an empty file, mode 0600, that has no name yet and
	// that vanishes at Close if it was given none. The error wraps
	// errors.ErrUnsupported where there is no such thing.
	CreateUnnamed() (File, error)
	// LinkUnnamed gives a file of CreateUnnamed a name. The error wraps
	// fs.ErrExist when the name is taken; nobody else can take it in between.
	LinkUnnamed(f File, name string) error
	// Create opens a new empty file, mode 0600, for writing and reading. The
	// error wraps fs.ErrExist when the name is taken.
	Create(name string) (File, error)
	// Link gives a file a second name, which must be free as in LinkUnnamed.
	Link(oldName, newName string) error
	// RenameNew renames a file to a name that must be free as in LinkUnnamed.
	RenameNew(oldName, newName string) error
	// Rename renames a file, and replaces newName in one step if it exists.
	Rename(oldName, newName string) error
	// Remove removes a name.
	Remove(name string) error
	// Open opens a file for reading. It does not wait for a pipe's writer.
	Open(name string) (File, error)
	// Lstat describes a name without following it.
	Lstat(name string) (fs.FileInfo, error)
	// ReadDir returns the next entries of the folder, n at most, in no order,
	// and io.EOF at the end.
	ReadDir(n int) ([]fs.DirEntry, error)
	// Sync makes the names in the folder durable.
	Sync() error
	Close() error
}

// A File is an open file.
type File interface {
	io.Writer
	io.ReaderAt
	Stat() (fs.FileInfo, error)
	// Sync makes the bytes and the length durable.
	Sync() error
	Close() error
}
