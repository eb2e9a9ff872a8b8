package index

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"iter"
	"math"
	"runtime"
	"slices"

	"bluesky/object"
	"bluesky/pack"
)

const (
	magic   = "BLUERUN\n"
	version = 1
)

// prelude is the fixed start of a run.
type prelude struct {
	segments   uint64
	rows       uint64
	repository object.RepositoryID
	name       RunName
}

func (p prelude) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint16(dst, version)
	dst = append(dst, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, 0) // feature bits
	dst = binary.LittleEndian.AppendUint64(dst, p.segments)
	dst = binary.LittleEndian.AppendUint64(dst, p.rows)
	dst = append(dst, p.repository[:]...)
	return append(dst, p.name[:]...)
}

// decodePrelude parses the prelude of a run of size bytes and checks that its
// counts fill them exactly.
func decodePrelude(b []byte, size int) (prelude, error) {
	if len(b) < preludeSize {
		return prelude{}, corruptf("prelude: %d bytes", len(b))
	}
	if string(b[:8]) != magic {
		return prelude{}, corruptf("prelude: magic %x", b[:8])
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v > version {
		return prelude{}, fmt.Errorf("prelude: version %d: %w", v, ErrVersion)
	} else if v != version {
		return prelude{}, corruptf("prelude: version %d", v)
	}
	if f := binary.LittleEndian.Uint32(b[12:]); f != 0 {
		return prelude{}, fmt.Errorf("prelude: feature bits %#x: %w", f, ErrVersion)
	}
	if b[10]|b[11] != 0 {
		return prelude{}, corruptf("prelude: padding is not zero")
	}
	p := prelude{
		segments:   binary.LittleEndian.Uint64(b[16:]),
		rows:       binary.LittleEndian.Uint64(b[24:]),
		repository: object.RepositoryID(b[32:]),
		name:       RunName(b[48:]),
	}
	// The bounds keep the product below from overflowing.
	if p.segments > math.MaxUint32 || p.rows > math.MaxUint32*rowSize ||
		preludeSize+trailerSize+segmentSize*p.segments+rowSize*p.rows != uint64(size) {
		return prelude{}, corruptf("prelude: %d segments and %d rows in %d bytes", p.segments, p.rows, size)
	}
	return p, nil
}

// A Run is a verified run. It is immutable and safe for concurrent use. Its
// bytes may be a mapped file, which is unmapped some time after the last
// reference to the Run is gone; what its methods return are copies.
type Run struct {
	repository object.RepositoryID
	name       RunName
	hash       object.Hash
	data       []byte // the whole run
	segments   int
	rows       []byte // its rows, a part of data
}

// Decode verifies the bytes of the run that is registered under name in the
// given repository: every field, every order, and the hash, which [Run.Hash]
// then returns, for the caller to compare with the signed statement. It keeps
// data, which must not change any more.
//
// It takes time in proportion to len(data) and memory of 40 bytes for each
// segment. The error wraps [ErrCorrupt] or [ErrVersion].
func Decode(data []byte, repository object.RepositoryID, name RunName) (*Run, error) {
	r, err := decode(data, repository, name)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	return r, nil
}

func decode(data []byte, repository object.RepositoryID, name RunName) (*Run, error) {
	p, err := decodePrelude(data, len(data))
	if err != nil {
		return nil, err
	}
	if p.repository != repository {
		return nil, corruptf("prelude: repository %s", p.repository)
	}
	if p.name != name {
		return nil, corruptf("prelude: run %s", p.name)
	}
	end := len(data) - trailerSize
	r := &Run{
		repository: repository,
		name:       name,
		data:       data,
		segments:   int(p.segments),
		rows:       data[preludeSize+segmentSize*int(p.segments) : end],
	}
	if r.hash = object.HashBytes("run", data[:end]); r.hash != object.Hash(data[end:]) {
		return nil, corruptf("differs from the hash in its trailer")
	}
	bodies, err := r.checkSegments()
	if err != nil {
		return nil, err
	}
	if err := r.checkRows(bodies); err != nil {
		return nil, err
	}
	return r, nil
}

// checkSegments checks the segment table and returns where rows of each segment
// may stand.
func (r *Run) checkSegments() ([]body, error) {
	names := make([]pack.Name, r.segments)
	bodies := make([]body, r.segments)
	var last Segment
	for i := range r.segments {
		s := r.Segment(i)
		if segmentPadded(r.segmentBytes(i)) {
			return nil, corruptf("segment row %d: padding is not zero", i)
		}
		if err := s.check(); err != nil {
			return nil, fmt.Errorf("segment row %d: %w", i, err)
		}
		if i > 0 && last.compare(&s) >= 0 {
			return nil, corruptf("segment row %d is out of order", i)
		}
		last, names[i], bodies[i] = s, s.Name, s.body()
	}
	slices.SortFunc(names, func(a, b pack.Name) int { return bytes.Compare(a[:], b[:]) })
	if len(slices.Compact(names)) != r.segments {
		return nil, corruptf("a segment stands twice in the segment table")
	}
	return bodies, nil
}

func (r *Run) checkRows(bodies []body) error {
	var last Row
	for i := range r.Len() {
		b := r.rows[i*rowSize : (i+1)*rowSize]
		row := decodeRow(b)
		if rowPadded(b) {
			return corruptf("row %d: padding is not zero", i)
		}
		if uint64(row.Segment) >= uint64(len(bodies)) {
			return corruptf("row %d: segment %d of %d", i, row.Segment, len(bodies))
		}
		if err := row.check(&bodies[row.Segment]); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		if i > 0 && last.compare(&row) >= 0 {
			return corruptf("row %d is out of order", i)
		}
		last = row
	}
	return nil
}

// Name returns the name of the run.
func (r *Run) Name() RunName { return r.name }

// Repository returns the repository that the run belongs to.
func (r *Run) Repository() object.RepositoryID { return r.repository }

// Hash returns the hash of the run. Compare it with the one in the signed
// statement that registers the run: until then nobody vouches for the rows.
func (r *Run) Hash() object.Hash { return r.hash }

// Size returns the length of the run in bytes.
func (r *Run) Size() int64 { return int64(len(r.data)) }

// Bytes returns a copy of the run as it is stored.
func (r *Run) Bytes() []byte {
	data := slices.Clone(r.data)
	runtime.KeepAlive(r) // unmaps
	return data
}

// IsRun reports whether data are the bytes of the run of that hash: its trailer
// says so, and is right. What is in the run is not looked at.
func IsRun(data []byte, hash object.Hash) bool {
	end := len(data) - trailerSize
	return end >= 0 && object.Hash(data[end:]) == hash && object.HashBytes("run", data[:end]) == hash
}

// Len returns the number of rows.
func (r *Run) Len() int { return len(r.rows) / rowSize }

// Row returns row i. It panics if i is out of range.
func (r *Run) Row(i int) Row {
	row := decodeRow(r.rows[i*rowSize : (i+1)*rowSize])
	runtime.KeepAlive(r) // unmaps
	return row
}

// Rows goes through all rows in the order of their ids.
func (r *Run) Rows() iter.Seq[Row] {
	return func(yield func(Row) bool) {
		for i := range r.Len() {
			if !yield(r.Row(i)) {
				return
			}
		}
	}
}

// SegmentCount returns the number of segments.
func (r *Run) SegmentCount() int { return r.segments }

// Segment returns segment i. It panics if i is out of range.
func (r *Run) Segment(i int) Segment {
	s := decodeSegment(r.segmentBytes(i))
	runtime.KeepAlive(r) // unmaps
	return s
}

func (r *Run) segmentBytes(i int) []byte {
	table := r.data[preludeSize : preludeSize+segmentSize*r.segments]
	return table[i*segmentSize : (i+1)*segmentSize]
}

// Segments decodes the segment table.
func (r *Run) Segments() []Segment {
	out := make([]Segment, r.segments)
	for i := range out {
		out[i] = r.Segment(i)
	}
	return out
}

// Lookup returns the rows of id, in the order of their segments; nil if there
// are none.
func (r *Run) Lookup(id object.ID) []Row {
	var out []Row
	for i := r.find(id); i < r.Len(); i++ {
		row := r.Row(i)
		if row.ID != id {
			break
		}
		out = append(out, row)
	}
	return out
}

// Has reports whether the run has a row of id.
func (r *Run) Has(id object.ID) bool {
	i := r.find(id)
	return i < r.Len() && r.id(i) == id
}

func (r *Run) id(i int) object.ID {
	id := object.ID(r.rows[i*rowSize:])
	runtime.KeepAlive(r) // unmaps
	return id
}

// find returns the first row whose id is not below id.
func (r *Run) find(id object.ID) int {
	i, _ := search(r.rows, id)
	runtime.KeepAlive(r) // unmaps
	return i
}
