package repo

import (
	"context"
	"fmt"
)

// aboveFloor returns a generation from which the head can be found, where the
// one that was known is missing: its number is below the floor by now, or the
// repository was rolled back. That the head has the number and the signatures
// that it should have, replaying it tells.
func (r *Repo) aboveFloor(ctx context.Context, known uint64) (uint64, error) {
	newest, err := r.newestListed(ctx)
	if err != nil {
		return 0, fmt.Errorf("list generations: %w", err)
	}
	if newest > known {
		data, err := r.getGeneration(ctx, newest)
		if err != nil {
			return 0, err
		}
		g, err := DecodeGeneration(data)
		if err != nil {
			return 0, fmt.Errorf("generation %d: %w", newest, err)
		}
		if known < g.Floor {
			return newest, nil
		}
	}
	return 0, rollback("generation %d was seen before and is missing", known)
}

// trustsBelow reports whether what this machine has seen last lies below floor:
// nothing there connects it with the log as it is now.
func (r *Repo) trustsBelow(floor uint64) bool { return r.trusted.Generation+1 < floor }
