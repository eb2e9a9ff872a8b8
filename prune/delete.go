package prune

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"sync"

	"bluesky/repo"
	"bluesky/store"

	"golang.org/x/sync/errgroup"
)

// deleters is how many files are deleted at once.
const deleters = 8

// deletedAtOnce is how many names one generation records as deleted.
const deletedAtOnce = 50_000

// deleteCondemned deletes what the newest state has condemned, whoever did it,
// and records it once the store says that it is gone (R5). Nothing else is ever
// deleted.
func deleteCondemned(ctx context.Context, r *repo.Repo, cleaner crypto.Signer, options Options, result *Result, progress Progress) error {
	state, err := r.Refresh(ctx)
	if err != nil {
		return err
	}
	names, err := ripe(ctx, r, state, options)
	if err != nil {
		return err
	}
	result.Waiting = uint64(len(state.Condemned) - len(names))
	progress.Phase("delete what is condemned", uint64(len(names)))
	for part := range slices.Chunk(names, deletedAtOnce) {
		gone, failed := deleteAll(ctx, r.Store(), part, progress)
		if len(gone) > 0 {
			if _, err := r.RecordDeleted(ctx, cleaner, gone); err != nil {
				return errors.Join(failed, err)
			}
		}
		result.Deleted += uint64(len(gone))
		if failed != nil {
			return failed
		}
	}
	return nil
}

// ripe returns the condemned names whose grace is over, in order.
func ripe(ctx context.Context, r *repo.Repo, state *repo.State, options Options) ([]repo.Name, error) {
	times := newStoreTimes(r, state)
	var names []repo.Name
	for name, at := range state.Condemned {
		if options.Grace > 0 {
			condemned, err := times.of(ctx, at)
			if err != nil {
				return nil, err
			}
			if options.Now().Sub(condemned) < options.Grace {
				continue
			}
		}
		names = append(names, name)
	}
	slices.SortFunc(names, repo.Name.Compare)
	return names, nil
}

// deleteAll deletes names and returns those that the store has no more. Where all
// are locked or a right is missing, all fail for one reason: the error has the first
// of them, and their number.
func deleteAll(ctx context.Context, st *store.Store, names []repo.Name, progress Progress) (gone []repo.Name, failed error) {
	var mu sync.Mutex
	var first repo.Name
	failures := 0
	var g errgroup.Group
	g.SetLimit(deleters)
	for _, name := range names {
		g.Go(func() error {
			err := deleteOne(ctx, st, name.Key())
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if failures++; failures == 1 || name.Compare(first) < 0 {
					first, failed = name, fmt.Errorf("delete %s: %w", name, err)
				}
				return nil
			}
			gone = append(gone, name)
			progress.Add(1)
			return nil
		})
	}
	_ = g.Wait() // the functions return none
	slices.SortFunc(gone, repo.Name.Compare)
	if failures > 1 {
		failed = fmt.Errorf("%d of %d files could not be deleted, the first: %w", failures, len(names), failed)
	}
	return gone, failed
}

func deleteOne(ctx context.Context, st *store.Store, key string) error {
	deleteErr := st.Delete(ctx, key)
	_, err := st.Stat(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil // also after a lost reply, or when another was faster
	case err == nil:
		return errors.Join(errors.New("it is still there"), deleteErr)
	}
	return errors.Join(deleteErr, err)
}
