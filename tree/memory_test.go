package tree

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/zeebo/blake3"

	"bluesky/object"
)

// A memory is a Sink and a Source made of a map, with plain BLAKE3 ids. It
// counts what is asked of it.
type memory struct {
	mu      sync.Mutex
	objects map[object.ID]stored
	puts    map[object.Kind]int // calls of Put
	added   map[object.Kind]int // objects that were not there before
	gets    map[object.Kind]int // calls of Object
}

type stored struct {
	kind    object.Kind
	refs    []object.ID
	payload []byte
}

func newMemory() *memory {
	return &memory{
		objects: make(map[object.ID]stored),
		puts:    make(map[object.Kind]int),
		added:   make(map[object.Kind]int),
		gets:    make(map[object.Kind]int),
	}
}

func idOf(kind object.Kind, refs []object.ID, payload []byte) object.ID {
	h := blake3.New()
	h.Write([]byte{byte(kind)})
	h.Write(object.AppendRefs(nil, refs))
	h.Write(payload)
	return object.ID(object.HashSum(h))
}

func (m *memory) Put(ctx context.Context, kind object.Kind, refs []object.ID, payload []byte) (object.ID, error) {
	if err := ctx.Err(); err != nil {
		return object.ID{}, err
	}
	if len(payload) > object.MaxPayload {
		return object.ID{}, fmt.Errorf("a payload of %d bytes", len(payload))
	}
	id := idOf(kind, refs, payload)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.puts[kind]++
	if _, ok := m.objects[id]; !ok {
		m.added[kind]++
		m.objects[id] = stored{kind, append([]object.ID(nil), refs...), append([]byte(nil), payload...)}
	}
	return id, nil
}

var errNoObject = errors.New("no such object")

func (m *memory) Object(ctx context.Context, id object.ID, kind object.Kind) ([]object.ID, []byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets[kind]++
	s, ok := m.objects[id]
	if !ok || s.kind != kind {
		return nil, nil, fmt.Errorf("%s %s: %w", kind, id.Short(), errNoObject)
	}
	return s.refs, s.payload, nil
}

func (m *memory) forgetCounts() {
	clear(m.puts)
	clear(m.added)
	clear(m.gets)
}

// A testHasher is a Hasher with a fixed key.
type testHasher struct{}

// hashers are keyed and used again: a new one takes 11 KB.
var hashers = sync.Pool{New: func() any {
	h, err := blake3.NewKeyed([]byte("a key for tests, of 32 bytes...."))
	if err != nil {
		panic(err)
	}
	return h
}}

func (testHasher) hash(use string, x []byte) object.Hash {
	h := hashers.Get().(*blake3.Hasher)
	defer hashers.Put(h)
	h.Reset()
	h.WriteString(object.Label(use))
	h.Write(x)
	return object.HashSum(h)
}

func (t testHasher) MapHash(level uint8, n uint64) uint32 {
	sum := t.hash("inode map", binary.LittleEndian.AppendUint64([]byte{level}, n))
	return binary.LittleEndian.Uint32(sum[:])
}

func (t testHasher) NameHash(name []byte) [32]byte {
	return t.hash("directory", append(binary.LittleEndian.AppendUint64(nil, uint64(len(name))), name...))
}

// testID returns an id that n decides.
func testID(n uint64) object.ID {
	return object.ID(blake3.Sum256(binary.LittleEndian.AppendUint64(nil, n)))
}
