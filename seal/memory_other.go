//go:build !linux

package seal

// MemoryLimit returns how much memory in bytes opening a key slot may take:
// what every slot may ask for, since the size of this machine is not known.
func MemoryLimit() uint64 { return maxMemory << 10 }
