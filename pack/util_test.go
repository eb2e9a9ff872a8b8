package pack

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"bluesky/object"
)

var repository = object.RepositoryID{0xb1, 0x0e}

// memory is a ReaderAt that counts what is asked of it.
type memory struct {
	data  map[string][]byte
	reads atomic.Int64
	bytes atomic.Int64
	most  atomic.Int64 // bytes of the largest read
}

func (m *memory) GetRange(_ context.Context, key string, off, n int64) ([]byte, error) {
	data, ok := m.data[key]
	if !ok {
		return nil, fmt.Errorf("%s: %w", key, errMissing)
	}
	m.reads.Add(1)
	m.bytes.Add(n)
	m.most.Store(max(m.most.Load(), n))
	off = min(off, int64(len(data)))
	return append([]byte(nil), data[off:min(off+n, int64(len(data)))]...), nil
}

var errMissing = fmt.Errorf("no such key")

func stored(s *Segment) *memory {
	return &memory{data: map[string][]byte{s.Name.Key(): s.Bytes}}
}

// A maker makes objects that look sealed, the same ones for the same seed.
type maker struct {
	rand *rand.Rand
	n    uint64
}

func newMaker(seed uint64) *maker { return &maker{rand: rand.New(rand.NewPCG(seed, 1))} }

func (m *maker) bytes(n int) []byte {
	b := make([]byte, n)
	var word [8]byte
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(word[:], m.rand.Uint64())
		copy(b[i:], word[:])
	}
	return b
}

func (m *maker) id() object.ID {
	m.n++
	return object.ID(m.bytes(32))
}

func (m *maker) ids(n int) []object.ID {
	ids := make([]object.ID, n)
	for i := range ids {
		ids[i] = m.id()
	}
	return ids
}

func (m *maker) name() Name { return Name(m.bytes(16)) }

func (m *maker) session(class object.Class) object.Session {
	return object.Session{ID: object.SessionID(m.bytes(16)), Class: class, Type: object.SessionDerived, Epoch: 7}
}

func (m *maker) hpke(class object.Class) object.Session {
	s := m.session(class)
	s.Type, s.Wrap = object.SessionHPKE, m.bytes(hpkeWrap)
	return s
}

func (m *maker) object(kind object.Kind, s object.Session, size int, refs ...object.ID) object.Sealed {
	return object.Sealed{ID: m.id(), Kind: kind, Session: s.ID, Refs: refs, Bytes: m.bytes(size)}
}

func mustAdd(t testing.TB, b *Builder, o object.Sealed, s object.Session) {
	t.Helper()
	if err := b.Add(o, s); err != nil {
		t.Fatal(err)
	}
}

func mustFinish(t testing.TB, b *Builder, name Name) *Segment {
	t.Helper()
	s, err := b.Finish(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// graph is a meta segment whose objects refer to each other, forwards and
// backwards, and outside; two sessions, one of each type. It returns what was
// added as well.
func graph(t testing.TB, seed uint64) (*Segment, []object.Sealed) {
	m := newMaker(seed)
	derived, hpke := m.session(object.ClassMeta), m.hpke(object.ClassMeta)
	outside := m.ids(3)
	list := m.object(object.KindList, derived, 40, outside[2], outside[0])
	dir := m.object(object.KindDir, hpke, 34)
	imap := m.object(object.KindImap, derived, 50)
	inodes := m.object(object.KindInodes, hpke, 61, outside[1], list.ID, dir.ID, outside[0])
	imap.Refs = []object.ID{inodes.ID}
	snapshot := m.object(object.KindSnapshot, derived, 100, imap.ID)
	b := NewBuilder(repository, object.ClassMeta, 1<<16)
	objects := []object.Sealed{list, imap, inodes, dir, snapshot}
	for _, o := range objects {
		s := derived
		if o.Session == hpke.ID {
			s = hpke
		}
		mustAdd(t, b, o, s)
	}
	return mustFinish(t, b, m.name()), objects
}

// blocks is a data segment of blocks of the given sizes.
func blocks(t testing.TB, seed uint64, sizes ...int) (*Segment, []object.Sealed) {
	m := newMaker(seed)
	s := m.session(object.ClassData)
	b := NewBuilder(repository, object.ClassData, 1<<16)
	var objects []object.Sealed
	for _, size := range sizes {
		o := m.object(object.KindBlock, s, size)
		mustAdd(t, b, o, s)
		objects = append(objects, o)
	}
	return mustFinish(t, b, m.name()), objects
}
