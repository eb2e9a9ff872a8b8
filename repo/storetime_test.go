package repo

import (
	"errors"
	"slices"
	"testing"
	"time"

	"bluesky/store"
)

// TestStoreTimes: the store's times of what has no effective time, to the end of
// the second, and an error where the store does not tell.
func TestStoreTimes(t *testing.T) {
	r, f := newRepo(t)
	f.grow(t, 1, 2, 3)
	s := refresh(t, r)
	times, err := r.StoreTimes(t.Context(), s)
	if err != nil || len(times) != 3 {
		t.Fatalf("got %v, %v", times, err)
	}
	if !slices.IsSortedFunc(times, func(a, b StoreTime) int { return a.ID.Compare(b.ID) }) {
		t.Error("the times are not in the order of ids")
	}
	for _, at := range times {
		snap, _ := s.Snapshot(at.ID)
		entry, err := f.open(t).Stat(t.Context(), GenerationKey(snap.Generation))
		if err != nil {
			t.Fatal(err)
		}
		if late := at.Time.Time().Sub(entry.ModTime); late <= 0 || late > time.Second || at.Time.Nsec != 0 {
			t.Errorf("generation %d came at %v; got %v", snap.Generation, entry.ModTime, at.Time.Time())
		}
	}
	timed := s.Timed(times[:2])
	rest, err := r.StoreTimes(t.Context(), timed)
	if err != nil || len(rest) != 1 || rest[0] != times[2] {
		t.Errorf("with two recorded: got %v, %v, want %v", rest, err, times[2:])
	}
	snap, _ := s.Snapshot(times[2].ID)
	if err := f.open(t).Delete(t.Context(), GenerationKey(snap.Generation)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.StoreTimes(t.Context(), timed); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("without that generation: %v", err)
	}
	if _, err := r.StoreTimes(t.Context(), s.Timed(times)); err != nil {
		t.Errorf("with all recorded nothing is asked for: %v", err)
	}
}
