//go:build unix

package index

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps the size bytes of the file at path, and returns what unmaps them.
func mapFile(path string, size int64) ([]byte, func([]byte), error) {
	// NONBLOCK: opening a FIFO that stands there must not wait for a writer.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd) // the mapping stays
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, nil, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	switch {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, nil, fmt.Errorf("%q is not a regular file", path)
	case st.Uid != uint32(os.Geteuid()) || st.Mode&0o022 != 0:
		return nil, nil, fmt.Errorf("%q can be written by others", path)
	case st.Size != size || size == 0:
		return nil, nil, corruptf("%q has %d bytes, not %d", path, st.Size, size)
	case int64(int(size)) != size:
		return nil, nil, fmt.Errorf("%q has %d bytes, more than this machine can map", path, size)
	}
	data, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, &os.PathError{Op: "map", Path: path, Err: err}
	}
	return data, func(data []byte) { unix.Munmap(data) }, nil
}
