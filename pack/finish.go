package pack

import (
	"fmt"
	"slices"

	"bluesky/object"
)

// A Segment is a finished segment.
type Segment struct {
	Name       Name
	Bytes      []byte // the whole segment; nil where only the header was read
	Header     *Header
	HeaderHash object.Hash
	Hash       object.Hash // the trailer
}

// Ref returns what a reader needs to know of s.
func (s *Segment) Ref() Ref {
	return Ref{Name: s.Name, Size: s.Header.Size(), HeaderLength: s.Header.HeaderLength, HeaderHash: s.HeaderHash, Hash: s.Hash}
}

// Finish completes the segment under name. Its Bytes are the builder's memory,
// valid until [Builder.Reset]; its Header is its own. A builder without objects
// has no segment, and one that was finished none more until it is reset.
func (b *Builder) Finish(name Name) (*Segment, error) {
	if b.finished || len(b.objects) == 0 {
		return nil, fmt.Errorf("finish segment %s: no objects were added", name)
	}
	h := b.header(name)
	if size := h.HeadSize(); size > int64(b.room) {
		b.makeRoom(int(size))
	}
	start := b.room - int(h.HeadSize())
	head := h.Append(b.buf[start:start:b.room])
	s := &Segment{Name: name, Header: h, HeaderHash: HeaderHash(head)}
	s.Hash = object.HashBytes("segment", b.buf[start:])
	b.buf = append(b.buf, s.Hash[:]...)
	s.Bytes = b.buf[start:]
	b.finished = true
	return s, nil
}

// makeRoom moves the body so that size bytes are free in front of it. The whole
// segment fits into the memory there is, unless one object alone exceeds the
// target.
func (b *Builder) makeRoom(size int) {
	body := b.buf[b.room:]
	moved := b.buf
	if need := size + len(body) + TrailerSize; cap(moved) < need {
		moved = make([]byte, need)
	}
	moved = moved[:size+len(body)]
	copy(moved[size:], body)
	b.buf, b.room = moved, size
}

// header makes the header of what was added: it brings sessions and external
// refs into their order and turns places into ordinals.
func (b *Builder) header(name Name) *Header {
	h := &Header{Repository: b.repository, Objects: slices.Clone(b.objects), refs: slices.Clone(b.refs)}
	sessionAt := b.sortSessions(h)
	ordinals := b.ordinals(h)
	for i, at := range h.refs {
		h.refs[i] = ordinals[at]
	}

	// The length of the header is known only now that the ordinals are.
	length := b.size.header() - b.size.refs*int64(uvarintLen(uint64(b.size.objects+b.size.externals)))
	for _, ordinal := range h.refs {
		length += int64(uvarintLen(uint64(ordinal)))
	}
	h.Prelude = Prelude{
		Name:          name,
		Class:         b.class,
		HeaderLength:  uint32(length),
		SessionCount:  uint32(len(h.Sessions)),
		ObjectCount:   uint32(len(h.Objects)),
		ExternalCount: uint32(len(h.External)),
		BodyLength:    uint64(b.size.body),
	}
	for i := range h.Objects {
		o := &h.Objects[i]
		o.Session = sessionAt[o.Session]
		o.Offset += uint32(h.HeadSize())
	}
	return h
}

// sortSessions sets h.Sessions and returns the ordinal of each of b.sessions.
func (b *Builder) sortSessions(h *Header) []uint16 {
	h.Sessions = slices.Clone(b.sessions)
	slices.SortFunc(h.Sessions, func(x, y object.Session) int { return slices.Compare(x.ID[:], y.ID[:]) })
	ordinals := make([]uint16, len(h.Sessions))
	for i := range h.Sessions {
		ordinals[b.sessionIndex[h.Sessions[i].ID]] = uint16(i)
	}
	return ordinals
}

// ordinals sets h.External and returns the ref ordinal of each of b.ids.
func (b *Builder) ordinals(h *Header) []uint32 {
	ordinals := make([]uint32, len(b.ids))
	for i := range b.objects {
		ordinals[b.index[b.objects[i].ID]] = uint32(i)
	}
	external := make([]uint32, 0, b.size.externals) // places in b.ids
	for i := range b.ids {
		if !b.ids[i].own {
			external = append(external, uint32(i))
		}
	}
	slices.SortFunc(external, func(x, y uint32) int { return b.ids[x].id.Compare(b.ids[y].id) })
	h.External = make([]object.ID, len(external))
	for i, at := range external {
		h.External[i] = b.ids[at].id
		ordinals[at] = uint32(len(b.objects) + i)
	}
	return ordinals
}
