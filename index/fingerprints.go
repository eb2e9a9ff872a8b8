package index

import (
	"hash/maphash"
	"math/bits"

	"bluesky/object"
)

// fingerprints says which of many runs may have rows of an id. It is an open
// hash table with one slot for each (id, run): 16 bits of the id's hash and
// the number of the run. A seed drawn for each table keeps ids that somebody
// chose from sharing slots.
type fingerprints struct {
	seed  maphash.Seed
	slots []uint32 // fingerprint << 16 | 1 + place in runs; 0 is empty
	runs  []int    // members; those beyond the first maxRuns are always candidates
}

// maxRuns is how many runs have a number in a slot.
const maxRuns = 1<<16 - 1

func newFingerprints(members []member, runs []int) *fingerprints {
	f := &fingerprints{seed: maphash.MakeSeed(), runs: runs}
	numbered := runs[:min(len(runs), maxRuns)]
	rows := 0
	for _, i := range numbered {
		rows += members[i].run.Len()
	}
	f.slots = make([]uint32, rows+rows/3+1) // at most three quarters full
	for number, i := range numbered {
		run := members[i].run
		var last object.ID
		for row := range run.Len() {
			id := run.id(row)
			if row > 0 && id == last {
				continue
			}
			last = id
			f.add(id, uint32(number)+1)
		}
	}
	return f
}

// place returns the first slot for id and its fingerprint, shifted.
func (f *fingerprints) place(id object.ID) (slot int, print uint32) {
	h := maphash.Bytes(f.seed, id[:])
	hi, _ := bits.Mul64(h, uint64(len(f.slots)))
	return int(hi), uint32(h) << 16
}

func (f *fingerprints) add(id object.ID, number uint32) {
	at, print := f.place(id)
	for f.slots[at] != 0 {
		if at++; at == len(f.slots) {
			at = 0
		}
	}
	f.slots[at] = print | number
}

// candidates yields the members that may have id. It yields one twice if two of
// its ids have the same fingerprint and stand near each other.
func (f *fingerprints) candidates(id object.ID, yield func(int) bool) {
	at, print := f.place(id)
	for f.slots[at] != 0 {
		if s := f.slots[at]; s&^maxRuns == print {
			if !yield(f.runs[s&maxRuns-1]) {
				return
			}
		}
		if at++; at == len(f.slots) {
			at = 0
		}
	}
	for _, i := range f.runs[min(len(f.runs), maxRuns):] {
		if !yield(i) {
			return
		}
	}
}
