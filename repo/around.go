package repo

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"bluesky/index"
	"bluesky/object"
	"bluesky/store"
)

// PassOverLostRuns makes r read around runs and marks that are gone or damaged:
// what no other run names is [ErrNotFound] then, and the rest can be read. Each
// of them is one of [Repo.Problems]. It is for who only reads, before anything
// else is done with r.
func (r *Repo) PassOverLostRuns() { r.passOver = true }

// partsAround opens the runs of s around what is lost, cause for one, if there is
// no newer state that does without it. It needs r.mu.
func (r *Repo) partsAround(ctx context.Context, s *State, cause error) ([]index.Part, error) {
	newest, err := r.advanceTo(r.refresh(ctx))
	if err != nil {
		return nil, errors.Join(cause, err)
	}
	if newest.Generation > s.Generation && errors.Is(cause, store.ErrNotFound) {
		return nil, cause
	}
	return r.openParts(ctx, s, true)
}

// isLost reports whether an error of reading a file says that it is gone or
// damaged, rather than that the bucket is out of reach.
func isLost(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTooLarge) || errors.Is(err, object.ErrCorrupt) ||
		errors.Is(err, syscall.EIO)
}

// A SnapshotSource reads the objects of one snapshot.
type SnapshotSource struct {
	repo     *Repo
	snapshot object.ID
}

// Of returns a source of the objects that a snapshot leads to.
func (r *Repo) Of(snapshot object.ID) SnapshotSource { return SnapshotSource{r, snapshot} }

// Sealed is [Repo.Sealed] and says why an object is not to be had (R9): the error
// wraps [ErrForgotten] where the snapshot is not live any more, and [ErrLost] where
// it is.
func (s SnapshotSource) Sealed(ctx context.Context, id object.ID) (object.Sealed, object.Session, error) {
	o, row, err := s.repo.Sealed(ctx, id)
	if isGone(err) {
		err = s.why(ctx, err)
	}
	return o, row, err
}

func (s SnapshotSource) why(ctx context.Context, missing error) error {
	newest, err := s.repo.Refresh(ctx)
	if err != nil {
		return errors.Join(missing, err)
	}
	if _, live := newest.Snapshot(s.snapshot); live {
		return fmt.Errorf("%w: %w", ErrLost, missing)
	}
	return fmt.Errorf("snapshot %s: %w", s.snapshot.Short(), ErrForgotten)
}
