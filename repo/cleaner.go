package repo

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"bluesky/object"
)

// A CleanerKey lets its holder clean one repository. It signs; it decrypts
// nothing. docs/format.md, "Local files".
type CleanerKey struct {
	Identity
	Seed [ed25519.SeedSize]byte
}

// Signer returns the private key.
func (k CleanerKey) Signer() ed25519.PrivateKey { return ed25519.NewKeyFromSeed(k.Seed[:]) }

type cleanerRecord struct {
	Format     string `json:"format"`
	Version    int    `json:"version"`
	Repository string `json:"repository"`
	Admin      string `json:"admin"`
	Origin     string `json:"generation0"`
	Seed       string `json:"seed"`
}

const cleanerFormat = "bluesky cleaner key"

// CleanerKeyPath returns where the cleaner key of a repository stands below
// the user's configuration folder.
func CleanerKeyPath(configDir string, id object.RepositoryID) string {
	return filepath.Join(configDir, "cleaner", id.String()+".json")
}

// WriteCleanerKey stores k at path, with mode 0600.
func WriteCleanerKey(path string, k CleanerKey) error {
	data, err := encodeCleanerKey(k)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writePrivate(path, data)
}

// ReadCleanerKey reads a cleaner key file. Its errors never hold the seed.
func ReadCleanerKey(path string) (CleanerKey, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return CleanerKey{}, err
	}
	k, err := decodeCleanerKey(data)
	if err != nil {
		return CleanerKey{}, fmt.Errorf("%s: %w", path, err)
	}
	return k, nil
}

// encodeCleanerKey returns the one form of a cleaner key file.
func encodeCleanerKey(k CleanerKey) ([]byte, error) {
	return encodeLocal(cleanerRecord{
		Format: cleanerFormat, Version: localVersion,
		Repository: k.Repository.String(), Admin: k.Admin.String(),
		Origin: hex.EncodeToString(k.Origin[:]), Seed: hex.EncodeToString(k.Seed[:]),
	})
}

// decodeCleanerKey is the inverse of encodeCleanerKey. The error wraps
// [object.ErrVersion] or [object.ErrCorrupt].
func decodeCleanerKey(data []byte) (CleanerKey, error) {
	var rec cleanerRecord
	if err := decodeLocal(data, cleanerFormat, &rec); err != nil {
		return CleanerKey{}, err
	}
	var k CleanerKey
	err := errors.Join(
		hexField(k.Repository[:], rec.Repository), hexField(k.Admin[:], rec.Admin),
		hexField(k.Origin[:], rec.Origin), hexField(k.Seed[:], rec.Seed))
	return k, err
}
