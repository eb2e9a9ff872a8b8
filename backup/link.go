package backup

import (
	"sync"

	"bluesky/tree"
)

// A link is a file with several names. It is stored under the first that can
// be read; the directories of the others wait for that.
//
// The first name may be gone by the time that a worker opens it, as when a file
// is linked to its final name and unlinked from a temporary one.
type link struct {
	number uint64
	kind   tree.Type

	mu      sync.Mutex
	state   linkState
	waiting []linkName
}

type linkState int

const (
	linkPending linkState = iota // a worker has it, or will
	linkStored
	linkFailed // under all names so far
)

type linkName struct {
	dir   *dir
	name  string
	index int // in dir
}

type fileKey struct {
	device, inode uint64
	kind          tree.Type
}

// join adds another name and returns the state before. A pending link keeps
// the name; one that has failed is pending from then on, and the caller has it
// stored under the new name.
func (l *link) join(name linkName) linkState {
	l.mu.Lock()
	defer l.mu.Unlock()
	state := l.state
	switch state {
	case linkPending:
		l.waiting = append(l.waiting, name)
	case linkFailed:
		l.state = linkPending
	}
	return state
}

// stored notes that the file is stored and returns the names that have waited.
// A nil link has none.
func (l *link) stored() []linkName {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = linkStored
	names := l.waiting
	l.waiting = nil
	return names
}

// failed notes that the file cannot be read under one name, and returns the
// next to try. A nil link has none.
func (l *link) failed() (next linkName, ok bool) {
	if l == nil {
		return linkName{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.state = linkFailed
		return linkName{}, false
	}
	next = l.waiting[0]
	l.waiting = l.waiting[1:]
	return next, true
}
