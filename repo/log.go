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
	for step := uint64(1); ; step *= 2 {
		if known+step > maxGeneration {
			return 0, fmt.Errorf("%w: more than %d generations", object.ErrCorrupt, uint64(maxGeneration))
		}
		ok, err := r.hasGeneration(ctx, known+step)
		if err != nil {
			return 0, err
		}
		if !ok {
			missing = known + step
			break
		}
		there = known + step
	}
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

// replay folds the generations after s up to last.
func (r *Repo) replay(ctx context.Context, s *State, last uint64) (*State, error) {
	err := r.generations(ctx, s.Generation+1, last, func(_ uint64, data []byte) error {
		next, err := s.next(data)
		if err != nil {
			return err
		}
		if next.Generation == r.trusted.Generation && next.Hash != r.trusted.Hash {
			return rollback("generation %d is not the one seen before", next.Generation)
		}
		s = next
		return nil
	})
	return s, err
}

// start returns the newest verified state that the head can be replayed from:
// the one at hand, or the checkpoint that the head names.
func (r *Repo) start(ctx context.Context, known *State, head uint64) (*State, error) {
	data, err := r.getGeneration(ctx, head)
	if err != nil {
		return nil, err
	}
	g, err := DecodeGeneration(data)
	if err != nil {
		return nil, fmt.Errorf("generation %d: %w", head, err)
	}
	ref := g.Checkpoint
	if ref == nil || ref.Number <= known.Generation {
		return known, nil
	}
	return r.loadCheckpoint(ctx, *ref)
}

// loadCheckpoint fetches and verifies the checkpoint that ref names, and that
// it extends what this machine has seen.
func (r *Repo) loadCheckpoint(ctx context.Context, ref CheckpointRef) (*State, error) {
	s, err := r.checkpointAt(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("checkpoint of generation %d: %w", ref.Number, err)
	}
	if t := r.trusted; t.known() && t.Generation <= ref.Number {
		if err := r.follows(ctx, t.Generation, t.Hash, ref.Number, s.Hash); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (r *Repo) checkpointAt(ctx context.Context, ref CheckpointRef) (*State, error) {
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
	return fmt.Errorf("%w: %s", ErrRollback, fmt.Sprintf(format, args...))
}
