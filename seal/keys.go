package seal

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync"

	"bluesky/object"

	"github.com/restic/chunker"
)

// Padding says how the lengths of sealed objects are blurred: the member
// "padding" of bluesky.json, which never changes.
type Padding string

// The paddings of format version 1.
const (
	PaddingPadme Padding = "padme"
	PaddingNone  Padding = "none"
)

// Keys are all the keys of one repository, derived from its root secret. Keys
// are immutable and safe for concurrent use. Printing them shows no secret.
type Keys struct {
	repo    object.RepositoryID
	padding Padding

	id, inodeMap, series [32]byte
	data, meta, local    [32]byte
	polynomial           chunker.Pol
	admin, writer        ed25519.PrivateKey
	recipient            hpke.PrivateKey

	idHashers    hasherPool
	mapHashers   hasherPool
	localHashers hasherPool
	openers      sync.Pool // of *opener
	sessions     sessionCache
}

// NewRoot draws the root secret of a new repository from rand. It draws again
// in the rare case that a root yields no polynomial, for which [NewKeys] would
// refuse it.
func NewRoot(rand io.Reader) ([32]byte, error) {
	return newRoot(rand, derivePolynomial)
}

// rootTries bounds the draws of NewRoot. One draw is refused in about 10^17;
// who gets here has a source that repeats itself.
const rootTries = 16

func newRoot(rand io.Reader, derive func(root []byte) (chunker.Pol, error)) ([32]byte, error) {
	var root [32]byte
	for range rootTries {
		if _, err := io.ReadFull(rand, root[:]); err != nil {
			return [32]byte{}, fmt.Errorf("draw a root secret: %w", err)
		}
		if _, err := derive(root[:]); err == nil {
			return root, nil
		}
	}
	return [32]byte{}, errors.New("draw a root secret: no draw yields a chunker polynomial; is the source random?")
}

// NewKeys derives the keys of repository repo from its root secret.
func NewKeys(root [32]byte, repo object.RepositoryID, padding Padding) (*Keys, error) {
	if padding != PaddingPadme && padding != PaddingNone {
		return nil, fmt.Errorf("padding %q: want %q or %q", padding, PaddingPadme, PaddingNone)
	}
	polynomial, err := derivePolynomial(root[:])
	if err != nil {
		return nil, fmt.Errorf("chunker polynomial: %w", err)
	}
	recipient, err := recipientKEM().NewPrivateKey(kdf(root[:], "recipient key", nil, 32))
	if err != nil {
		return nil, fmt.Errorf("recipient key: %w", err)
	}
	k := &Keys{
		repo:       repo,
		padding:    padding,
		id:         kdf32(root[:], "id key", nil),
		inodeMap:   kdf32(root[:], "map key", nil),
		series:     kdf32(root[:], "series key", nil),
		data:       kdf32(root[:], "data key", nil),
		meta:       kdf32(root[:], "meta key", nil),
		local:      kdf32(root[:], "local key", nil),
		polynomial: polynomial,
		admin:      adminKey(root[:]),
		writer:     ed25519.NewKeyFromSeed(kdf(root[:], "writer key", nil, ed25519.SeedSize)),
		recipient:  recipient,
	}
	k.idHashers.key = &k.id
	k.mapHashers.key = &k.inodeMap
	k.localHashers.key = &k.local
	return k, nil
}

// Repository returns the repository that the keys belong to.
func (k *Keys) Repository() object.RepositoryID { return k.repo }

// Admin returns a copy of the key of role admin.
func (k *Keys) Admin() ed25519.PrivateKey { return bytes.Clone(k.admin) }

// Writer returns a copy of the key of role writer that every holder of the
// full key shares.
func (k *Keys) Writer() ed25519.PrivateKey { return bytes.Clone(k.writer) }

// Polynomial returns the secret polynomial of the chunker.
func (k *Keys) Polynomial() chunker.Pol { return k.polynomial }

// Format keeps the secrets out of every print, whatever the verb.
func (k *Keys) Format(s fmt.State, _ rune) { io.WriteString(s, "seal.Keys(redacted)") }

// polynomialStream is the most that HKDF-SHA256 expands to: 1,020 candidates
// of 8 bytes, of which one in 26.5 is irreducible.
const polynomialStream = 255 * sha256.Size

func derivePolynomial(root []byte) (chunker.Pol, error) {
	stream := kdf(root, "chunker polynomial", nil, polynomialStream)
	return chunker.DerivePolynomial(bytes.NewReader(stream))
}

func adminKey(root []byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(kdf(root, "admin key", nil, ed25519.SeedSize))
}

// kdf is KDF(secret, use, x, n) of docs/format.md, "Conventions". n is at most
// polynomialStream.
func kdf(secret []byte, use string, x []byte, n int) []byte {
	out, err := hkdf.Expand(sha256.New, secret, object.Label(use)+string(x), n)
	if err != nil {
		panic(err) // n is a constant of this package, and within HKDF's bound
	}
	return out
}

func kdf32(secret []byte, use string, x []byte) [32]byte {
	return [32]byte(kdf(secret, use, x, 32))
}
