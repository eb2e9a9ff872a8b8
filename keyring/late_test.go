package keyring

import (
	"errors"
	"testing"

	"bluesky/repo"
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
		if _, err := unlock(t, st, "old").Remove(t.Context(), change.Added); err != nil {
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
		if _, err := one.Remove(t.Context(), two.slot.ID); err == nil {
			t.Fatal("no error")
		}
		if _, err := two.Remove(t.Context(), one.slot.ID); err != nil {
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
	if _, err := ring.Remove(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if _, err := same.Remove(t.Context(), ring.slot.ID); !errors.Is(err, ErrSlotInUse) {
		t.Errorf("removing where it has moved to: %v", err)
	}
	if _, err := same.Remove(t.Context(), third); err != nil {
		t.Error(err)
	}
	if _, err := other.Remove(t.Context(), same.slot.ID); !errors.Is(err, ErrOwnSlotGone) {
		t.Errorf("without a slot: %v", err)
	}
	if n := len(slots(t, st)); n != 1 || !opens(t, st, "shared") {
		t.Errorf("%d slots are left", n)
	}
}

// TestRemovedWhileItMoves: the machine whose slot is removed runs remove itself,
// and has moved its slot by then. Whoever removes it is told.
func TestRemovedWhileItMoves(t *testing.T) {
	tests := []struct {
		name string
		at   func(op fault.Op, victim string) bool // when the other machine begins and ends
		full bool                                  // or stops behind its new slot
	}{
		{"before the first look", func(fault.Op, string) bool { return true }, false},
		{"before the deletion", func(op fault.Op, victim string) bool { return op.Kind == fault.Delete && op.Key == victim }, true},
		{"before the deletion, and stops", func(op fault.Op, victim string) bool { return op.Kind == fault.Delete && op.Key == victim }, false},
		{"behind the deletion", func(op fault.Op, victim string) bool { return op.Kind == fault.Delete && op.Key != victim }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := fault.New()
			create(t, openBucket(t, b), options(t, "one"))
			slot := newSlot("third")
			slot.User = "u3"
			third, err := unlock(t, openBucket(t, b), "one").Add(t.Context(), slot)
			if err != nil {
				t.Fatal(err)
			}
			victim := addPassword(t, openBucket(t, b), "one", "two")
			one, two := unlock(t, openBucket(t, b), "one"), unlock(t, openBucket(t, fault.Over(b.Objects)), "two")
			moved := false
			b.Inject(func(op fault.Op) fault.Effect {
				if moved || !tt.at(op, repo.SlotKey(victim)) {
					return fault.None
				}
				moved = true
				if tt.full {
					_, err = two.Remove(t.Context(), seal.SlotID{1}) // whichever: the slot moves
				} else {
					err = two.move(t.Context())
				}
				if err != nil {
					t.Error(err)
				}
				return fault.None
			})
			left, err := one.Remove(t.Context(), victim)
			if err != nil || !moved {
				t.Fatalf("%v, moved %v", err, moved)
			}
			if len(left) != 1 || left[0].ID != seal.SlotID(two.slot.ID) || !opens(t, openBucket(t, b), "two") {
				t.Fatalf("left are %+v, want %x", left, two.slot.ID)
			}
			if left, err = one.Remove(t.Context(), left[0].ID); err != nil || len(left) > 0 {
				t.Errorf("then left are %+v, %v", left, err)
			}
			if left, err = one.Remove(t.Context(), third); err != nil || len(left) > 0 {
				t.Errorf("of another one left are %+v, %v", left, err)
			}
			if n := len(slots(t, openBucket(t, b))); n != 1 || !opens(t, openBucket(t, b), "one") {
				t.Errorf("%d slots at last", n)
			}
		})
	}
}

// TestRemovedSlotComesBack: somebody puts a slot back that was just removed.
func TestRemovedSlotComesBack(t *testing.T) {
	b := fault.New()
	create(t, openBucket(t, b), options(t, "one"))
	victim := addPassword(t, openBucket(t, b), "one", "two")
	key := repo.SlotKey(victim)
	data := b.Objects.Get(key)
	one := unlock(t, openBucket(t, b), "one")
	b.Inject(func(op fault.Op) fault.Effect {
		if op.Kind == fault.Delete && op.Key != key {
			b.Objects.Set(key, data)
		}
		return fault.None
	})
	if left, err := one.Remove(t.Context(), victim); err != nil || len(left) != 1 || left[0].ID != victim {
		t.Errorf("left are %+v, %v", left, err)
	}
}

// TestAddedWhileRemoved: the machine whose slot is removed has added another
// password meanwhile, under another name.
func TestAddedWhileRemoved(t *testing.T) {
	b := fault.New()
	create(t, openBucket(t, b), options(t, "one"))
	victim := addPassword(t, openBucket(t, b), "one", "two")
	one, two := unlock(t, openBucket(t, b), "one"), unlock(t, openBucket(t, fault.Over(b.Objects)), "two")
	slot, added := newSlot("three"), seal.SlotID{}
	slot.User = "somebody else"
	b.Inject(func(op fault.Op) fault.Effect {
		if op.Kind == fault.Delete && added == (seal.SlotID{}) {
			var err error
			if added, err = two.Add(t.Context(), slot); err != nil {
				t.Error(err)
			}
		}
		return fault.None
	})
	if left, err := one.Remove(t.Context(), victim); err != nil || len(left) != 1 || left[0].ID != added {
		t.Errorf("left are %+v, %v; want %x", left, err, added)
	}
}
