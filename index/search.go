package index

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"bluesky/object"
)

// maxRounds is how often search guesses by proportion before it only halves. A
// million uniform ids take three rounds.
const maxRounds = 4

// search returns the first of the sorted rows whose id is not below id, and how
// many rows it looked at.
//
// Ids are uniform unless somebody chose them, so the place of one among n
// follows from its value, give or take √n. A round looks at the guess and at
// the row that stands √n away on the side of the id, which leaves a bracket of
// √n rows nearly always (one side alone would leave the far bound where it
// was). Measured: 7 rows among 20,000 and 8 among a million, where halving
// looks at 15 and 20. Whatever the ids are, it looks at no more than
// 2·maxRounds + ⌈log2(n+1)⌉ rows.
func search(rows []byte, id object.ID) (at, probes int) {
	b := bracket{rows: rows, id: &id, hi: len(rows) / rowSize, hiKey: ^uint64(0)}
	for range maxRounds {
		n := b.hi - b.lo
		if n < 16 {
			break
		}
		at := b.guess()
		step := 1 << (bits.Len(uint(n)) / 2) // about √n
		if b.look(at) {
			at -= step
		} else {
			at += step
		}
		if at >= b.lo && at < b.hi {
			b.look(at)
		}
	}
	for b.lo < b.hi {
		b.look(int(uint(b.lo+b.hi) >> 1))
	}
	return b.lo, b.probes
}

// A bracket is where the first row stands whose id is not below id: in [lo, hi],
// of which the rows [lo, hi) have keys from loKey to hiKey. Keys are the first
// eight bytes of ids.
type bracket struct {
	rows         []byte
	id           *object.ID
	lo, hi       int
	loKey, hiKey uint64
	probes       int
}

// look narrows the bracket to one side of row i, which is in [lo, hi), and
// reports whether the answer is at or before i.
func (b *bracket) look(i int) bool {
	b.probes++
	row := b.rows[i*rowSize:][:idSize]
	key := binary.BigEndian.Uint64(row)
	if bytes.Compare(row, b.id[:]) < 0 {
		b.lo, b.loKey = i+1, key
		return false
	}
	b.hi, b.hiKey = i, key
	return true
}

// guess returns where in [lo, hi) the id stands if the ids between are spread
// evenly. The bracket must not be empty.
func (b *bracket) guess() int {
	key := binary.BigEndian.Uint64(b.id[:])
	if key <= b.loKey {
		return b.lo
	}
	if key >= b.hiKey {
		return b.hi - 1
	}
	h, l := bits.Mul64(key-b.loKey, uint64(b.hi-b.lo))
	at, _ := bits.Div64(h, l, b.hiKey-b.loKey) // less than hi-lo, as key is less than hiKey
	return b.lo + int(at)
}
