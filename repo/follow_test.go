package repo

import "testing"

// Follow passes over garbage that the admin has healed, like every reader.
func TestFollowPassesOver(t *testing.T) {
	r, f := newRepo(t)
	before := backUp(t, r, 1)
	n := before.Generation + 1
	f.Objects.Set(GenerationKey(n), []byte("garbage"))
	if got, err := r.Void(t.Context(), admin, false); err != nil || got != n {
		t.Fatalf("generation %d, %v", got, err)
	}
	segment := SegmentName([16]byte{0x77})
	w := f.sweep(t)
	w.clean.Condemned = append(w.clean.Condemned, segment)
	want := w.commit()
	got, condemned, err := r.Follow(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash != want.Hash || len(condemned) != 1 || condemned[0] != segment {
		t.Errorf("generation %d, want %d; condemned %v", got.Generation, want.Generation, condemned)
	}
}
