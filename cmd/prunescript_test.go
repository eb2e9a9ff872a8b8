package cmd

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/binary"
	"os"

	"github.com/rogpeppe/go-internal/testscript"

	"bluesky/keyring"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
)

// withKeys opens the repository of a script, whose password is "secret", as a
// machine that has never seen it.
func withKeys(location string, use func(context.Context, *repo.Repo, *repo.State, *seal.Keys) error) error {
	ctx := context.Background()
	st, err := store.Open(ctx, location)
	if err != nil {
		return err
	}
	defer st.Close()
	r, err := repo.Open(ctx, st, repo.Options{})
	if err != nil {
		return err
	}
	keys, err := keyring.Open(ctx, r, []byte("secret"))
	if err != nil {
		return err
	}
	state, err := r.Refresh(ctx)
	if err != nil {
		return err
	}
	return use(ctx, r, state, keys)
}

// scriptNewerOp is the script command "newerop": it adds a generation with an op
// that this version does not know.
func scriptNewerOp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: newerop")
	}
	location := ts.Getenv("BLUESKY_REPOSITORY")
	ts.Check(withKeys(location, func(_ context.Context, _ *repo.Repo, head *repo.State, keys *seal.Keys) error {
		g := repo.Generation{
			Version: 1, Number: head.Generation + 1, Previous: head.Hash, Author: head.Admin, Nonce: [16]byte{1},
			Checkpoint: head.Checkpoint, Floor: head.Floor, Ops: []repo.Op{{Type: 99, Version: 1, Body: []byte{0xa0}}},
		}
		data, err := signGeneration(&g, head.Repository, keys.Admin())
		if err != nil {
			return err
		}
		return os.WriteFile(location+"/"+repo.GenerationKey(g.Number), data, 0o600)
	}))
}

// signGeneration encodes what no writer of this version would.
func signGeneration(g *repo.Generation, id object.RepositoryID, author ed25519.PrivateKey) ([]byte, error) {
	body, err := object.EncodeCBOR(g)
	if err != nil {
		return nil, err
	}
	message := append([]byte(object.Label("generation signature")), id[:]...)
	message = append(binary.LittleEndian.AppendUint64(message, uint64(len(body))), body...)
	signature, err := author.Sign(nil, message, crypto.Hash(0))
	if err != nil {
		return nil, err
	}
	copy(g.Signature[:], signature)
	return object.EncodeCBOR(g)
}

// scriptGarbage is the script command "garbage TEXT": it puts a file of that text at
// the next generation.
func scriptGarbage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: garbage TEXT")
	}
	location := ts.Getenv("BLUESKY_REPOSITORY")
	ts.Check(withKeys(location, func(_ context.Context, _ *repo.Repo, head *repo.State, _ *seal.Keys) error {
		return os.WriteFile(location+"/"+repo.GenerationKey(head.Generation+1), []byte(args[0]), 0o600)
	}))
}
