package tree

import (
	"context"
	"fmt"

	"bluesky/object"
)

// StoreXattr returns the extended attribute of the given name and value, which
// it stores as a block if it does not belong inside the inode. The attribute
// keeps value.
func StoreXattr(ctx context.Context, sink Sink, p Params, name string, value []byte) (Xattr, error) {
	if len(value) > MaxXattr {
		return Xattr{}, fmt.Errorf("xattr %q: %d bytes, more than %d", name, len(value), MaxXattr)
	}
	if len(value) <= p.XattrInline {
		return Xattr{Name: name, Value: value}, nil
	}
	id, err := sink.Put(ctx, object.KindBlock, nil, value)
	return Xattr{Name: name, Block: id}, err
}

// Load returns the value of x, wherever it is. The error wraps [ErrCorrupt] if
// it is in a block and should not be.
func (x *Xattr) Load(ctx context.Context, src Source, p Params) ([]byte, error) {
	if x.Block.IsZero() {
		return x.Value, nil
	}
	_, value, err := src.Object(ctx, x.Block, object.KindBlock)
	if err != nil {
		return nil, fmt.Errorf("xattr %q: %w", x.Name, err)
	}
	if len(value) <= p.XattrInline || len(value) > MaxXattr {
		return nil, corruptf("xattr %q: a block of %d bytes", x.Name, len(value))
	}
	return value, nil
}
