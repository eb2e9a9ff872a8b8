package prune

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/store"
)

// A Result says what a prune has done.
type Result struct {
	Stats               // of the plan that was carried out
	Deleted      uint64 // files
	Waiting      uint64 // files that are condemned and kept for the grace
	ReadBytes    uint64 // of segments
	WrittenBytes uint64

	DamagedCopies map[pack.Name]error
}

// maxAttempts is how often a prune plans again after it lost a race.
const maxAttempts = 20

// Apply does what p says, signed by cleaner: it copies, commits one clean, and
// deletes what is condemned, by this clean and by those before.
//
// When another author is faster it plans again on the newer state, with the
// copies that it has. When something that it would have to copy is damaged, the
// segment stays, and the error wraps [ErrDamaged] after everything else was done.
func (p *Plan) Apply(ctx context.Context, cleaner crypto.Signer, progress Progress) (*Result, error) {
	if progress == nil {
		progress = NoProgress{}
	}
	c := &copier{repo: p.repo, where: map[object.ID]copied{}, Failed: map[pack.Name]error{}}
	if err := p.repo.RandomBytes(c.session[:]); err != nil {
		return nil, err
	}
	if !p.Empty() {
		var err error
		if p, err = c.commit(ctx, p, cleaner, progress); err != nil {
			return nil, err
		}
	}
	damaged := c.damage(ctx)
	result := &Result{Stats: p.Stats, ReadBytes: c.Read + p.headers.Bytes, WrittenBytes: c.Written, DamagedCopies: c.Failed}
	if err := deleteCondemned(ctx, p.repo, cleaner, p.options, result, progress); err != nil {
		return result, errors.Join(err, damaged)
	}
	deleted, err := raiseFloor(ctx, p.repo, cleaner, p.Kept, p.options)
	result.Deleted += deleted
	return result, errors.Join(err, damaged)
}

// damage returns what kept segments from being cleaned. It forgets those that
// have gone meanwhile: another cleaner has moved what was in them.
func (c *copier) damage(ctx context.Context) error {
	if len(c.Failed) == 0 {
		return nil
	}
	_, view, err := c.repo.Current(ctx)
	if err != nil {
		return err
	}
	failed := c.Failed
	c.Failed = map[pack.Name]error{}
	for s := range view.Segments() {
		if cause := failed[s.Name]; cause != nil {
			c.Failed[s.Name] = cause
			err = errors.Join(err, fmt.Errorf("%w: segment %s was left as it is: %w", ErrDamaged, s.Name, cause))
		}
	}
	return err
}

// commit appends the clean of p, or of a later plan that takes its place.
func (c *copier) commit(ctx context.Context, p *Plan, cleaner crypto.Signer, progress Progress) (*Plan, error) {
	victims := map[pack.Name]bool{}
	for _, s := range p.victims {
		victims[s.Name] = true
	}
	err := c.copy(ctx, p, progress)
	for attempt := 1; ; attempt++ {
		if err == nil {
			err = c.try(ctx, p, cleaner)
		}
		if err == nil {
			p.count()
			return p, nil
		}
		if attempt == maxAttempts {
			return nil, err
		}
		if err = outrun(ctx, p.base, err); err != nil {
			return nil, err
		}
		var newer *Plan
		if newer, err = c.again(ctx, p, victims, progress); newer != nil {
			p = newer
		}
	}
}

func (c *copier) try(ctx context.Context, p *Plan, cleaner crypto.Signer) error {
	if err := c.checkOutputs(ctx, p); err != nil {
		return err
	}
	a, err := p.assemble(ctx, c)
	if err != nil {
		return err
	}
	return a.append(ctx, cleaner)
}

// outrun returns nil where err comes of a newer state: another author was
// faster, or another cleaner took away what b was read from (R9). Otherwise it
// returns err, or why it cannot be told: what is gone may have been moved.
func outrun(ctx context.Context, b *base, err error) error {
	if errors.Is(err, repo.ErrConflict) {
		return nil
	}
	if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	newer, refreshErr := b.repo.Refresh(ctx)
	if refreshErr != nil {
		return refreshErr
	}
	if newer.Generation > b.state.Generation {
		return nil
	}
	return err
}

// append puts the clean into the log: on the state that it was made for, or
// on later ones, as long as nothing in between names what it touches. So writers
// cannot starve a cleaner. The clean says then that it has counted less than was
// registered before it, and the next one counts that.
func (a *assembly) append(ctx context.Context, cleaner crypto.Signer) error {
	op, err := a.op()
	if err != nil {
		return err
	}
	for state := a.state; ; {
		ops := []repo.Op{op}
		if a.repo.CheckpointDue(state) {
			checkpoint, err := a.repo.PutCheckpoint(ctx, state)
			if err != nil {
				return err
			}
			ops = append(ops, checkpoint)
		}
		_, err := a.repo.Append(ctx, state, cleaner, ops)
		if !errors.Is(err, repo.ErrConflict) {
			return err
		}
		conflict := err
		if state, _, err = a.repo.Current(ctx); err != nil {
			return err
		}
		stands, err := a.stands(ctx, state)
		if err != nil {
			return err
		}
		if !stands {
			return conflict
		}
	}
}

// again plans on the newest state. Of what was to be condemned it takes what
// still can be, and nothing that would have to be copied first.
func (c *copier) again(ctx context.Context, old *Plan, victims map[pack.Name]bool, progress Progress) (*Plan, error) {
	b, err := old.options.open(ctx, old.repo, progress)
	if err != nil {
		return nil, err
	}
	b.own = map[repo.Name]bool{}
	for _, out := range c.outputs {
		b.own[segmentName(out.segment.Name)] = true
	}
	p, err := b.plan(ctx, old.options, progress)
	if err != nil {
		return nil, err
	}
	p.only(victims)
	return p, nil
}

// checkOutputs forgets copies in segments that somebody has condemned as
// orphans (R3).
func (c *copier) checkOutputs(ctx context.Context, p *Plan) error {
	if len(c.outputs) == 0 {
		return nil
	}
	since := c.outputs[0].since
	for _, out := range c.outputs {
		since = min(since, out.since)
	}
	condemned, err := c.repo.CondemnedSince(ctx, p.state, since)
	if err != nil {
		return err
	}
	kept := c.outputs[:0]
	for _, out := range c.outputs {
		if _, gone := condemned[segmentName(out.segment.Name)]; !gone {
			kept = append(kept, out)
			continue
		}
		for i := range out.header.Objects {
			delete(c.where, out.header.Objects[i].ID)
		}
	}
	c.outputs = kept
	return nil
}
