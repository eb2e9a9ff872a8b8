package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"bluesky/index"
	"bluesky/object"
)

// checkpointEvery is how many generations a reader replays at most, about:
// each costs it a small read.
const checkpointEvery = 64

// AddRun registers what the session has added so far, so that a crash loses
// no more than what came after. The session goes on. Where nothing is new, it
// registers an empty run: what the session has registered is protected for 7
// days from its last generation (R10). One that has registered nothing yet has
// nothing to protect, and makes no generation. What was claimed must have
// been added, and no call of Claim or Add may be under way: else a ref out of what
// is registered could lead nowhere, and the commit is refused; or an object could
// be given away twice.
func (s *Session) AddRun(ctx context.Context) error {
	_, err := s.register(ctx, nil)
	return err
}

// Commit registers what the session has added and adds the snapshot, whose
// object and root are among it or visible. It returns the state that it made.
//
// The error wraps [ErrObjectGone] when something that the snapshot needs was
// removed meanwhile; the backup starts again then, in a new session.
func (s *Session) Commit(ctx context.Context, snapshot AddSnapshot) (*State, error) {
	return s.register(ctx, &snapshot)
}

// maxRescues is how often a session puts back what a cleaner has taken from
// it in one commit, before the backup starts again.
const maxRescues = 4

func (s *Session) register(ctx context.Context, snapshot *AddSnapshot) (*State, error) {
	for rescues := 0; ; rescues++ {
		after, err := s.tryRegister(ctx, snapshot)
		var gone *goneError
		if !errors.As(err, &gone) || rescues == maxRescues {
			return after, err
		}
		if failed := s.rescue(ctx, gone); failed != nil {
			return nil, fmt.Errorf("%w; and it cannot be put back: %w", err, failed)
		}
	}
}

func (s *Session) tryRegister(ctx context.Context, snapshot *AddSnapshot) (*State, error) {
	for _, l := range []*lane{s.data, s.meta} {
		if err := s.flush(l); err != nil {
			return nil, err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	staged, err := s.stage(ctx, snapshot == nil)
	if err != nil {
		return nil, err
	}
	if staged == nil && snapshot == nil {
		return s.base, nil
	}
	relied := s.relied
	if snapshot != nil { // what an earlier run has registered may have been taken since
		relied = append(slices.Clip(relied), []object.ID{snapshot.ID, snapshot.Root})
	}
	c := change{author: s.signer, run: staged, relied: relied, since: s.since, ops: s.ops(ctx, staged, snapshot)}
	after, err := s.repo.commit(ctx, s.base, c)
	if err != nil {
		return nil, err
	}
	s.base = after
	s.repo.Note(s.journal.finish(after))
	if snapshot != nil {
		return after, nil // durable; nothing that fails from here on changes it
	}
	return after, s.advance(ctx, after)
}

// stage uploads the run of what the session has added since the last one. Where
// that is nothing it returns nil, or, if empty, an empty run of a session that
// generations name. It needs s.mu.
func (s *Session) stage(ctx context.Context, empty bool) (*stagedRun, error) {
	if _, registered := s.base.sessions[s.id]; s.rows.Len() == 0 && !(empty && registered) {
		return nil, nil
	}
	name, err := index.NewRunName(s.repo.options.Rand)
	if err != nil {
		return nil, err
	}
	data, hash, err := s.rows.Encode(s.repo.config.ID, name)
	if err != nil {
		return nil, err
	}
	if err := s.repo.put(ctx, name.Key(), data); err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	s.stats.StoredBytes += uint64(len(data))
	add := AddRun{Name: name, Size: uint64(len(data)), Hash: hash}
	run, err := s.repo.openRun(ctx, add, func(context.Context) ([]byte, error) { return data, nil })
	return &stagedRun{add, run}, err
}

// ops returns what makes the ops of a generation of this session: the run, the
// snapshot, with it the ends of sessions that a crash on this machine has left,
// and now and then a checkpoint of the base.
func (s *Session) ops(ctx context.Context, staged *stagedRun, snapshot *AddSnapshot) func(*State) ([]Op, error) {
	return func(base *State) ([]Op, error) {
		if err := s.goesOn(base); err != nil {
			return nil, err
		}
		var ops []Op
		if snapshot != nil {
			// Not before: this session builds on what those have registered, and
			// nothing but they keeps a cleaner from it (R10).
			var err error
			if ops, err = s.journal.ends(base, s.signer); err != nil {
				return nil, err
			}
		}
		sequence := s.sequence
		add := func(t OpType, body any) error {
			sequence++
			op, err := newStatement(s.signer, s.repo.config.ID, s.id, sequence, t, body)
			ops = append(ops, op)
			return err
		}
		if staged != nil {
			if err := add(OpAddRun, &staged.add); err != nil {
				return nil, err
			}
		}
		if snapshot != nil {
			if err := add(OpAddSnapshot, snapshot); err != nil {
				return nil, err
			}
		}
		op, err := s.checkpoint(ctx, base)
		if op != nil {
			ops = append(ops, *op)
		}
		return ops, err
	}
}

// goesOn returns an error if base takes no more statements of the session: a
// cleaner has taken its run for dead and ended it, or the log begins behind it
// (R10). What it has registered is not protected any more then.
func (s *Session) goesOn(base *State) error {
	if base.sessions[s.id].ended {
		return fmt.Errorf("%w: a cleaner took this run for dead and has ended its session", ErrObjectGone)
	}
	if s.since < base.Floor {
		return tooLate(base, s.since)
	}
	return nil
}

// checkpoint uploads the state base and returns the op that records it, nil
// while the last one is recent enough.
func (s *Session) checkpoint(ctx context.Context, base *State) (*Op, error) {
	var last uint64
	if base.Checkpoint != nil {
		last = base.Checkpoint.Number
	}
	if !s.repo.CheckpointDue(base) {
		return nil, nil
	}
	// One that a lost race has left over serves as well, if it is newer, and
	// nobody took it for an orphan (R3).
	if s.ref == nil || s.ref.Number <= last || !s.repo.stillOwn(ctx, base, CheckpointNamed(s.ref.Name), s.ref.Number) {
		ref, err := s.repo.putCheckpoint(ctx, base)
		if err != nil {
			return nil, err
		}
		s.ref = ref
	}
	body, err := object.EncodeCBOR(s.ref)
	return &Op{OpCheckpoint, opVersion, body}, err
}

// putCheckpoint makes the state s durable and returns its name and hash.
func (r *Repo) putCheckpoint(ctx context.Context, s *State) (*CheckpointRef, error) {
	data, err := EncodeState(s)
	if err != nil {
		return nil, err
	}
	ref := &CheckpointRef{Number: s.Generation, Hash: object.HashBytes("checkpoint", data)}
	if err := r.random(ref.Name[:]); err != nil {
		return nil, err
	}
	if err := r.put(ctx, ref.Name.Key(), data); err != nil {
		return nil, fmt.Errorf("checkpoint of generation %d: %w", s.Generation, err)
	}
	return ref, nil
}

// advance makes after the base of what the session adds next, or a newer state
// where a cleaner has taken away what after is read from. It needs s.mu.
func (s *Session) advance(ctx context.Context, after *State) error {
	base, view, err := s.repo.IndexFrom(ctx, after)
	if err != nil {
		return err
	}
	// The statements of this session up to here are in after.
	s.sequence = after.sessions[s.id].sequence
	s.base, s.view = base, view
	s.own = map[object.ID]struct{}{} // all in view by now
	s.relied = nil
	s.rows = &index.Builder{}
	s.since = base.Generation
	return nil
}

// Close ends the session locally: it waits for uploads under way and releases
// the lock. What was not committed stays behind, and the journal with it, for
// the next run to register; nothing is deleted.
func (s *Session) Close() error {
	s.fail(context.Canceled)
	for _, l := range []*lane{s.data, s.meta} {
		l.uploads.wait()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.journal.close(s.leaves())
}

// leaves reports whether the session leaves something to the next run: an end
// to put on it, or uploads that are not registered, or perhaps are: a commit
// that failed may be in the log all the same, now or later. It needs s.mu.
func (s *Session) leaves() bool {
	if s.base == nil {
		return false // it never began
	}
	state, known := s.base.sessions[s.id]
	return !state.ended && (known || s.rows.Len() > 0)
}
