package pack

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"bluesky/object"
)

// Sizes of the fixed parts of a header; docs/format.md, "Header".
const (
	idSize       = 32
	headerFixed  = 16                      // repository id
	sessionFixed = 16 + 1 + 1 + 4 + 2      // without the wrap
	objectFixed  = idSize + 16 + 1 + 2 + 4 // without the refs and their number
	hpkeWrap     = 1200                    // wrap of an HPKE session
	maxSessions  = math.MaxUint16
)

// Append appends prelude ‖ header of h to dst. Of a header that [DecodeHeader]
// returned, these are the bytes that it was decoded from.
func (h *Header) Append(dst []byte) []byte {
	dst = h.Prelude.Append(dst)
	dst = append(dst, h.Repository[:]...)
	for i := range h.Sessions {
		dst = appendSession(dst, &h.Sessions[i])
	}
	for i := range h.Objects {
		dst = h.appendObject(dst, i)
	}
	for i := range h.External {
		dst = append(dst, h.External[i][:]...)
	}
	return dst
}

// Encode returns prelude ‖ header of h.
func (h *Header) Encode() []byte { return h.Append(make([]byte, 0, h.HeadSize())) }

func appendSession(dst []byte, s *object.Session) []byte {
	dst = append(dst, s.ID[:]...)
	dst = append(dst, byte(s.Class), byte(s.Type))
	dst = binary.LittleEndian.AppendUint32(dst, s.Epoch)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(s.Wrap)))
	return append(dst, s.Wrap...)
}

func (h *Header) appendObject(dst []byte, i int) []byte {
	o := &h.Objects[i]
	dst = append(dst, o.ID[:]...)
	dst = append(dst, o.Sum[:]...)
	dst = append(dst, byte(o.Kind))
	dst = binary.LittleEndian.AppendUint16(dst, o.Session)
	dst = binary.LittleEndian.AppendUint32(dst, o.Length)
	refs := h.Ordinals(i)
	dst = binary.AppendUvarint(dst, uint64(len(refs)))
	for _, r := range refs {
		dst = binary.AppendUvarint(dst, uint64(r))
	}
	return dst
}

// DecodeHeader parses prelude ‖ header of a segment: head is its first
// [Prelude.HeadSize] bytes, segmentSize its whole length. All that
// docs/format.md, "Header", demands is checked; the header hash is not, that
// is for the caller, and comes first ([ReadHeader]). head is not kept.
//
// It takes time in proportion to len(head), but for one sort of the objects'
// ids, and besides head memory of at most four times len(head), which is at most
// [MaxHeader] and the prelude; [Header] says how much of it stays.
//
// The error wraps [ErrVersion] or [ErrCorrupt].
func DecodeHeader(head []byte, segmentSize int64) (*Header, error) {
	p, err := DecodePrelude(head, segmentSize)
	if err != nil {
		return nil, err
	}
	if int64(len(head)) != p.HeadSize() {
		return nil, corruptf("header: %d bytes instead of %d", len(head)-PreludeSize, p.HeaderLength)
	}
	h := &Header{Prelude: p}
	rest := head[PreludeSize:]
	h.Repository = object.RepositoryID(rest[:headerFixed])
	rest = rest[headerFixed:]
	if rest, err = h.decodeSessions(rest); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	external := int(p.ExternalCount) * idSize
	if len(rest) < external {
		return nil, corruptf("header: external-ref table is cut short")
	}
	if err := h.decodeExternal(rest[len(rest)-external:]); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := h.decodeObjects(rest[:len(rest)-external]); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	if err := h.checkGraph(); err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	return h, nil
}

func (h *Header) decodeSessions(rest []byte) ([]byte, error) {
	h.Sessions = make([]object.Session, h.SessionCount)
	for i := range h.Sessions {
		if len(rest) < sessionFixed {
			return nil, corruptf("session row %d is cut short", i)
		}
		s := object.Session{
			ID:    object.SessionID(rest[:16]),
			Class: object.Class(rest[16]),
			Type:  object.SessionType(rest[17]),
			Epoch: binary.LittleEndian.Uint32(rest[18:]),
		}
		wrap := int(binary.LittleEndian.Uint16(rest[22:]))
		rest = rest[sessionFixed:]
		if s.Class != h.Class {
			return nil, corruptf("session row %d: %v in a %v segment", i, s.Class, h.Class)
		}
		if i > 0 && bytes.Compare(h.Sessions[i-1].ID[:], s.ID[:]) >= 0 {
			return nil, corruptf("session row %d is out of order", i)
		}
		want, err := wrapLength(s.Type)
		if err != nil {
			return nil, fmt.Errorf("session row %d: %w", i, err)
		}
		if wrap != want || len(rest) < wrap {
			return nil, corruptf("session row %d: wrap of %d bytes", i, wrap)
		}
		if wrap > 0 {
			s.Wrap = bytes.Clone(rest[:wrap])
		}
		rest = rest[wrap:]
		h.Sessions[i] = s
	}
	return rest, nil
}

// wrapLength returns how long the wrap of a session of type t is.
func wrapLength(t object.SessionType) (int, error) {
	switch t {
	case object.SessionDerived:
		return 0, nil
	case object.SessionHPKE:
		return hpkeWrap, nil
	}
	return 0, fmt.Errorf("session type %d: %w", t, ErrVersion)
}

func (h *Header) decodeExternal(table []byte) error {
	h.External = make([]object.ID, h.ExternalCount)
	for i := range h.External {
		h.External[i] = object.ID(table[i*idSize:])
		if i > 0 && h.External[i-1].Compare(h.External[i]) >= 0 {
			return corruptf("external ref %d is out of order", i)
		}
	}
	return nil
}

// decodeObjects decodes the object table, which is the whole of table.
func (h *Header) decodeObjects(table []byte) error {
	refs, err := countRefs(table, int(h.ObjectCount))
	if err != nil {
		return err
	}
	h.refs = make([]uint32, 0, refs)
	h.Objects = make([]Object, h.ObjectCount)
	offset := uint64(h.HeadSize())
	end := offset + h.BodyLength
	for i := range h.Objects {
		o := &h.Objects[i]
		*o = Object{
			ID:      object.ID(table),
			Sum:     object.Sum(table[32:]),
			Kind:    object.Kind(table[48]),
			Session: binary.LittleEndian.Uint16(table[49:]),
			Length:  binary.LittleEndian.Uint32(table[51:]),
			Offset:  uint32(offset),
			refs:    uint32(len(h.refs)),
		}
		table = table[objectFixed:]
		if err := h.checkObject(o); err != nil {
			return fmt.Errorf("object row %d: %w", i, err)
		}
		if offset += uint64(o.Length); offset > end {
			return corruptf("object row %d: ends %d bytes behind the body", i, offset-end)
		}
		if table, err = h.decodeRefs(table); err != nil {
			return fmt.Errorf("object row %d: %w", i, err)
		}
	}
	if offset != end {
		return corruptf("body is %d bytes longer than its objects", end-offset)
	}
	return nil
}

func (h *Header) checkObject(o *Object) error {
	if !o.Kind.Valid() || o.Kind.Class() != h.Class {
		return corruptf("%v in a %v segment", o.Kind, h.Class)
	}
	if int(o.Session) >= len(h.Sessions) {
		return corruptf("session %d of %d", o.Session, len(h.Sessions))
	}
	if o.Length < MinSealed || o.Length > object.MaxSealed {
		return corruptf("stored length %d", o.Length)
	}
	return nil
}

// decodeRefs appends the refs of a row to h.refs and returns what follows.
// countRefs has seen that they are all there.
func (h *Header) decodeRefs(table []byte) ([]byte, error) {
	count, n := uvarint32(table)
	table = table[n:]
	total := h.ObjectCount + h.ExternalCount
	for range count {
		ref, n := uvarint32(table)
		if ref >= total {
			return nil, corruptf("ref %d of %d", ref, total)
		}
		h.refs = append(h.refs, ref)
		table = table[n:]
	}
	return table, nil
}

// countRefs walks an object table of the given number of rows and returns how
// many refs they have together, so that these are allocated once and exactly.
// The table must end with its last row.
func countRefs(table []byte, rows int) (int, error) {
	total := 0
	for i := range rows {
		if len(table) < objectFixed {
			return 0, corruptf("object row %d is cut short", i)
		}
		table = table[objectFixed:]
		count, n := uvarint32(table)
		if n == 0 || uint64(count) > uint64(len(table)-n) { // a ref takes at least a byte
			return 0, corruptf("object row %d: number of refs", i)
		}
		table = table[n:]
		for range count {
			_, n := uvarint32(table)
			if n == 0 {
				return 0, corruptf("object row %d: encoding of a ref", i)
			}
			table = table[n:]
		}
		total += int(count)
	}
	if len(table) != 0 {
		return 0, corruptf("%d bytes behind the object table", len(table))
	}
	return total, nil
}

// uvarint32 reads a uvarint in its shortest form that fits 32 bits, and returns
// how many bytes it took; 0 if there is none.
func uvarint32(b []byte) (uint32, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint32(b[0]), 1
	}
	v, n := binary.Uvarint(b)
	if n <= 0 || v > math.MaxUint32 || b[n-1] == 0 {
		return 0, 0
	}
	return uint32(v), n
}

// uvarintLen returns how many bytes v takes as a uvarint.
func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// checkGraph checks what spans rows: ids are distinct, refs of a row are
// distinct and not the row itself, every session and external ref is used.
func (h *Header) checkGraph() error {
	used := make([]bool, len(h.Sessions))
	seen := make([]uint32, len(h.Objects)+len(h.External)) // 1 + the last row that has this ref
	for i := range h.Objects {
		used[h.Objects[i].Session] = true
		for _, r := range h.Ordinals(i) {
			if int(r) == i {
				return corruptf("object row %d refers to itself", i)
			}
			if seen[r] == uint32(i)+1 {
				return corruptf("object row %d names ref %d twice", i, r)
			}
			seen[r] = uint32(i) + 1
		}
	}
	if i := slices.Index(used, false); i >= 0 {
		return corruptf("session row %d is not used", i)
	}
	if i := slices.Index(seen[len(h.Objects):], 0); i >= 0 {
		return corruptf("external ref %d is not used", i)
	}
	return h.checkDistinct()
}

// checkDistinct checks that no id stands twice in the object table and none in
// both tables. It sorts (a hash table would have to resist chosen ids) and then
// goes through both tables side by side.
func (h *Header) checkDistinct() error {
	type key struct {
		prefix uint64
		row    uint32
	}
	keys := make([]key, len(h.Objects))
	for i := range h.Objects {
		keys[i] = key{binary.BigEndian.Uint64(h.Objects[i].ID[:]), uint32(i)}
	}
	slices.SortFunc(keys, func(a, b key) int {
		if a.prefix != b.prefix {
			if a.prefix < b.prefix {
				return -1
			}
			return 1
		}
		return h.Objects[a.row].ID.Compare(h.Objects[b.row].ID)
	})
	next := 0 // the first external ref that is not below the id
	for i, k := range keys {
		id := h.Objects[k.row].ID
		if i > 0 && h.Objects[keys[i-1].row].ID == id {
			return corruptf("object %s stands twice in the object table", id.Short())
		}
		for next < len(h.External) && h.External[next].Compare(id) < 0 {
			next++
		}
		if next < len(h.External) && h.External[next] == id {
			return corruptf("object %s stands among the external refs", id.Short())
		}
	}
	return nil
}
