package repo

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"

	"bluesky/object"
	"bluesky/store"
)

// A Creation is a repository in the making. Its steps, and what stands in the
// bucket after a crash between them:
//
//  1. [Prepare] probes the bucket and creates bluesky.json. Alone, it is
//     adopted by the next init.
//  2. [Creation.Genesis] computes generation 0 in memory.
//  3. the caller stores a key slot bound to it; a slot whose generation 0
//     never came is ignored by everyone.
//  4. [Creation.Commit] creates gen/0: the commit point.
type Creation struct {
	Config Config
	Origin object.Hash // of generation 0, set by Genesis

	store *store.Store
	raw   []byte
	first []byte
}

// Prepare creates bluesky.json with the parameters of proposed, or adopts one
// that an interrupted init has left. The error wraps [ErrRepositoryExists]
// where the repository is complete, and [object.ErrCorrupt] where it was: what
// is missing there has to come back from a copy, and a new one in its place
// would shut everybody out.
func Prepare(ctx context.Context, st *store.Store, proposed Config) (*Creation, error) {
	raw, err := EncodeConfig(proposed)
	if err != nil {
		return nil, err
	}
	if err := probe(ctx, st, proposed.ID); err != nil {
		return nil, err
	}
	// Whatever the answer, what is there now is what counts (R2).
	putErr := st.PutNew(ctx, ConfigKey, raw)
	config, raw, err := readConfig(ctx, st)
	if errors.Is(err, ErrNoRepository) {
		return nil, fmt.Errorf("create %s: %w", ConfigKey, putErr)
	}
	if err != nil {
		return nil, err
	}
	switch _, err := st.Stat(ctx, GenerationKey(0)); {
	case err == nil:
		return nil, ErrRepositoryExists
	case !errors.Is(err, store.ErrNotFound):
		return nil, fmt.Errorf("generation 0: %w", err)
	}
	if err := lost(ctx, st, GenerationKey(0)); err != nil {
		return nil, err
	}
	return &Creation{Config: config, store: st, raw: raw}, nil
}

// probe refuses a bucket that could not hold a repository. One that holds one
// already has been probed. The name is that of a checkpoint: should it stay
// behind, it is an orphan like any other.
func probe(ctx context.Context, st *store.Store, id object.RepositoryID) error {
	switch _, err := st.Stat(ctx, ConfigKey); {
	case err == nil:
		return nil
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	if err := lost(ctx, st, ConfigKey); err != nil {
		return err
	}
	return st.Probe(ctx, CheckpointName(id).Key())
}

// Genesis computes generation 0, which pins the admin key and gives the first
// writer and cleaner their roles.
func (c *Creation) Genesis(random io.Reader, admin crypto.Signer, writer, cleaner PublicKey) error {
	g := Generation{Previous: object.HashBytes("config", c.raw)}
	if _, err := io.ReadFull(random, g.Nonce[:]); err != nil {
		return err
	}
	for _, role := range []RoleChange{{Key: writer, Role: RoleWriter}, {Key: cleaner, Role: RoleCleaner}} {
		var session object.SessionID
		if _, err := io.ReadFull(random, session[:]); err != nil {
			return err
		}
		op, err := newStatement(admin, c.Config.ID, session, 1, OpRole, &role)
		if err != nil {
			return err
		}
		g.Ops = append(g.Ops, op)
	}
	data, err := encodeGeneration(&g, c.Config.ID, admin)
	if err != nil {
		return err
	}
	if _, err := genesis(c.Config, c.raw, data); err != nil {
		return err
	}
	c.first, c.Origin = data, hashGeneration(data)
	return nil
}

// Commit creates gen/0. The error wraps [ErrRepositoryExists] when another
// init was faster.
func (c *Creation) Commit(ctx context.Context) error {
	won, err := createBytes(ctx, c.store, GenerationKey(0), c.first)
	if err != nil {
		return fmt.Errorf("create generation 0: %w", err)
	}
	if !won {
		return ErrRepositoryExists
	}
	return nil
}
