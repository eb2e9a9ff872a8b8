package repo

import (
	"context"
	"fmt"

	"bluesky/index"
	"bluesky/object"
	"bluesky/refcount"
)

// mark sets which rows and segments of parts are absent in s. Marks that cannot
// be read are an error, never none (R7). It needs r.mu.
func (r *Repo) mark(ctx context.Context, s *State, parts []index.Part) error {
	marks, err := r.marksOf(ctx, s, parts)
	if err != nil {
		return err
	}
	for i := range parts {
		name := parts[i].Run.Name()
		of := marks.Of(name)
		parts[i].Dead, parts[i].Gone = r.withInvented(name, of.DeadRows()), of.GoneSegments()
	}
	return nil
}

// marksOf needs r.mu.
func (r *Repo) marksOf(ctx context.Context, s *State, parts []index.Part) (*refcount.Marks, error) {
	shapes := make(refcount.Shapes, len(parts))
	for i := range parts {
		shapes[parts[i].Run.Name()] = refcount.ShapeOf(parts[i].Run)
	}
	tables := make([]refcount.Table, len(s.Marks))
	for i, ref := range s.Marks {
		data := r.tables[ref.Name]
		if data == nil || !isTable(ref, data) {
			var err error
			if data, err = r.tableBytes(ctx, ref); err != nil {
				return nil, fmt.Errorf("marks: %w", err)
			}
		}
		tables[i] = refcount.Table{Ref: ref, Data: data}
		if r.cache == nil {
			r.tables[ref.Name] = data
		}
	}
	return refcount.LoadMarks(r.config.ID, tables, shapes)
}

// TableBytes reads a table whose hash covers all of it, from the cache of this
// machine if that has it. What it returns is what ref says.
func (r *Repo) TableBytes(ctx context.Context, ref TableRef) ([]byte, error) {
	return r.tableBytes(ctx, ref)
}

func (r *Repo) tableBytes(ctx context.Context, ref TableRef) ([]byte, error) {
	return r.readTable(ctx, ref, func(ctx context.Context) ([]byte, error) {
		return r.store.Get(ctx, ref.Name.Key(), ref.Size)
	})
}

// readTable reads a table from the cache, or as fetch has it.
func (r *Repo) readTable(ctx context.Context, ref TableRef, fetch func(context.Context) ([]byte, error)) ([]byte, error) {
	right := func(data []byte) bool { return isTable(ref, data) }
	data, err := r.cache.Blob(ctx, ref.Name, right, fetch)
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", ref.Name, err)
	}
	if !right(data) {
		return nil, fmt.Errorf("table %s: %w: it is not the one that the log names", ref.Name, object.ErrCorrupt)
	}
	return data, nil
}

// isTable reports whether data is the table that ref names.
func isTable(ref TableRef, data []byte) bool {
	end := len(data) - len(ref.Hash)
	return int64(len(data)) == ref.Size && end >= 0 && object.HashBytes("table", data[:end]) == ref.Hash
}

// Marks returns the marks of s, whose index the caller has.
func (r *Repo) Marks(ctx context.Context, s *State) (*refcount.Marks, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts, err := r.openParts(ctx, s, false)
	if err != nil {
		return nil, err
	}
	return r.marksOf(ctx, s, parts)
}

// OpenRun returns a run which Index has opened, nil if there is none of that name.
func (r *Repo) OpenRun(name index.RunName) *index.Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.runs[name]
}
