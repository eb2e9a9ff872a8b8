package backup

// Progress is told what a backup does as it goes. Its methods are called
// concurrently and must return soon.
type Progress interface {
	// File is called when a regular file begins to be read, with its size in
	// bytes; Bytes as it is read; FileDone when it is in the repository.
	File(path string, size uint64)
	Bytes(n int)
	FileDone(path string)
	// Item is called for every entry of the snapshot when it is complete.
	Item(path string, change Change, dir bool, size uint64)
	// Error is called for a source that could not be read.
	Error(path string, err error)
	// Restart is called when the backup starts again, for the reason err.
	Restart(err error)
}

// A Change is what a backup found of an entry.
type Change int

// The changes.
const (
	Unmodified Change = iota
	Modified
	New
)

func (c Change) String() string { return [...]string{"unchanged", "modified", "new"}[c] }

// NoProgress is a Progress that tells nobody.
type NoProgress struct{}

func (NoProgress) File(string, uint64)               {}
func (NoProgress) Bytes(int)                         {}
func (NoProgress) FileDone(string)                   {}
func (NoProgress) Item(string, Change, bool, uint64) {}
func (NoProgress) Error(string, error)               {}
func (NoProgress) Restart(error)                     {}
