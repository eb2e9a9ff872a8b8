package repo

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"fmt"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/store"
)

// maxPuts is how often the same bytes are put when the bucket neither took
// them nor holds another's.
const maxPuts = 5

// A change is what an author wants a generation to do.
type change struct {
	author crypto.Signer
	// ops makes the ops for the generation after base.
	ops func(base *State) ([]Op, error)
	// run is what the ops register, nil for nothing.
	run *stagedRun
	// relied are the ids that must be visible with the change: every ref out of
	// a segment of run, whatever it was found by, and every root (R1, R3).
	relied [][]object.ID
	// since is a generation that was known before any name of a segment of run
	// was chosen: no run up to there has one of them.
	since uint64
}

// errRegistered: a segment that a change registers stands in a run already. Who
// did not take it over from another run has uploaded it, so another took it over
// from this one, by a copy of its journal: the lock shows nowhere else.
var errRegistered = errors.New("another run took it over from this one as if it were dead: " +
	"no two machines may use one state folder or copies of it; run the backup again")

// A stagedRun is a run that is durable in the bucket and not yet registered.
type stagedRun struct {
	add AddRun
	run *index.Run
}

// A goneError says what a change relies on and does not have in a state: ids
// that are not visible, or uploads of its own that were condemned.
type goneError struct {
	state    *State
	ids      []object.ID
	segments map[pack.Name]bool
}

func (e *goneError) Error() string {
	if len(e.ids) > 0 {
		return fmt.Sprintf("%v: object %s", ErrObjectGone, e.ids[0])
	}
	return fmt.Sprintf("%v: a cleaner took what it has uploaded for the remains of a run that is gone", ErrObjectGone)
}

func (e *goneError) Unwrap() error { return ErrObjectGone }

// commit appends c to the log and returns the state that it made.
//
// The steps: (1) verify c against the newest state; (2) create gen/N+1, the
// commit point; (3) on any error or conflict read gen/N+1 back and compare the
// whole bytes, since a conditional put may succeed and report failure. Another's
// bytes: start over on the newer state. No bytes: put the same again. Nothing
// is deleted whatever happens: the outcome of a lost put is not known (R2, R8).
//
// The error is a *goneError when a relied-on id is no longer visible, or an
// upload of c was condemned.
func (r *Repo) commit(ctx context.Context, base *State, c change) (*State, error) {
	var checked *State // the state in which all of c.relied were found visible
	for {
		newest, view, err := r.IndexFrom(ctx, base) // a cleaner may have been faster
		if err != nil {
			return nil, err
		}
		base = newest
		if checked == nil || !base.extends(checked) {
			if err := c.checkRelied(base, view); err != nil {
				return nil, err
			}
		}
		checked = base
		if err := r.checkOwn(ctx, base, c); err != nil {
			return nil, err
		}
		after, err := r.attempt(ctx, base, view, c)
		if !errors.Is(err, ErrConflict) {
			return after, err
		}
		if base, err = r.Refresh(ctx); err != nil {
			return nil, err
		}
	}
}

// attempt is one try to append c to base, whose index view is. The error wraps
// [ErrConflict] when another author was faster; nothing is stored then.
func (r *Repo) attempt(ctx context.Context, base *State, view *index.Index, c change) (*State, error) {
	if base.ReadOnly() {
		return nil, ErrReadOnly
	}
	data, after, err := r.propose(ctx, base, view, c)
	if err != nil {
		return nil, r.orConflict(ctx, base, err)
	}
	won, err := r.putNew(ctx, GenerationKey(after.Generation), data)
	if err != nil {
		return nil, fmt.Errorf("create generation %d: %w", after.Generation, err)
	}
	if !won {
		return nil, fmt.Errorf("generation %d: %w", after.Generation, ErrConflict)
	}
	r.adopt(after, c.run)
	return after, nil
}

// orConflict returns err, wrapped in [ErrConflict] if it says that something is
// missing and there is a newer state than base: a cleaner was faster, and has
// deleted what base is read from.
func (r *Repo) orConflict(ctx context.Context, base *State, err error) error {
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	newest, refreshErr := r.Refresh(ctx)
	if refreshErr != nil || newest.Generation == base.Generation {
		return errors.Join(err, refreshErr)
	}
	return fmt.Errorf("generation %d: %w: %w", base.Generation+1, ErrConflict, err)
}

// propose encodes the generation after base that makes the change, folds it as
// every reader will, and asserts what must hold of the result.
func (r *Repo) propose(ctx context.Context, base *State, view *index.Index, c change) ([]byte, *State, error) {
	ops, err := c.ops(base)
	if err != nil {
		return nil, nil, err
	}
	g := Generation{
		Number: base.Generation + 1, Previous: base.Hash,
		Checkpoint: base.Checkpoint, Floor: base.Floor, Ops: ops,
	}
	if err := g.follow(ops); err != nil {
		return nil, nil, err
	}
	if err := r.random(g.Nonce[:]); err != nil {
		return nil, nil, err
	}
	data, err := encodeGeneration(&g, r.config.ID, c.author)
	if err != nil {
		return nil, nil, err
	}
	after, void, err := base.foldNext(data)
	if err != nil {
		return nil, nil, fmt.Errorf("refused to commit: %w", err)
	}
	if len(void) > 0 {
		return nil, nil, fmt.Errorf("refused to commit generation %d: its %s is void", g.Number, void[0].Type)
	}
	if err := r.assert(ctx, base, after, view, c); err != nil {
		return nil, nil, fmt.Errorf("refused to commit generation %d, which would break the repository: %w", after.Generation, err)
	}
	return data, after, nil
}

// putNew creates key and reports whether it now holds data. Whatever the put
// answered, what is there is what counts: a put that failed may have been
// applied, so the whole bytes are read back and compared, and where nothing is
// there the same bytes are put again after a while, unless the bucket has said
// that it will never take them.
func (r *Repo) putNew(ctx context.Context, key string, data []byte) (bool, error) {
	return createBytes(ctx, r.store, key, data)
}

// put makes data durable under a name that only this process knows.
func (r *Repo) put(ctx context.Context, key string, data []byte) error {
	return putNamed(ctx, r.store, key, data)
}

func putNamed(ctx context.Context, st *store.Store, key string, data []byte) error {
	won, err := createBytes(ctx, st, key, data)
	if err == nil && !won {
		err = errors.New("the name is taken by other bytes")
	}
	return err
}

func createBytes(ctx context.Context, st *store.Store, key string, data []byte) (bool, error) {
	for attempt := 1; ; attempt++ {
		putErr := st.PutNew(ctx, key, data)
		if putErr == nil {
			return true, nil
		}
		if errors.Is(putErr, store.ErrNotDurable) {
			return false, putErr // it may be read back now, and be gone after a power cut
		}
		there, err := st.Get(ctx, key, int64(len(data)))
		switch {
		case err == nil:
			return bytes.Equal(there, data), nil
		case errors.Is(err, store.ErrTooLarge):
			return false, nil
		case !errors.Is(err, store.ErrNotFound):
			return false, fmt.Errorf("%w; and what is there now is unknown: %w", putErr, err)
		case attempt == maxPuts, !store.MayPass(putErr) && !errors.Is(putErr, store.ErrExists), st.Pause(ctx, attempt) != nil:
			return false, putErr
		}
	}
}

// checkRelied is R3: every id that c relies on is visible in base, whose index
// view is, or c adds it.
func (c *change) checkRelied(base *State, view *index.Index) error {
	var gone []object.ID
	for _, ids := range c.relied {
		for _, id := range ids {
			if !view.Has(id) && !c.run.has(id) {
				gone = append(gone, id)
			}
		}
	}
	if gone != nil {
		return &goneError{state: base, ids: gone}
	}
	return nil
}

// checkOwn is R3 for the uploads of c: no other run has registered them, and no
// generation since their names were chosen has condemned them.
func (r *Repo) checkOwn(ctx context.Context, base *State, c change) error {
	if c.run == nil {
		return nil
	}
	if err := r.checkUnregistered(base, c); err != nil {
		return err
	}
	condemned, err := r.condemnedSince(ctx, base, c.since)
	if err != nil {
		return err
	}
	_, lost := condemned[RunName(c.run.add.Name)]
	segments := map[pack.Name]bool{}
	for i := range c.run.run.SegmentCount() {
		name := c.run.run.Segment(i).Name
		if _, ok := condemned[SegmentName(name)]; ok {
			segments[name], lost = true, true
		}
	}
	if lost {
		return &goneError{state: base, segments: segments}
	}
	return nil
}

// checkUnregistered returns an error if another run has a segment of c. It can
// only be that of the session that has uploaded it, whose last generation was
// on its way when this one took the segment over.
func (r *Repo) checkUnregistered(base *State, c change) error {
	registered := r.registeredSince(base, c.since)
	for i := range c.run.run.SegmentCount() {
		if name := c.run.run.Segment(i).Name; registered[name] {
			return fmt.Errorf("segment %s: %w", name, errRegistered)
		}
	}
	return nil
}

// has reports whether s registers an object of the given id; a nil s does not.
func (s *stagedRun) has(id object.ID) bool { return s != nil && s.run.Has(id) }

// adopt makes a state that this process committed the newest one.
func (r *Repo) adopt(after *State, staged *stagedRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if staged != nil {
		r.runs[staged.add.Name] = staged.run
	}
	if after.Generation > r.state.Generation {
		r.state = after
	}
	r.remember(r.state)
}
