package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// A machine is what the figures depend on, without what it is called.
type machine struct {
	Processors int
	Model      string
	MemoryGiB  float64
	Kernel     string
	FileSystem string // of the scratch folder
	Go         string
}

// lookAtMachine says what it can find out.
func lookAtMachine(folder string) machine {
	m := machine{Processors: runtime.NumCPU(), Model: processorModel(), FileSystem: "unknown", Go: runtime.Version()}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		m.Kernel = unix.ByteSliceToString(uts.Sysname[:]) + " " + unix.ByteSliceToString(uts.Release[:])
	}
	var memory unix.Sysinfo_t
	if unix.Sysinfo(&memory) == nil {
		m.MemoryGiB = float64(memory.Totalram) * float64(memory.Unit) / (1 << 30)
	}
	var st unix.Statfs_t
	if unix.Statfs(folder, &st) == nil {
		m.FileSystem = fileSystem(int64(st.Type))
	}
	return m
}

func fileSystem(magic int64) string {
	switch magic {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	case unix.NFS_SUPER_MAGIC:
		return "nfs"
	}
	return fmt.Sprintf("type %#x", magic)
}

// processorModel is what the kernel calls the processor, "" if it does not say.
func processorModel() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer f.Close() // read only
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
