// Package index finds the objects of a repository: sorted immutable runs of
// rows that say in which segment an object stands, at which offset, and with
// which sum.
//
// docs/format.md, "Run", is the specification; testdata/vectors holds it and
// this code to the same answers. No key is needed here. A [Builder] makes a run
// from segment headers, a [Run] is one that was verified, an [Index] is the set
// of runs that a state of the repository registers, and a [Cache] keeps runs on
// the local disk. The index is a function of the segment headers alone, and
// [FromHeaders] makes it again from them.
//
// Invariants:
//
//   - A Run exists only for bytes whose every field was checked and whose hash
//     was computed; bytes that change under it later give wrong rows, never a
//     read outside of it.
//   - Integers are fixed-width and little-endian. A version from the future is
//     ErrVersion, never ErrCorrupt. One value has one encoding.
package index

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
	// ErrVersion marks a run of a newer format.
	ErrVersion = object.ErrVersion
)

// A RunName is the random name of a run, never used twice.
type RunName [16]byte

func (n RunName) String() string { return hex.EncodeToString(n[:]) }

const keyPrefix = "idx/"

// Key returns the key of the run in the bucket: "idx/" and 32 hex digits.
func (n RunName) Key() string { return keyPrefix + n.String() }

// NewRunName draws a name from rand.
func NewRunName(rand io.Reader) (RunName, error) {
	var n RunName
	if _, err := io.ReadFull(rand, n[:]); err != nil {
		return RunName{}, fmt.Errorf("draw the name of a run: %w", err)
	}
	return n, nil
}

// ParseRunName reads the 32 lower-case hex digits of a name.
func ParseRunName(s string) (RunName, error) {
	var n RunName
	if len(s) != 2*len(n) || strings.ToLower(s) != s {
		return RunName{}, fmt.Errorf("name of a run %q: want %d lower-case hex digits", s, 2*len(n))
	}
	if _, err := hex.Decode(n[:], []byte(s)); err != nil {
		return RunName{}, fmt.Errorf("name of a run %q: %w", s, err)
	}
	return n, nil
}

// ParseKey returns the name of the run that is stored under key. Any key but
// the one that [RunName.Key] gives is an error: it is foreign.
func ParseKey(key string) (RunName, error) {
	s, ok := strings.CutPrefix(key, keyPrefix)
	if !ok {
		return RunName{}, fmt.Errorf("key %q is not that of a run", key)
	}
	n, err := ParseRunName(s)
	if err != nil {
		return RunName{}, fmt.Errorf("key %q is not that of a run", key)
	}
	return n, nil
}

// corruptf is fmt.Errorf with ErrCorrupt behind the message.
func corruptf(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrCorrupt)...)
}
