package index

import (
	"bytes"
	"encoding/binary"

	"bluesky/object"
	"bluesky/pack"
)

// Lengths in bytes; docs/format.md, "Run".
const (
	preludeSize = 64
	segmentSize = 128
	rowSize     = 64
	trailerSize = 32
	idSize      = 32
)

// A Segment is a row of a run's segment table.
type Segment struct {
	Name         pack.Name
	Size         int64  // of the whole segment, in bytes
	HeaderLength uint32 // prelude excluded
	Class        object.Class
	HeaderHash   object.Hash
	Hash         object.Hash // of the whole segment
	// RegisteredAt is the generation that first registered the segment. In a run
	// 0 stands for the generation that adds the run; an [Index] puts that in.
	RegisteredAt uint64
	Session      object.SessionID // that registered it
}

// SegmentOf describes a finished segment for the run that registers it in the
// given session for the first time.
func SegmentOf(s *pack.Segment, session object.SessionID) Segment {
	return Segment{
		Name:         s.Name,
		Size:         s.Header.Size(),
		HeaderLength: s.Header.HeaderLength,
		Class:        s.Header.Class,
		HeaderHash:   s.HeaderHash,
		Hash:         s.Hash,
		Session:      session,
	}
}

// Ref returns what package pack needs to read the segment.
func (s *Segment) Ref() pack.Ref {
	return pack.Ref{Name: s.Name, Size: s.Size, HeaderLength: s.HeaderLength, HeaderHash: s.HeaderHash, Hash: s.Hash}
}

// compare orders segments by (registered-at, name), as they stand in a run.
func (s *Segment) compare(t *Segment) int {
	if s.RegisteredAt != t.RegisteredAt {
		if s.RegisteredAt < t.RegisteredAt {
			return -1
		}
		return 1
	}
	return bytes.Compare(s.Name[:], t.Name[:])
}

// check checks what one segment row alone can say.
func (s *Segment) check() error {
	if !s.Class.Valid() {
		return corruptf("%v", s.Class)
	}
	if s.Size < pack.MinSize || s.Size > pack.MaxSize {
		return corruptf("%d bytes", s.Size)
	}
	least := int64(pack.PreludeSize + pack.MinSealed + pack.TrailerSize)
	if s.HeaderLength > pack.MaxHeader || int64(s.HeaderLength)+least > s.Size {
		return corruptf("a header of %d bytes in a segment of %d", s.HeaderLength, s.Size)
	}
	return nil
}

func (s *Segment) append(dst []byte) []byte {
	dst = append(dst, s.Name[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(s.Size))
	dst = binary.LittleEndian.AppendUint32(dst, s.HeaderLength)
	dst = append(dst, byte(s.Class), 0, 0, 0)
	dst = append(dst, s.HeaderHash[:]...)
	dst = append(dst, s.Hash[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, s.RegisteredAt)
	dst = append(dst, s.Session[:]...)
	return append(dst, zeros[:8]...)
}

// decodeSegment decodes a segment row; b holds at least segmentSize bytes.
func decodeSegment(b []byte) Segment {
	return Segment{
		Name:         pack.Name(b),
		Size:         int64(binary.LittleEndian.Uint64(b[16:])),
		HeaderLength: binary.LittleEndian.Uint32(b[24:]),
		Class:        object.Class(b[28]),
		HeaderHash:   object.Hash(b[32:]),
		Hash:         object.Hash(b[64:]),
		RegisteredAt: binary.LittleEndian.Uint64(b[96:]),
		Session:      object.SessionID(b[104:]),
	}
}

// segmentPadded reports whether what should be zero in a segment row is not.
func segmentPadded(b []byte) bool {
	return b[29]|b[30]|b[31] != 0 || binary.LittleEndian.Uint64(b[120:]) != 0
}

// A Row says where an object stands.
type Row struct {
	ID      object.ID
	Sum     object.Sum
	Segment uint32 // ordinal in the segment table of the same run
	Offset  uint32 // of the sealed bytes, from the segment's start
	Length  uint32 // of the sealed bytes
	Kind    object.Kind
}

// compare orders rows by (id, segment, offset), as they stand in a run.
func (r *Row) compare(o *Row) int {
	if c := bytes.Compare(r.ID[:], o.ID[:]); c != 0 {
		return c
	}
	if r.Segment != o.Segment {
		if r.Segment < o.Segment {
			return -1
		}
		return 1
	}
	if r.Offset != o.Offset {
		if r.Offset < o.Offset {
			return -1
		}
		return 1
	}
	return 0
}

// body is where rows of a segment may stand: from start to end, in bytes from
// the segment's start.
type body struct {
	start, end int64
	class      object.Class
}

// body returns that of s, whose lengths were checked.
func (s *Segment) body() body {
	return body{int64(pack.PreludeSize) + int64(s.HeaderLength), s.Size - pack.TrailerSize, s.Class}
}

// check checks what r says against the body of its segment.
func (r *Row) check(b *body) error {
	if !r.Kind.Valid() || r.Kind.Class() != b.class {
		return corruptf("%v in a %v segment", r.Kind, b.class)
	}
	if r.Length < pack.MinSealed || r.Length > object.MaxSealed {
		return corruptf("stored length %d", r.Length)
	}
	if end := int64(r.Offset) + int64(r.Length); int64(r.Offset) < b.start || end > b.end {
		return corruptf("bytes %d to %d are outside of the body", r.Offset, end)
	}
	return nil
}

func (r *Row) append(dst []byte) []byte {
	dst = append(dst, r.ID[:]...)
	dst = binary.LittleEndian.AppendUint32(dst, r.Segment)
	dst = binary.LittleEndian.AppendUint32(dst, r.Offset)
	dst = binary.LittleEndian.AppendUint32(dst, r.Length)
	dst = append(dst, byte(r.Kind), 0, 0, 0)
	return append(dst, r.Sum[:]...)
}

// decodeRow decodes a row; b holds at least rowSize bytes.
func decodeRow(b []byte) Row {
	return Row{
		ID:      object.ID(b),
		Segment: binary.LittleEndian.Uint32(b[32:]),
		Offset:  binary.LittleEndian.Uint32(b[36:]),
		Length:  binary.LittleEndian.Uint32(b[40:]),
		Kind:    object.Kind(b[44]),
		Sum:     object.Sum(b[48:]),
	}
}

// rowPadded reports whether what should be zero in a row is not.
func rowPadded(b []byte) bool { return b[45]|b[46]|b[47] != 0 }

var zeros [16]byte
