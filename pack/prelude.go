package pack

import (
	"encoding/binary"
	"fmt"

	"bluesky/object"
)

const (
	magic   = "BLUESEGM"
	version = 1
)

// A Prelude is the fixed start of a segment: what stands where behind it.
type Prelude struct {
	Name          Name
	Class         object.Class
	HeaderLength  uint32 // bytes behind the prelude
	SessionCount  uint32 // rows of the session table
	ObjectCount   uint32 // rows of the object table
	ExternalCount uint32 // rows of the external-ref table
	BodyLength    uint64 // bytes behind the header
}

// HeadSize returns the length in bytes of prelude and header together: the
// range from the segment's start that [DecodeHeader] takes, and the offset of
// the first sealed object.
func (p *Prelude) HeadSize() int64 { return PreludeSize + int64(p.HeaderLength) }

// Size returns the length in bytes of the whole segment.
func (p *Prelude) Size() int64 { return p.HeadSize() + int64(p.BodyLength) + TrailerSize }

// DecodePrelude parses the first [PreludeSize] bytes of a segment.
//
// segmentSize is the length of the whole segment in bytes. Header, body and
// trailer are checked to fill it exactly, and the counts to be possible in a
// header of that length, so callers may read [Prelude.HeadSize] bytes and
// allocate for the counts without a bound of their own.
//
// The error wraps [ErrVersion] for a prelude of a newer format, and
// [ErrCorrupt] for anything else that is not one. Layout: docs/format.md,
// "Prelude".
func DecodePrelude(head []byte, segmentSize int64) (Prelude, error) {
	if len(head) < PreludeSize {
		return Prelude{}, corruptf("prelude: %d bytes", len(head))
	}
	if string(head[:8]) != magic {
		return Prelude{}, corruptf("prelude: magic %x", head[:8])
	}
	if v := binary.LittleEndian.Uint16(head[8:]); v > version {
		return Prelude{}, fmt.Errorf("prelude: version %d: %w", v, ErrVersion)
	} else if v != version {
		return Prelude{}, corruptf("prelude: version %d", v)
	}
	if f := binary.LittleEndian.Uint32(head[12:]); f != 0 {
		return Prelude{}, fmt.Errorf("prelude: feature bits %#x: %w", f, ErrVersion)
	}
	if head[11] != 0 || binary.LittleEndian.Uint64(head[40:]) != 0 {
		return Prelude{}, corruptf("prelude: padding is not zero")
	}
	p := Prelude{
		Name:          Name(head[48:64]),
		Class:         object.Class(head[10]),
		HeaderLength:  binary.LittleEndian.Uint32(head[16:]),
		SessionCount:  binary.LittleEndian.Uint32(head[20:]),
		ObjectCount:   binary.LittleEndian.Uint32(head[24:]),
		ExternalCount: binary.LittleEndian.Uint32(head[28:]),
		BodyLength:    binary.LittleEndian.Uint64(head[32:]),
	}
	if err := p.check(segmentSize); err != nil {
		return Prelude{}, fmt.Errorf("prelude: %w", err)
	}
	return p, nil
}

func (p *Prelude) check(segmentSize int64) error {
	if !p.Class.Valid() {
		return corruptf("%v", p.Class)
	}
	if segmentSize > MaxSize {
		return corruptf("a segment of %d bytes", segmentSize)
	}
	if p.HeaderLength > MaxHeader {
		return corruptf("a header of %d bytes", p.HeaderLength)
	}
	if p.BodyLength > MaxSize || p.Size() != segmentSize {
		return corruptf("header of %d and body of %d bytes in a segment of %d", p.HeaderLength, p.BodyLength, segmentSize)
	}
	if p.SessionCount < 1 || p.SessionCount > maxSessions || p.ObjectCount < 1 {
		return corruptf("%d sessions, %d objects", p.SessionCount, p.ObjectCount)
	}
	least := uint64(headerFixed) + uint64(p.SessionCount)*sessionFixed +
		uint64(p.ObjectCount)*(objectFixed+1) + uint64(p.ExternalCount)*idSize
	if least > uint64(p.HeaderLength) {
		return corruptf("%d sessions, %d objects, %d external refs in a header of %d bytes",
			p.SessionCount, p.ObjectCount, p.ExternalCount, p.HeaderLength)
	}
	if uint64(p.ObjectCount)*MinSealed > p.BodyLength {
		return corruptf("%d objects in a body of %d bytes", p.ObjectCount, p.BodyLength)
	}
	return nil
}

// Append appends the PreludeSize bytes of p to dst.
func (p *Prelude) Append(dst []byte) []byte {
	dst = append(dst, magic...)
	dst = binary.LittleEndian.AppendUint16(dst, version)
	dst = append(dst, byte(p.Class), 0)
	dst = binary.LittleEndian.AppendUint32(dst, 0) // feature bits
	dst = binary.LittleEndian.AppendUint32(dst, p.HeaderLength)
	dst = binary.LittleEndian.AppendUint32(dst, p.SessionCount)
	dst = binary.LittleEndian.AppendUint32(dst, p.ObjectCount)
	dst = binary.LittleEndian.AppendUint32(dst, p.ExternalCount)
	dst = binary.LittleEndian.AppendUint64(dst, p.BodyLength)
	dst = binary.LittleEndian.AppendUint64(dst, 0)
	return append(dst, p.Name[:]...)
}
