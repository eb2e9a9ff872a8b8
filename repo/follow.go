package repo

import (
	"context"
	"fmt"

	"bluesky/index"
	"bluesky/object"
	"bluesky/refcount"
)

// Follow returns the newest state, replayed from s, which was verified in
// another way than by Refresh, and the names that the generations in between have
// condemned. It leaves the state that r knows alone.
func (r *Repo) Follow(ctx context.Context, s *State) (*State, []Name, error) {
	head, err := r.findHead(ctx, s.Generation)
	if err != nil {
		return nil, nil, fmt.Errorf("find the newest generation: %w", err)
	}
	var condemned []Name
	err = r.generations(ctx, s.Generation+1, head, func(_ uint64, data []byte) error {
		next, err := s.next(data)
		if err != nil {
			return err
		}
		for _, clean := range next.recent[len(s.recent):] {
			condemned = append(condemned, clean.names...)
		}
		s = next
		return nil
	})
	return s, condemned, err
}

// FetchTable reads a table from the bucket, whatever the cache has of it, and
// compares it with what the log says. That is the hash of all of it unless it is a
// space map.
func (r *Repo) FetchTable(ctx context.Context, ref TableRef) ([]byte, error) {
	data, err := r.store.Get(ctx, ref.Name.Key(), ref.Size)
	if err == nil && !isTable(ref, data) {
		err = fmt.Errorf("%w: it is not the one that the log names", object.ErrCorrupt)
	}
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", ref.Name, err)
	}
	return data, nil
}

// FetchMarks reads the marks of s from the bucket, as far as they are of runs.
func (r *Repo) FetchMarks(ctx context.Context, s *State, runs []*index.Run) (*refcount.Marks, error) {
	tables := make([]refcount.Table, len(s.Marks))
	for i, ref := range s.Marks {
		data, err := r.FetchTable(ctx, ref)
		if err != nil {
			return nil, fmt.Errorf("marks: %w", err)
		}
		tables[i] = refcount.Table{Ref: ref, Data: data}
	}
	shapes := make(refcount.Shapes, len(runs))
	for _, run := range runs {
		shapes[run.Name()] = refcount.ShapeOf(run)
	}
	return refcount.LoadMarks(r.config.ID, tables, shapes)
}
