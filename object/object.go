// Package object names the things that a repository stores: the kinds of
// objects, their ids and sums, the sessions that seal them, and the two
// conventions that every record shares, labelled hashes and canonical CBOR.
//
// docs/format.md is the specification ("Conventions", "Objects"). Nothing here
// needs a key: an [ID] is computed with one in package seal, and everywhere
// else it is an opaque name.
package object

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// Errors that every decoder of the format wraps.
var (
	// ErrCorrupt marks bytes that no writer of this format makes.
	ErrCorrupt = errors.New("corrupt")
	// ErrVersion marks a record of a newer format: the reader needs an
	// upgrade, the record no repair.
	ErrVersion = errors.New("unsupported format version")
)

// Limits that hostile input meets; docs/format.md, "Limits".
const (
	// MaxPayload is the most bytes that the payload of one object holds.
	MaxPayload = 16 << 20
	// MaxSealed is the most bytes that one sealed object takes: the largest
	// payload with its framing, Padmé padding, nonce and tag.
	MaxSealed = 17 << 20
)

// A Kind says what an object's payload holds. docs/format.md, "Objects".
type Kind uint8

// The kinds of format version 1.
const (
	KindBlock    Kind = 1 // a chunk of file content
	KindList     Kind = 2 // the blocks of a large file
	KindDir      Kind = 3 // names to inode numbers
	KindInodes   Kind = 4 // a leaf of the inode map
	KindImap     Kind = 5 // an interior node of the inode map
	KindSnapshot Kind = 6 // a snapshot
)

var kindNames = [...]string{"", "block", "list", "dir", "inodes", "imap", "snapshot"}

// Valid reports whether k is a kind of format version 1.
func (k Kind) Valid() bool { return k >= KindBlock && k <= KindSnapshot }

func (k Kind) String() string {
	if !k.Valid() {
		return fmt.Sprintf("kind(%d)", uint8(k))
	}
	return kindNames[k]
}

// Class returns the class of the segments that hold objects of kind k.
func (k Kind) Class() Class {
	if k == KindBlock {
		return ClassData
	}
	return ClassMeta
}

// A Class divides segments and keys: file content in one, all else in the
// other, so that listing and comparing never fetch file data.
type Class uint8

// The classes of format version 1.
const (
	ClassData Class = 1
	ClassMeta Class = 2
)

// Valid reports whether c is a class of format version 1.
func (c Class) Valid() bool { return c == ClassData || c == ClassMeta }

func (c Class) String() string {
	switch c {
	case ClassData:
		return "data"
	case ClassMeta:
		return "meta"
	}
	return fmt.Sprintf("class(%d)", uint8(c))
}

// An ID is the keyed hash of an object's kind, refs and payload: its identity
// for deduplication, counting and encryption. IDs are uniformly distributed.
type ID [32]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first 8 hex digits, as people see ids.
func (id ID) Short() string { return hex.EncodeToString(id[:4]) }

// IsZero reports whether id is the zero ID, which names no object.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders ids bytewise.
func (id ID) Compare(other ID) int {
	for i := range id {
		if id[i] != other[i] {
			if id[i] < other[i] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// ParseID reads the 64 hex digits of an ID.
func ParseID(s string) (ID, error) {
	var id ID
	if len(s) != 2*len(id) {
		return ID{}, fmt.Errorf("object id %q: want %d hex digits", s, 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ID{}, fmt.Errorf("object id %q: %w", s, err)
	}
	return id, nil
}

// A Sum covers a sealed object with its refs, so that whoever has no key can
// verify it. docs/format.md, "Sums".
type Sum [16]byte

func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// A RepositoryID is the random identity of a repository.
type RepositoryID [16]byte

func (r RepositoryID) String() string { return hex.EncodeToString(r[:]) }

// A SessionID is the random identity of one run of a writer or cleaner. It
// takes part in the key derivation of every object sealed in the session.
type SessionID [16]byte

func (s SessionID) String() string { return hex.EncodeToString(s[:]) }

// A SessionType says how a reader gets a session's secret.
type SessionType uint8

// The session types of format version 1.
const (
	SessionDerived SessionType = 1 // from the full key, by epoch and session id
	SessionHPKE    SessionType = 2 // a random secret, wrapped to the repository's public key
)

// A Session is a row of a segment's session table: what a reader needs to know
// to derive or unwrap the secret that seals the objects of one session and
// class. docs/format.md, "Session table".
type Session struct {
	ID    SessionID
	Class Class
	Type  SessionType
	Epoch uint32
	Wrap  []byte // empty for SessionDerived
}

// Sealed is an encrypted object with all that is needed to verify, move or
// open it. Whoever makes one says who owns Refs and Bytes.
type Sealed struct {
	ID      ID
	Kind    Kind
	Session SessionID
	Refs    []ID   // distinct, in the order of their first use in the payload
	Bytes   []byte // nonce, ciphertext, tag
}

// Sum computes the sum of s.
func (s *Sealed) Sum() Sum {
	return SumOf(s.ID, s.Kind, s.Session, s.Refs, s.Bytes)
}
