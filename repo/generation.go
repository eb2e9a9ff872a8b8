package repo

import (
	"crypto"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"strconv"

	"bluesky/object"
)

const (
	generationVersion = 1
	generationMax     = 4 << 20
	generationPrefix  = "gen/"
	// maxGeneration is more generations than a log ever has; beyond it, a name
	// is foreign.
	maxGeneration = 1 << 48
)

// A Generation is one entry of the log. docs/format.md, "Envelope".
type Generation struct {
	Version    uint64                      `cbor:"1,keyasint"`
	Number     uint64                      `cbor:"2,keyasint,omitempty"`
	Previous   object.Hash                 `cbor:"3,keyasint"`
	Author     PublicKey                   `cbor:"4,keyasint"`
	Nonce      [16]byte                    `cbor:"5,keyasint"`
	Checkpoint *CheckpointRef              `cbor:"6,keyasint,omitempty"`
	Floor      uint64                      `cbor:"7,keyasint,omitempty"`
	Ops        []Op                        `cbor:"8,keyasint,omitempty"`
	Signature  [ed25519.SignatureSize]byte `cbor:"9,keyasint,omitzero"`
}

// GenerationKey names generation n in the bucket.
func GenerationKey(n uint64) string { return fmt.Sprintf("%s%016x", generationPrefix, n) }

// ParseGenerationKey is the inverse of [GenerationKey].
func ParseGenerationKey(key string) (n uint64, ok bool) {
	if len(key) != len(generationPrefix)+16 {
		return 0, false
	}
	n, err := strconv.ParseUint(key[len(generationPrefix):], 16, 64)
	return n, err == nil && n <= maxGeneration && GenerationKey(n) == key
}

// hashGeneration returns what the next generation records as its previous.
func hashGeneration(data []byte) object.Hash { return object.HashBytes("generation", data) }

// message returns the bytes that the author's signature covers.
func (g Generation) message(repository object.RepositoryID) ([]byte, error) {
	g.Signature = [ed25519.SignatureSize]byte{}
	body, err := object.EncodeCBOR(&g)
	if err != nil {
		return nil, err
	}
	b := []byte(object.Label("generation signature"))
	b = append(b, repository[:]...)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(body)))
	return append(b, body...), nil
}

// encodeGeneration sets author and signature of g and returns its bytes.
func encodeGeneration(g *Generation, repository object.RepositoryID, author crypto.Signer) ([]byte, error) {
	var err error
	if g.Author, err = publicKey(author); err != nil {
		return nil, err
	}
	g.Version = generationVersion
	message, err := g.message(repository)
	if err != nil {
		return nil, err
	}
	sig, err := author.Sign(nil, message, crypto.Hash(0))
	if err != nil {
		return nil, fmt.Errorf("sign generation %d: %w", g.Number, err)
	}
	copy(g.Signature[:], sig)
	data, err := object.EncodeCBOR(g)
	if err != nil {
		return nil, err
	}
	if len(data) > generationMax {
		return nil, fmt.Errorf("generation %d has %d bytes, more than the %d that readers accept", g.Number, len(data), generationMax)
	}
	return data, nil
}

// DecodeGeneration reads the bytes of a generation. It judges their form only;
// folding it into a [State] judges the rest.
func DecodeGeneration(data []byte) (*Generation, error) {
	if len(data) > generationMax {
		return nil, fmt.Errorf("%w: more than %d bytes", object.ErrCorrupt, generationMax)
	}
	version, err := object.PeekVersion(data)
	if err != nil {
		return nil, err
	}
	if version > generationVersion {
		return nil, fmt.Errorf("version %d: %w", version, object.ErrVersion)
	}
	var g Generation
	if err := object.DecodeCBOR(data, &g); err != nil {
		return nil, err
	}
	if g.Version != generationVersion {
		return nil, fmt.Errorf("%w: version %d", object.ErrCorrupt, g.Version)
	}
	return &g, nil
}

// follow sets what the head of g says of its ops, and the ops.
func (g *Generation) follow(ops []Op) error {
	g.Ops = ops
	for _, op := range ops {
		switch op.Type {
		case OpCheckpoint:
			g.Checkpoint = new(CheckpointRef)
			if err := object.DecodeCBOR(op.Body, g.Checkpoint); err != nil {
				return err
			}
		case OpFloor:
			var floor Floor
			if err := object.DecodeCBOR(op.Body, &floor); err != nil {
				return err
			}
			g.Floor = floor.Number
		}
	}
	return nil
}

// verify checks the author's signature.
func (g *Generation) verify(repository object.RepositoryID) error {
	message, err := g.message(repository)
	if err != nil {
		return err
	}
	if !ed25519.Verify(g.Author[:], message, g.Signature[:]) {
		return fmt.Errorf("%w: bad signature", object.ErrCorrupt)
	}
	return nil
}
