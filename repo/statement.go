package repo

import (
	"crypto"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"bluesky/object"
)

// A Statement is an op that carries its own signature, so that it can be kept
// verbatim in checkpoints and believed without its generation.
// docs/format.md, "Statement".
type Statement struct {
	Repository object.RepositoryID         `cbor:"1,keyasint"`
	Session    object.SessionID            `cbor:"2,keyasint"`
	Signer     PublicKey                   `cbor:"3,keyasint"`
	Sequence   uint64                      `cbor:"4,keyasint"` // from 1, ascending within its session
	Body       []byte                      `cbor:"5,keyasint"`
	Signature  [ed25519.SignatureSize]byte `cbor:"6,keyasint"`
}

// isStatement reports whether ops of type t have a Statement as their body.
func isStatement(t OpType) bool {
	return t == OpAddRun || t == OpAddSnapshot || t == OpRole || t == OpPolicy
}

// message returns the bytes that the signature of an op of type t covers.
func (s *Statement) message(t OpType) []byte {
	b := []byte(object.Label("statement"))
	b = append(b, s.Repository[:]...)
	b = append(b, s.Session[:]...)
	b = append(b, s.Signer[:]...)
	b = binary.LittleEndian.AppendUint64(b, s.Sequence)
	b = binary.LittleEndian.AppendUint16(b, uint16(t))
	b = binary.LittleEndian.AppendUint16(b, opVersion)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s.Body)))
	return append(b, s.Body...)
}

// newStatement signs body, a record of the op t, and returns the op.
func newStatement(signer crypto.Signer, repository object.RepositoryID, session object.SessionID,
	sequence uint64, t OpType, body any) (Op, error) {
	key, err := publicKey(signer)
	if err != nil {
		return Op{}, err
	}
	record, err := object.EncodeCBOR(body)
	if err != nil {
		return Op{}, err
	}
	s := Statement{Repository: repository, Session: session, Signer: key, Sequence: sequence, Body: record}
	sig, err := signer.Sign(nil, s.message(t), crypto.Hash(0))
	if err != nil {
		return Op{}, fmt.Errorf("sign %s: %w", t, err)
	}
	copy(s.Signature[:], sig)
	data, err := object.EncodeCBOR(&s)
	if err != nil {
		return Op{}, err
	}
	return Op{Type: t, Version: opVersion, Body: data}, nil
}

// decodeStatement reads and verifies the statement of o. An error means that
// the op is void.
func decodeStatement(o Op, repository object.RepositoryID) (Statement, error) {
	var s Statement
	if err := object.DecodeCBOR(o.Body, &s); err != nil {
		return Statement{}, err
	}
	if s.Repository != repository {
		return Statement{}, fmt.Errorf("%w: a statement of repository %s", object.ErrCorrupt, s.Repository)
	}
	if !ed25519.Verify(s.Signer[:], s.message(o.Type), s.Signature[:]) {
		return Statement{}, fmt.Errorf("%w: bad signature", object.ErrCorrupt)
	}
	return s, nil
}

// publicKey returns the Ed25519 key that signer signs for.
func publicKey(signer crypto.Signer) (PublicKey, error) {
	pub, ok := signer.Public().(ed25519.PublicKey)
	if !ok {
		return PublicKey{}, fmt.Errorf("signer has a %T key, not Ed25519", signer.Public())
	}
	return PublicKey(pub), nil
}
