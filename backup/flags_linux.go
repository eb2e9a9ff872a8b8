package backup

import (
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// readFlags returns the inode flags of an open file, 0 where the file system
// has none.
func readFlags(fd int) uint32 {
	flags, err := unix.IoctlGetUint32(fd, unix.FS_IOC_GETFLAGS)
	if err != nil {
		return 0
	}
	return flags & tree.FlagsMask
}
