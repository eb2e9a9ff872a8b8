package repo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"bluesky/object"
)

// statsAtOnce is how many files of the bucket are looked at at the same time.
const statsAtOnce = 16

// StoreTimes asks the store for the times of all snapshots of s that have no
// effective time, live ones and forgotten ones, and returns them by id, as a
// clean records them.
//
// Some stores tell the time of a file in seconds here and in milliseconds
// there, so it is the end of its second.
func (r *Repo) StoreTimes(ctx context.Context, s *State) ([]StoreTime, error) {
	var times []StoreTime
	var generations []uint64
	ask := func(snap *Snapshot) {
		if snap.Effective == nil {
			times = append(times, StoreTime{ID: snap.ID})
			generations = append(generations, snap.Generation)
		}
	}
	for i := range s.Snapshots {
		ask(&s.Snapshots[i])
	}
	for i := range s.Forgotten {
		ask(&s.Forgotten[i].Snapshot)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(statsAtOnce)
	for i := range times {
		g.Go(func() error {
			entry, err := r.store.Stat(gctx, GenerationKey(generations[i]))
			if err != nil {
				return fmt.Errorf("the time of generation %d: %w", generations[i], err)
			}
			times[i].Time = object.TimeOf(entry.ModTime.Truncate(time.Second).Add(time.Second))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(times, func(a, b StoreTime) int { return a.ID.Compare(b.ID) })
	return times, nil
}

// Timed returns s with the effective times that a clean with these times
// records. s stays as it is.
func (s *State) Timed(times []StoreTime) *State {
	c := *s
	c.recordTimes(times)
	return &c
}
