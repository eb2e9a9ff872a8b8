package keyring

import (
	"context"
	"errors"
	"fmt"
	"io"

	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
)

// Errors of [Unlock] and [Open].
var (
	// ErrWrongPassword: the password opens none of the key slots.
	ErrWrongPassword = errors.New("wrong password: it opens none of the key slots")
	// ErrNoSlot: there is no key slot at all.
	ErrNoSlot = errors.New("the repository has no key slot; restore its keys folder from a copy")
)

// A Ring is what a password opens: the keys of a repository, and with them its
// key slots, to list and to change. Printing it shows no secret.
type Ring struct {
	repo     *repo.Repo
	keys     *seal.Keys
	bundle   seal.Bundle
	slot     repo.KeySlot // the one that was opened
	password []byte       // that opened it
}

// Keys returns the keys of the repository.
func (g *Ring) Keys() *seal.Keys { return g.keys }

// Format keeps the secrets out of every print, whatever the verb.
func (g *Ring) Format(s fmt.State, _ rune) { io.WriteString(s, "keyring.Ring(redacted)") }

// Open is [Unlock] for who needs the keys only; password is not kept.
func Open(ctx context.Context, r *repo.Repo, password []byte) (*seal.Keys, error) {
	ring, err := Unlock(ctx, r, password)
	if err != nil {
		return nil, err
	}
	return ring.keys, nil
}

// maxSearches is how often Unlock looks through the slots when some disappear
// under its eyes: each time, somebody has changed a password meanwhile.
const maxSearches = 3

// Unlock opens the first key slot that password opens, and pins the identity of
// r to what the slot says. The ring keeps password.
//
// The error wraps [ErrWrongPassword] only when the bucket gave all slots and
// the password opens none; damaged ones, and those of a newer version, are
// named in it. It wraps [repo.ErrForeign] when the password opens a slot that
// was made for another generation 0: an interrupted init's, or somebody has
// put another repository into this one's place. It wraps [ErrNoSlot] when there
// is none.
func Unlock(ctx context.Context, r *repo.Repo, password []byte) (*Ring, error) {
	for n := 1; ; n++ {
		var search slotSearch
		ring, err := search.run(ctx, r, password)
		if ring != nil || err != nil {
			return ring, err
		}
		if !search.gone || n == maxSearches {
			return nil, search.err()
		}
	}
}

// A slotSearch is what is known of slots that did not serve.
type slotSearch struct {
	gone    bool    // one was removed since it was listed
	wrong   bool    // one does not open
	unread  []error // the bucket did not give it
	damaged []error
	foreign error
}

// run returns nil if no slot serves.
func (s *slotSearch) run(ctx context.Context, r *repo.Repo, password []byte) (*Ring, error) {
	for slot, err := range r.KeySlots(ctx) {
		if errors.Is(err, store.ErrNotFound) {
			s.gone = true
			continue
		}
		if err != nil {
			s.unread = append(s.unread, err)
			continue
		}
		bundle, ok := s.try(r, slot, password)
		if !ok {
			continue
		}
		if err := r.Pin(identity(bundle)); err != nil {
			s.foreign = errors.Join(s.foreign, err)
			continue
		}
		keys, err := newKeys(bundle.Root, r.Config())
		if err != nil {
			return nil, err
		}
		return &Ring{repo: r, keys: keys, bundle: bundle, slot: slot, password: password}, nil
	}
	return nil, nil
}

func (s *slotSearch) try(r *repo.Repo, slot repo.KeySlot, password []byte) (seal.Bundle, bool) {
	bundle, err := seal.OpenSlot(slot.ID, slot.Data, r.Identity().Repository, password, seal.MemoryLimit())
	switch {
	case errors.Is(err, seal.ErrWrongPassword):
		s.wrong = true
	case err != nil:
		s.damaged = append(s.damaged, err)
	}
	return bundle, err == nil
}

func (s *slotSearch) err() error {
	damaged := errors.Join(s.damaged...)
	switch {
	case s.foreign != nil:
		return fmt.Errorf("the password opens a key slot of something else: %w", s.foreign)
	case len(s.unread) > 0:
		return fmt.Errorf("not all key slots can be read: %w", errors.Join(append(s.unread, damaged)...))
	case s.wrong && damaged != nil:
		return fmt.Errorf("%w; and not all can be used: %w", ErrWrongPassword, damaged)
	case s.wrong:
		return ErrWrongPassword
	case damaged != nil:
		return fmt.Errorf("no key slot can be read: %w", damaged)
	}
	return ErrNoSlot
}
