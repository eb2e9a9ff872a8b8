package repo

import (
	"math/bits"
	"testing"

	"bluesky/store/fault"
)

// TestFindHead tries every pair of a known generation and a head up to 100, and
// up to 200 those that are close to each other or far apart.
func TestFindHead(t *testing.T) {
	r, f := newRepo(t)
	looks := 0
	f.read = func(string) error { looks++; return nil }
	for head := range uint64(201) {
		f.Objects.Set(GenerationKey(head), []byte("anything"))
		for known := range head + 1 {
			if head > 100 && known > 5 && known < head-5 {
				continue
			}
			looks = 0
			got, err := r.findHead(t.Context(), known)
			if err != nil || got != head {
				t.Fatalf("from %d: %d, %v, want %d", known, got, err, head)
			}
			if most := 2*bits.Len64(head-known) + 1; looks > most {
				t.Errorf("from %d to %d: %d looks, want at most %d", known, head, looks, most)
			}
		}
	}
}

// TestListingThatLags: a listing is a starting point and no more.
func TestListingThatLags(t *testing.T) {
	r, f := newRepo(t)
	for i := range uint64(9) {
		backUp(t, r, i)
	}
	for shown := range uint64(9) {
		f.list = fault.Stale(int64(shown + 1))
		if s := refresh(t, open(t, f.open(t), Options{})); s.Generation != 9 || len(s.Snapshots) != 9 {
			t.Errorf("with %d listed: generation %d, %d snapshots", shown, s.Generation, len(s.Snapshots))
		}
	}
}

// TestUnreadableHead: an error of the bucket is no missing generation.
func TestUnreadableHead(t *testing.T) {
	r, f := newRepo(t)
	backUp(t, r, 1)
	f.read = func(key string) error {
		if key == GenerationKey(2) {
			return fault.ErrRefused
		}
		return nil
	}
	if s, err := r.Refresh(t.Context()); err == nil {
		t.Errorf("generation %d taken for the head, though the next one could not be looked at", s.Generation)
	}
}

// TestForeignGenerationNames are not taken for generations.
func TestForeignGenerationNames(t *testing.T) {
	r, f := newRepo(t)
	backUp(t, r, 1)
	for _, key := range []string{"gen/ffffffffffffffff", "gen/1", "gen/00000000000000FF", "gen/x", "gen/0000000000000009.tmp"} {
		if n, ok := ParseGenerationKey(key); ok {
			t.Errorf("%s is generation %d", key, n)
		}
		f.Objects.Set(key, []byte("foreign"))
	}
	if s := refresh(t, open(t, f.open(t), Options{})); s.Generation != 1 {
		t.Errorf("generation %d", s.Generation)
	}
}
