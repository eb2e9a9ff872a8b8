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
	"os"
	"path/filepath"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"

	"github.com/gofrs/flock"
)

// ErrOtherParameters: a bluesky.json of a repository that was never finished
// has other parameters than this one would.
var ErrOtherParameters = errors.New("there is a bluesky.json with other parameters and no repository behind it; " +
	"remove that file, if it is yours, and run init again")

// Options say how a repository is made.
type Options struct {
	Password  []byte
	Host      string // where and by whom, sealed in the slot for key list
	User      string
	ConfigDir string          // where the cleaner key file goes; "" writes none
	Slot      seal.SlotParams // zero is the default
	Now       time.Time
	Rand      io.Reader // nil is crypto/rand
	// Parameters of the repository, whose id and time of creation do not count;
	// nil is the default.
	Parameters *repo.Config
}

// config returns the parameters of a new repository of the given id.
func (o Options) config(id object.RepositoryID) repo.Config {
	c := repo.DefaultConfig(id, o.Now)
	if o.Parameters != nil {
		c = *o.Parameters
		c.ID, c.Created = id, o.Now.UTC().Truncate(time.Second)
	}
	return c
}

// Create makes a repository in st. Generation 0 is its commit point: before
// that the next Create starts again, and what an interrupted one has left is
// ignored; see [repo.Creation]. The cleaner key file is written before, so
// that no repository lacks one.
//
// The error wraps [repo.ErrRepositoryExists] where there is one, and
// [ErrOtherParameters] where one was begun with other parameters.
func Create(ctx context.Context, st *store.Store, options Options) (_ repo.Config, err error) {
	// One init at a time on this machine: one that comes too late would put the
	// cleaner key that nobody knows in the place of the winner's.
	unlock, err := lock(ctx, options.ConfigDir)
	if err != nil {
		return repo.Config{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if options.Rand == nil {
		options.Rand = rand.Reader
	}
	var id object.RepositoryID
	if _, err := io.ReadFull(options.Rand, id[:]); err != nil {
		return repo.Config{}, err
	}
	proposed := options.config(id)
	creation, err := repo.Prepare(ctx, st, proposed)
	if err != nil {
		return repo.Config{}, err
	}
	// An interrupted init has left these parameters, or somebody has put his
	// own there, say without padding.
	proposed.ID, proposed.Created = creation.Config.ID, creation.Config.Created
	if creation.Config != proposed {
		return repo.Config{}, ErrOtherParameters
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
	return creation.Commit(ctx)
}

// lock waits until no other process makes a repository with this configDir.
func lock(ctx context.Context, configDir string) (unlock func() error, err error) {
	if configDir == "" {
		return func() error { return nil }, nil
	}
	if err := os.MkdirAll(configDir, 0o700); err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(configDir, "init.lock"), flock.SetPermissions(0o600))
	if _, err := l.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return nil, fmt.Errorf("lock %s: %w", l.Path(), err)
	}
	return l.Unlock, nil
}

// putSlot stores the first key slot and opens it again from the bucket.
func putSlot(ctx context.Context, creation *repo.Creation, keys *seal.Keys, root [32]byte, options Options) error {
	bundle := seal.Bundle{
		Repository: creation.Config.ID, Admin: keys.Admin().Public().(ed25519.PublicKey),
		Generation0: creation.Origin, Root: root,
	}
	first := NewSlot{
		Password: options.Password, Host: options.Host, User: options.User,
		Now: options.Now, Params: options.Slot, Rand: options.Rand,
	}
	_, err := first.put(ctx, bundle, creation.PutSlot)
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

func identity(b seal.Bundle) repo.Identity {
	return repo.Identity{Repository: b.Repository, Admin: repo.PublicKey(b.Admin), Origin: b.Generation0}
}

func newKeys(root [32]byte, config repo.Config) (*seal.Keys, error) {
	return seal.NewKeys(root, config.ID, seal.Padding(config.Padding))
}

func publicKey(key ed25519.PrivateKey) repo.PublicKey {
	return repo.PublicKey(key.Public().(ed25519.PublicKey))
}
