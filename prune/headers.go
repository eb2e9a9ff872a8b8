package prune

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/store"
)

// headerMemory bounds what headers remembers, in bytes as they are stored.
const headerMemory = 32 << 20

// headers reads the headers of segments, and nothing else of them, and
// remembers the last ones.
type headers struct {
	*base
	known map[pack.Name]*pack.Header
	order []pack.Name
	size  int64

	Bytes uint64 // read
}

// isLost reports whether an error of reading a file says that it is gone or
// damaged, rather than that the bucket is out of reach.
func isLost(err error) bool {
	return errors.Is(err, object.ErrCorrupt) || errors.Is(err, object.ErrVersion) || errors.Is(err, syscall.EIO) ||
		errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrShort) || errors.Is(err, store.ErrTooLarge)
}

func (h *headers) get(ctx context.Context, seg *index.Segment) (*pack.Header, error) {
	if header := h.known[seg.Name]; header != nil {
		return header, nil
	}
	header, err := pack.ReadHeader(ctx, h.repo.Store(), seg.Ref())
	if err == nil && header.Repository != h.repo.Config().ID {
		err = fmt.Errorf("segment %s: %w: it belongs to repository %s", seg.Name, object.ErrCorrupt, header.Repository)
	}
	if isLost(err) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return nil, err
	}
	h.Bytes += uint64(header.HeadSize())
	for h.size += header.HeadSize(); h.size > headerMemory && len(h.order) > 0; {
		old := h.order[0]
		h.order = h.order[1:]
		h.size -= h.known[old].HeadSize()
		delete(h.known, old)
	}
	h.known[seg.Name] = header
	h.order = append(h.order, seg.Name)
	return header, nil
}
