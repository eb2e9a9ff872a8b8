package prune

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"

	"bluesky/object"
	"bluesky/repo"
)

// raiseFloor lets go of the generations that are older than 30 days, have a
// newer checkpoint, are counted, and whose age nobody asks for: it commits the
// floor and then deletes what is below, but never generation 0. A prune that was
// stopped in between is finished by the next one, which finds in a listing what is
// left.
func raiseFloor(ctx context.Context, r *repo.Repo, cleaner crypto.Signer, kept []object.ID, options Options) (deleted uint64, err error) {
	state, err := r.Refresh(ctx)
	if err != nil {
		return 0, err
	}
	times := newStoreTimes(r, state)
	floor, err := newFloor(ctx, state, times, kept, options)
	if err != nil {
		return 0, err
	}
	if floor > state.Floor {
		op, err := repo.NewOp(repo.OpFloor, &repo.Floor{Number: floor})
		if err != nil {
			return 0, err
		}
		state, err = r.Append(ctx, state, cleaner, []repo.Op{op})
		if errors.Is(err, repo.ErrConflict) {
			return 0, nil // the next prune will do
		}
		if err != nil {
			return 0, err
		}
	}
	return deleteBelow(ctx, r, state.Floor)
}

// floorStep is how many generations a floor rises by at least: each rise is a
// generation itself.
const floorStep = 64

// newFloor returns the highest floor that the rules allow, that of the state if
// it is not worth a generation. The times of generations ascend, so it bisects.
func newFloor(ctx context.Context, state *repo.State, times *storeTimes, kept []object.ID, options Options) (uint64, error) {
	if state.Checkpoint == nil {
		return state.Floor, nil
	}
	low, high := max(state.Floor, 1), min(state.Fold, state.Checkpoint.Number, waiting(state, kept))
	for low < high { // the newest that is old enough is in [low, high]
		middle := low + (high-low+1)/2
		t, err := times.of(ctx, middle)
		if err != nil {
			return 0, err
		}
		if options.Now().Sub(t) > floorAge {
			low = middle
		} else {
			high = middle - 1
		}
	}
	if low < state.Floor+floorStep {
		return state.Floor, nil
	}
	return low, nil
}

// waiting returns the oldest generation whose age is still asked for: that of a
// forget, until its quarantine is over, of a clean, until its grace is, or of a
// snapshot without an effective time. Kept are snapshots that wait for nothing.
func waiting(state *repo.State, kept []object.ID) uint64 {
	oldest := state.Generation
	for i := range state.Forgotten {
		if f := &state.Forgotten[i]; !slices.Contains(kept, f.ID) {
			oldest = min(oldest, f.At)
		}
	}
	for snap := range state.AllSnapshots() {
		if snap.Effective == nil {
			oldest = min(oldest, snap.Generation)
		}
	}
	for _, at := range state.Condemned {
		oldest = min(oldest, at)
	}
	return oldest
}

func deleteBelow(ctx context.Context, r *repo.Repo, floor uint64) (deleted uint64, err error) {
	if floor <= 1 {
		return 0, nil
	}
	for entry, err := range r.Store().List(ctx, "gen/") {
		if err != nil {
			return deleted, fmt.Errorf("list generations: %w", err)
		}
		n, ok := repo.ParseGenerationKey(entry.Key)
		if ok && n >= floor {
			break // listings are in order
		}
		if !ok || n == 0 {
			continue
		}
		if err := deleteOne(ctx, r.Store(), entry.Key); err != nil {
			return deleted, fmt.Errorf("delete generation %d: %w", n, err)
		}
		deleted++
	}
	return deleted, nil
}
