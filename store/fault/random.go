package fault

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"sync"
)

// A Chance is how probable an effect is, from 0 to 1.
type Chance struct {
	Of     float64
	Effect Effect
}

// Random is a Plan that strikes by chance; bits, lengths and entries are chance
// as well. What becomes of the nth operation of a kind in a folder follows from
// the seed alone. So a run can be repeated although names are random and
// goroutines come in any order; where several work in one folder, up to which
// of them an operation belongs to.
func Random(seed uint64, chances ...Chance) Plan {
	type folder struct {
		kind Kind
		name string
	}
	var mu sync.Mutex
	seen := map[folder]uint64{}
	return func(op Op) Effect {
		name, _, _ := strings.Cut(op.Key, "/")
		f := folder{op.Kind, name}
		mu.Lock()
		seen[f]++
		n := seen[f]
		mu.Unlock()
		return draw(rand.New(rand.NewPCG(seed, fold(f.kind, name, n))), op.Kind, chances)
	}
}

// fold makes one number of what tells operations apart.
func fold(kind Kind, folder string, n uint64) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	for _, b := range append(binary.LittleEndian.AppendUint64([]byte{byte(kind)}, n), folder...) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return h
}

func draw(rng *rand.Rand, kind Kind, chances []Chance) Effect {
	for _, c := range chances {
		if c.Effect.Kinds()&kind != 0 && rng.Float64() < c.Of {
			return c.Effect.with(rng.Int64())
		}
	}
	return None
}
