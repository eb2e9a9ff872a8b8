package pack

import (
	"sort"

	"bluesky/object"
)

// A Header is the decoded head of a segment: which objects stand in it and what
// they refer to. It is immutable and safe for concurrent use once it was
// decoded or finished; its slices belong to it and are not to be changed.
//
// It holds 64 bytes for each object, 32 for each external ref, 4 for each ref
// of a row and 48 (with wrap 1,248) for each session, and nothing of the bytes
// that it was decoded from.
type Header struct {
	Prelude
	Repository object.RepositoryID
	Sessions   []object.Session // ids strictly ascending
	Objects    []Object         // in body order
	External   []object.ID      // strictly ascending; refs to objects of other segments

	// refs are the rows' refs one behind the other, as ordinals into
	// Objects ‖ External. Those of row i begin at Objects[i].refs.
	refs []uint32
}

// An Object is a row of the object table.
type Object struct {
	ID      object.ID
	Sum     object.Sum
	Offset  uint32 // of the sealed bytes, from the segment's start
	Length  uint32 // of the sealed bytes
	refs    uint32 // where the refs begin in Header.refs
	Session uint16 // ordinal in Header.Sessions
	Kind    object.Kind
}

// Ordinals returns the refs of object i, in the order in which its payload
// names them, as ordinals for [Header.RefID]. Ordinals below len(h.Objects)
// are objects of this segment. The slice belongs to h.
func (h *Header) Ordinals(i int) []uint32 {
	end := len(h.refs)
	if i+1 < len(h.Objects) {
		end = int(h.Objects[i+1].refs)
	}
	return h.refs[h.Objects[i].refs:end]
}

// RefID returns the id that a ref ordinal stands for.
func (h *Header) RefID(ordinal uint32) object.ID {
	if n := uint32(len(h.Objects)); ordinal >= n {
		return h.External[ordinal-n]
	}
	return h.Objects[ordinal].ID
}

// Refs appends the ref ids of object i to dst, in the order in which its
// payload names them, and returns the extended slice.
func (h *Header) Refs(i int, dst []object.ID) []object.ID {
	for _, ordinal := range h.Ordinals(i) {
		dst = append(dst, h.RefID(ordinal))
	}
	return dst
}

// Locate returns the ordinal of the object whose sealed bytes begin at offset
// and whose id is id: what a row of a run points at. It is false when no such
// object stands there.
func (h *Header) Locate(id object.ID, offset uint32) (int, bool) {
	i := sort.Search(len(h.Objects), func(i int) bool { return h.Objects[i].Offset >= offset })
	if i == len(h.Objects) || h.Objects[i].Offset != offset || h.Objects[i].ID != id {
		return 0, false
	}
	return i, true
}

// HeaderHash computes the hash of head, which is prelude ‖ header.
// docs/format.md, "Hashes".
func HeaderHash(head []byte) object.Hash { return object.HashBytes("segment header", head) }
