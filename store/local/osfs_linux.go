package local

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func (d *osDir) CreateUnnamed() (File, error) {
	fd, err := ignoringEINTR(func() (int, error) {
		return unix.Openat(int(d.self.Fd()), ".", unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, uint32(fileMode))
	})
	if err != nil {
		if errors.Is(err, unix.EISDIR) { // a kernel or file system that does not know O_TMPFILE
			err = unix.EOPNOTSUPP
		}
		return nil, os.NewSyscallError("open with O_TMPFILE", err)
	}
	f := os.NewFile(uintptr(fd), "unnamed file in "+d.root.Name())
	if err := forceMode(f); err != nil {
		f.Close() // empty, and gone with this
		return nil, err
	}
	return osFile{f}, nil
}

// LinkUnnamed goes through /proc, because linkat with AT_EMPTY_PATH asks for a
// capability on kernels before 6.10.
func (d *osDir) LinkUnnamed(f File, name string) error {
	file, ok := f.(osFile)
	if !ok {
		return fmt.Errorf("link %s: %T is not a file of this folder", name, f)
	}
	self := "/proc/self/fd/" + strconv.Itoa(int(file.Fd()))
	err := unix.Linkat(unix.AT_FDCWD, self, int(d.self.Fd()), name, unix.AT_SYMLINK_FOLLOW)
	return os.NewSyscallError("linkat", err)
}

func (d *osDir) RenameNew(oldName, newName string) error {
	fd := int(d.self.Fd())
	return os.NewSyscallError("renameat2", unix.Renameat2(fd, oldName, fd, newName, unix.RENAME_NOREPLACE))
}

// outsideRoot returns the folder f, opened in an os.Root, as a file that forgot
// the root. ReadDir of one that knows it calls lstat for each entry at once.
func outsideRoot(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func syncData(f *os.File) error {
	_, err := ignoringEINTR(func() (int, error) { return 0, unix.Fdatasync(int(f.Fd())) })
	return os.NewSyscallError("fdatasync", err)
}

// ignoringEINTR repeats a call that a signal interrupted before it did
// anything, as package os does.
func ignoringEINTR(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}
