// Package refcount holds what a repository remembers beside its runs, in the
// tables of folder cnt/: which rows are dead and which segments gone ([Marks]),
// how often each object is referred to ([Counts]), and how much of each segment
// is live ([Space]).
//
// docs/format.md, "Counter tables and space maps", is the specification;
// testdata/vectors holds it and this code to the same answers. No key is needed
// here. Every record promises:
//
//   - Integers are fixed-width and little-endian. Lengths count bytes.
//   - Magic and version come first. A version from the future is ErrVersion,
//     never ErrCorrupt: the reader needs an upgrade, not a repair.
//   - One value has one encoding. Unknown features, non-zero padding and bytes
//     after the end are errors.
//
// All three are lists of tables: a base, and tables behind it that hold what
// has changed since. The state names them, oldest first, with size and hash;
// [NeedsBase] says when a new base is due. Marks and counts are caches of what the
// headers of segments say, but nobody may do without: a table that cannot be
// read is an error, never "no marks" or "a count of 0".
//
// Memory for each million objects in runs: marks take a bit for each row at
// most, 0.13 MB, which is also what they take where one row in ten is dead. Counts
// take the 2 MB of their table, in place, and about 20 bytes for each count that
// has changed since the base, which is 0.5 MB when a new base is due. A space map
// that is read takes its root page, its deltas and at most 1 MiB of pages for
// each level, however large it is (a million objects of 1 MiB are 65,000
// segments, whose map has 2.8 MB); to write its base takes 150 bytes for each segment, 10 MB.
package refcount

import (
	"encoding/hex"
	"fmt"
	"io"
	"strings"

	"bluesky/object"
)

// Errors that the decoders of this package wrap.
var (
	// ErrCorrupt marks bytes that no writer of this format makes, and counts
	// that contradict what is done to them.
	ErrCorrupt = object.ErrCorrupt
	// ErrVersion marks a table of a newer format.
	ErrVersion = object.ErrVersion
)

// A TableName is the random name of a table, never used twice.
type TableName [16]byte

func (n TableName) String() string { return hex.EncodeToString(n[:]) }

const keyPrefix = "cnt/"

// Key returns the key of the table in the bucket: "cnt/" and 32 hex digits.
func (n TableName) Key() string { return keyPrefix + n.String() }

// NewTableName draws a name from rand.
func NewTableName(rand io.Reader) (TableName, error) {
	var n TableName
	if _, err := io.ReadFull(rand, n[:]); err != nil {
		return TableName{}, fmt.Errorf("draw the name of a table: %w", err)
	}
	return n, nil
}

// ParseKey returns the name of the table that is stored under key. Any key but
// the one that [TableName.Key] gives is an error: it is foreign.
func ParseKey(key string) (TableName, error) {
	var n TableName
	s, ok := strings.CutPrefix(key, keyPrefix)
	if !ok || len(s) != 2*len(n) || strings.ToLower(s) != s {
		return TableName{}, fmt.Errorf("key %q is not that of a table", key)
	}
	if _, err := hex.Decode(n[:], []byte(s)); err != nil {
		return TableName{}, fmt.Errorf("key %q is not that of a table", key)
	}
	return n, nil
}

// A Ref is what the state says of a table. Hash is that of all of it but for the
// base of a space map, where it covers the parts that lead to the others; see
// docs/format.md, "Counter tables and space maps".
type Ref struct {
	Name TableName   `cbor:"1,keyasint"`
	Size int64       `cbor:"2,keyasint"`
	Hash object.Hash `cbor:"3,keyasint"`
}

// A Table is the bytes of a table with what the state says of it: what is read
// in, and what is to be stored under Ref.Name.Key().
type Table struct {
	Ref  Ref
	Data []byte
}

// maxTables is how many tables a list holds.
const maxTables = 16

// NeedsBase reports whether a table of next bytes behind those of list should
// rather be a base, which takes the place of them all: because there is none,
// because the deltas would take more than a tenth of it, or because a reader
// would have to read more than 16 tables.
func NeedsBase(list []Ref, next int64) bool {
	if len(list) == 0 || len(list)+1 > maxTables {
		return true
	}
	deltas := next
	for _, r := range list[1:] {
		deltas += r.Size
	}
	return deltas > list[0].Size/10
}

// corruptf is fmt.Errorf with ErrCorrupt behind the message.
func corruptf(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrCorrupt)...)
}
