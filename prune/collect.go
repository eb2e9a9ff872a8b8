package prune

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bluesky/object"
	"bluesky/repo"
)

// storeTimes asks the store when generations were created, once each.
type storeTimes struct {
	repo  *repo.Repo
	known known
}

type known = map[uint64]time.Time

func (s *storeTimes) of(ctx context.Context, generation uint64) (time.Time, error) {
	if t, ok := s.known[generation]; ok {
		return t, nil
	}
	entry, err := s.repo.Store().Stat(ctx, repo.GenerationKey(generation))
	if err != nil {
		return time.Time{}, fmt.Errorf("generation %d: %w", generation, err)
	}
	s.known[generation] = entry.ModTime
	return entry.ModTime, nil
}

// expire finds the unfinished sessions of which nothing was heard for long
// (R10): their machine is gone, and no next run of it ends them. A writer that is
// merely slow finds out at its next commit (R3).
func (b *base) expire(ctx context.Context, times *storeTimes, options *Options) error {
	for _, id := range b.state.Unfinished() {
		last, err := times.of(ctx, b.state.LastOf(id))
		if err != nil {
			return err
		}
		if options.Instant || options.Now().Sub(last) > sessionAge {
			b.expired[id] = true
		}
	}
	return nil
}

// collect returns the forgotten snapshots whose data goes now, ascending by
// id: those whose quarantine is over, and which the policy that forgot them
// really forgets.
func (b *base) collect(ctx context.Context, times *storeTimes, options *Options) ([]object.ID, error) {
	quarantine := time.Duration(b.state.Policy.Quarantine) * time.Second
	var ids []object.ID
	for i := range b.state.Forgotten {
		f := &b.state.Forgotten[i]
		if quarantine > 0 {
			at, err := times.of(ctx, f.At)
			if err != nil {
				return nil, err
			}
			if options.Now().Sub(at) < quarantine {
				continue
			}
		}
		ids = append(ids, f.ID)
	}
	slices.SortFunc(ids, object.ID.Compare)
	return ids, nil
}

// untimed returns the store's times of the snapshots that have none yet: from
// then on the state has them, whatever becomes of the generations.
func (b *base) untimed(ctx context.Context, times *storeTimes) ([]repo.StoreTime, error) {
	var list []repo.StoreTime
	for snap := range b.state.AllSnapshots() {
		if snap.Effective != nil {
			continue
		}
		t, err := times.of(ctx, snap.Generation)
		if err != nil {
			return nil, err
		}
		list = append(list, repo.StoreTime{ID: snap.ID, Time: object.TimeOf(t)})
	}
	slices.SortFunc(list, func(a, b repo.StoreTime) int { return a.ID.Compare(b.ID) })
	return list, nil
}
