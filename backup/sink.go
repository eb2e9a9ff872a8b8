package backup

import (
	"context"
	"runtime"
	"sync"

	"bluesky/object"
	"bluesky/seal"
)

// A sink seals the objects that are new and gives them to the target. It is a
// [tree.Sink], safe for concurrent use.
type sink struct {
	keys    *seal.Keys
	target  target
	rows    map[object.Class]object.Session
	sealers chan *seal.Sealer // those that nobody uses

	// gate is held for reading from Claim to Add and for writing by AddRun,
	// which wants that all that was claimed is added.
	gate sync.RWMutex

	mu     sync.Mutex
	count  sinkStats
	rhythm rhythm
	failed error // an object was claimed and not added: nothing may refer to it
}

// sinkStats count what was new, by class.
type sinkStats struct {
	dataObjects, metaObjects uint64
	plain, stored            uint64 // bytes before and after sealing
}

func newSink(keys *seal.Keys, target target, options Options) *sink {
	id := target.ID()
	s := &sink{keys: keys, target: target, rhythm: newRhythm(options.Now), rows: map[object.Class]object.Session{
		object.ClassData: keys.NewSession(id, object.ClassData),
		object.ClassMeta: keys.NewSession(id, object.ClassMeta),
	}}
	// There are more workers than processors, since some wait for a disk. But
	// sealing waits for nothing, and a sealer takes some 6 MiB.
	s.sealers = make(chan *seal.Sealer, runtime.GOMAXPROCS(0))
	for range cap(s.sealers) {
		s.sealers <- keys.NewSealer(id, options.sealer())
	}
	return s
}

func (o *Options) sealer() seal.SealerOptions {
	return seal.SealerOptions{Compression: o.Compression, Verify: !o.NoVerify}
}

// Put stores an object unless the repository has it, and returns its id. Now
// and then it registers what there is so far.
func (s *sink) Put(ctx context.Context, kind object.Kind, refs []object.ID, payload []byte) (object.ID, error) {
	if err := context.Cause(ctx); err != nil {
		return object.ID{}, err
	}
	id := s.keys.ID(kind, refs, payload)
	if err := s.put(id, kind, refs, payload); err != nil {
		return id, err
	}
	return id, s.keepUp(ctx)
}

// put stores an object unless the repository has it.
func (s *sink) put(id object.ID, kind object.Kind, refs []object.ID, payload []byte) error {
	s.gate.RLock()
	defer s.gate.RUnlock()
	if !s.target.Claim(id) {
		return nil
	}
	sealer := <-s.sealers
	defer func() { s.sealers <- sealer }()
	sealed, err := sealer.Seal(id, kind, refs, payload)
	if err == nil {
		err = s.target.Add(sealed, s.rows[kind.Class()])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed = err
		return err
	}
	s.count.add(kind, len(payload), len(sealed.Bytes))
	return nil
}

// keepUp registers what there is so far if that is due. The walk asks as well,
// for days may pass without an object.
func (s *sink) keepUp(ctx context.Context) error {
	s.mu.Lock()
	due := s.rhythm.due(s.count.dataObjects+s.count.metaObjects, s.count.stored)
	s.mu.Unlock()
	if !due {
		return nil
	}
	return s.addRun(ctx)
}

// addRun registers what there is so far, while nobody puts anything.
func (s *sink) addRun(ctx context.Context) error {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.mu.Lock()
	failed := s.failed
	s.mu.Unlock()
	if failed != nil {
		return failed
	}
	return s.target.AddRun(ctx)
}

func (c *sinkStats) add(kind object.Kind, plain, stored int) {
	if kind.Class() == object.ClassData {
		c.dataObjects++
	} else {
		c.metaObjects++
	}
	c.plain += uint64(plain)
	c.stored += uint64(stored)
}

func (s *sink) stats() sinkStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.count
}
