package refcount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"bluesky/index"
	"bluesky/object"
)

const (
	magic   = "BLUECNT\n"
	version = 1

	preludeSize = 64
	sectionSize = 64
	trailerSize = 32
)

// A Type says what a table holds.
type Type uint8

// The types of format version 1.
const (
	TypeMarks  Type = 1
	TypeCounts Type = 2
	TypeSpace  Type = 3
)

func (t Type) String() string {
	switch t {
	case TypeMarks:
		return "marks"
	case TypeCounts:
		return "counts"
	case TypeSpace:
		return "space map"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// prelude is the fixed start of a table.
type prelude struct {
	typ        Type
	sections   uint32
	content    uint64 // its length in bytes
	repository object.RepositoryID
	name       TableName
}

func (p prelude) append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint16(dst, version)
	dst = append(dst, byte(p.typ), 0)
	dst = binary.LittleEndian.AppendUint32(dst, 0) // feature bits
	dst = binary.LittleEndian.AppendUint32(dst, p.sections)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = binary.LittleEndian.AppendUint64(dst, p.content)
	dst = append(dst, p.repository[:]...)
	return append(dst, p.name[:]...)
}

// decodePrelude parses the prelude of a table of size bytes and checks that its
// lengths fill them exactly.
func decodePrelude(b []byte, size int64) (prelude, error) {
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
	if b[11] != 0 || binary.LittleEndian.Uint32(b[20:]) != 0 {
		return prelude{}, corruptf("prelude: padding is not zero")
	}
	p := prelude{
		typ:        Type(b[10]),
		sections:   binary.LittleEndian.Uint32(b[16:]),
		content:    binary.LittleEndian.Uint64(b[24:]),
		repository: object.RepositoryID(b[32:]),
		name:       TableName(b[48:]),
	}
	// The bound keeps the sum below from overflowing.
	if p.content > math.MaxInt64/2 ||
		preludeSize+trailerSize+sectionSize*uint64(p.sections)+p.content != uint64(size) {
		return prelude{}, corruptf("prelude: %d sections and %d bytes of content in %d", p.sections, p.content, size)
	}
	return p, nil
}

// want compares what p says of itself with what is expected.
func (p *prelude) want(typ Type, repository object.RepositoryID, name TableName) error {
	switch {
	case p.typ != typ:
		return corruptf("prelude: it holds %v, not %v", p.typ, typ)
	case p.repository != repository:
		return corruptf("prelude: repository %s", p.repository)
	case p.name != name:
		return corruptf("prelude: table %s", p.name)
	}
	return nil
}

// The forms of sections.
const (
	formMarks  = 1
	formDense  = 1
	formSparse = 2
)

// section is what a table says of one run.
type section struct {
	run     index.RunName
	rows    uint64 // of that run
	form    uint8
	length  uint64
	content []byte // of that length; nil where it is not at hand
}

// maxRows is how many rows a run may have to be marked and counted: they are
// numbered with 32 bits.
const maxRows = 1 << 32

// appendHead appends the prelude and the section rows of a table whose sections
// have those lengths, in ascending order of their runs.
func appendHead(dst []byte, p prelude, sections []section) []byte {
	p.sections = uint32(len(sections))
	for i := range sections {
		p.content += sections[i].length
	}
	dst = p.append(dst)
	offset := uint64(0)
	for i := range sections {
		s := &sections[i]
		dst = append(dst, s.run[:]...)
		dst = binary.LittleEndian.AppendUint64(dst, s.rows)
		dst = append(dst, s.form, 0, 0, 0, 0, 0, 0, 0)
		dst = binary.LittleEndian.AppendUint64(dst, offset)
		dst = binary.LittleEndian.AppendUint64(dst, s.length)
		dst = append(dst, make([]byte, 16)...)
		offset += s.length
	}
	return dst
}

// encodeTable makes a table of sections whose content is at hand.
func encodeTable(p prelude, sections []section) Table {
	for i := range sections {
		sections[i].length = uint64(len(sections[i].content))
	}
	data := appendHead(nil, p, sections)
	for i := range sections {
		data = append(data, sections[i].content...)
	}
	return seal(p.name, data)
}

// seal puts the trailer behind data and says what the state is to say of it.
func seal(name TableName, data []byte) Table {
	hash := object.HashBytes("table", data)
	data = append(data, hash[:]...)
	return Table{Ref{Name: name, Size: int64(len(data)), Hash: hash}, data}
}

// decodeTable verifies the frame of a table of which the state says ref, and
// returns its sections, or the content of one that has none. Both are parts of
// data.
func decodeTable(t Table, typ Type, repository object.RepositoryID) ([]section, []byte, error) {
	if int64(len(t.Data)) != t.Ref.Size {
		return nil, nil, corruptf("%d bytes, not %d", len(t.Data), t.Ref.Size)
	}
	sections, content, err := decodeFrame(t.Data, typ, repository, t.Ref.Name)
	if errors.Is(err, ErrVersion) && object.HashBytes("table", t.Data[:len(t.Data)-trailerSize]) != t.Ref.Hash {
		// These are not the bytes that the state names, whatever they claim: no
		// upgrade reads them.
		return nil, nil, corruptf("its hash is not the registered one")
	}
	if err != nil {
		return nil, nil, err
	}
	if object.Hash(t.Data[len(t.Data)-trailerSize:]) != t.Ref.Hash {
		return nil, nil, corruptf("its hash is not the registered one")
	}
	return sections, content, nil
}

func decodeFrame(data []byte, typ Type, repository object.RepositoryID, name TableName) ([]section, []byte, error) {
	p, err := decodePrelude(data, int64(len(data)))
	if err != nil {
		return nil, nil, err
	}
	if err := p.want(typ, repository, name); err != nil {
		return nil, nil, err
	}
	end := len(data) - trailerSize
	if object.HashBytes("table", data[:end]) != object.Hash(data[end:]) {
		return nil, nil, corruptf("differs from the hash in its trailer")
	}
	rows := data[preludeSize : preludeSize+sectionSize*int(p.sections)]
	content := data[preludeSize+len(rows) : end]
	if typ == TypeSpace {
		if p.sections != 0 {
			return nil, nil, corruptf("prelude: %d sections in a space map", p.sections)
		}
		return nil, content, nil
	}
	sections, err := decodeSections(rows, content)
	return sections, nil, err
}

// decodeSections parses the section rows and gives each its content.
func decodeSections(rows, content []byte) ([]section, error) {
	sections := make([]section, 0, len(rows)/sectionSize)
	offset := uint64(0)
	for b := rows; len(b) > 0; b = b[sectionSize:] {
		s := section{
			run:    index.RunName(b),
			rows:   binary.LittleEndian.Uint64(b[16:]),
			form:   b[24],
			length: binary.LittleEndian.Uint64(b[40:]),
		}
		i := len(sections)
		switch {
		case !bytes.Equal(b[25:32], zeros[:7]) || !bytes.Equal(b[48:64], zeros[:16]):
			return nil, corruptf("section %d: padding is not zero", i)
		case i > 0 && bytes.Compare(sections[i-1].run[:], s.run[:]) >= 0:
			return nil, corruptf("section %d is out of order", i)
		case s.rows > maxRows:
			return nil, corruptf("section %d: %d rows", i, s.rows)
		case binary.LittleEndian.Uint64(b[32:]) != offset || s.length > uint64(len(content))-offset:
			return nil, corruptf("section %d: %d bytes do not stand behind those of the one before", i, s.length)
		}
		s.content = content[offset : offset+s.length]
		offset += s.length
		sections = append(sections, s)
	}
	if offset != uint64(len(content)) {
		return nil, corruptf("%d bytes behind the last section", uint64(len(content))-offset)
	}
	return sections, nil
}

var zeros [16]byte

// A Shape is how many rows and segments a run has.
type Shape struct{ Rows, Segments int }

// ShapeOf returns that of r.
func ShapeOf(r *index.Run) Shape { return Shape{r.Len(), r.SegmentCount()} }

// Shapes are those of the runs that a state registers.
type Shapes map[index.RunName]Shape

// of returns the shape of the run of s, and whether there is such a run at all:
// what a table says of others is past.
func (x Shapes) of(s *section) (Shape, bool, error) {
	shape, ok := x[s.run]
	if ok && uint64(shape.Rows) != s.rows {
		return shape, true, corruptf("run %s: %d rows, not %d", s.run, s.rows, shape.Rows)
	}
	return shape, ok, nil
}
