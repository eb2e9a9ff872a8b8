package repo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"

	"bluesky/store"
)

const (
	slotPrefix = "keys/"
	slotMax    = 64 << 10
)

// A KeySlot is a key slot as it is stored; package seal opens it.
type KeySlot struct {
	ID   [16]byte
	Data []byte
}

// SlotKey names the key slot id in the bucket.
func SlotKey(id [16]byte) string { return slotPrefix + hex.EncodeToString(id[:]) }

// KeySlots yields the key slots, in the order of their random names. Foreign
// names among them are passed over.
func (r *Repo) KeySlots(ctx context.Context) iter.Seq2[KeySlot, error] {
	return func(yield func(KeySlot, error) bool) {
		for entry, err := range r.store.List(ctx, slotPrefix) {
			if err != nil {
				yield(KeySlot{}, fmt.Errorf("list key slots: %w", err))
				return
			}
			slot := KeySlot{}
			if hexField(slot.ID[:], entry.Key[len(slotPrefix):]) != nil || SlotKey(slot.ID) != entry.Key {
				continue
			}
			slot.Data, err = r.store.Get(ctx, entry.Key, slotMax)
			if err != nil {
				err = fmt.Errorf("key slot %x: %w", slot.ID, err)
			}
			if !yield(slot, err) {
				return
			}
		}
	}
}

// PutSlot stores a new key slot and reads it back.
func (c *Creation) PutSlot(ctx context.Context, slot KeySlot) (KeySlot, error) {
	return putSlot(ctx, c.store, slot)
}

// PutSlot stores a key slot and returns what is in the bucket then, for the
// caller to open. After an error it may be there, or not.
func (r *Repo) PutSlot(ctx context.Context, slot KeySlot) (KeySlot, error) {
	return putSlot(ctx, r.store, slot)
}

func putSlot(ctx context.Context, st *store.Store, slot KeySlot) (KeySlot, error) {
	key := SlotKey(slot.ID)
	if err := putNamed(ctx, st, key, slot.Data); err != nil {
		return KeySlot{}, fmt.Errorf("key slot %x: %w", slot.ID, err)
	}
	data, err := st.Get(ctx, key, slotMax)
	return KeySlot{slot.ID, data}, err
}

// RemoveSlot deletes a key slot. One that is not there is no error: somebody
// else was faster, or a reply was lost.
func (r *Repo) RemoveSlot(ctx context.Context, id [16]byte) error {
	key := SlotKey(id)
	err := r.store.Delete(ctx, key)
	switch {
	case err == nil, errors.Is(err, store.ErrNotFound):
		return nil
	case errors.Is(err, store.ErrNotDurable):
		return fmt.Errorf("key slot %x: %w", id, err) // it may come back with a power cut
	}
	if _, statErr := r.store.Stat(ctx, key); errors.Is(statErr, store.ErrNotFound) {
		return nil
	}
	return fmt.Errorf("key slot %x: %w", id, err)
}
