package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"bluesky/object"
	"bluesky/pack"
)

var repository = object.RepositoryID{0xb1, 0x0e}

// A maker makes segments, the same ones for the same seed.
type maker struct {
	rand *rand.Rand
	data map[string][]byte // what was made, by key
}

func newMaker(seed uint64) *maker {
	return &maker{rand: rand.New(rand.NewPCG(seed, 2)), data: map[string][]byte{}}
}

func (m *maker) bytes(n int) []byte {
	b := make([]byte, 0, n+8)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, m.rand.Uint64())
	}
	return b[:n]
}

func (m *maker) id() object.ID { return object.ID(m.bytes(32)) }

func (m *maker) ids(n int) []object.ID {
	ids := make([]object.ID, n)
	for i := range ids {
		ids[i] = m.id()
	}
	return ids
}

// segment makes a segment of class with objects of the given ids.
func (m *maker) segment(t testing.TB, class object.Class, ids ...object.ID) *pack.Segment {
	t.Helper()
	kind := object.KindBlock
	if class == object.ClassMeta {
		kind = object.KindInodes
	}
	s := object.Session{ID: object.SessionID(m.bytes(16)), Class: class, Type: object.SessionDerived}
	b := pack.NewBuilder(repository, class, 1<<20)
	for i, id := range ids {
		o := object.Sealed{ID: id, Kind: kind, Session: s.ID, Bytes: m.bytes(pack.MinSealed + m.rand.IntN(50))}
		if class == object.ClassMeta && i > 0 {
			o.Refs = []object.ID{ids[i-1], m.id()}
		}
		if err := b.Add(o, s); err != nil {
			t.Fatal(err)
		}
	}
	seg, err := b.Finish(pack.Name(m.bytes(16)))
	if err != nil {
		t.Fatal(err)
	}
	m.data[seg.Name.Key()] = seg.Bytes
	return seg
}

// GetRange makes m a pack.ReaderAt.
func (m *maker) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	data, ok := m.data[key]
	if !ok || off+n > int64(len(data)) {
		return nil, errMissing
	}
	return bytes.Clone(data[off : off+n]), ctx.Err()
}

var errMissing = errors.New("no such key or range")

// encode makes the run of some segments, registered at the generations at.
func (m *maker) encode(t testing.TB, segments []*pack.Segment, at []uint64) ([]byte, Meta) {
	t.Helper()
	var b Builder
	for i, s := range segments {
		seg := SegmentOf(s, object.SessionID{byte(i)})
		if at != nil {
			seg.RegisteredAt = at[i]
		}
		if err := b.AddSegment(seg, s.Header); err != nil {
			t.Fatal(err)
		}
	}
	name := RunName(m.bytes(16))
	data, hash, err := b.Encode(repository, name)
	if err != nil {
		t.Fatal(err)
	}
	return data, Meta{Repository: repository, Name: name, Size: int64(len(data)), Hash: hash}
}

func (m *maker) run(t testing.TB, segments []*pack.Segment, at []uint64) *Run {
	t.Helper()
	r, err := Load(m.encode(t, segments, at))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// bare makes a run of n rows in one segment without building the segment.
func (m *maker) bare(t testing.TB, n int) *Run {
	t.Helper()
	var b Builder
	b.repository = repository
	b.segments = []Segment{{Name: pack.Name(m.bytes(16)), Size: pack.MaxSize, HeaderLength: 100, Class: object.ClassData}}
	for range n {
		b.rows = append(b.rows, Row{ID: m.id(), Offset: 164 + m.rand.Uint32N(1<<31), Length: 50, Kind: object.KindBlock})
	}
	data, _, err := b.Encode(repository, RunName{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Decode(data, repository, RunName{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// parts returns runs as a state registers them at the given generations.
func parts(runs []*Run, at []uint64) []Part {
	out := make([]Part, len(runs))
	for i, r := range runs {
		out[i] = Part{Run: r, At: at[i]}
	}
	return out
}
