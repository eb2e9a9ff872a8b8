package repo

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"sync"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
)

// A Session is one run of a writer: it packs sealed objects into segments,
// uploads them, and registers them with a commit. Everything but Close is safe
// for concurrent use until Commit.
//
// Order of durability: data segments, then the metadata segments that may
// refer to them, then the run, then the generation, which is the commit point.
// After a crash anywhere before, the bucket holds segments and perhaps a run
// that no generation names, invisible to everyone. The next run of the machine
// registers those segments that the session's journal names.
type Session struct {
	repo    *Repo
	id      object.SessionID
	signer  crypto.Signer
	journal *sessionJournal
	ctx     context.Context // canceled with the first error of an upload as its cause
	fail    context.CancelCauseFunc
	data    *lane
	meta    *lane

	mu       sync.Mutex
	base     *State
	view     *index.Index
	own      map[object.ID]struct{} // claimed, and not in view
	relied   [][]object.ID          // external refs of the segments in rows
	rows     *index.Builder         // of the run being filled
	since    uint64                 // generation known before any name of a segment in rows was chosen
	sequence uint64                 // of the last statement made
	stats    SessionStats
	ref      *CheckpointRef // uploaded and not yet committed

	unrecorded bool // the journal lacks an upload, which was reported
}

// SessionStats count what a session has added; sizes in bytes.
type SessionStats struct {
	DataObjects, MetaObjects uint64
	SealedBytes              uint64 // of objects
	StoredBytes              uint64 // of finished segments and runs

	// Of segments that an earlier run had uploaded, and this one has registered.
	AdoptedSegments, AdoptedBytes uint64
}

// Begin starts a session on the newest state. The signer needs the role of
// writer. The session holds a lock in the state folder until it is closed, by
// which the next run on this machine tells that it is alive.
//
// What earlier runs of this machine have uploaded and did not register is
// registered by this session, and their sessions end with its snapshot, if they
// left their journals behind.
func (r *Repo) Begin(ctx context.Context, signer crypto.Signer) (*Session, error) {
	s := &Session{
		repo: r, signer: signer,
		own:  map[object.ID]struct{}{},
		rows: &index.Builder{},
		data: newLane(r.config, object.ClassData),
		meta: newLane(r.config, object.ClassMeta),
	}
	s.ctx, s.fail = context.WithCancelCause(ctx)
	if err := r.random(s.id[:]); err != nil {
		return nil, err
	}
	// First the locks, then the state: so what their last holders have committed
	// is in it. Without a journal the session is ended, after a crash, by its age.
	var err error
	s.journal, err = openJournal(r, s.id, signer)
	r.Note(err)
	err = s.begin(ctx)
	if err == nil {
		err = s.adopt(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Session) begin(ctx context.Context) error {
	if err := s.renew(ctx); err != nil {
		return err
	}
	if s.base.ReadOnly() {
		return ErrReadOnly
	}
	key, err := publicKey(s.signer)
	if err != nil {
		return err
	}
	if role, _ := s.base.Role(key); role != RoleWriter && role != roleAdmin {
		return fmt.Errorf("key %s is no writer of this repository: its role was removed", key)
	}
	return nil
}

// renew makes the newest state the base of a session that has committed
// nothing.
func (s *Session) renew(ctx context.Context) error {
	base, _, err := s.repo.Current(ctx)
	if err != nil {
		return err
	}
	return s.advance(ctx, base)
}

// Note remembers err, if it is one, for [Repo.Problems].
func (r *Repo) Note(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problem(err)
}

// ID returns the session's identity, from which its sealing keys derive.
func (s *Session) ID() object.SessionID { return s.id }

// Stats returns what the session has added so far.
func (s *Session) Stats() SessionStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats
}

// Claim reports whether the caller is the one to seal and Add the object:
// neither the repository nor this session has it yet. A second caller with
// the same id may refer to it at once.
func (s *Session) Claim(id object.ID) bool {
	s.mu.Lock()
	_, mine := s.own[id]
	view := s.view
	s.mu.Unlock()
	if mine || view.Has(id) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, mine := s.own[id]; mine {
		return false
	}
	s.own[id] = struct{}{}
	return true
}

// Has reports whether the object is visible in the state that the session
// builds on. What it has added itself is so from its next AddRun on.
func (s *Session) Has(id object.ID) bool {
	s.mu.Lock()
	view := s.view
	s.mu.Unlock()
	return view.Has(id)
}

// Add packs o, which was claimed before, and uploads the segment that it
// fills. It copies o; it blocks while enough uploads are under way. The error
// of an upload in the background comes back from a later Add or from Commit.
func (s *Session) Add(o object.Sealed, row object.Session) error {
	l := s.data
	if o.Kind.Class() == object.ClassMeta {
		l = s.meta
	}
	for {
		full, err := l.add(s.ctx, o, row)
		if err != nil {
			return err
		}
		if full == nil {
			s.count(&o)
			return nil
		}
		if err := s.ship(l, full); err != nil {
			return err
		}
	}
}

func (s *Session) count(o *object.Sealed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Kind.Class() == object.ClassData {
		s.stats.DataObjects++
	} else {
		s.stats.MetaObjects++
	}
	s.stats.SealedBytes += uint64(len(o.Bytes))
}

// ship finishes a full segment and uploads it in the background. Before a
// metadata segment all data that it may refer to is made durable.
func (s *Session) ship(l *lane, full *filled) error {
	if l.class == object.ClassMeta {
		if err := s.flush(s.data); err != nil {
			l.uploads.closeTicket(full.ticket)
			return err
		}
	}
	return l.uploads.start(s.ctx, full.ticket, func() {
		defer l.recycle(full.builder)
		if err := s.upload(full.builder); err != nil {
			s.fail(err)
		}
	})
}

// EndData says that what is Added from here on is metadata, or nearly all of it:
// the open data segment is uploaded in the background, and the memory of data
// segments is given back.
func (s *Session) EndData() error {
	s.data.retire()
	if full := s.data.take(); full != nil {
		return s.ship(s.data, full)
	}
	return nil
}

// flush ships the open segment of a lane and waits until all that the lane
// has shipped is durable.
func (s *Session) flush(l *lane) error {
	if full := l.take(); full != nil {
		if err := s.ship(l, full); err != nil {
			return err
		}
	}
	l.uploads.wait()
	return context.Cause(s.ctx)
}

// upload makes one segment durable under a new random name and notes its rows.
func (s *Session) upload(b *pack.Builder) error {
	s.mu.Lock()
	known := s.base.Generation
	s.mu.Unlock()
	name, err := pack.NewName(s.repo.options.Rand)
	if err != nil {
		return err
	}
	segment, err := b.Finish(name)
	if err != nil {
		return err
	}
	if err := s.repo.put(s.ctx, name.Key(), segment.Bytes); err != nil {
		return fmt.Errorf("segment %s: %w", name, err)
	}
	s.record(uploadOf(segment, known))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stats.StoredBytes += uint64(len(segment.Bytes))
	s.relied = append(s.relied, segment.Header.External)
	return s.rows.AddSegment(index.SegmentOf(segment, s.id), segment.Header)
}

// record notes an upload in the journal. If that fails, the next run uploads
// it again if this one comes to no good end.
func (s *Session) record(u upload) {
	err := s.journal.record(u)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && !s.unrecorded {
		s.unrecorded = true
		s.repo.Note(fmt.Errorf("session journal: %w", err))
	}
}
