package keyring

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
)

// Errors of changing the key slots.
var (
	// ErrSlotInUse: a password cannot remove its own slot.
	ErrSlotInUse = errors.New("it is the key slot that the given password has opened")
	// ErrLastSlot: nothing would open the repository any more.
	ErrLastSlot = errors.New("it is the last key slot: without it nobody could open the repository, ever")
	// ErrOwnSlotGone: somebody has removed the slot that the password opened.
	ErrOwnSlotGone = errors.New("the key slot that the given password has opened is gone: somebody has removed or changed it meanwhile")
	// ErrNotOurs: a slot that these keys have not made.
	ErrNotOurs = errors.New("not of this key: an interrupted init left it, somebody else put it there, or it is damaged")
)

// A Slot is a key slot, as its owner sees it.
type Slot struct {
	ID      seal.SlotID
	Current bool          // the ring's password has opened it
	Info    seal.SlotInfo // who made it; zero where Err is not nil
	// Err says why the slot is of no use, nil for those that these keys have
	// made. It wraps [ErrNotOurs], [object.ErrVersion], or is that of reading it.
	// That a slot without Err opens, only its own password can tell.
	Err error
}

// Slots lists the key slots, in the order of their random ids.
func (g *Ring) Slots(ctx context.Context) ([]Slot, error) {
	var list []Slot
	for slot, err := range g.repo.KeySlots(ctx) {
		if errors.Is(err, store.ErrNotFound) {
			continue // removed since it was listed
		}
		if err != nil && !unusable(err) {
			return nil, err
		}
		list = append(list, g.look(slot, err))
	}
	return list, nil
}

// unusable reports whether an error of reading a slot says that nobody can read
// it: it is larger than any, or in a bad sector.
func unusable(err error) bool {
	return errors.Is(err, store.ErrTooLarge) || errors.Is(err, syscall.EIO)
}

// look judges one slot; err is that of reading it.
func (g *Ring) look(slot repo.KeySlot, err error) Slot {
	s := Slot{ID: slot.ID, Err: err}
	if err == nil {
		s.Info, s.Err = g.keys.SlotInfo(slot.ID, slot.Data)
	}
	if s.Err != nil && !errors.Is(s.Err, object.ErrVersion) {
		s.Err = ErrNotOurs
	}
	s.Current = slot.ID == g.slot.ID && bytes.Equal(slot.Data, g.slot.Data)
	return s
}

// A NewSlot says how a key slot is made.
type NewSlot struct {
	Password []byte
	Host     string // where and by whom, sealed in the slot
	User     string
	Now      time.Time
	Params   seal.SlotParams // zero is the default
	Rand     io.Reader       // nil is crypto/rand
}

// put stores the slot, for bundle b, reads it back from the bucket and opens
// it with its password.
func (n NewSlot) put(ctx context.Context, b seal.Bundle, put func(context.Context, repo.KeySlot) (repo.KeySlot, error)) (repo.KeySlot, error) {
	if n.Rand == nil {
		n.Rand = rand.Reader
	}
	if n.Params == (seal.SlotParams{}) {
		n.Params = seal.DefaultSlotParams()
	}
	info := seal.SlotInfo{Created: object.TimeOf(n.Now), Host: []byte(n.Host), User: []byte(n.User)}
	id, data, err := seal.NewSlot(n.Rand, n.Password, b, info, n.Params)
	if err != nil {
		return repo.KeySlot{}, err
	}
	slot, err := put(ctx, repo.KeySlot{ID: id, Data: data})
	if err != nil {
		return repo.KeySlot{}, err
	}
	if !bytes.Equal(slot.Data, data) { // also where only its info is damaged
		return repo.KeySlot{}, fmt.Errorf("key slot %s: read back: %w: it is not what was stored", id, object.ErrCorrupt)
	}
	return slot, verify(slot, n.Password, b)
}

// verify opens a slot that was read from the bucket.
func verify(slot repo.KeySlot, password []byte, want seal.Bundle) error {
	got, err := seal.OpenSlot(slot.ID, slot.Data, want.Repository, password, seal.MemoryLimit())
	if err != nil {
		return fmt.Errorf("read back: %w", err)
	}
	if identity(got) != identity(want) || got.Root != want.Root {
		return fmt.Errorf("key slot %s: read back: %w: it holds other keys", seal.SlotID(slot.ID), object.ErrCorrupt)
	}
	return nil
}

// Add makes one more password open the repository. The slot is durable, and was
// read back from the bucket and opened with the password, when Add returns nil.
// After an error there may be a slot that opens: nothing is deleted.
func (g *Ring) Add(ctx context.Context, n NewSlot) (seal.SlotID, error) {
	slot, err := n.put(ctx, g.bundle, g.repo.PutSlot)
	return slot.ID, err
}

// Remove removes the key slot id. Its commit point is the deletion.
//
// The password of the ring goes on to open the repository: its own slot cannot
// be removed ([ErrSlotInUse], [ErrLastSlot]), and one that has lost its slot
// removes none ([ErrOwnSlotGone]). So whoever removes a slot has just opened
// another. Two who remove each other's slot at the same time would leave none;
// then the last one puts its own back, and restored is true. After an error the
// slot may be gone, or not.
func (g *Ring) Remove(ctx context.Context, id seal.SlotID) (restored bool, err error) {
	list, err := g.Slots(ctx)
	if err != nil {
		return false, err
	}
	ours := slices.DeleteFunc(slices.Clone(list), func(s Slot) bool { return s.Err != nil })
	switch {
	case id == seal.SlotID(g.slot.ID) && len(ours) <= 1:
		return false, ErrLastSlot
	case id == seal.SlotID(g.slot.ID):
		return false, ErrSlotInUse
	case !slices.ContainsFunc(list, func(s Slot) bool { return s.Current }):
		return false, ErrOwnSlotGone
	}
	_, restored, err = g.remove(ctx, id)
	return restored, err
}

// remove deletes slot id and then sees to it that one is left: also after an
// error, since the slot may be gone all the same, and where ctx has ended, since
// that is a few operations only. removed says that the slot is gone for sure.
func (g *Ring) remove(ctx context.Context, id seal.SlotID) (removed, restored bool, err error) {
	removeErr := g.repo.RemoveSlot(ctx, id)
	restored, err = g.keepOne(context.WithoutCancel(ctx))
	if err != nil && removeErr == nil {
		err = fmt.Errorf("key slot %s was removed, and %w", id, err)
	}
	return removeErr == nil, restored, errors.Join(removeErr, err)
}

// keepOne puts the ring's own slot back if no slot of its keys is left. Of
// several who remove each other's slots, the last to come here sees that none is
// left, and nobody removes what it puts back.
func (g *Ring) keepOne(ctx context.Context) (restored bool, err error) {
	list, err := g.Slots(ctx)
	if err != nil {
		return false, fmt.Errorf("what is left cannot be read: %w", err)
	}
	if slices.ContainsFunc(list, func(s Slot) bool { return s.Err == nil }) {
		return false, nil
	}
	slot, err := g.repo.PutSlot(ctx, g.slot)
	if err == nil {
		err = verify(slot, g.password, g.bundle)
	}
	if err != nil {
		return false, fmt.Errorf("all key slots are gone, and the last could not be put back; "+
			"restore the keys folder of the repository from a copy: %w", err)
	}
	return true, nil
}

// A Change is what became of the slots when a password was changed.
type Change struct {
	Added seal.SlotID // of the new password, which opens it; zero where none was verified
	// Removed says that the slot of the old password is gone. If it is false,
	// that opens the repository as well, unless a reply was lost.
	Removed bool
	// Others are slots that the old password opens as well.
	Others []seal.SlotID
}

// Change makes n.Password open the repository and then removes the slot that
// the ring's password has opened. Steps: (1) store the new slot, read it back,
// open it: from here on the new password works; (2) delete the old slot. The
// ring goes on with the new one. After an error the result says how far it came:
// an error does not mean that the new password does not work.
func (g *Ring) Change(ctx context.Context, n NewSlot) (Change, error) {
	slot, err := n.put(ctx, g.bundle, g.repo.PutSlot)
	if err != nil {
		return Change{}, err
	}
	old := *g
	g.slot, g.password = slot, n.Password
	c := Change{Added: slot.ID}
	if c.Removed, _, err = g.remove(ctx, old.slot.ID); err != nil {
		return c, err
	}
	c.Others, err = old.opened(ctx, c.Added)
	return c, err
}

// opened returns the slots but for one that the ring's password opens.
func (g *Ring) opened(ctx context.Context, but seal.SlotID) ([]seal.SlotID, error) {
	var ids []seal.SlotID
	for slot, err := range g.repo.KeySlots(ctx) {
		if errors.Is(err, store.ErrNotFound) || unusable(err) {
			continue
		}
		if err != nil {
			return ids, fmt.Errorf("whether other slots have the old password is not known: %w", err)
		}
		// Others are not worth the time that their parameters may ask for.
		if g.look(slot, nil).Err == nil && slot.ID != but && verify(slot, g.password, g.bundle) == nil {
			ids = append(ids, slot.ID)
		}
	}
	return ids, nil
}
