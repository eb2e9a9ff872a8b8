package restore

// Progress is told what a restore does as it goes. Its methods are called
// concurrently and must return soon. Paths are those of the snapshot, below
// Options.Subpath if there is one; their names are bytes.
type Progress interface {
	// Total is called as entries are found, with how many more there are to
	// restore and the bytes of their content.
	Total(entries int, bytes uint64)
	// Bytes is called as content is written, or found where it belongs.
	Bytes(n int)
	// Item is called for every entry when it is done, or in a dry run when
	// it would be.
	Item(path string, action Action, dir bool, size uint64)
	// Warning is called for what cannot or may not be restored of an entry
	// and is no error: owners, flags, devices.
	Warning(path string, err error)
	// Error is called for every entry that is not restored as it was.
	Error(path string, err error)
}

// An Action says what became of an entry.
type Action int

// The actions.
const (
	Restored  Action = iota // it was not there
	Updated                 // something was there and has changed
	Unchanged               // its content was there already; its metadata is restored
	Skipped                 // it was left as it is, or left out
)

func (a Action) String() string {
	return [...]string{"restored", "updated", "unchanged", "skipped"}[a]
}

// NoProgress is a Progress that tells nobody.
type NoProgress struct{}

func (NoProgress) Total(int, uint64)                 {}
func (NoProgress) Bytes(int)                         {}
func (NoProgress) Item(string, Action, bool, uint64) {}
func (NoProgress) Warning(string, error)             {}
func (NoProgress) Error(string, error)               {}
