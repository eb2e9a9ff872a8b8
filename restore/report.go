package restore

import (
	"errors"
	"fmt"

	"bluesky/repo"

	"golang.org/x/sys/unix"
)

// result returns what was counted so far.
func (s *restorer) result() Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.res
}

// found counts an entry that is selected.
func (s *restorer) found(size uint64) {
	s.mu.Lock()
	s.res.TotalEntries++
	s.res.TotalBytes += size
	s.mu.Unlock()
	s.progress.Total(1, size)
}

// wrote counts bytes of content that were written.
func (s *restorer) wrote(n int) {
	s.mu.Lock()
	s.res.BytesRestored += uint64(n)
	s.mu.Unlock()
	s.progress.Bytes(n)
}

// kept counts bytes of content that need not be written.
func (s *restorer) kept(n uint64) {
	s.mu.Lock()
	s.res.BytesSkipped += n
	s.mu.Unlock()
	s.progress.Bytes(int(n))
}

// item counts and reports an entry that is done.
func (s *restorer) item(path string, action Action, isDir bool, size uint64) {
	s.mu.Lock()
	if action == Unchanged || action == Skipped {
		s.res.EntriesSkipped++
	} else {
		s.res.EntriesRestored++
	}
	s.mu.Unlock()
	s.progress.Item(path, action, isDir, size)
}

func (s *restorer) warn(path string, err error) {
	s.mu.Lock()
	s.res.Warnings++
	s.mu.Unlock()
	s.progress.Warning(path, err)
}

// fail counts and reports an error of one entry. One that will meet all others
// too ends the run instead, and one that comes of its end is none.
func (s *restorer) fail(path string, err error) {
	if s.ctx.Err() != nil {
		return
	}
	if isFull(err) {
		s.cancel(fmt.Errorf("%q: %w: %w", path, ErrNoSpace, err))
		return
	}
	if errors.Is(err, repo.ErrForgotten) {
		s.cancel(err)
		return
	}
	s.mu.Lock()
	s.res.Errors++
	s.mu.Unlock()
	s.progress.Error(path, err)
}

// isFull reports whether err says that the target is full, which every other
// entry would meet too. An attribute that is too long for its inode gives the
// same numbers and says nothing of the kind.
func isFull(err error) bool {
	var attribute *xattrError
	return (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)) && !errors.As(err, &attribute)
}
