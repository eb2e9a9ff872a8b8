package backup

import (
	"context"
	"sync"

	"bluesky/object"
	"bluesky/seal"
)

// A sink seals the objects that are new and gives them to the target. It is a
// [tree.Sink], safe for concurrent use: each call takes a sealer of its own.
type sink struct {
	keys    *seal.Keys
	target  target
	rows    map[object.Class]object.Session
	sealers sync.Pool

	mu    sync.Mutex
	count sinkStats
}

// sinkStats count what was new, by class.
type sinkStats struct {
	dataObjects, metaObjects uint64
	plain, stored            uint64 // bytes before and after sealing
}

func newSink(keys *seal.Keys, target target, options Options) *sink {
	id := target.ID()
	s := &sink{keys: keys, target: target, rows: map[object.Class]object.Session{
		object.ClassData: keys.NewSession(id, object.ClassData),
		object.ClassMeta: keys.NewSession(id, object.ClassMeta),
	}}
	s.sealers.New = func() any {
		return keys.NewSealer(id, seal.SealerOptions{Compression: options.Compression, Verify: !options.NoVerify})
	}
	return s
}

// Put stores an object unless the repository has it, and returns its id.
func (s *sink) Put(ctx context.Context, kind object.Kind, refs []object.ID, payload []byte) (object.ID, error) {
	if err := context.Cause(ctx); err != nil {
		return object.ID{}, err
	}
	id := s.keys.ID(kind, refs, payload)
	if !s.target.Claim(id) {
		return id, nil
	}
	sealer := s.sealers.Get().(*seal.Sealer)
	defer s.sealers.Put(sealer)
	sealed, err := sealer.Seal(id, kind, refs, payload)
	if err != nil {
		return object.ID{}, err
	}
	s.note(kind, len(payload), len(sealed.Bytes))
	return id, s.target.Add(sealed, s.rows[kind.Class()])
}

func (s *sink) note(kind object.Kind, plain, stored int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind.Class() == object.ClassData {
		s.count.dataObjects++
	} else {
		s.count.metaObjects++
	}
	s.count.plain += uint64(plain)
	s.count.stored += uint64(stored)
}

func (s *sink) stats() sinkStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}
