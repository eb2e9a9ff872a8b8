// Package keyring makes and opens repositories with a password: it joins the
// keyless log of package repo with the keys of package seal.
package keyring

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
)

// ErrWrongPassword: the password opens none of the key slots.
var ErrWrongPassword = errors.New("wrong password: it opens none of the key slots")

// Options say how a repository is made.
type Options struct {
	Password  []byte
	Host      string // where and by whom, sealed in the slot for key list
	User      string
	ConfigDir string          // where the cleaner key file goes; "" writes none
	Slot      seal.SlotParams // zero is the default
	Now       time.Time
	Rand      io.Reader // nil is crypto/rand
}

// Create makes a repository in st. Generation 0 is its commit point: before
// that the next Create starts again, and what an interrupted one has left is
// ignored; see [repo.Creation]. The cleaner key file is written before, so
// that no repository lacks one.
//
// The error wraps [repo.ErrRepositoryExists] where there is one.
func Create(ctx context.Context, st *store.Store, options Options) (repo.Config, error) {
	if options.Rand == nil {
		options.Rand = rand.Reader
	}
	if options.Slot == (seal.SlotParams{}) {
		options.Slot = seal.DefaultSlotParams()
	}
	var id object.RepositoryID
	if _, err := io.ReadFull(options.Rand, id[:]); err != nil {
		return repo.Config{}, err
	}
	creation, err := repo.Prepare(ctx, st, repo.DefaultConfig(id, options.Now))
	if err != nil {
		return repo.Config{}, err
	}
	return creation.Config, complete(ctx, creation, options)
}

// complete makes the keys of the repository and commits it.
func complete(ctx context.Context, creation *repo.Creation, options Options) error {
	root, err := seal.NewRoot(options.Rand)
	if err != nil {
		return err
	}
	keys, err := newKeys(root, creation.Config)
	if err != nil {
		return err
	}
	cleaner := repo.CleanerKey{Identity: repo.Identity{Repository: creation.Config.ID, Admin: publicKey(keys.Admin())}}
	if _, err := io.ReadFull(options.Rand, cleaner.Seed[:]); err != nil {
		return err
	}
	err = creation.Genesis(options.Rand, keys.Admin(), publicKey(keys.Writer()), publicKey(cleaner.Signer()))
	if err != nil {
		return err
	}
	cleaner.Origin = creation.Origin
	if err := putSlot(ctx, creation, keys, root, options); err != nil {
		return err
	}
	if err := writeCleaner(options.ConfigDir, cleaner); err != nil {
		return err
	}
	if err := creation.Commit(ctx); err != nil {
		return err
	}
	// A concurrent init on this machine that lost may have put its own there.
	return writeCleaner(options.ConfigDir, cleaner)
}

// putSlot stores the first key slot and opens it again from the bucket.
func putSlot(ctx context.Context, creation *repo.Creation, keys *seal.Keys, root [32]byte, options Options) error {
	bundle := seal.Bundle{
		Repository: creation.Config.ID, Admin: keys.Admin().Public().(ed25519.PublicKey),
		Generation0: creation.Origin, Root: root,
	}
	info := seal.SlotInfo{Created: object.TimeOf(options.Now), Host: []byte(options.Host), User: []byte(options.User)}
	id, data, err := seal.NewSlot(options.Rand, options.Password, bundle, info, options.Slot)
	if err != nil {
		return err
	}
	slot, err := creation.PutSlot(ctx, repo.KeySlot{ID: id, Data: data})
	if err != nil {
		return err
	}
	_, err = seal.OpenSlot(id, slot.Data, creation.Config.ID, options.Password, seal.MemoryLimit())
	return err
}

func writeCleaner(configDir string, key repo.CleanerKey) error {
	if configDir == "" {
		return nil
	}
	if err := repo.WriteCleanerKey(repo.CleanerKeyPath(configDir, key.Repository), key); err != nil {
		return fmt.Errorf("cleaner key file: %w", err)
	}
	return nil
}

// Open returns the keys of r, from the first key slot that password opens, and
// pins the identity of r to what the slot says.
//
// The error wraps [ErrWrongPassword] when the slots could be read and there is
// none. Slots that cannot be read, or not by this version, are named in it.
func Open(ctx context.Context, r *repo.Repo, password []byte) (*seal.Keys, error) {
	var failed []error
	tried := false
	for slot, err := range r.KeySlots(ctx) {
		if err != nil {
			failed = append(failed, err)
			continue
		}
		bundle, err := seal.OpenSlot(slot.ID, slot.Data, r.Identity().Repository, password, seal.MemoryLimit())
		if errors.Is(err, seal.ErrWrongPassword) {
			tried = true
			continue
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		if bundle.Generation0 != r.Identity().Origin {
			continue // of an init that lost, or of another repository
		}
		if err := r.Pin(repo.Identity{
			Repository: bundle.Repository, Admin: repo.PublicKey(bundle.Admin), Origin: bundle.Generation0,
		}); err != nil {
			return nil, err
		}
		return newKeys(bundle.Root, r.Config())
	}
	switch {
	case tried:
		return nil, errors.Join(append([]error{ErrWrongPassword}, failed...)...)
	case len(failed) > 0:
		return nil, fmt.Errorf("no key slot can be read: %w", errors.Join(failed...))
	}
	return nil, errors.New("the repository has no key slot; restore its keys folder from a copy")
}

func newKeys(root [32]byte, config repo.Config) (*seal.Keys, error) {
	return seal.NewKeys(root, config.ID, seal.Padding(config.Padding))
}

func publicKey(key ed25519.PrivateKey) repo.PublicKey {
	return repo.PublicKey(key.Public().(ed25519.PublicKey))
}
