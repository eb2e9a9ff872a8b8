package keyring

import (
	"errors"
	"testing"

	"bluesky/seal"
	"bluesky/store/fault"
)

// TestLateDeletion: a deletion that was reported as failed, and is executed when
// nobody counts with it any more, does not take the last slot away.
func TestLateDeletion(t *testing.T) {
	late := fault.Rule{Kinds: fault.Delete, Prefix: "keys/", Times: 1, Effect: fault.Delay(0)}
	t.Run("of a change that is taken back", func(t *testing.T) {
		b := fault.New()
		st := openBucket(t, b)
		create(t, st, options(t, "old"))
		b.Inject(fault.Rules(late))
		change, err := unlock(t, st, "old").Change(t.Context(), newSlot("new"))
		if err == nil || change.Removed || change.Added == (seal.SlotID{}) {
			t.Fatalf("%+v, %v", change, err)
		}
		if err := unlock(t, st, "old").Remove(t.Context(), change.Added); err != nil {
			t.Fatal(err)
		}
		if b.Settle() != 1 {
			t.Fatal("no deletion was late")
		}
		if !opens(t, st, "old") || opens(t, st, "new") {
			t.Errorf("old opens: %v, new: %v", opens(t, st, "old"), opens(t, st, "new"))
		}
	})
	t.Run("of two who remove each other", func(t *testing.T) {
		b := fault.New()
		st := openBucket(t, b)
		create(t, st, options(t, "one"))
		addPassword(t, st, "one", "two")
		one, two := unlock(t, st, "one"), unlock(t, st, "two")
		b.Inject(fault.Rules(late))
		if err := one.Remove(t.Context(), two.slot.ID); err == nil {
			t.Fatal("no error")
		}
		if err := two.Remove(t.Context(), one.slot.ID); err != nil {
			t.Fatal(err)
		}
		b.Settle()
		if !opens(t, st, "one") && !opens(t, st, "two") {
			t.Error("no password opens the repository any more")
		}
	})
}

// TestMovedMeanwhile: two machines have the same password, and one has moved its
// slot. The other one goes on with that; who has none left removes nothing.
func TestMovedMeanwhile(t *testing.T) {
	st := memory(t)
	create(t, st, options(t, "shared"))
	second, third := addPassword(t, st, "shared", "second"), addPassword(t, st, "shared", "third")
	ring, same, other := unlock(t, st, "shared"), unlock(t, st, "shared"), unlock(t, st, "third")
	if err := ring.Remove(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if err := same.Remove(t.Context(), ring.slot.ID); !errors.Is(err, ErrSlotInUse) {
		t.Errorf("removing where it has moved to: %v", err)
	}
	if err := same.Remove(t.Context(), third); err != nil {
		t.Error(err)
	}
	if err := other.Remove(t.Context(), same.slot.ID); !errors.Is(err, ErrOwnSlotGone) {
		t.Errorf("without a slot: %v", err)
	}
	if n := len(slots(t, st)); n != 1 || !opens(t, st, "shared") {
		t.Errorf("%d slots are left", n)
	}
}
