package backup

import (
	"encoding/binary"
	"fmt"
	"iter"

	"bluesky/object"
	"bluesky/tree"
)

// A line says which blocks a file had from some offset on, when a backup that
// began at start read it. The rest is what the change test compares.
type line struct {
	key          [16]byte // keyed hash of path and offset
	start        object.Time
	size         uint64
	mtime, ctime object.Time
	source       uint64
	holes        [16]byte // keyed hash: without them no offset means anything
	blocks       []tree.Extent
}

const (
	lineBlocks = 16 // of a line at most
	timeSize   = 12
	blockSize  = 36
	lineHead   = 16 + 3*timeSize + 8 + 8 + 16
)

// encode returns key ‖ start ‖ u64 size ‖ mtime ‖ ctime ‖ u64 source ‖ holes ‖
// for each block id and u32 length. A time is i64 seconds ‖ u32 nanoseconds.
func (l *line) encode() []byte {
	b := append(make([]byte, 0, lineHead+blockSize*len(l.blocks)), l.key[:]...)
	b = appendTime(b, l.start)
	b = binary.LittleEndian.AppendUint64(b, l.size)
	b = appendTime(appendTime(b, l.mtime), l.ctime)
	b = binary.LittleEndian.AppendUint64(b, l.source)
	b = append(b, l.holes[:]...)
	for _, x := range l.blocks {
		b = append(b, x.Block[:]...)
		b = binary.LittleEndian.AppendUint32(b, uint32(x.Length))
	}
	return b
}

func appendTime(b []byte, t object.Time) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(t.Sec))
	return binary.LittleEndian.AppendUint32(b, t.Nsec)
}

func timeAt(b []byte) object.Time {
	return object.Time{Sec: int64(binary.LittleEndian.Uint64(b)), Nsec: binary.LittleEndian.Uint32(b[8:])}
}

// decodeLine is the inverse of encode. The error wraps [object.ErrCorrupt].
func decodeLine(b []byte) (*line, error) {
	if len(b) <= lineHead || len(b) > lineHead+lineBlocks*blockSize || (len(b)-lineHead)%blockSize != 0 {
		return nil, fmt.Errorf("%w: a line of %d bytes", object.ErrCorrupt, len(b))
	}
	l := &line{
		key: [16]byte(b), start: timeAt(b[16:]), size: binary.LittleEndian.Uint64(b[28:]),
		mtime: timeAt(b[36:]), ctime: timeAt(b[48:]), source: binary.LittleEndian.Uint64(b[60:]), holes: [16]byte(b[68:]),
	}
	if !l.start.Valid() || !l.mtime.Valid() || !l.ctime.Valid() {
		return nil, fmt.Errorf("%w: a time in a line", object.ErrCorrupt)
	}
	for b = b[lineHead:]; len(b) > 0; b = b[blockSize:] {
		x := tree.Extent{Block: object.ID(b), Length: uint64(binary.LittleEndian.Uint32(b[32:]))}
		if x.Block.IsZero() || x.Length == 0 || x.Length > object.MaxPayload {
			return nil, fmt.Errorf("%w: a block in a line", object.ErrCorrupt)
		}
		l.blocks = append(l.blocks, x)
	}
	return l, nil
}

// inode returns what the change test compares.
func (l *line) inode() *tree.Inode {
	return &tree.Inode{Type: tree.TypeFile, Size: l.size, MTime: l.mtime, CTime: l.ctime, Source: l.source}
}

// appendHoles appends u64 offset ‖ u64 length of each hole.
func appendHoles(b []byte, holes []tree.Hole) []byte {
	for _, h := range holes {
		b = binary.LittleEndian.AppendUint64(b, h.Offset)
		b = binary.LittleEndian.AppendUint64(b, h.Length)
	}
	return b
}

// A trail is what the resume file has and gets of one file: lines of blocks, one
// behind the other. A nil one has and gets nothing.
type trail struct {
	resume *resume
	path   string
	length uint64 // of the content
	offset uint64 // of the content, behind the blocks so far
	count  int    // of these
	line   line   // that is being filled
}

// key returns that of the line at the offset.
func (t *trail) key() [16]byte {
	b := binary.LittleEndian.AppendUint64(nil, t.offset)
	return t.resume.keys.Local("resume path", append(b, t.path...))
}

// known yields the blocks at the beginning of the file that are visible, from
// lines which same says to be of the file that is there now.
func (t *trail) known(same func(old *tree.Inode, start object.Time) bool) iter.Seq[tree.Extent] {
	return func(yield func(tree.Extent) bool) {
		if t == nil || len(t.resume.found) == 0 {
			return
		}
		defer func() { t.resume.take(t.offset, t.whole()) }()
		for !t.whole() {
			l := t.resume.find(t.key())
			if l == nil || l.holes != t.line.holes || !same(l.inode(), l.start) {
				return
			}
			for _, x := range l.blocks {
				if x.Length > t.length-t.offset || !t.resume.has(x.Block) {
					return
				}
				t.offset += x.Length
				t.count++
				if !yield(x) {
					return
				}
			}
		}
	}
}

// whole reports whether the blocks so far are all.
func (t *trail) whole() bool { return t != nil && t.offset == t.length }

// add notes the next block. Lines begin at every so many blocks of a file, so
// that those of several backups follow each other.
func (t *trail) add(block object.ID, length uint64) {
	if t == nil {
		return
	}
	if len(t.line.blocks) == 0 {
		t.line.key = t.key()
	}
	t.line.blocks = append(t.line.blocks, tree.Extent{Block: block, Length: length})
	t.offset += length
	if t.count++; t.count%lineBlocks == 0 {
		t.flush()
	}
}

// flush writes the line that is being filled.
func (t *trail) flush() {
	if t == nil || len(t.line.blocks) == 0 {
		return
	}
	t.resume.write(&t.line)
	t.line.blocks = t.line.blocks[:0]
}
