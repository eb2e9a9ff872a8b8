package prune

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"bluesky/object"
	"bluesky/repo"
)

// TestTogether has writers, a forgetter, cleaners that wait for nothing, and a
// reader work at once. Writers may be told to start again; what they have
// committed stays until it is forgotten.
func TestTogether(t *testing.T) {
	for seed := range uint64(2) {
		b := newBed(t, seed)
		var done atomic.Bool
		var writers, others sync.WaitGroup
		var committed, gone, cleans, conflicts atomic.Int64
		for w := range 3 {
			writers.Go(func() {
				own := newBedOn(b, seed*10+uint64(w)+1)
				current := own.newTree(6, 10)
				for range 12 {
					current = own.change(current, 3)
					if err := own.tryBackUp(current); errors.Is(err, repo.ErrObjectGone) {
						gone.Add(1)
					} else if err != nil {
						t.Errorf("writer %d: %v", w, err)
					} else {
						committed.Add(1)
					}
				}
			})
		}
		others.Go(func() {
			for !done.Load() {
				r := b.open()
				if snaps := r.State().Snapshots; len(snaps) > 3 {
					if _, err := r.Forget(t.Context(), admin, []object.ID{snaps[0].ID}, nil); err != nil {
						t.Error(err)
					}
				}
			}
		})
		for range 2 {
			others.Go(func() {
				options := tight
				options.Instant = true
				for !done.Load() {
					p, err := NewPlan(t.Context(), b.open(), options, nil)
					if err == nil {
						_, err = p.Apply(t.Context(), cleaner, nil)
					}
					switch {
					case err == nil:
						cleans.Add(1)
					case errors.Is(err, repo.ErrConflict), errors.Is(err, repo.ErrObjectGone):
						conflicts.Add(1)
					default:
						t.Errorf("cleaner: %v", err)
						return
					}
				}
			})
		}
		writers.Wait()
		done.Store(true)
		others.Wait()
		b.live()
		options := tight
		options.Instant = true
		b.prune(options)
		b.prune(options)
		b.sound()
		t.Logf("seed %d: %d commits, %d told to start again, %d prunes, %d lost", seed, committed.Load(), gone.Load(), cleans.Load(), conflicts.Load())
	}
}
