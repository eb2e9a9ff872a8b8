package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/store"

	"golang.org/x/sync/errgroup"
)

// An adoption is a segment that an earlier run has uploaded and did not
// register, and which is still in the bucket.
type adoption struct {
	upload
	header *pack.Header
	from   *abandoned
}

// adopt registers what earlier runs of this machine have uploaded and did not
// register, so that nothing of it is read, sealed or uploaded again.
//
// That is a matter of cost alone: what cannot be verified is left out. A
// journal with uploads that the bucket could not be asked about stays, for the
// next run; this one does without.
func (s *Session) adopt(ctx context.Context) error {
	if s.journal == nil {
		return nil
	}
	found, err := s.readUploads(ctx)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		s.repo.Note(fmt.Errorf("%w; what stands there is stored again", err))
	}
	for {
		chosen, err := s.choose(ctx, found)
		if err != nil || len(chosen) == 0 {
			return err
		}
		err = s.registerAdopted(ctx, chosen)
		if !errors.Is(err, errRegistered) && !errors.Is(err, ErrObjectGone) {
			return err
		}
		// A generation of the run that is gone was on its way until now, or a
		// clean has taken away what these rely on, or these.
		if err := s.renew(ctx); err != nil {
			return err
		}
	}
}

// readUploads reads the headers of the uploads of abandoned sessions, but for
// those that a run has. Those that it leaves out are of no use, or the journal
// they stand in is not settled.
func (s *Session) readUploads(ctx context.Context) ([]adoption, error) {
	var all []adoption
	for _, a := range s.journal.abandoned {
		for _, u := range a.uploads {
			all = append(all, adoption{u, nil, a})
		}
		a.settled = a.settled || len(a.uploads) > 0
	}
	if len(all) == 0 {
		return nil, nil
	}
	all, err := s.adoptable(ctx, all)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	passed := s.repo.registeredSince(s.base, sinceOf(all))
	all = slices.DeleteFunc(all, func(a adoption) bool {
		pass := passed[a.Name]
		passed[a.Name] = true // a name counts once
		return pass
	})
	errs := make([]error, len(all))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readAhead)
	for i := range all {
		g.Go(func() error {
			all[i].header, errs[i] = s.repo.readUpload(gctx, &all[i].upload)
			return errs[i]
		})
	}
	err = g.Wait()
	for i := range all {
		if errs[i] != nil {
			all[i].from.settled = false
		}
	}
	return slices.DeleteFunc(all, func(a adoption) bool { return a.header == nil }), err
}

// adoptable is R3 for uploads, whose names were chosen by another process: it
// returns those that no generation since then has condemned.
func (s *Session) adoptable(ctx context.Context, all []adoption) ([]adoption, error) {
	all = slices.DeleteFunc(slices.Clone(all), func(a adoption) bool {
		return a.Known > s.base.Generation || a.Known < s.base.Floor
	})
	if len(all) == 0 {
		return nil, nil
	}
	condemned, err := s.repo.condemnedSince(ctx, s.base, sinceOf(all))
	if errors.Is(err, ErrObjectGone) {
		return nil, nil // nobody can tell any more
	}
	return slices.DeleteFunc(all, func(a adoption) bool {
		_, gone := condemned[SegmentName(a.Name)]
		return gone
	}), err
}

// readUpload returns the verified header of a segment, nil if it is not there
// or not what u says. An error leaves open which.
func (r *Repo) readUpload(ctx context.Context, u *upload) (*pack.Header, error) {
	seg := u.segment(object.SessionID{})
	entry, err := r.store.Stat(ctx, u.Name.Key())
	if errors.Is(err, store.ErrNotFound) || err == nil && entry.Size != seg.Size {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("upload of an earlier run: segment %s: %w", u.Name, err)
	}
	h, err := pack.ReadHeader(ctx, r.store, seg.Ref())
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, object.ErrCorrupt), errors.Is(err, object.ErrVersion):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("upload of an earlier run: %w", err)
	case h.Repository != r.config.ID || h.Class != u.Class:
		return nil, nil
	}
	return h, nil
}

// choose returns what of found is worth registering on the base: segments that
// hold an object which is not visible, and whose refs lead to what is visible or
// chosen too (I1).
func (s *Session) choose(ctx context.Context, found []adoption) ([]adoption, error) {
	chosen, err := s.adoptable(ctx, found)
	if err != nil {
		return nil, err
	}
	chosen = slices.DeleteFunc(chosen, func(a adoption) bool {
		hidden := func(o pack.Object) bool { return !s.view.Has(o.ID) }
		return !slices.ContainsFunc(a.header.Objects, hidden)
	})
	for {
		own := map[object.ID]bool{}
		for _, a := range chosen {
			for i := range a.header.Objects {
				own[a.header.Objects[i].ID] = true
			}
		}
		before := len(chosen)
		chosen = slices.DeleteFunc(chosen, func(a adoption) bool {
			return slices.ContainsFunc(a.header.External, func(id object.ID) bool { return !own[id] && !s.view.Has(id) })
		})
		if len(chosen) == before {
			return chosen, nil
		}
	}
}

// registerAdopted registers chosen for this session, whose own they are from
// then on. docs/format.md, "Run", has a run name the session that registers a
// segment; which ones have sealed its objects stands in its header.
func (s *Session) registerAdopted(ctx context.Context, chosen []adoption) error {
	for _, a := range chosen {
		if err := s.rows.AddSegment(a.segment(s.id), a.header); err != nil {
			return err
		}
		s.relied = append(s.relied, a.header.External)
	}
	s.since = min(s.since, sinceOf(chosen))
	// Without a rescue: what a clean has taken of these is not worth one.
	if _, err := s.tryRegister(ctx, nil); err != nil {
		return err
	}
	for _, a := range chosen {
		s.stats.AdoptedSegments++
		s.stats.AdoptedBytes += a.Size
	}
	return nil
}

// sinceOf returns the newest generation that was known before any of the names
// of list, which is not empty, was chosen.
func sinceOf(list []adoption) uint64 {
	return slices.MinFunc(list, func(a, b adoption) int { return cmp.Compare(a.Known, b.Known) }).Known
}

// registeredSince returns the segments of the runs that s registers after
// generation since. The runs of s are open.
func (r *Repo) registeredSince(s *State, since uint64) map[pack.Name]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	names := map[pack.Name]bool{}
	for _, run := range s.Runs {
		opened := r.runs[run.Name]
		if run.Generation <= since || opened == nil {
			continue
		}
		for i := range opened.SegmentCount() {
			// A clean may have merged runs, also of before.
			if seg := opened.Segment(i); seg.RegisteredAt == 0 || seg.RegisteredAt > since || !run.Cleaned {
				names[seg.Name] = true
			}
		}
	}
	return names
}
