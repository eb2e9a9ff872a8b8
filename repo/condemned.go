package repo

import (
	"context"
	"errors"
	"fmt"

	"bluesky/object"
	"bluesky/store"
)

// A recentClean is what a clean has condemned. The names leave the state when
// their deletion is recorded; a put that comes late may bring one back then, so
// who has chosen a name asks all cleans since (R3).
type recentClean struct {
	generation uint64
	names      []Name
}

// condemnedSince returns the names that generations after since, up to s, have
// condemned. Where s was taken from a checkpoint that is newer, those before it
// are read from the log.
//
// The error wraps [ErrObjectGone] where that is no more possible: who has
// chosen names so long ago starts again with new ones.
func (r *Repo) condemnedSince(ctx context.Context, s *State, since uint64) (map[Name]uint64, error) {
	if since < s.Floor {
		return nil, tooLate(s, since)
	}
	names := map[Name]uint64{}
	if since < s.recentFrom {
		if err := r.readCondemned(ctx, since+1, s.recentFrom, names); err != nil {
			return nil, err
		}
	}
	for _, clean := range s.recent {
		if clean.generation > since {
			clean.into(names)
		}
	}
	return names, nil
}

func tooLate(s *State, since uint64) error {
	return fmt.Errorf("%w: the log begins at generation %d, and this run began at %d", ErrObjectGone, s.Floor, since)
}

// stillOwn reports whether no generation up to s has condemned n, a name that
// was chosen when generation since was known. Where nobody can tell, it is not.
func (r *Repo) stillOwn(ctx context.Context, s *State, n Name, since uint64) bool {
	condemned, err := r.condemnedSince(ctx, s, since)
	_, gone := condemned[n]
	return err == nil && !gone
}

func (c recentClean) into(names map[Name]uint64) {
	for _, name := range c.names {
		names[name] = c.generation
	}
}

// readCondemned adds what generations from to last condemn. They were verified
// by whoever made the checkpoint; that a clean in them may be void only makes
// its names more than they are.
func (r *Repo) readCondemned(ctx context.Context, from, last uint64, names map[Name]uint64) error {
	err := r.generations(ctx, from, last, func(n uint64, data []byte) error {
		g, err := DecodeGeneration(data)
		if err != nil {
			return nil // one that a void has healed does nothing
		}
		for _, op := range g.Ops {
			var c Clean
			if op.known() && op.Type == OpClean && object.DecodeCBOR(op.Body, &c) == nil {
				recentClean{n, c.Condemned}.into(names)
			}
		}
		return nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("%w: what was condemned since it began cannot be read: %w", ErrObjectGone, err)
	}
	return err
}
