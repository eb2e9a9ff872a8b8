// Package chunk cuts file content into blocks where the content says so, so
// that an edit changes the blocks around it and no others.
//
// The cuts are those of github.com/restic/chunker with the repository's secret
// polynomial and parameters: its Rabin fingerprint over 64 bytes, on buffers of
// our own. docs/format.md, "bluesky.json", member chunker, id 1. The cuts are
// part of the format only in so far as another cut deduplicates nothing; readers
// never cut.
//
//   - The cuts of a file depend on its content, the polynomial and the
//     parameters alone: not on how it was read, nor on what was cut before.
//   - Every chunk but the last has at least Min bytes, none more than Max,
//     and none is empty.
//   - Memory is bounded by Max and a read, whatever the file.
package chunk

import (
	"fmt"

	"github.com/restic/chunker"
)

// Params place the cuts. They are parameters of the repository, fixed for ever
// when it is made: other cuts would deduplicate nothing.
type Params struct {
	Min  int  // bytes, at least 64; nothing before it is looked at
	Max  int  // bytes, above Min, at most 8 MiB
	Bits uint // 8 to 24: behind Min a cut falls every 2^Bits bytes on average
}

// DefaultParams returns the parameters of new repositories: a mean chunk of
// Min + 2^Bits, 1 MiB.
func DefaultParams() Params { return Params{Min: 768 << 10, Max: 8 << 20, Bits: 18} }

// The ranges of docs/format.md, "bluesky.json".
const (
	window  = 64 // bytes of the fingerprint; the chunker underflows below
	maxMax  = 8 << 20
	minBits = 8
	maxBits = 24
)

// Check reports whether p are parameters of format version 1.
func (p Params) Check() error {
	switch {
	case p.Min < window:
		return fmt.Errorf("chunker minimum of %d bytes, want at least %d", p.Min, window)
	case p.Max <= p.Min || p.Max > maxMax:
		return fmt.Errorf("chunker maximum of %d bytes, want more than %d and at most %d", p.Max, p.Min, maxMax)
	case p.Bits < minBits || p.Bits > maxBits:
		return fmt.Errorf("chunker of %d bits, want %d to %d", p.Bits, minBits, maxBits)
	}
	return nil
}

// A scanner finds the ends of chunks. Cutting leaves it as it was at first, so
// its state holds one unfinished chunk at most.
type scanner struct {
	base    chunker.BaseChunker
	initial chunker.BaseChunker // as at the start of a chunk
}

func newScanner(pol chunker.Pol, p Params) (*scanner, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	// The chunker shifts by the degree less 8 and panics above 53; its own
	// polynomials have degree 53 and are irreducible. The rest of that proof
	// takes a millisecond and is left to who derives them.
	if pol.Deg() != 53 {
		return nil, fmt.Errorf("chunker polynomial of degree %d, want 53", pol.Deg())
	}
	base := chunker.NewBase(pol,
		chunker.WithBaseAverageBits(int(p.Bits)),
		chunker.WithBaseBoundaries(uint(p.Min), uint(p.Max)))
	return &scanner{base: *base, initial: *base}, nil
}

// reset forgets an unfinished chunk. Unlike the chunker's own Reset it does not
// allocate.
func (s *scanner) reset() { s.base = s.initial }

// next returns how many bytes of b end the current chunk, or -1 if b does not
// reach its end and was taken whole.
func (s *scanner) next(b []byte) int { return s.base.NextSplitPoint(b) }
