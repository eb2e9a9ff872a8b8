package repo

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"bluesky/index"
	"bluesky/object"
	"bluesky/refcount"
	"bluesky/store"
)

func (r *Repo) meta(run Run) index.Meta {
	return index.Meta{Repository: r.config.ID, Name: run.Name, Size: int64(run.Size), Hash: run.Hash}
}

// CachedRun returns a registered run from the cache of this machine, whatever
// the bucket has. The error wraps [store.ErrNotFound] where the cache does not
// have it whole.
func (r *Repo) CachedRun(ctx context.Context, run Run) (*index.Run, error) {
	return r.cache.Run(ctx, r.meta(run), func(context.Context) ([]byte, error) { return nil, store.ErrNotFound })
}

// RunBytes reads a registered run from the bucket. The problem is what is wrong
// with it, nil if nothing is: that it is missing, that its bytes are not those
// that its statement describes, or that the disk has lost them. The error says
// that the bucket could not tell.
func (r *Repo) RunBytes(ctx context.Context, run Run) (data []byte, problem, err error) {
	data, err = r.store.Get(ctx, run.Name.Key(), int64(run.Size))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errors.New("missing"), nil
	case errors.Is(err, store.ErrTooLarge):
		return nil, errors.New("longer than it was registered"), nil
	case errors.Is(err, syscall.EIO): // a bad sector, which a put does not write into
		return nil, fmt.Errorf("it cannot be read: %w", err), nil
	case err != nil:
		return nil, nil, fmt.Errorf("run %s: %w", run.Name, err)
	case uint64(len(data)) < run.Size:
		return nil, fmt.Errorf("%d bytes, registered were %d", len(data), run.Size), nil
	case !index.IsRun(data, run.Hash):
		return nil, errors.New("its bytes are not those that were registered"), nil
	}
	return data, nil, nil
}

// CachedTable returns a table that the state names from the cache of this
// machine, whatever the bucket has. The error wraps [store.ErrNotFound] where
// the cache does not have it whole; it keeps marks and counts.
func (r *Repo) CachedTable(ctx context.Context, t refcount.Type, ref TableRef) ([]byte, error) {
	right := func(data []byte) bool { return r.isTable(t, ref, data) }
	data, err := r.cache.Blob(ctx, ref.Name, right, func(context.Context) ([]byte, error) { return nil, store.ErrNotFound })
	if err != nil {
		return nil, fmt.Errorf("table %s: %w", ref.Name, err)
	}
	return data, nil
}

func (r *Repo) isTable(t refcount.Type, ref TableRef, data []byte) bool {
	return refcount.Verify(r.config.ID, t, refcount.Table{Ref: ref, Data: data}) == nil
}

// ReadTable reads a table that the state names from the bucket. Problem and
// error are as those of [Repo.RunBytes].
func (r *Repo) ReadTable(ctx context.Context, t refcount.Type, ref TableRef) (data []byte, problem, err error) {
	data, err = r.store.Get(ctx, ref.Name.Key(), ref.Size)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errors.New("missing"), nil
	case errors.Is(err, store.ErrTooLarge):
		return nil, errors.New("longer than the log says"), nil
	case errors.Is(err, syscall.EIO): // a bad sector
		return nil, fmt.Errorf("it cannot be read: %w", err), nil
	case err != nil:
		return nil, nil, fmt.Errorf("table %s: %w", ref.Name, err)
	case !r.isTable(t, ref, data):
		return nil, errors.New("its bytes are not those that the log names"), nil
	}
	return data, nil, nil
}

// RestoreTable puts a table under its name again, where it is missing or
// damaged. It writes what a signed clean describes to the bit, or nothing; what
// [Repo.RestoreRun] says holds here too.
//
// The error wraps [object.ErrCorrupt] for other bytes than those.
func (r *Repo) RestoreTable(ctx context.Context, t refcount.Type, ref TableRef, data []byte) error {
	if !r.isTable(t, ref, data) {
		return fmt.Errorf("table %s: %w: not the bytes that the log names", ref.Name, object.ErrCorrupt)
	}
	return r.restore(ctx, "table "+ref.Name.String(), ref.Name.Key(), data, func() (problem, err error) {
		_, problem, err = r.ReadTable(ctx, t, ref)
		return problem, err
	})
}

// restore puts data under key, whatever is there, and reads it back.
func (r *Repo) restore(ctx context.Context, what, key string, data []byte, readBack func() (problem, err error)) error {
	putErr := r.store.PutNew(ctx, key, data)
	if errors.Is(putErr, store.ErrExists) {
		putErr = r.store.Put(ctx, key, data)
	}
	if errors.Is(putErr, store.ErrNotDurable) {
		return fmt.Errorf("%s: %w", what, putErr) // reading it back proves nothing
	}
	problem, err := readBack()
	if err == nil && problem == nil {
		return nil // also after a lost reply
	}
	return fmt.Errorf("%s was put, and is not there: %w", what, errors.Join(putErr, problem, err))
}

// RestoreRun puts a registered run under its name again, where it is missing or
// damaged. This and [Repo.RestoreTable] are the places where bluesky writes over
// a name; what it writes is what the signed statement describes to the bit, or it writes
// nothing. A missing run is created, which append-only credentials allow. The put is the commit point: before it the bucket has the damage,
// after it the run, whole. It is read back before RestoreRun returns nil.
//
// The error wraps [object.ErrCorrupt] for other bytes than the registered ones.
func (r *Repo) RestoreRun(ctx context.Context, run Run, data []byte) error {
	if uint64(len(data)) != run.Size || !index.IsRun(data, run.Hash) {
		return fmt.Errorf("run %s: %w: not the bytes that were registered", run.Name, object.ErrCorrupt)
	}
	return r.restore(ctx, "run "+run.Name.String(), run.Name.Key(), data, func() (problem, err error) {
		_, problem, err = r.RunBytes(ctx, run)
		return problem, err
	})
}
