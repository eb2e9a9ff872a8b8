package prune

import (
	"context"
	"errors"
	"fmt"

	"bluesky/object"
	"bluesky/refcount"
	"bluesky/repo"
)

// openAnew is openBase without the stored counts and space map: both are made
// anew, of all that is registered. What was not counted yet is then, and the
// clean writes whole tables, in the place of those that may be damaged. The fold
// has nothing left to do but to look at everything once more.
func openAnew(ctx context.Context, r *repo.Repo, folder string, progress Progress) (*base, error) {
	b, err := openView(ctx, r)
	if err != nil {
		return nil, err
	}
	b.anew = true
	options := RecountOptions{Fold: b.state.Generation, Folder: folder}
	tally, err := Recount(ctx, r.Store(), View{b.state, b.runs, b.view}, options, progress)
	if errors.Is(err, ErrRecount) || isLost(err) {
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return b, err
	}
	if tally.DanglingCount > 0 {
		d := tally.Dangling[0]
		return b, fmt.Errorf("%w: %d objects that others refer to are not there, the first is %s, to which %s refers; bluesky check says what is affected",
			ErrDamaged, tally.DanglingCount, d.ID, d.Parent.Short())
	}
	if b.counts, err = refcount.LoadCounts(r.Config().ID, nil, nil); err != nil {
		return b, err
	}
	for i, run := range b.runs {
		if err := b.counts.AddRun(run.Name(), tally.Runs[i]); err != nil {
			return b, err
		}
		tally.Runs[i] = nil
	}
	b.space, err = spaceOf(ctx, r.Config().ID, tally.Space)
	return b, err
}

// spaceOf makes a space map in memory.
func spaceOf(ctx context.Context, repository object.RepositoryID, list []refcount.Usage) (*refcount.Space, error) {
	empty, err := refcount.OpenSpace(ctx, nil, repository, nil)
	if err != nil {
		return nil, err
	}
	change := empty.Change()
	for _, u := range list {
		if err := change.Put(u); err != nil {
			return nil, err
		}
	}
	table, err := change.Base(ctx, refcount.TableName{})
	if err != nil {
		return nil, err
	}
	return refcount.OpenSpace(ctx, inMemory(table.Data), repository, []refcount.Ref{table.Ref})
}

// inMemory is one file, by whatever key.
type inMemory []byte

// GetRange makes m a [pack.ReaderAt].
func (m inMemory) GetRange(_ context.Context, key string, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > int64(len(m)) || n > int64(len(m))-off {
		return nil, fmt.Errorf("%s: %d bytes at %d of %d", key, n, off, len(m))
	}
	return m[off : off+n], nil
}
