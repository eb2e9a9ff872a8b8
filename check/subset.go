package check

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"bluesky/pack"
)

// A Subset is a part of the segments, to be read whole. The zero Subset is
// nothing.
type Subset struct {
	// Part of Parts: the segments whose names fall to it. A segment falls to the
	// same part each time, and to one only, so that all parts together are all
	// segments, whatever is added meanwhile.
	Part, Parts uint64
	// Percent of the bytes of all segments, above 0 and up to 100, by random
	// choice.
	Percent float64
	// Bytes of segments, by random choice.
	Bytes uint64
}

var errSubset = errors.New(`want a part such as 1/10, a percentage such as 2.5%, or a size such as 500M`)

// ParseSubset reads "n/t", "x%" or a size: a number of bytes, or of KiB, MiB,
// GiB or TiB with the suffix K, M, G or T.
func ParseSubset(text string) (Subset, error) {
	s, err := parseSubset(text)
	if err != nil {
		return Subset{}, fmt.Errorf("subset %q: %w", text, err)
	}
	return s, nil
}

func parseSubset(text string) (Subset, error) {
	if part, parts, ok := strings.Cut(text, "/"); ok {
		n, err1 := strconv.ParseUint(part, 10, 64)
		t, err2 := strconv.ParseUint(parts, 10, 64)
		switch {
		case err1 != nil || err2 != nil:
			return Subset{}, errSubset
		case n < 1 || n > t:
			return Subset{}, errors.New("the part has to be between 1 and the number of parts")
		}
		return Subset{Part: n, Parts: t}, nil
	}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		x, err := strconv.ParseFloat(number, 64)
		switch {
		case err != nil:
			return Subset{}, errSubset
		case !(x > 0 && x <= 100):
			return Subset{}, errors.New("the percentage has to be above 0 and at most 100")
		}
		return Subset{Percent: x}, nil
	}
	n, err := ParseSize(text)
	switch {
	case err != nil:
		return Subset{}, errSubset
	case n == 0:
		return Subset{}, errors.New("the size has to be above 0")
	}
	return Subset{Bytes: n}, nil
}

// ParseSize reads a number of bytes, or of KiB, MiB, GiB or TiB with the suffix
// K, M, G or T.
func ParseSize(text string) (uint64, error) {
	unit := uint64(1)
	if n := len(text); n > 0 {
		if i := strings.IndexByte("KMGT", text[n-1]&^0x20); i >= 0 {
			unit, text = 1<<(10*(i+1)), text[:n-1]
		}
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err == nil && n > math.MaxUint64/unit {
		err = strconv.ErrRange
	}
	return n * unit, err
}

// holds reports whether the segment of that name falls to the part.
func (s Subset) holds(name pack.Name) bool {
	return binary.BigEndian.Uint64(name[:])%s.Parts == s.Part-1
}

// choose returns the segments that s chooses of list, in the order of list.
// What is chosen by size is at least that, unless list is less.
func (s Subset) choose(list []*segment, random *rand.Rand) []*segment {
	if s.Parts > 0 {
		return slices.DeleteFunc(slices.Clone(list), func(seg *segment) bool { return !s.holds(seg.Name) })
	}
	wanted := s.Bytes
	if s.Percent > 0 {
		wanted = uint64(math.Ceil(float64(sumSizes(list)) * s.Percent / 100))
	}
	order := random.Perm(len(list))
	for i, at := range order {
		if wanted == 0 {
			order = order[:i]
			break
		}
		wanted -= min(wanted, uint64(list[at].Size))
	}
	slices.Sort(order)
	chosen := make([]*segment, len(order))
	for i, at := range order {
		chosen[i] = list[at]
	}
	return chosen
}

func sumSizes(list []*segment) (n uint64) {
	for _, s := range list {
		n += uint64(s.Size)
	}
	return n
}
