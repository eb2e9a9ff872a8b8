package backup

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"bluesky/journal"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// A resume is the file <state>/resume/<series>, in which a backup writes down
// which blocks it has made of the files that it has read, for the next one if it
// comes to no good end. docs/backup.md, "Interruption". A nil one remembers
// nothing.
//
// It holds about 40 bytes for each line that it has found; a file has one, and
// one more for every 16 blocks.
type resume struct {
	file  *journal.File
	keys  *seal.Keys
	has   func(object.ID) bool // visible at the base of the session
	start object.Time          // of this backup
	found map[[16]byte]int64   // where the newest line of each key begins

	mu     sync.Mutex
	taken  Resumed
	failed error // of the first line that could not be written
}

// Resumed is what a backup took over from one that was interrupted.
type Resumed struct {
	Files, Bytes uint64 // that were not read again; bytes also of parts of files
	Uploaded     uint64 // bytes of segments that were not uploaded again
}

const resumeAge = 7 * 24 * time.Hour // as that of what was uploaded

// openResume opens the file of a series, and finds the lines in it unless
// everything is to be read again. It returns nil for a dry run, on a machine
// that keeps no state, and while another run of the series has the file.
func openResume(r *repo.Repo, keys *seal.Keys, options *Options, series repo.Series, t target, start time.Time) (*resume, error) {
	if r.StateDir() == "" || options.DryRun {
		return nil, nil
	}
	dir := filepath.Join(r.StateDir(), "resume")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := journal.RemoveOld(dir, start, resumeAge); err != nil {
		return nil, err
	}
	repository := keys.Repository()
	file, err := journal.Open(filepath.Join(dir, series.String()), journal.Format{
		Magic:  [8]byte([]byte("BLUERSM\n")),
		Scope:  object.HashBytes("resume", repository[:], series[:]),
		Max:    lineHead + lineBlocks*blockSize,
		Tagger: localTags{keys},
	}, true)
	if errors.Is(err, journal.ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &resume{
		file: file, keys: keys, has: t.Has,
		start: object.TimeOf(start), found: map[[16]byte]int64{},
	}
	m.taken.Uploaded = t.Stats().AdoptedBytes
	if options.Force {
		return m, nil // the first line cuts off those that are there
	}
	err = file.Scan(func(offset int64, body []byte) {
		if len(body) > lineHead {
			m.found[[16]byte(body)] = offset
		}
	})
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return m, nil
}

// localTags are the tags of lines.
type localTags struct{ keys *seal.Keys }

func (l localTags) TagSize() int { return 16 }

func (l localTags) Tag(message []byte) ([]byte, error) {
	tag := l.keys.Local("resume line", message)
	return tag[:], nil
}

func (l localTags) Verify(message, tag []byte) bool {
	want := l.keys.Local("resume line", message)
	return subtle.ConstantTimeCompare(want[:], tag) == 1
}

// trail returns the trail of a file that st describes and whose holes in has,
// nil for one without a size, of which nobody knows whether it has changed.
func (m *resume) trail(path func() string, st *unix.Stat_t, in *tree.Inode) *trail {
	if m == nil || in.ContentLength() == 0 {
		return nil
	}
	return &trail{resume: m, path: path(), length: in.ContentLength(), line: line{
		start: m.start, size: uint64(st.Size), mtime: timeOf(st.Mtim), ctime: timeOf(st.Ctim), source: st.Ino,
		holes: m.keys.Local("resume holes", appendHoles(nil, in.Holes)),
	}}
}

// find returns the newest line of the given key, nil if there is none.
func (m *resume) find(key [16]byte) *line {
	offset, ok := m.found[key]
	if !ok {
		return nil
	}
	body, ok := m.file.ReadAt(offset)
	if !ok {
		return nil
	}
	l, err := decodeLine(body)
	if err != nil || l.key != key {
		return nil
	}
	return l
}

// take counts what a file need not be read for.
func (m *resume) take(length uint64, whole bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken.Bytes += length
	if whole {
		m.taken.Files++
	}
}

// write appends a line. It counts once its blocks are registered, whatever comes
// first.
func (m *resume) write(l *line) {
	err := m.file.Append(l.encode())
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed == nil && err != nil {
		m.failed = fmt.Errorf("an interruption costs more than it has to: %w", err)
	}
}

// close closes the file, which is of no more use once its backup is committed.
func (m *resume) close(committed bool) error {
	if m == nil {
		return nil
	}
	err := m.failed
	if committed {
		err = errors.Join(err, m.file.Remove())
	}
	return errors.Join(err, m.file.Close())
}

// stats returns what was taken over.
func (m *resume) stats() Resumed {
	if m == nil {
		return Resumed{}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.taken
}
