package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
	"bluesky/tree"
)

// A lostError says that an object is not to be had, which has been reported.
type lostError struct {
	id  object.ID
	err error
}

func (e *lostError) Error() string { return fmt.Sprintf("object %s: %v", e.id.Short(), e.err) }
func (e *lostError) Unwrap() error { return e.err }

// objects opens the objects that a snapshot leads to, by whichever copy is right,
// and reports those of which none is. It is a [seal.Source] and a [tree.Source].
type objects struct {
	c        *checker
	snapshot object.ID
}

// Sealed returns the first copy of an object that has its sum; where cleaners have
// taken it meanwhile, the one that the newest state shows. The error wraps
// [repo.ErrForgotten] where the snapshot went too.
func (o objects) Sealed(ctx context.Context, id object.ID) (object.Sealed, object.Session, error) {
	sealed, session, err := o.first(ctx, id)
	if !errors.Is(err, store.ErrNotFound) {
		return sealed, session, err
	}
	for _, l := range o.c.index.Lookup(id) {
		if o.c.isTaken(ctx, repo.SegmentName(l.Segment.Name), err) {
			return o.c.repo.Of(o.snapshot).Sealed(ctx, id)
		}
	}
	return sealed, session, err
}

func (o objects) first(ctx context.Context, id object.ID) (object.Sealed, object.Session, error) {
	places := o.c.index.Lookup(id)
	failed := fmt.Errorf("%w: no run has it", repo.ErrNotFound)
	for i := range places {
		h, source, err := o.c.repo.Header(ctx, &places[i].Segment)
		if err == nil {
			at, ok := h.Locate(id, places[i].Row.Offset)
			if !ok {
				err = fmt.Errorf("%w: it is not where the index says", object.ErrCorrupt)
			} else if sealed, session, readErr := h.Read(ctx, source, at); readErr == nil {
				o.c.bytes.Add(uint64(len(sealed.Bytes)))
				return sealed, session, nil
			} else {
				err = readErr
			}
		}
		failed = err
	}
	return object.Sealed{}, object.Session{}, failed
}

// Object opens an object. Its error wraps a *lostError, or [repo.ErrForgotten], or
// ends the check.
func (o objects) Object(ctx context.Context, id object.ID, kind object.Kind) ([]object.ID, []byte, error) {
	if o.c.book.isLost(id) {
		return nil, nil, &lostError{id, object.ErrCorrupt}
	}
	refs, payload, err := seal.NewReader(o, o.c.keys).Object(ctx, id, kind)
	if err == nil {
		o.c.counts.opened.Add(1)
		return refs, payload, nil
	}
	if errors.Is(err, repo.ErrForgotten) {
		return nil, nil, err
	}
	if end := o.c.failed(ctx, kind.String()+" "+id.String(), []object.ID{id}, err); end != nil {
		return nil, nil, end
	}
	return nil, nil, &lostError{id, err}
}

// checkTrees opens the snapshots and checks their trees. The snapshots of a
// series come one after the other, and of each only what differs from the one
// before is looked at.
func (c *checker) checkTrees(ctx context.Context) error {
	list := slices.Clone(c.state.Snapshots)
	slices.SortStableFunc(list, func(a, b repo.Snapshot) int { return slices.Compare(a.Series[:], b.Series[:]) })
	c.progress.Phase("check the trees of the snapshots", uint64(len(list)))
	var l *links
	for i, snap := range list {
		if l == nil || list[i-1].Series != snap.Series {
			l = newLinks(c)
		}
		if err := c.checkTree(ctx, l, snap); err != nil {
			return err
		}
		c.progress.Step(1)
	}
	return nil
}

// checkTree checks one snapshot, after the one that l holds. If that one is
// forgotten and deleted meanwhile, it begins anew, without; if this one is, it is
// no more to be checked.
func (c *checker) checkTree(ctx context.Context, l *links, snap repo.Snapshot) error {
	l.subject = "snapshot " + snap.ID.String()
	record, err := c.openSnapshot(ctx, snap)
	if err == nil {
		l.next = record.Next
		m := tree.OpenMap(objects{c, snap.ID}, c.keys, c.params(), record.Root)
		if err = l.advance(ctx, m); errors.Is(err, repo.ErrForgotten) {
			l.forget()
			err = l.advance(ctx, m)
		}
	}
	lost := new(lostError)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, repo.ErrForgotten):
		c.counts.forgotten++
		l.forget()
		return nil
	case errors.As(err, &lost):
		l.forget() // traceDamage names what cannot be read
		return nil
	case ctx.Err() == nil && isDamage(err):
		c.book.add(Error, l.subject, err.Error())
		l.forget()
		return nil
	}
	return err
}

func (c *checker) params() tree.Params { return tree.Params(c.repo.Config().Tree) }

// openSnapshot opens the object of a snapshot and compares it with what the log
// says of it.
func (c *checker) openSnapshot(ctx context.Context, snap repo.Snapshot) (*tree.Snapshot, error) {
	refs, payload, err := objects{c, snap.ID}.Object(ctx, snap.ID, object.KindSnapshot)
	if err != nil {
		return nil, err
	}
	record, err := tree.DecodeSnapshot(refs, payload)
	if err != nil {
		return nil, err
	}
	if record.Root != snap.Root || record.Session != snap.Session {
		return nil, fmt.Errorf("%w: the log and the snapshot object disagree", object.ErrCorrupt)
	}
	if len(snap.Summary) == 0 {
		return record, nil
	}
	plain, err := c.keys.OpenSummary(snap.Session, snap.ID, snap.Summary)
	if err != nil {
		c.book.add(Error, "snapshot "+snap.ID.String(), "its summary in the log: "+err.Error())
		return record, nil
	}
	if want, err := tree.EncodeSummary(record); err != nil || !bytes.Equal(want, plain) {
		c.book.add(Error, "snapshot "+snap.ID.String(), "its summary in the log is not that of its object")
	}
	return record, nil
}
