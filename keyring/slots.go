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
// No slot that was there before can be counted on to stay: somebody else may be
// about to remove it, or was told that he could not, and the bucket does it later.
// So whoever deletes a slot has first made one of his own, whose name nobody has
// in hand; of all these the newest is never deleted. Steps: (1) store a new slot for
// the ring's password, with the costs and the description of its slot, read it
// back, open it; (2) delete id; (3) delete the slot that the ring had, and go on
// with the new one.
//
// The password of the ring goes on to open the repository: its own slot cannot
// be removed ([ErrSlotInUse], [ErrLastSlot]), and one that has lost its slot
// removes none ([ErrOwnSlotGone]). After an error the slot may be gone, or not,
// and the ring's password may open one slot more.
//
// Whoever has the password that is taken away may be moving its slot just now. So
// Remove looks once more when it is done, and returns the slots that this password
// may open still: id itself, if it is there again, those that have come meanwhile,
// and those of the same host, user and time, which a moved slot keeps.
func (g *Ring) Remove(ctx context.Context, id seal.SlotID) ([]Slot, error) {
	before, err := g.ownAndOthers(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.remove(ctx, id, before); err != nil {
		return nil, err
	}
	after, err := g.Slots(ctx)
	if err != nil {
		return nil, fmt.Errorf("key slot %s was removed; whether its password has got another one meanwhile is not known: %w", id, err)
	}
	return slices.DeleteFunc(after, func(s Slot) bool { return !suspect(&s, id, before) }), nil
}

// suspect reports whether the password of the slot id, which was removed, may open
// s, which was found thereafter; before is what was there at first.
func suspect(s *Slot, id seal.SlotID, before []Slot) bool {
	if s.ID == id {
		return true
	}
	if s.Current || errors.Is(s.Err, ErrNotOurs) {
		return false
	}
	isNew := true
	for _, b := range before {
		if b.ID == id && b.Err == nil && s.Err == nil && sameInfo(&b.Info, &s.Info) {
			return true
		}
		isNew = isNew && b.ID != s.ID
	}
	return isNew
}

func sameInfo(a, b *seal.SlotInfo) bool {
	return a.Created == b.Created && bytes.Equal(a.Host, b.Host) && bytes.Equal(a.User, b.User)
}

// remove is Remove without the look thereafter. list is what was there before.
func (g *Ring) remove(ctx context.Context, id seal.SlotID, list []Slot) error {
	ours := 0
	for _, s := range list {
		if s.Err == nil {
			ours++
		}
	}
	switch {
	case id == seal.SlotID(g.slot.ID) && ours <= 1:
		return ErrLastSlot
	case id == seal.SlotID(g.slot.ID):
		return ErrSlotInUse
	}
	former := seal.SlotID(g.slot.ID)
	if err := g.move(ctx); err != nil {
		return fmt.Errorf("key slot %s was not removed, as there is no new one for the given password: %w", id, err)
	}
	err := g.repo.RemoveSlot(ctx, id)
	// Also where that failed: trying again must not leave a slot more each time.
	if left := g.repo.RemoveSlot(ctx, former); left != nil && err == nil {
		err = fmt.Errorf("key slot %s was removed; the former one of the given password, which has a new one, may be left: %w", id, left)
	}
	return err
}

// ownAndOthers lists the slots, that of the ring among them. If it is gone, the
// ring goes on with another one that its password opens: somebody else who has
// this password may have moved it.
func (g *Ring) ownAndOthers(ctx context.Context) ([]Slot, error) {
	current := func(s Slot) bool { return s.Current }
	list, err := g.Slots(ctx)
	if err != nil || slices.ContainsFunc(list, current) {
		return list, err
	}
	again, err := Unlock(ctx, g.repo, g.password)
	if errors.Is(err, ErrWrongPassword) || errors.Is(err, ErrNoSlot) {
		return nil, ErrOwnSlotGone
	}
	if err != nil {
		return nil, err
	}
	g.slot = again.slot
	list, err = g.Slots(ctx)
	if err == nil && !slices.ContainsFunc(list, current) {
		err = ErrOwnSlotGone
	}
	return list, err
}

// move makes a new slot for the password of the ring, which goes on with it.
func (g *Ring) move(ctx context.Context) error {
	params, err := seal.ParamsOf(g.slot.Data)
	if err != nil {
		return err
	}
	info, _ := g.keys.SlotInfo(g.slot.ID, g.slot.Data) // where that is damaged, the new one says nothing
	n := NewSlot{
		Password: g.password, Host: string(info.Host), User: string(info.User),
		Now: info.Created.Time(), Params: params,
	}
	slot, err := n.put(ctx, g.bundle, g.repo.PutSlot)
	if err == nil {
		g.slot = slot
	}
	return err
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
// ring goes on with the new one, of which holds what [Ring.Remove] says. After an
// error the result says how far it came: an error does not mean that the new
// password does not work.
func (g *Ring) Change(ctx context.Context, n NewSlot) (Change, error) {
	slot, err := n.put(ctx, g.bundle, g.repo.PutSlot)
	if err != nil {
		return Change{}, err
	}
	old := *g
	g.slot, g.password = slot, n.Password
	c := Change{Added: slot.ID}
	if err := g.repo.RemoveSlot(ctx, old.slot.ID); err != nil {
		return c, err
	}
	c.Removed = true
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
