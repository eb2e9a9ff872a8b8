package pack

import (
	"context"
	"fmt"

	"bluesky/object"
)

// A ReaderAt reads ranges of stored segments; package store has one, tests make
// theirs from maps.
type ReaderAt interface {
	// GetRange returns the n bytes from offset off of what is stored under key;
	// the caller owns them. Fewer than n are an error, or are taken for one
	// here. It may be called concurrently.
	GetRange(ctx context.Context, key string, off, n int64) ([]byte, error)
}

// A Ref is what a run says of a segment, as far as reading it needs.
type Ref struct {
	Name         Name
	Size         int64
	HeaderLength uint32
	HeaderHash   object.Hash
	Hash         object.Hash // of the segment; for [Verify] alone
}

// ReadHeader reads and decodes the header of the segment that ref describes. It
// compares the header hash before it uses any of it; what it returns is what
// the signer of the run saw.
//
// The error wraps [ErrCorrupt], [ErrVersion], or what r returned.
func ReadHeader(ctx context.Context, r ReaderAt, ref Ref) (*Header, error) {
	h, _, err := readHead(ctx, r, ref)
	return h, err
}

// readHead is [ReadHeader] and returns prelude ‖ header as well.
func readHead(ctx context.Context, r ReaderAt, ref Ref) (*Header, []byte, error) {
	n := PreludeSize + int64(ref.HeaderLength)
	if ref.HeaderLength > MaxHeader || n > ref.Size {
		return nil, nil, corruptf("segment %s: a header of %d bytes in a segment of %d", ref.Name, ref.HeaderLength, ref.Size)
	}
	head, err := getRange(ctx, r, ref.Name, 0, n)
	if err != nil {
		return nil, nil, err
	}
	if HeaderHash(head) != ref.HeaderHash {
		return nil, nil, corruptf("segment %s: header differs from its hash", ref.Name)
	}
	h, err := DecodeHeader(head, ref.Size)
	if err != nil {
		return nil, nil, fmt.Errorf("segment %s: %w", ref.Name, err)
	}
	if h.Name != ref.Name {
		return nil, nil, corruptf("segment %s: its header names segment %s", ref.Name, h.Name)
	}
	return h, head, nil
}

// unindexedRead is how much ReadHeaderUnindexed asks for before it knows the
// length of the header: enough for that of nearly every data segment.
const unindexedRead = 64 << 10

// ReadHeaderUnindexed reads the header and the trailer of a segment that no run
// describes, to make a run of it again. size is its length, from a listing.
//
// Only the structure is verified, and that the segment bears the name under
// which it is stored: nothing says who wrote it, and neither the body nor its
// hash is looked at. Bytes of the result is nil. Use [Verify] with
// [Segment.Ref] to know whether the rest is right.
//
// The error wraps [ErrCorrupt], [ErrVersion], or what r returned.
func ReadHeaderUnindexed(ctx context.Context, r ReaderAt, name Name, size int64) (*Segment, error) {
	if size < MinSize {
		return nil, corruptf("segment %s: %d bytes", name, size)
	}
	head, err := getRange(ctx, r, name, 0, min(size, unindexedRead))
	if err != nil {
		return nil, err
	}
	p, err := DecodePrelude(head, size)
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", name, err)
	}
	if missing := p.HeadSize() - int64(len(head)); missing > 0 {
		rest, err := getRange(ctx, r, name, int64(len(head)), missing)
		if err != nil {
			return nil, err
		}
		head = append(head, rest...)
	}
	head = head[:p.HeadSize()]
	h, err := DecodeHeader(head, size)
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", name, err)
	}
	if h.Name != name {
		return nil, corruptf("segment %s: its header names segment %s", name, h.Name)
	}
	trailer, err := getRange(ctx, r, name, size-TrailerSize, TrailerSize)
	if err != nil {
		return nil, err
	}
	return &Segment{Name: name, Header: h, HeaderHash: HeaderHash(head), Hash: object.Hash(trailer)}, nil
}

// getRange is r.GetRange that names the segment and insists on the length.
func getRange(ctx context.Context, r ReaderAt, name Name, off, n int64) ([]byte, error) {
	data, err := r.GetRange(ctx, name.Key(), off, n)
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", name, err)
	}
	if int64(len(data)) != n {
		return nil, corruptf("segment %s: %d of %d bytes at offset %d", name, len(data), n, off)
	}
	return data, nil
}

// Read reads object i of the segment and verifies its sum, which covers its
// refs too. The caller owns Refs and Bytes of the result; the session belongs
// to h. i must be in range of h.Objects.
//
// The error wraps [ErrCorrupt], or what r returned.
func (h *Header) Read(ctx context.Context, r ReaderAt, i int) (object.Sealed, object.Session, error) {
	row := &h.Objects[i]
	data, err := getRange(ctx, r, h.Name, int64(row.Offset), int64(row.Length))
	if err != nil {
		return object.Sealed{}, object.Session{}, fmt.Errorf("object %s: %w", row.ID.Short(), err)
	}
	var sums summer
	o := h.sealed(i, h.Refs(i, nil), data)
	if err := h.checkSum(&sums, i, &o); err != nil {
		return object.Sealed{}, object.Session{}, err
	}
	return o, h.Sessions[row.Session], nil
}

func (h *Header) sealed(i int, refs []object.ID, data []byte) object.Sealed {
	row := &h.Objects[i]
	return object.Sealed{ID: row.ID, Kind: row.Kind, Session: h.Sessions[row.Session].ID, Refs: refs, Bytes: data}
}

func (h *Header) checkSum(sums *summer, i int, o *object.Sealed) error {
	if sums.sum(o.ID, o.Kind, o.Session, o.Refs, o.Bytes) != h.Objects[i].Sum {
		return corruptf("segment %s: object %s differs from its sum", h.Name, o.ID.Short())
	}
	return nil
}
