package keyring

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store/fault"
)

// TestSlotThatTheDiskHasLost: a slot in a bad sector is shown as of no use, keeps
// nobody from changing a password, and can be removed.
func TestSlotThatTheDiskHasLost(t *testing.T) {
	b := fault.New()
	st := openBucket(t, b)
	create(t, st, options(t, "first"))
	lost := addPassword(t, st, "first", "second")
	b.Inject(fault.Rules(fault.Rule{Kinds: fault.Get, Prefix: repo.SlotKey(lost), Effect: fault.Fail.With(syscall.EIO)}))
	ring := unlock(t, st, "first")
	list, err := ring.Slots(t.Context())
	if err != nil || len(list) != 2 || !slices.ContainsFunc(list, func(s Slot) bool { return s.ID == lost && s.Err != nil }) {
		t.Errorf("%d slots, %v", len(list), err)
	}
	if c, err := ring.Change(t.Context(), newSlot("new")); err != nil || !c.Removed {
		t.Errorf("change: %v, removed %v", err, c.Removed)
	}
	if _, err := ring.Remove(t.Context(), lost); err != nil {
		t.Errorf("remove: %v", err)
	}
	b.Inject(nil)
	if left := slots(t, st); len(left) != 1 || strings.HasSuffix(left[0], seal.SlotID(lost).String()) {
		t.Errorf("left are %v", left)
	}
	if !opens(t, st, "new") || opens(t, st, "first") {
		t.Error("the password was not changed")
	}
}
