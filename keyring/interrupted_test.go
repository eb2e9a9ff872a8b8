package keyring

import (
	"context"
	"testing"

	"bluesky/seal"
	"bluesky/store/fault"
)

// TestLastRemoverIsInterrupted: of two who remove each other's slot, the one that
// deletes last is interrupted right behind that, or does not learn that its
// deletion was done. A password is left all the same.
func TestLastRemoverIsInterrupted(t *testing.T) {
	remove := func(ctx context.Context, g *Ring, other seal.SlotID) error {
		_, err := g.Remove(ctx, other)
		return err
	}
	for _, tt := range []struct {
		name         string
		cancel, lost bool
	}{
		{"interrupted", true, false},
		{"lost reply", false, true},
		{"interrupted, lost reply", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := fault.New()
			st := openBucket(t, b)
			create(t, st, options(t, "first"))
			second := addPassword(t, st, "first", "second")
			last, other := unlock(t, st, "first"), unlock(t, st, "second")
			first := seal.SlotID(last.slot.ID)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			deletions, otherDone := 0, false
			b.Inject(func(op fault.Op) fault.Effect {
				switch {
				case op.Kind == fault.Delete:
					if deletions++; deletions > 1 {
						return fault.None // the other one's
					}
					if err := remove(t.Context(), other, first); err != nil {
						t.Errorf("the other one: %v", err)
					}
					otherDone = true
					if tt.lost {
						return fault.Lose.With(fault.ErrRefused)
					}
				case otherDone && tt.cancel:
					cancel() // behind the deletion, before the next operation
				}
				if op.Kind == fault.Stat && tt.lost {
					return fault.Refuse
				}
				return fault.None
			})
			err := remove(ctx, last, second)
			b.Inject(nil)
			t.Logf("the last one: %v", err)
			if deletions != 2 {
				t.Fatalf("%d deletions", deletions)
			}
			if !opens(t, st, "first") && !opens(t, st, "second") {
				t.Error("nobody can open the repository any more")
			}
		})
	}
}
