package repo

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bluesky/object"

	"github.com/gofrs/flock"
)

// An Identity is what a client knows of a repository from its own side: from
// its key, its cleaner key file or its trust file.
type Identity struct {
	Repository object.RepositoryID
	Admin      PublicKey
	Origin     object.Hash // of generation 0
}

// trust is the newest generation that this machine has seen. The zero value
// knows nothing.
type trust struct {
	Identity
	Generation uint64
	Hash       object.Hash
	Checkpoint *CheckpointRef // newest one verified, nil if there is none
}

func (t trust) known() bool { return t.Hash != object.Hash{} }

// trustRecord is the trust file. docs/format.md, "Local files".
type trustRecord struct {
	Format     string `json:"format"`
	Version    int    `json:"version"`
	Repository string `json:"repository"`
	Admin      string `json:"admin"`
	Origin     string `json:"generation0"`
	Generation uint64 `json:"generation"`
	Hash       string `json:"hash"`

	Checkpoint *trustCheckpoint `json:"checkpoint,omitempty"`
}

type trustCheckpoint struct {
	Number uint64 `json:"number"`
	Name   string `json:"name"`
	Hash   string `json:"hash"`
}

const trustFormat = "bluesky trust"

// readTrust reads the trust file of dir. A missing one is the zero trust; a
// damaged one is an error, since reading it as missing would let a rollback
// through.
func readTrust(dir string) (trust, error) {
	path := filepath.Join(dir, "trust.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return trust{}, nil
	}
	if err != nil {
		return trust{}, err
	}
	t, err := decodeTrust(data)
	if err != nil {
		return trust{}, fmt.Errorf("%s: %w: remove it to trust the repository as it is now", path, err)
	}
	return t, nil
}

// encodeTrust returns the one form of a trust file.
func encodeTrust(t trust) ([]byte, error) {
	rec := trustRecord{
		Format: trustFormat, Version: localVersion,
		Repository: t.Repository.String(), Admin: t.Admin.String(),
		Origin: hex.EncodeToString(t.Origin[:]), Generation: t.Generation,
		Hash: hex.EncodeToString(t.Hash[:]),
	}
	if c := t.Checkpoint; c != nil {
		rec.Checkpoint = &trustCheckpoint{c.Number, hex.EncodeToString(c.Name[:]), hex.EncodeToString(c.Hash[:])}
	}
	return encodeLocal(rec)
}

// decodeTrust is the inverse of encodeTrust. The error wraps
// [object.ErrVersion] or [object.ErrCorrupt].
func decodeTrust(data []byte) (trust, error) {
	var rec trustRecord
	if err := decodeLocal(data, trustFormat, &rec); err != nil {
		return trust{}, err
	}
	t := trust{Generation: rec.Generation}
	err := errors.Join(
		hexField(t.Repository[:], rec.Repository), hexField(t.Admin[:], rec.Admin),
		hexField(t.Origin[:], rec.Origin), hexField(t.Hash[:], rec.Hash))
	if c := rec.Checkpoint; c != nil {
		t.Checkpoint = &CheckpointRef{Number: c.Number}
		err = errors.Join(err, hexField(t.Checkpoint.Name[:], c.Name), hexField(t.Checkpoint.Hash[:], c.Hash))
	}
	return t, err
}

// writeTrust records t, unless a concurrent run has recorded a newer
// generation; force records it all the same.
func writeTrust(dir string, t trust, force bool) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(dir, "trust.lock"))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer lock.Unlock() // the file stays; the lock goes with the descriptor
	if old, err := readTrust(dir); err == nil && !force && old.Generation > t.Generation {
		return nil
	}
	data, err := encodeTrust(t)
	if err != nil {
		return err
	}
	return writePrivate(filepath.Join(dir, "trust.json"), data)
}
