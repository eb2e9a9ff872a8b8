package repo

import (
	"crypto"
	"crypto/ed25519"

	"bluesky/index"
	"bluesky/journal"
	"bluesky/object"
	"bluesky/pack"
)

// An upload is a record of a session journal: a segment that the bucket has
// acknowledged. docs/backup.md, "Interruption".
type upload struct {
	Name         pack.Name    `cbor:"1,keyasint"`
	Class        object.Class `cbor:"2,keyasint"`
	Size         uint64       `cbor:"3,keyasint"`
	HeaderLength uint32       `cbor:"4,keyasint"`
	HeaderHash   object.Hash  `cbor:"5,keyasint"`
	Hash         object.Hash  `cbor:"6,keyasint"`
	// Known is the newest generation known when the name was chosen.
	Known uint64 `cbor:"7,keyasint,omitempty"`
}

// uploadMax is more bytes than an upload takes.
const uploadMax = 256

func uploadOf(s *pack.Segment, known uint64) upload {
	h := s.Header
	return upload{s.Name, h.Class, uint64(h.Size()), h.HeaderLength, s.HeaderHash, s.Hash, known}
}

// segment describes u for the run that registers it in the given session.
func (u *upload) segment(session object.SessionID) index.Segment {
	return index.Segment{
		Name: u.Name, Size: int64(u.Size), HeaderLength: u.HeaderLength, Class: u.Class,
		HeaderHash: u.HeaderHash, Hash: u.Hash, Session: session,
	}
}

// journalFormat is that of the journal of a session. Each record is signed, so
// that nobody registers what another key, or no key, says it has uploaded.
func journalFormat(repository object.RepositoryID, session object.SessionID, by signatures) journal.Format {
	return journal.Format{
		Magic:  [8]byte([]byte("BLUESES\n")),
		Scope:  object.HashBytes("session journal", repository[:], session[:], by.key[:]),
		Max:    uploadMax,
		Tagger: by,
	}
}

// signatures are the tags of a signer.
type signatures struct {
	signer crypto.Signer
	key    PublicKey
}

func (s signatures) TagSize() int { return ed25519.SignatureSize }

func (s signatures) Tag(message []byte) ([]byte, error) {
	return s.signer.Sign(nil, message, crypto.Hash(0))
}

func (s signatures) Verify(message, tag []byte) bool { return ed25519.Verify(s.key[:], message, tag) }
