package seal

import "syscall"

// MemoryLimit returns how much memory in bytes opening a key slot may take
// here: half of the machine's, or what every slot may ask for if that is not
// to be found out.
func MemoryLimit() uint64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return maxMemory << 10
	}
	return uint64(info.Totalram) * uint64(info.Unit) / 2
}
