// Package pack fills, opens and reads segments, the log files of a repository
// in which the sealed objects stand.
//
// docs/format.md, "Segment", is the specification; testdata/vectors holds it
// and this code to the same answers. No key is needed here, so a cleaner packs,
// moves and verifies what it cannot read. Every record promises:
//
//   - Integers are fixed-width and little-endian, but for the refs of a row,
//     which are uvarints in their shortest form. Lengths count bytes.
//   - Magic and version come first. A version from the future is ErrVersion,
//     never ErrCorrupt: the reader needs an upgrade, not a repair.
//   - One value has one encoding. Unknown features, non-zero padding and bytes
//     after the end are errors.
//
// A segment is
//
//	prelude 64 ‖ header ‖ body ‖ trailer 32
//
// The header is plaintext: which objects stand in the body, and which objects
// each of them refers to. Nothing of a header is used before its hash was
// compared with the one in a signed run, and nothing of a body before its sum
// was compared with the one in the header ([ReadHeader], [Header.Read]).
package pack

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"bluesky/object"
)

// Errors that the decoders of this package wrap.
var (
	// ErrCorrupt marks bytes that no writer of this format makes.
	ErrCorrupt = object.ErrCorrupt
	// ErrVersion marks a segment of a newer format.
	ErrVersion = object.ErrVersion
)

// Sizes and limits in bytes; docs/format.md, "Segment" and "Limits".
const (
	// PreludeSize is the length of the prelude.
	PreludeSize = 64
	// TrailerSize is the length of the trailer.
	TrailerSize = 32
	// MinSealed is the least that one sealed object takes.
	MinSealed = 34
	// MaxHeader is the most that a header takes, the prelude excluded. It
	// bounds the memory of whoever decodes one.
	MaxHeader = 256 << 20
	// MinSize is the length of the smallest segment: one object without refs.
	MinSize = PreludeSize + headerFixed + sessionFixed + objectFixed + 1 + MinSealed + TrailerSize
	// MaxSize is the length of the largest segment: offsets are 32 bits wide.
	MaxSize = 1<<32 - 1
)

// A Name is the random name of a segment, never used twice.
type Name [16]byte

func (n Name) String() string { return hex.EncodeToString(n[:]) }

// Key returns the key of the segment in the bucket: "seg/", the first two hex
// digits of the name as a folder, the 32 hex digits.
func (n Name) Key() string {
	s := n.String()
	return keyPrefix + s[:2] + "/" + s
}

const keyPrefix = "seg/"

// NewName draws a name from rand.
func NewName(rand io.Reader) (Name, error) {
	var n Name
	if _, err := io.ReadFull(rand, n[:]); err != nil {
		return Name{}, fmt.Errorf("draw a segment name: %w", err)
	}
	return n, nil
}

// ParseName reads the 32 lower-case hex digits of a name.
func ParseName(s string) (Name, error) {
	var n Name
	if len(s) != 2*len(n) || strings.ToLower(s) != s {
		return Name{}, fmt.Errorf("segment name %q: want %d lower-case hex digits", s, 2*len(n))
	}
	if _, err := hex.Decode(n[:], []byte(s)); err != nil {
		return Name{}, fmt.Errorf("segment name %q: %w", s, err)
	}
	return n, nil
}

// ParseKey returns the name of the segment that is stored under key. Any key
// but the one that [Name.Key] gives is an error: it is foreign.
func ParseKey(key string) (Name, error) {
	rest, ok := strings.CutPrefix(key, keyPrefix)
	if !ok || len(rest) < 3 {
		return Name{}, fmt.Errorf("key %q is not that of a segment", key)
	}
	n, err := ParseName(rest[3:])
	if err != nil || n.Key() != key {
		return Name{}, fmt.Errorf("key %q is not that of a segment", key)
	}
	return n, nil
}

// corruptf is fmt.Errorf with ErrCorrupt behind the message.
func corruptf(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrCorrupt)...)
}
