package repo

import (
	"context"
	"crypto"
	"errors"
	"fmt"

	"bluesky/object"
)

// isVoided reports whether healer, the bytes of generation n+1, heals data, those of
// generation n, which are not valid behind s: its author is the admin, and its
// first op is a void of them. docs/format.md, "Envelope".
func (s *State) isVoided(n uint64, data, healer []byte) bool {
	g, err := DecodeGeneration(healer)
	if err != nil || g.Number != n+1 || g.Author != s.Admin || len(g.Ops) == 0 ||
		g.Ops[0].Type != OpVoid || !g.Ops[0].known() || g.Previous != hashGeneration(data) || g.verify(s.Repository) != nil {
		return false
	}
	var void Void
	return object.DecodeCBOR(g.Ops[0].Body, &void) == nil && void == Void{n, g.Previous}
}

// voided returns s behind a generation that is passed over.
func (s *State) voided(data []byte) *State {
	c := s.clone()
	c.Generation, c.Hash = s.Generation+1, hashGeneration(data)
	return c
}

// Void heals a log whose newest generation is garbage: it adds a generation that
// makes every reader pass over it. The signer is the admin. It returns the number of
// the garbage, 0 if there is none.
//
// The error wraps [object.ErrVersion] where the generation says that it is of a
// newer bluesky, unless newer says that it is not: those who can read it would
// not pass over it. It wraps [ErrRollback] where this machine has seen a valid
// generation of that number: then it is damaged, and what it recorded would be lost; but
// not with [Options.AcceptRollback].
//
// The commit point is the creation of the generation behind the garbage.
func (r *Repo) Void(ctx context.Context, admin crypto.Signer, newer bool) (uint64, error) {
	_, invalid := r.Refresh(ctx)
	if invalid == nil {
		return 0, nil
	}
	if errors.Is(invalid, object.ErrVersion) && !newer {
		return 0, invalid
	}
	base, data, err := r.beforeGarbage(ctx)
	if err != nil {
		return 0, fmt.Errorf("%w; and that cannot be healed: %w", invalid, err)
	}
	n := base.Generation + 1
	op, err := NewOp(OpVoid, &Void{n, hashGeneration(data)})
	if err != nil {
		return 0, err
	}
	base = base.voided(data)
	view, err := r.Index(ctx, base)
	if err != nil {
		return 0, err
	}
	_, err = r.attempt(ctx, base, view, change{author: admin, ops: func(*State) ([]Op, error) { return []Op{op}, nil }})
	return n, err
}

// beforeGarbage returns the state before the newest generation, which does not
// follow it, and the bytes of that one.
func (r *Repo) beforeGarbage(ctx context.Context) (*State, []byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	head, err := r.findHead(ctx, max(r.state.Generation, r.trusted.Generation))
	if err != nil {
		return nil, nil, err
	}
	if head == 0 {
		return nil, nil, fmt.Errorf("generation 0: %w", object.ErrCorrupt)
	}
	if head <= r.trusted.Generation {
		if !r.options.AcceptRollback {
			return nil, nil, rollback("generation %d was valid when this machine saw it; put it back from a copy of the repository", head)
		}
		r.trusted, r.verified, r.state = trust{}, nil, r.genesis
	}
	from, ref, err := r.start(ctx, head-1)
	if err != nil {
		return nil, nil, err
	}
	base, err := r.replay(ctx, from, head-1, ref)
	if err != nil {
		return nil, nil, err
	}
	data, err := r.getGeneration(ctx, head)
	if err != nil {
		return nil, nil, err
	}
	if _, err := base.next(data); err == nil {
		return nil, nil, fmt.Errorf("generation %d follows from generation %d", head, head-1)
	}
	return base, data, nil
}
