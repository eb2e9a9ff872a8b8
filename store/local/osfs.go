package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	fileMode fs.FileMode = 0o600
	dirMode  fs.FileMode = 0o700
)

// osFS is the system's FS. os.Root resolves each name below the open folder,
// so a link planted in it cannot lead outside, and an unmounted or replaced
// folder is an error instead of an empty repository.
type osFS struct{ root *os.Root }

func openOS(path string) (*osFS, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return &osFS{root}, nil
}

func (f *osFS) OpenDir(name string) (Dir, error) {
	name = filepath.FromSlash(name)
	root, err := f.root.OpenRoot(name)
	if err != nil {
		if info, err := f.root.Stat(name); err == nil && !info.IsDir() { // os.Root has no errno for it
			return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.ENOTDIR}
		}
		return nil, err
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close() // nothing was written through it
		return nil, err
	}
	return &osDir{root: root, self: self}, nil
}

func (f *osFS) Mkdir(name string) error {
	name = filepath.FromSlash(name)
	if err := f.root.Mkdir(name, dirMode); err != nil {
		return err
	}
	info, err := f.root.Lstat(name)
	if err != nil || info.Mode().Perm() == dirMode {
		return err
	}
	return tolerateNoModes(f.root.Chmod(name, dirMode))
}

func (f *osFS) Close() error { return f.root.Close() }

// osDir is an open folder, as a root for the calls by name and as a file for
// those on the folder itself.
type osDir struct {
	root *os.Root
	self *os.File
	list *os.File // what ReadDir reads; nil before the first call, and may be self
}

func (d *osDir) Create(name string) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return nil, err
	}
	if err := forceMode(f); err != nil {
		f.Close() // empty
		return nil, also(err, d.root.Remove(name))
	}
	return osFile{f}, nil
}

func (d *osDir) Open(name string) (File, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d *osDir) Link(oldName, newName string) error   { return d.root.Link(oldName, newName) }
func (d *osDir) Rename(oldName, newName string) error { return d.root.Rename(oldName, newName) }
func (d *osDir) Remove(name string) error             { return d.root.Remove(name) }
func (d *osDir) Sync() error                          { return d.self.Sync() }

func (d *osDir) Lstat(name string) (fs.FileInfo, error) { return d.root.Lstat(name) }

func (d *osDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.list == nil {
		list, err := outsideRoot(d.self)
		if err != nil {
			return nil, err
		}
		d.list = list
	}
	return d.list.ReadDir(n)
}

func (d *osDir) Close() error {
	var err error
	if d.list != nil && d.list != d.self {
		err = d.list.Close()
	}
	return also(err, d.self.Close(), d.root.Close())
}

// osFile is an open file whose Sync may leave out what reading it back does
// not need.
type osFile struct{ *os.File }

func (f osFile) Sync() error { return syncData(f.File) }

// forceMode gives a new file the mode that the umask or a default ACL of its
// folder took away or added.
func forceMode(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm() == fileMode {
		return err
	}
	return tolerateNoModes(f.Chmod(fileMode))
}

// tolerateNoModes accepts a refused chmod of what this process has just made:
// its owner is refused only by file systems that store no modes (FAT, many
// network mounts), where the mount says who may read.
func tolerateNoModes(err error) error {
	if errors.Is(err, syscall.EPERM) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
