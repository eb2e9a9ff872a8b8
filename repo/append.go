package repo

import (
	"context"
	"crypto"
	"fmt"
	"io"
	"slices"

	"bluesky/object"
)

// Append adds one generation with the given ops behind base, and behind no
// other state. What a clean in them names is durable before. It returns the
// state that it made.
//
// The error wraps [ErrConflict] when another author was faster; nothing is
// stored then, and the caller plans again from a newer state.
func (r *Repo) Append(ctx context.Context, base *State, author crypto.Signer, ops []Op) (*State, error) {
	view, err := r.Index(ctx, base)
	if err != nil {
		return nil, r.orConflict(ctx, base, err)
	}
	return r.attempt(ctx, base, view, change{author: author, ops: func(*State) ([]Op, error) { return ops, nil }})
}

// CondemnedSince returns which names generations after since, up to s, have
// condemned, whether or not their deletion is recorded: nobody may register one
// of them that he has chosen before (R3). The error wraps [ErrObjectGone] where
// the log does not tell any more.
func (r *Repo) CondemnedSince(ctx context.Context, s *State, since uint64) (map[Name]uint64, error) {
	return r.condemnedSince(ctx, s, since)
}

// edit appends the ops that makes returns of the newest state, however often
// another author is faster. No ops are no generation.
func (r *Repo) edit(ctx context.Context, author crypto.Signer, makes func(*State) ([]Op, error)) (*State, error) {
	base, err := r.Refresh(ctx)
	if err != nil {
		return nil, err
	}
	ops, err := makes(base)
	if err != nil || len(ops) == 0 {
		return base, err
	}
	return r.commit(ctx, base, change{author: author, ops: makes})
}

// Forget makes nobody list the given snapshots any more. Policy is nil for the
// admin, who forgets by id. A snapshot that is pinned, or not live (any more), is
// an error, and nothing is forgotten then.
func (r *Repo) Forget(ctx context.Context, author crypto.Signer, ids []object.ID, policy *ForgetPolicy) (*State, error) {
	return r.editSnapshots(ctx, author, OpForget, ids, func(ids []object.ID) any { return &Forget{ids, policy} })
}

// UndoForget lists forgotten snapshots again, if they are not collected yet.
func (r *Repo) UndoForget(ctx context.Context, admin crypto.Signer, ids []object.ID) (*State, error) {
	return r.editSnapshots(ctx, admin, OpUndoForget, ids, listOf)
}

// PinSnapshots keeps snapshots from being forgotten, or takes that back.
func (r *Repo) PinSnapshots(ctx context.Context, admin crypto.Signer, ids []object.ID, pinned bool) (*State, error) {
	op := OpUnpin
	if pinned {
		op = OpPin
	}
	return r.editSnapshots(ctx, admin, op, ids, listOf)
}

func listOf(ids []object.ID) any { return &SnapshotList{ids} }

// editSnapshots appends one op over snapshots, which it sorts, once each. An op
// that would be void is an error.
func (r *Repo) editSnapshots(ctx context.Context, author crypto.Signer, t OpType, ids []object.ID, body func([]object.ID) any) (*State, error) {
	ids = slices.Clone(ids)
	slices.SortFunc(ids, object.ID.Compare)
	ids = slices.Compact(ids)
	return r.edit(ctx, author, func(base *State) ([]Op, error) {
		if len(ids) == 0 {
			return nil, nil
		}
		op, err := NewOp(t, body(ids))
		return []Op{op}, err
	})
}

// SetPolicy replaces the policy of the repository. The signer is the admin.
func (r *Repo) SetPolicy(ctx context.Context, admin crypto.Signer, policy Policy) (*State, error) {
	return r.edit(ctx, admin, func(*State) ([]Op, error) {
		var session object.SessionID
		if err := r.random(session[:]); err != nil {
			return nil, err
		}
		op, err := newStatement(admin, r.config.ID, session, 1, OpPolicy, &policy)
		return []Op{op}, err
	})
}

// RecordDeleted records that the store has no more what was condemned, as far
// as nobody else has done so.
func (r *Repo) RecordDeleted(ctx context.Context, cleaner crypto.Signer, names []Name) (*State, error) {
	return r.edit(ctx, cleaner, func(base *State) ([]Op, error) {
		left := slices.DeleteFunc(slices.Clone(names), func(n Name) bool { return !base.isCondemned(n) })
		if len(left) == 0 {
			return nil, nil
		}
		op, err := NewOp(OpDeleted, &Deleted{left})
		return []Op{op}, err
	})
}

// Random returns the source of all names.
func (r *Repo) Random() io.Reader { return r.options.Rand }

// RandomBytes fills b.
func (r *Repo) RandomBytes(b []byte) error { return r.random(b) }

// PutNamed makes data durable under n, a name that only this process knows.
func (r *Repo) PutNamed(ctx context.Context, n Name, data []byte) error {
	if err := r.put(ctx, n.Key(), data); err != nil {
		return fmt.Errorf("%s: %w", n, err)
	}
	return nil
}

// CheckpointDue reports whether the generation behind s is to bring a
// checkpoint of it.
func (r *Repo) CheckpointDue(s *State) bool {
	var last uint64
	if s.Checkpoint != nil {
		last = s.Checkpoint.Number
	}
	return s.Generation-last >= checkpointEvery
}

// PutCheckpoint makes the state s durable and returns the op that records it.
func (r *Repo) PutCheckpoint(ctx context.Context, s *State) (Op, error) {
	ref, err := r.putCheckpoint(ctx, s)
	if err != nil {
		return Op{}, err
	}
	return NewOp(OpCheckpoint, ref)
}
