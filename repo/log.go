package repo

import (
	"context"
	"errors"
	"fmt"

	"bluesky/object"
	"bluesky/store"

	"golang.org/x/sync/errgroup"
)

// readAhead is how many generations are fetched at once when the log is
// replayed: enough to hide a cloud's latency, and 4·generationMax of memory at
// the very worst.
const readAhead = 8

// getGeneration returns the bytes of generation n.
func (r *Repo) getGeneration(ctx context.Context, n uint64) ([]byte, error) {
	data, err := r.store.Get(ctx, GenerationKey(n), generationMax)
	if err != nil {
		return nil, fmt.Errorf("generation %d: %w", n, err)
	}
	return data, nil
}

// hasGeneration reports whether generation n is there.
func (r *Repo) hasGeneration(ctx context.Context, n uint64) (bool, error) {
	_, err := r.store.Stat(ctx, GenerationKey(n))
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// findHead returns the number of the newest generation, given one that is
// there. Names are contiguous, so it gallops until one is missing and bisects
// the rest. docs/format.md, "Finding the head".
func (r *Repo) findHead(ctx context.Context, known uint64) (uint64, error) {
	there, missing := known, uint64(0)
	for step := uint64(1); missing == 0; step *= 2 {
		ok := known+step <= maxGeneration // names beyond are foreign
		if ok {
			var err error
			if ok, err = r.hasGeneration(ctx, known+step); err != nil {
				return 0, err
			}
		}
		if ok {
			there = known + step
		} else {
			missing = known + step
		}
	}
	missing = min(missing, max(there, maxGeneration)+1)
	for there+1 < missing {
		middle := there + (missing-there)/2
		ok, err := r.hasGeneration(ctx, middle)
		if err != nil {
			return 0, err
		}
		if ok {
			there = middle
		} else {
			missing = middle
		}
	}
	return there, nil
}

// newestListed returns the highest generation that a listing shows: a starting
// point for a client that knows none, and no more than that, since a listing
// may lag behind.
func (r *Repo) newestListed(ctx context.Context) (uint64, error) {
	var newest uint64
	for entry, err := range r.store.List(ctx, generationPrefix) {
		if err != nil {
			return 0, err
		}
		if n, ok := ParseGenerationKey(entry.Key); ok {
			newest = max(newest, n)
		}
	}
	return newest, nil
}

// generations calls fn with the bytes of generations from to last, in order.
func (r *Repo) generations(ctx context.Context, from, last uint64, fn func(n uint64, data []byte) error) error {
	for from <= last {
		batch := make([][]byte, min(readAhead, last-from+1))
		g, gctx := errgroup.WithContext(ctx)
		for i := range batch {
			g.Go(func() (err error) {
				batch[i], err = r.getGeneration(gctx, from+uint64(i))
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i, data := range batch {
			if err := fn(from+uint64(i), data); err != nil {
				return err
			}
		}
		from += uint64(len(batch))
	}
	return nil
}

// replay folds the generations after s up to last. Where it comes by the
// generation of ref, a checkpoint that this machine has not verified yet, it
// compares the two: a checkpoint is a function of the log, and whoever signed
// it could have left something out.
func (r *Repo) replay(ctx context.Context, s *State, last uint64, ref *CheckpointRef) (*State, error) {
	err := r.generations(ctx, s.Generation+1, last, func(_ uint64, data []byte) error {
		next, err := s.next(data)
		if err != nil {
			if next, err = r.passOverVoid(ctx, s, data, last, err); err != nil {
				return err
			}
		}
		if next.Generation == r.trusted.Generation && next.Hash != r.trusted.Hash {
			return rollback("generation %d is not the one seen before", next.Generation)
		}
		s = next
		if ref != nil && s.Generation == ref.Number {
			return r.verifyCheckpoint(s, *ref)
		}
		return nil
	})
	return s, err
}

// passOverVoid returns s after a generation that is not valid, if the admin has
// healed it with a void in the next one; else what is wrong with it. It needs r.mu.
func (r *Repo) passOverVoid(ctx context.Context, s *State, data []byte, last uint64, invalid error) (*State, error) {
	n := s.Generation + 1
	if n < last {
		healer, err := r.getGeneration(ctx, n+1)
		if err != nil {
			return nil, err
		}
		if s.isVoided(n, data, healer) {
			return s.voided(data), nil
		}
	}
	if errors.Is(invalid, errUnlinked) && r.trusted.known() {
		return nil, rollback("%w", invalid)
	}
	return nil, invalid
}

// verifyCheckpoint compares the checkpoint ref with s, the state that the log
// adds up to at its generation.
func (r *Repo) verifyCheckpoint(s *State, ref CheckpointRef) error {
	data, err := EncodeState(s)
	if err != nil {
		return err
	}
	if object.HashBytes("checkpoint", data) != ref.Hash {
		return fmt.Errorf("checkpoint of generation %d: %w: it is not what the log adds up to", ref.Number, object.ErrCorrupt)
	}
	r.verified = &ref
	return nil
}

// start returns the state that the head is replayed from, and the head's
// checkpoint if that has to be verified on the way.
//
// A machine that has seen the repository before goes on from what it has
// verified, so nobody can slip a state under it. One that has not takes the
// newest checkpoint as it is: replaying the whole log would be the only other
// way, and is what check does.
func (r *Repo) start(ctx context.Context, head uint64) (from *State, ref *CheckpointRef, err error) {
	data, err := r.getGeneration(ctx, head)
	if err != nil {
		return nil, nil, err
	}
	g, err := DecodeGeneration(data)
	if err != nil {
		return nil, nil, fmt.Errorf("generation %d: %w", head, err)
	}
	ref = g.Checkpoint
	if ref == nil || ref.Number <= r.state.Generation {
		return r.state, nil, nil
	}
	defer func() {
		// What lies below the floor may be gone, so nobody can replay it any more.
		// A machine that was away for so long begins as one that is new.
		if (err == nil || unusable(err)) && from != nil && from.Generation+1 < g.Floor {
			from, err = r.loadCheckpoint(ctx, *ref, g.Floor)
			ref = nil
		}
	}()
	// Nobody has verified g yet. What makes its checkpoint one to begin at is
	// that the replay from there ends with g, its author and its signature.
	if ref.Number >= head {
		return nil, nil, fmt.Errorf("generation %d: %w: its checkpoint is that of generation %d", head, object.ErrCorrupt, ref.Number)
	}
	known := r.trusted.Checkpoint
	switch {
	case !r.trusted.known(), known != nil && *known == *ref:
		from, err = r.loadCheckpoint(ctx, *ref, g.Floor)
		if unusable(err) {
			return r.state, ref, nil
		}
		return from, nil, err
	case known == nil || known.Number <= r.state.Generation:
		return r.state, ref, nil
	}
	from, err = r.checkpointAt(ctx, *known)
	if unusable(err) {
		return r.state, ref, nil // and not from ref, as it is: deleting known must gain nobody that
	}
	return from, ref, err
}

// unusable reports whether err says that the file of a checkpoint is gone or
// damaged. The log has all that is in it, from generation 1 on, since no op
// moves the floor.
func unusable(err error) bool {
	return !errors.Is(err, ErrRollback) && (errors.Is(err, store.ErrNotFound) ||
		errors.Is(err, store.ErrTooLarge) || errors.Is(err, object.ErrCorrupt))
}

// loadCheckpoint takes the checkpoint that ref names as the state it says, if
// it extends what this machine has seen, unless that lies below the floor.
func (r *Repo) loadCheckpoint(ctx context.Context, ref CheckpointRef, floor uint64) (*State, error) {
	s, err := r.checkpointAt(ctx, ref)
	if err != nil {
		return nil, err
	}
	if t := r.trusted; t.known() && t.Generation <= ref.Number && !r.trustsBelow(floor) {
		if err := r.follows(ctx, t.Generation, t.Hash, ref.Number, s.Hash); err != nil {
			return nil, err
		}
	}
	r.verified = &ref
	return s, nil
}

// checkpointAt reads the checkpoint that ref names.
func (r *Repo) checkpointAt(ctx context.Context, ref CheckpointRef) (*State, error) {
	s, err := r.readCheckpoint(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("checkpoint of generation %d: %w", ref.Number, err)
	}
	return s, nil
}

func (r *Repo) readCheckpoint(ctx context.Context, ref CheckpointRef) (*State, error) {
	data, err := r.store.Get(ctx, ref.Name.Key(), checkpointMax)
	if err != nil {
		return nil, err
	}
	if object.HashBytes("checkpoint", data) != ref.Hash {
		return nil, fmt.Errorf("%w: it is not the one that the log names", object.ErrCorrupt)
	}
	s, err := DecodeState(data)
	if err != nil {
		return nil, err
	}
	if s.Repository != r.config.ID || s.Origin != r.genesis.Origin || s.Admin != r.genesis.Admin || s.Generation != ref.Number {
		return nil, fmt.Errorf("%w: it belongs to another log", object.ErrCorrupt)
	}
	return s, nil
}

// follows checks by the chain of hashes that generation last, of hash want,
// comes after generation n of the given hash.
func (r *Repo) follows(ctx context.Context, n uint64, hash object.Hash, last uint64, want object.Hash) error {
	err := r.generations(ctx, n+1, last, func(n uint64, data []byte) error {
		g, err := DecodeGeneration(data)
		if err != nil {
			return fmt.Errorf("generation %d: %w", n, err)
		}
		if g.Number != n || g.Previous != hash {
			return rollback("generation %d does not follow the one seen before", n)
		}
		hash = hashGeneration(data)
		return nil
	})
	if err == nil && hash != want {
		return rollback("generation %d is not the one that its checkpoint was made from", last)
	}
	return err
}

// rollback wraps [ErrRollback] around what was seen.
func rollback(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrRollback, fmt.Errorf(format, args...))
}
