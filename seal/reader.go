package seal

import (
	"context"
	"fmt"

	"bluesky/object"
)

// A Source finds sealed objects: package repo reads them from segments, tests
// from maps.
type Source interface {
	// Sealed returns the object of that id and the session that sealed it. The
	// caller may keep and read both, and changes neither. It need not be
	// verified beyond its sum.
	Sealed(ctx context.Context, id object.ID) (object.Sealed, object.Session, error)
}

// A Reader reads objects by id. It is safe for concurrent use if its Source is.
type Reader struct {
	source Source
	keys   *Keys
}

// NewReader returns a Reader of the objects that src finds.
func NewReader(src Source, keys *Keys) *Reader { return &Reader{source: src, keys: keys} }

// Object returns the refs and payload of the object of that id and kind. The
// payload is the caller's; refs belong to the Source and are read only.
//
// An object of another id or kind than asked for, or that does not open, gives
// an error that wraps [object.ErrCorrupt]; those of the Source come as they are.
func (r *Reader) Object(ctx context.Context, id object.ID, kind object.Kind) (refs []object.ID, payload []byte, err error) {
	o, session, err := r.source.Sealed(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if o.ID != id || o.Kind != kind {
		return nil, nil, fmt.Errorf("%s %s: found %s %s in its place: %w", kind, id, o.Kind, o.ID, object.ErrCorrupt)
	}
	payload, err = r.keys.Open(nil, session, &o)
	if err != nil {
		return nil, nil, err
	}
	return o.Refs, payload, nil
}
