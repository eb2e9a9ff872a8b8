// Package prune takes back the space of what no snapshot needs, without any
// key that decrypts, while backups run.
//
// A prune works in four steps, each of which may be the last one that a crash
// leaves:
//
//	fold     count the refs of what was registered since the last clean
//	cascade  find what nothing refers to any more, on a copy of the counts
//	plan     choose segments to condemn: dead ones, mostly dead ones, small ones
//	apply    copy what is live in them, upload run and tables, commit one
//	         clean, delete what is condemned, record that it is deleted
//
// The commit point is the generation with the clean: before it nothing that was
// uploaded is of any effect, and after it nothing that is deleted is needed
// (R4 and R5 of "The rules" in docs/architecture.md; "Forgetting and pruning" says
// what a crash leaves). A clean is valid on the state that it was planned on, and
// on later ones as long as it says the same there; else who loses the race for it
// plans again, and uses again what it has copied.
//
// Nothing here opens an object: what is copied is copied sealed, and verified
// by its sum. Memory is that of the change: see [Plan].
package prune

import (
	"errors"
	"time"

	"bluesky/repo"
)

// Errors that callers branch on.
var (
	// ErrMassDelete: more than half of what is live would die at once.
	ErrMassDelete = errors.New("more than half of the repository would be deleted at once")
	// ErrDamaged: something that the cleaner needs is missing or wrong. Nothing
	// was deleted.
	ErrDamaged = errors.New("the repository is damaged where prune has to rely on it")
)

// Options say how far a prune goes.
type Options struct {
	MaxUnused   Limit  // unused bytes that may stay in segments
	MaxRepack   uint64 // bytes of live objects to copy at most; 0 is no limit
	MaxRead     uint64 // bytes to read for that at most; 0 is no limit
	MaxDuration time.Duration
	NoRepack    bool // condemn dead segments alone: nothing is read and copied
	// Grace is how long what is condemned stays in the bucket, for readers that
	// began before.
	Grace time.Duration
	// Instant takes everything that no generation names for an orphan, and every
	// unfinished session for expired, whatever their age.
	Instant         bool
	AllowMassDelete bool
	// Recount makes counts and space map anew, and looks at everything for what
	// nobody needs, in the place of what changed since the last prune.
	Recount bool
	// Folder is where a recount puts what does not fit into memory, see
	// [RecountOptions].
	Folder string
	Now    func() time.Time

	most room // for one clean; zero is the usual
}

// A Limit is a number of bytes, or a share of what the repository takes.
type Limit struct {
	Bytes     uint64
	Percent   float64 // of all, used where IsPercent
	IsPercent bool
	Unlimited bool
}

// bytes returns the limit where used bytes are live.
func (l Limit) bytes(used uint64) uint64 {
	switch {
	case l.Unlimited:
		return 1<<64 - 1
	case l.IsPercent && l.Percent >= 100:
		return 1<<64 - 1
	case l.IsPercent:
		return uint64(float64(used) * l.Percent / (100 - l.Percent))
	}
	return l.Bytes
}

// Ages by the clock of the store. No safety depends on them.
const (
	orphanAge  = 7 * 24 * time.Hour // of a file that no generation names
	sessionAge = 7 * 24 * time.Hour // since the last generation of a session
	floorAge   = 30 * 24 * time.Hour
)

// Progress is told what a prune does.
type Progress interface {
	// Phase begins a part of the work of so many units; 0 is unknown.
	Phase(name string, total uint64)
	Add(units uint64)
}

// NoProgress ignores what it is told.
type NoProgress struct{}

// Phase implements [Progress].
func (NoProgress) Phase(string, uint64) {}

// Add implements [Progress].
func (NoProgress) Add(uint64) {}

// segmentName is short for what nearly all names are.
var segmentName = repo.SegmentName
