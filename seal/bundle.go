package seal

import (
	"bytes"
	"crypto/ed25519"
	"fmt"

	"bluesky/object"
)

// A Bundle is what a key slot wraps: the root secret, and what tells its
// repository from every other. Printing it shows no secret.
// docs/format.md, "Bundle".
type Bundle struct {
	Repository  object.RepositoryID
	Admin       ed25519.PublicKey // of the admin key that Root derives
	Generation0 object.Hash       // H("generation", bytes of gen/0)
	Root        [32]byte
}

// Format keeps the root secret out of every print, whatever the verb.
func (b Bundle) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "seal.Bundle(repository %s, redacted)", b.Repository)
}

const bundleVersion = 1

type bundleRecord struct {
	Version     uint64              `cbor:"1,keyasint,omitempty"`
	Repository  object.RepositoryID `cbor:"2,keyasint"`
	Admin       [32]byte            `cbor:"3,keyasint"`
	Generation0 object.Hash         `cbor:"4,keyasint"`
	Root        [32]byte            `cbor:"5,keyasint"`
}

func encodeBundle(b *Bundle) ([]byte, error) {
	if err := b.check(); err != nil {
		return nil, err
	}
	return object.EncodeCBOR(&bundleRecord{bundleVersion, b.Repository, [32]byte(b.Admin), b.Generation0, b.Root})
}

// decodeBundle wraps [object.ErrVersion] or [object.ErrCorrupt]. What CBOR says
// about bytes it does not like may quote them, so it stays out of the error.
func decodeBundle(data []byte) (Bundle, error) {
	version, err := object.PeekVersion(data)
	switch {
	case err != nil:
		return Bundle{}, fmt.Errorf("bundle: %w", object.ErrCorrupt)
	case version > bundleVersion:
		return Bundle{}, fmt.Errorf("bundle of version %d: %w", version, object.ErrVersion)
	}
	var r bundleRecord
	if object.DecodeCBOR(data, &r) != nil || r.Version != bundleVersion {
		return Bundle{}, fmt.Errorf("bundle: %w", object.ErrCorrupt)
	}
	b := Bundle{r.Repository, r.Admin[:], r.Generation0, r.Root}
	if err := b.check(); err != nil {
		return Bundle{}, fmt.Errorf("%w: %w", err, object.ErrCorrupt)
	}
	return b, nil
}

// check finds a bundle whose admin key is not the one of its root: whoever
// opened it would pin a key that cannot sign for the repository.
func (b *Bundle) check() error {
	if !bytes.Equal(b.Admin, adminKey(b.Root[:]).Public().(ed25519.PublicKey)) {
		return fmt.Errorf("bundle of repository %s: the admin key is not that of the root secret", b.Repository)
	}
	return nil
}
