package repo

import (
	"context"
	"errors"
	"fmt"

	"bluesky/object"
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
		if err := r.readCondemned(ctx, s, since, names); err != nil {
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

// readCondemned adds what the generations after since condemn, up to the one
// that s was taken from as a checkpoint. Their signatures were verified by
// whoever made that; that they are the same ones still, the chain of hashes
// tells, which ends with the checkpoint's own. A clean in them may be void: then
// names are more than they should be.
//
// A generation that cannot be read could have condemned anything (R7).
func (r *Repo) readCondemned(ctx context.Context, s *State, since uint64, names map[Name]uint64) error {
	var last object.Hash // of the bytes of the generation before
	err := r.generations(ctx, since+1, s.recentFrom, func(n uint64, data []byte) error {
		g, err := DecodeGeneration(data)
		if err != nil {
			return fmt.Errorf("generation %d: %w", n, err)
		}
		if n > since+1 && g.Previous != last {
			return fmt.Errorf("generation %d: %w: it does not follow generation %d", n, object.ErrCorrupt, n-1)
		}
		last = hashGeneration(data)
		for _, op := range g.Ops {
			var c Clean
			if op.known() && op.Type == OpClean && object.DecodeCBOR(op.Body, &c) == nil {
				recentClean{n, c.Condemned}.into(names)
			}
		}
		return nil
	})
	if err == nil && last != s.recentHash {
		err = fmt.Errorf("generation %d: %w: it is not the one that its checkpoint was made from", s.recentFrom, object.ErrCorrupt)
	}
	if unusable(err) || errors.Is(err, object.ErrVersion) {
		return fmt.Errorf("%w: what was condemned since it began cannot be read: %w", ErrObjectGone, err)
	}
	return err
}
