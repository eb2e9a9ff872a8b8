package pack

import (
	"encoding/binary"

	"github.com/zeebo/blake3"

	"bluesky/object"
)

// A summer computes sums one after the other without allocating: a hasher
// takes 10 KB, as much as a small object. Not for concurrent use.
type summer struct {
	hasher *blake3.Hasher
	head   []byte
}

// sum is [object.SumOf]; a test compares them.
func (s *summer) sum(id object.ID, kind object.Kind, session object.SessionID, refs []object.ID, sealed []byte) object.Sum {
	if s.hasher == nil {
		s.hasher = blake3.New()
	}
	b := append(s.head[:0], id[:]...)
	b = append(b, byte(kind))
	b = append(b, session[:]...)
	b = object.AppendRefs(b, refs)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(sealed)))
	s.head = b

	s.hasher.Reset()
	s.hasher.WriteString(sumLabel)
	s.hasher.Write(b)
	s.hasher.Write(sealed)
	var full object.Hash
	s.hasher.Sum(full[:0])
	return object.Sum(full[:len(object.Sum{})])
}

var sumLabel = object.Label("sum")
