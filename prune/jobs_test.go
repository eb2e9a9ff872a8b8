package prune

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/store"
)

// A job is what a process does.
type job func(ctx context.Context, p *process, r *repo.Repo) error

// idOf is the id of an object: it binds the refs, as a real one does.
func idOf(kind object.Kind, seed uint64, refs []object.ID) object.ID {
	parts := [][]byte{binary.LittleEndian.AppendUint64([]byte{byte(kind)}, seed)}
	for i := range refs {
		parts = append(parts, refs[i][:])
	}
	return object.ID(object.HashBytes("test", parts...))
}

// seal makes an object whose bytes differ from session to session, as sealing
// does it. Their length depends on the seed.
func (p *process) seal(s *repo.Session, kind object.Kind, seed uint64, refs ...object.ID) (object.ID, error) {
	id := idOf(kind, seed, refs)
	p.world.mu.Lock()
	p.graph[id] = refs
	p.world.mu.Unlock()
	if !s.Claim(id) {
		return id, nil
	}
	data := binary.LittleEndian.AppendUint64(nil, seed)
	noise := object.HashBytes("test", id[:], sessionBytes(s))
	for len(data) < 60+int(seed%7)*20 {
		data = append(data, noise[:]...)
	}
	row := object.Session{ID: s.ID(), Class: kind.Class(), Type: object.SessionDerived}
	return id, s.Add(object.Sealed{ID: id, Kind: kind, Session: s.ID(), Refs: refs, Bytes: data}, row)
}

func sessionBytes(s *repo.Session) []byte { id := s.ID(); return id[:] }

// opened verifies that a sealed object is what its id says.
func opened(o *object.Sealed) error {
	if len(o.Bytes) < 8 || idOf(o.Kind, binary.LittleEndian.Uint64(o.Bytes), o.Refs) != o.ID {
		return fmt.Errorf("object %s: %w", o.ID.Short(), errWrong)
	}
	return nil
}

// A plant is what a snapshot holds: the seeds of the blocks of each leaf.
type plant [][]uint64

// graft returns a copy with n leaves of other blocks. There are few of them, so
// that independent plants have leaves and blocks in common.
func (t plant) graft(rng *rand.Rand, n int) plant {
	c := slices.Clone(t)
	for range n {
		leaf := []uint64{}
		for range 1 + rng.IntN(3) {
			leaf = append(leaf, rng.Uint64N(12))
		}
		slices.Sort(leaf)
		c[rng.IntN(len(c))] = slices.Compact(leaf)
	}
	return c
}

// backsUp makes a snapshot of a plant. With every so many leaves it registers
// what it has; 0 is at the end alone. A backup whose objects were taken away
// starts again once.
func backsUp(t plant, every int) job {
	return func(ctx context.Context, p *process, r *repo.Repo) error {
		for attempt := 0; ; attempt++ {
			err := p.backUp(ctx, r, t, every)
			if !errors.Is(err, repo.ErrObjectGone) || attempt == 1 {
				return err
			}
			p.meet(metAgain, 1)
		}
	}
}

func (p *process) backUp(ctx context.Context, r *repo.Repo, t plant, every int) (err error) {
	s, err := r.Begin(ctx, writerKey)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var leaves []object.ID
	for i, seeds := range t {
		var blocks []object.ID
		for _, seed := range seeds {
			id, err := p.seal(s, object.KindBlock, seed)
			if err != nil {
				return err
			}
			blocks = append(blocks, id)
		}
		id, err := p.seal(s, object.KindInodes, 100, blocks...)
		if err != nil {
			return err
		}
		if !slices.Contains(leaves, id) {
			leaves = append(leaves, id)
		}
		if every > 0 && (i+1)%every == 0 {
			if err := s.AddRun(ctx); err != nil {
				return err
			}
		}
	}
	root, err := p.seal(s, object.KindImap, 101, leaves...)
	if err != nil {
		return err
	}
	id, err := p.seal(s, object.KindSnapshot, binary.LittleEndian.Uint64(sessionBytes(s)), root)
	if err != nil {
		return err
	}
	_, err = s.Commit(ctx, repo.AddSnapshot{ID: id, Root: root, Time: object.TimeOf(time.Now()), Series: repo.Series{1}})
	if err == nil {
		p.keep(id, true)
	}
	return err
}

// keep notes what was promised of a snapshot.
func (p *process) keep(id object.ID, live bool) {
	p.world.mu.Lock()
	defer p.world.mu.Unlock()
	p.kept[id] = live
}

// prunes prunes with the given options.
func prunes(options Options) job {
	return func(ctx context.Context, _ *process, r *repo.Repo) error { return pruneWith(options)(ctx, r) }
}

// forgets forgets one of the live snapshots, if there is one.
func forgets(ctx context.Context, p *process, r *repo.Repo) error {
	state, err := r.Refresh(ctx)
	if err != nil || len(state.Snapshots) == 0 {
		return err
	}
	return forgetsNth(p.rand.IntN(len(state.Snapshots)))(ctx, p, r)
}

// forgetsNth forgets a live snapshot by its place, if there is one.
func forgetsNth(n int) job {
	return func(ctx context.Context, p *process, r *repo.Repo) error {
		state, err := r.Refresh(ctx)
		if err != nil || len(state.Snapshots) <= n {
			return err
		}
		id := state.Snapshots[n].ID
		p.keep(id, false) // from now on nothing is promised, whatever the reply
		_, err = r.Forget(ctx, admin, []object.ID{id}, nil)
		return err
	}
}

// remembersNth brings a forgotten snapshot back, if there is one.
func remembersNth(n int) job {
	return func(ctx context.Context, p *process, r *repo.Repo) error {
		state, err := r.Refresh(ctx)
		if err != nil || len(state.Forgotten) <= n {
			return err
		}
		id := state.Forgotten[n].ID
		_, err = r.UndoForget(ctx, admin, []object.ID{id})
		if err == nil {
			p.keep(id, true)
		}
		return err
	}
}

func remembers(ctx context.Context, p *process, r *repo.Repo) error {
	state, err := r.Refresh(ctx)
	if err != nil || len(state.Forgotten) == 0 {
		return err
	}
	return remembersNth(p.rand.IntN(len(state.Forgotten)))(ctx, p, r)
}

var (
	// errLost: a reader did not get what it must.
	errLost = errors.New("a live snapshot cannot be read")
	// errWrong: it got something else.
	errWrong = errors.New("it has other bytes or refs")
)

// reads restores a live snapshot. That fails only if it is forgotten meanwhile,
// or the bucket fails.
func reads(ctx context.Context, p *process, r *repo.Repo) error {
	state, err := r.Refresh(ctx)
	if err != nil || len(state.Snapshots) == 0 {
		return err
	}
	snap := state.Snapshots[p.rand.IntN(len(state.Snapshots))].ID
	seen := map[object.ID]bool{}
	var walk func(object.ID) error
	walk = func(id object.ID) error {
		if seen[id] {
			return nil
		}
		seen[id] = true
		o, _, err := r.Sealed(ctx, id)
		if err == nil {
			err = opened(&o)
		}
		if err != nil {
			return err
		}
		for _, ref := range o.Refs {
			if err := walk(ref); err != nil {
				return err
			}
		}
		return nil
	}
	read := walk(snap)
	isLost := func(is error) bool { return errors.Is(read, is) }
	if !slices.ContainsFunc([]error{errWrong, repo.ErrNotFound, store.ErrNotFound, object.ErrCorrupt}, isLost) {
		return read
	}
	state, err = r.Refresh(ctx)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(state.Snapshots, func(s repo.Snapshot) bool { return s.ID == snap }) {
		return fmt.Errorf("%w: %w", errLost, read)
	}
	return nil
}
