package prune

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bluesky/forget"
	"bluesky/object"
	"bluesky/repo"
)

// storeTimes asks the store when generations were created, once each. Those
// below the floor may be gone: for them it asks about the floor, which is younger.
type storeTimes struct {
	repo  *repo.Repo
	floor uint64
	known map[uint64]time.Time
}

func newStoreTimes(r *repo.Repo, s *repo.State) *storeTimes {
	return &storeTimes{r, s.Floor, map[uint64]time.Time{}}
}

func (s *storeTimes) of(ctx context.Context, generation uint64) (time.Time, error) {
	generation = max(generation, s.floor)
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

// maxQuarantine is more seconds than anybody waits, and fewer than overflow.
const maxQuarantine = 200 * 365 * 24 * 3600

// collect returns the forgotten snapshots whose data goes now, ascending by
// id: those whose quarantine is over. Those that the policy which was named for
// it does not forget are kept: whoever forgot them was wrong, or lied.
func (b *base) collect(ctx context.Context, times *storeTimes, options *Options) (ids, kept []object.ID, err error) {
	live, forgotten, err := forget.Load(b.state.Timed(b.times))
	if err != nil {
		return nil, nil, err
	}
	wrong := map[object.ID]bool{}
	for _, f := range forget.Recheck(live, forgotten) {
		wrong[f.ID] = true
		kept = append(kept, f.ID)
	}
	quarantine := time.Duration(min(b.state.Policy.Quarantine, maxQuarantine)) * time.Second
	for i := range b.state.Forgotten {
		f := &b.state.Forgotten[i]
		if wrong[f.ID] {
			continue
		}
		if quarantine > 0 {
			at, err := times.of(ctx, f.At)
			if err != nil {
				return nil, nil, err
			}
			if options.Now().Sub(at) < quarantine {
				continue
			}
		}
		ids = append(ids, f.ID)
	}
	ids = most(ids, options.room().collected) // those that were added first: so the state has them
	slices.SortFunc(ids, object.ID.Compare)
	return ids, kept, nil
}
