package object

import (
	"encoding/binary"

	"github.com/zeebo/blake3"
)

// Label returns the domain separator that stands first in every hash,
// derivation and AAD: "bluesky v1 ", the use, and a zero byte, which makes no
// label a prefix of another. docs/format.md, "Conventions".
func Label(use string) string { return "bluesky v1 " + use + "\x00" }

// A Hash is a labelled BLAKE3-256 digest of stored bytes.
type Hash [32]byte

// HashBytes returns BLAKE3-256(Label(use) ‖ parts…).
func HashBytes(use string, parts ...[]byte) Hash {
	h := NewHasher(use)
	for _, p := range parts {
		h.Write(p)
	}
	return HashSum(h)
}

// NewHasher returns a BLAKE3-256 hasher that has taken Label(use).
func NewHasher(use string) *blake3.Hasher {
	h := blake3.New()
	h.WriteString(Label(use))
	return h
}

// HashSum returns what h has hashed so far.
func HashSum(h *blake3.Hasher) Hash {
	var out Hash
	h.Sum(out[:0])
	return out
}

// AppendRefs appends u32(len(refs)) and the refs, the form in which ref ids
// enter every hash and AAD.
func AppendRefs(b []byte, refs []ID) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(refs)))
	for i := range refs {
		b = append(b, refs[i][:]...)
	}
	return b
}

// SumOf computes the keyless checksum of a sealed object and its refs.
// docs/format.md, "Sums".
func SumOf(id ID, kind Kind, session SessionID, refs []ID, sealed []byte) Sum {
	head := make([]byte, 0, 128+32*len(refs))
	head = append(head, id[:]...)
	head = append(head, byte(kind))
	head = append(head, session[:]...)
	head = AppendRefs(head, refs)
	head = binary.LittleEndian.AppendUint64(head, uint64(len(sealed)))
	full := HashBytes("sum", head, sealed)
	return Sum(full[:len(Sum{})])
}
