package keyring

import (
	"context"
	"testing"

	"bluesky/repo"
)

// A slot that memory has damaged before it was stored comes back as it was
// stored, and opens nothing: only opening it tells.
func TestNewSlotDamagedInMemory(t *testing.T) {
	st := memory(t)
	create(t, st, options(t, "secret"))
	ring := unlock(t, st, "secret")
	damage := func(_ context.Context, slot repo.KeySlot) (repo.KeySlot, error) {
		slot.Data[20] ^= 1 // of the salt
		return slot, nil
	}
	if _, err := newSlot("new").put(t.Context(), ring.bundle, damage); err == nil {
		t.Error("a slot that no password opens was taken")
	}
}
