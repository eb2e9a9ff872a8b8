package prune

import (
	"context"
	"errors"
	"fmt"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/refcount"
	"bluesky/repo"
)

// A base is a state with all that a plan on it needs: what is visible, and what
// the last clean has counted.
type base struct {
	repo   *repo.Repo
	state  *repo.State
	view   *index.Index
	runs   []*index.Run     // of the parts of view
	counts *refcount.Counts // as they are stored

	space   *refcount.Space
	headers headers
	times   []repo.StoreTime          // of the snapshots that have none yet
	expired map[object.SessionID]bool // unfinished sessions that this clean ends
	anew    bool                      // counts and space are of all runs, and not those that are stored
	own     map[repo.Name]bool        // copies of this prune, which no generation names yet
}

// A place is a row of a run: a copy of an object.
type place struct{ part, row int }

// openBase returns the state of the base with the error, where that comes of
// what belongs to the state.
func openBase(ctx context.Context, r *repo.Repo) (*base, error) {
	b, err := openView(ctx, r)
	if err != nil {
		return nil, err
	}
	if b.counts, err = b.loadCounts(ctx); err != nil {
		return b, err
	}
	b.space, err = refcount.OpenSpace(ctx, r.Store(), r.Config().ID, b.state.Space)
	return b, damaged(err)
}

// open is openBase, or openAnew where the options ask for that.
func (o *Options) open(ctx context.Context, r *repo.Repo, progress Progress) (*base, error) {
	if o.Recount {
		return openAnew(ctx, r, o.Folder, progress)
	}
	return openBase(ctx, r)
}

// openView opens a base without what was counted.
func openView(ctx context.Context, r *repo.Repo) (*base, error) {
	state, view, err := r.Current(ctx)
	if err != nil {
		return nil, err
	}
	if state.ReadOnly() {
		return nil, repo.ErrReadOnly
	}
	b := &base{repo: r, state: state, view: view, expired: map[object.SessionID]bool{}}
	b.headers = headers{base: b, known: map[pack.Name]*pack.Header{}}
	for i := range state.Runs {
		run := r.OpenRun(state.Runs[i].Name)
		if run == nil {
			return nil, fmt.Errorf("%w: run %s cannot be read; bluesky repair index makes it again", ErrDamaged, state.Runs[i].Name)
		}
		b.runs = append(b.runs, run)
	}
	return b, b.checkOnce()
}

// checkOnce refuses a segment that two runs register: to condemn what is dead in
// one of them would take away what stands in the other. No writer does that which
// keeps the rules (R3).
func (b *base) checkOnce() error {
	seen := map[pack.Name]int{}
	for part, run := range b.runs {
		for i := range run.SegmentCount() {
			if !b.view.ShowsSegment(part, i) {
				continue
			}
			name := run.Segment(i).Name
			if first, twice := seen[name]; twice {
				return fmt.Errorf("%w: segment %s stands in run %s and in run %s; bluesky check says what is affected",
					ErrDamaged, name, b.runs[first].Name(), run.Name())
			}
			seen[name] = part
		}
	}
	return nil
}

// loadCounts reads the counts of the runs that are counted. One without counts
// is damage (R7).
func (b *base) loadCounts(ctx context.Context) (*refcount.Counts, error) {
	counted := refcount.Shapes{}
	for i := range b.runs {
		if b.counted(i) {
			counted[b.runs[i].Name()] = refcount.ShapeOf(b.runs[i])
		}
	}
	tables, err := b.tables(ctx, b.state.Counts)
	if err != nil {
		return nil, damaged(err)
	}
	counts, err := refcount.LoadCounts(b.repo.Config().ID, tables, counted)
	if err != nil {
		return nil, damaged(err)
	}
	return counts, nil
}

// damaged adds what to do about counts that cannot be read.
func damaged(err error) error {
	if isLost(err) && !errors.Is(err, object.ErrVersion) { // an upgrade reads that
		return fmt.Errorf("%w: %w; bluesky prune --recount counts anew", ErrDamaged, err)
	}
	return err
}

func (b *base) tables(ctx context.Context, list []repo.TableRef) ([]refcount.Table, error) {
	tables := make([]refcount.Table, len(list))
	for i, ref := range list {
		data, err := b.repo.TableBytes(ctx, ref)
		if err != nil {
			return nil, err
		}
		tables[i] = refcount.Table{Ref: ref, Data: data}
	}
	return tables, nil
}

func (b *base) counted(part int) bool { return b.anew || b.state.Counted(&b.state.Runs[part]) }

// protected reports whether nothing in a segment may be touched, because its
// session goes on (R10).
func (b *base) protected(session object.SessionID) bool {
	return b.state.IsUnfinished(session) && !b.expired[session]
}

func placeOf(l *index.Location) place { return place{l.Part, l.Place} }

// segmentAt returns a segment of a part, its registered-at resolved.
func (b *base) segmentAt(part int, ordinal uint32) index.Segment {
	return b.view.Segment(part, int(ordinal))
}
