package repo

import (
	"context"
	"errors"
	"fmt"

	"bluesky/index"
	"bluesky/object"
)

// rescue puts back what the session needs and a cleaner has taken away (R3):
// it copies sealed objects, verbatim and sum-checked, out of segments that are
// still there into some of its own, each with those of its refs that are
// neither visible nor among the session's own uploads. Refs that are visible
// become relied on, as those of all that the session adds.
//
// An error leaves the session with copies that nothing needs, and no harm.
func (s *Session) rescue(ctx context.Context, gone *goneError) error {
	if err := s.goesOn(gone.state); err != nil {
		return err
	}
	view, err := s.repo.Index(ctx, gone.state)
	if err != nil {
		return err
	}
	r := rescue{session: s, view: view, places: map[object.ID][]index.Location{}}
	s.mu.Lock()
	s.base, r.was = gone.state, s.view
	r.queue = append(r.queue, gone.ids...)
	for _, l := range s.rows.Remove(gone.segments) {
		id := l.Row.ID
		delete(s.own, id)
		r.places[id] = append(r.places[id], l)
		r.queue = append(r.queue, id)
	}
	s.mu.Unlock()
	for len(r.queue) > 0 {
		id := r.queue[len(r.queue)-1]
		r.queue = r.queue[:len(r.queue)-1]
		if err := r.copy(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

type rescue struct {
	session *Session
	view    *index.Index // of the newest state
	was     *index.Index // of the state that the session began on
	places  map[object.ID][]index.Location
	queue   []object.ID
}

// copy adds object id to the session, unless it has it or it is visible.
func (r *rescue) copy(ctx context.Context, id object.ID) error {
	if r.view.Has(id) || !r.claim(id) {
		return nil
	}
	o, row, err := r.read(ctx, id)
	if err != nil {
		return err
	}
	if err := r.session.Add(o, row); err != nil {
		return err
	}
	r.queue = append(r.queue, o.Refs...)
	return nil
}

// claim reports whether the session does not have the object yet; it has to
// add it then.
func (r *rescue) claim(id object.ID) bool {
	s := r.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, mine := s.own[id]; mine {
		return false
	}
	s.own[id] = struct{}{}
	return true
}

// read reads an object from wherever a copy of it is left.
func (r *rescue) read(ctx context.Context, id object.ID) (object.Sealed, object.Session, error) {
	failed := fmt.Errorf("%w: %s", ErrNotFound, id)
	for _, places := range [][]index.Location{r.places[id], r.view.Remains(id), r.was.Remains(id)} {
		for i := range places {
			o, row, err := r.session.repo.readAt(ctx, &places[i])
			if err == nil {
				return o, row, nil
			}
			failed = errors.Join(failed, err)
		}
	}
	return object.Sealed{}, object.Session{}, failed
}
