package backup

import (
	"crypto/subtle"
	"encoding/binary"
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
)

// A resume is the file <state>/resume/<series>, in which a backup writes down
// the content of each file that it has read, for the next one if it comes to no
// good end. docs/backup.md, "Interruption". A nil one remembers nothing.
//
// It holds about 40 bytes for each line that it has found, less than a tenth
// of what the backup holds for a new file.
type resume struct {
	file   *journal.File
	keys   *seal.Keys
	params tree.Params
	has    func(object.ID) bool // visible at the base of the session
	start  object.Time          // of this backup
	found  map[[16]byte]int64   // where the newest line of each path begins

	mu     sync.Mutex
	taken  Resumed
	failed error // of the first line that could not be written
}

// Resumed is what a backup took over from one that was interrupted.
type Resumed struct {
	Files, Bytes uint64 // that were not read again
	Uploaded     uint64 // bytes of segments that were not uploaded again
}

const (
	resumeAge = 7 * 24 * time.Hour // as that of what was uploaded
	lineMax   = 1 << 20            // bytes; nearly all have fewer than 300
)

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
		Max:    lineMax,
		Tagger: localTags{keys},
	}, true)
	if errors.Is(err, journal.ErrLocked) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &resume{
		file: file, keys: keys, params: tree.Params(r.Config().Tree),
		has: t.Has, start: object.TimeOf(start), found: map[[16]byte]int64{},
	}
	m.taken.Uploaded = t.Stats().AdoptedBytes
	if options.Force {
		return m, nil // the first line cuts off those that are there
	}
	err = file.Scan(func(offset int64, body []byte) {
		if len(body) >= lineHead {
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

// A line says what a file contained when it was read by a backup that began at
// start. Of the inode it has what the change test looks at, and the content.
type line struct {
	path  [16]byte // keyed hash
	start object.Time
	inode tree.Inode
}

// lineHead is the length of path, start and the number of refs.
const lineHead = 16 + 12 + 4

// encode returns path ‖ i64 seconds ‖ u32 nanoseconds ‖ u32 count ‖ refs ‖ the
// payload of a leaf of the one inode. docs/format.md, "inodes".
func (l *line) encode(p tree.Params) ([]byte, error) {
	refs, payload, err := tree.EncodeLeaf([]tree.Inode{l.inode}, p)
	if err != nil {
		return nil, err
	}
	b := append([]byte(nil), l.path[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(l.start.Sec))
	b = binary.LittleEndian.AppendUint32(b, l.start.Nsec)
	return append(object.AppendRefs(b, refs), payload...), nil
}

func decodeLine(b []byte, p tree.Params) (*line, error) {
	if len(b) < lineHead {
		return nil, fmt.Errorf("%w: a line of %d bytes", object.ErrCorrupt, len(b))
	}
	l := &line{path: [16]byte(b)}
	l.start = object.Time{Sec: int64(binary.LittleEndian.Uint64(b[16:])), Nsec: binary.LittleEndian.Uint32(b[24:])}
	count, rest := binary.LittleEndian.Uint32(b[28:]), b[lineHead:]
	if !l.start.Valid() || uint64(count) > uint64(len(rest)/len(object.ID{})) {
		return nil, fmt.Errorf("%w: %d refs in a line of %d bytes", object.ErrCorrupt, count, len(b))
	}
	refs := make([]object.ID, count)
	for i := range refs {
		refs[i], rest = object.ID(rest), rest[len(object.ID{}):]
	}
	inodes, err := tree.DecodeLeaf(refs, rest, p)
	if err != nil {
		return nil, err
	}
	if len(inodes) != 1 || inodes[0].Type != tree.TypeFile {
		return nil, fmt.Errorf("%w: a line that is not of one file", object.ErrCorrupt)
	}
	l.inode = inodes[0]
	return l, nil
}

func (m *resume) hash(path string) [16]byte { return m.keys.Local("resume path", []byte(path)) }

// content returns the line of a path if same says that it is one of the file
// there, and all that it refers to is visible; else nil. The caller uses it.
func (m *resume) content(path func() string, same func(old *tree.Inode, start object.Time) bool) *tree.Inode {
	if m == nil || len(m.found) == 0 {
		return nil
	}
	hash := m.hash(path())
	offset, ok := m.found[hash]
	if !ok {
		return nil
	}
	body, ok := m.file.ReadAt(offset)
	if !ok {
		return nil
	}
	l, err := decodeLine(body, m.params)
	if err != nil || l.path != hash || !same(&l.inode, l.start) || !m.visible(&l.inode) {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken.Files++
	m.taken.Bytes += l.inode.ContentLength()
	return &l.inode
}

// visible reports whether the content of in is. What the list of a large file
// refers to is visible if the list is.
func (m *resume) visible(in *tree.Inode) bool {
	for i := range in.Extents {
		if !m.has(in.Extents[i].Block) {
			return false
		}
	}
	return in.Root.IsZero() || m.has(in.Root)
}

// note writes down the content of a file that was read, of the size that stat
// gave. It counts once all of it is registered, whatever comes first. What has
// no content is not worth a line.
func (m *resume) note(path func() string, in *tree.Inode, size uint64) {
	if m == nil || in.Size != size || len(in.Extents) == 0 && in.Root.IsZero() {
		return
	}
	l := line{path: m.hash(path()), start: m.start, inode: tree.Inode{
		Number: 1, Type: tree.TypeFile, Size: in.Size, MTime: in.MTime, CTime: in.CTime, Source: in.Source,
		Holes: in.Holes, ContentHash: in.ContentHash, Extents: in.Extents, Root: in.Root,
	}}
	body, err := l.encode(m.params)
	if err == nil && len(body) <= lineMax {
		err = m.file.Append(body)
	}
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
