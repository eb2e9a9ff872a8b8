package prune

import (
	"cmp"
	"context"
	"errors"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/refcount"
	"bluesky/repo"

	"golang.org/x/sync/errgroup"
)

// A View is a state with its runs and with what is visible in it. Runs[i] is
// State.Runs[i], and part i of Index.
type View struct {
	State *repo.State
	Runs  []*index.Run
	Index *index.Index
}

// RecountOptions say what to count, and what it may take.
type RecountOptions struct {
	// Fold is the generation up to which things count: runs that were registered
	// by then or made by a clean, and roots that were added by then. With
	// [repo.State.Fold] the result is what the tables of the state must say; with
	// [repo.State.Generation] it is what a clean that counts all would write.
	Fold uint64
	// Folder is where refs that do not fit into memory go, into one file that has
	// no name any more once it is open. "" keeps them all in memory: 36 bytes for
	// each object that is referred to.
	Folder string
	// Memory is how many bytes refs may take; 0 is 64 MiB.
	Memory int64
	// Readers is how many headers are read at once; 0 is 8.
	Readers int
}

// A Tally is what a recount found. All of it is as of RecountOptions.Fold:
// visible is what the state shows, counted is what had been registered by then.
//
// The home of an id is its first visible row by (registered-at, run, ordinal)
// among the counted runs. A row that comes before it and is not counted yet
// changes nothing; the fold that counts it moves the home.
type Tally struct {
	Fold uint64

	// Runs are the counts of the rows of each run of the state, nil of one that is
	// not counted: at the home row the number of visible ids that refer to its id,
	// each once whatever its copies, plus one for each root that it is; 0 elsewhere.
	Runs [][]uint32
	// Space says how much of each visible segment of the counted runs is live, by
	// key. Live are the sealed lengths of its visible home rows: also of one whose
	// count is 0, until it is marked dead, and of no redundant one.
	Space []refcount.Usage

	Refs      uint64 // that were counted, roots included
	Visible   Rows   // in counted runs
	Redundant Rows   // of them, copies beyond the home
	// Garbage are home rows with a count of 0 in segments of finished sessions:
	// what a clean has not marked yet.
	Garbage Rows

	// Dangling are the first ids, in ascending order, that counted ones refer to
	// and that are not visible, which breaks invariant I1. Nothing may be deleted
	// then.
	Dangling      []Dangling
	DanglingCount uint64
	// Homeless are those that are visible in runs alone that are not counted, so
	// that their count has no place. No order of backups and cleans leads there.
	Homeless      []Dangling
	HomelessCount uint64
}

// Rows are a number of rows and the sealed bytes that they stand for.
type Rows struct{ N, Bytes uint64 }

func (r *Rows) add(row *index.Row) {
	r.N++
	r.Bytes += uint64(row.Length)
}

func (r *Rows) sum(o Rows) {
	r.N += o.N
	r.Bytes += o.Bytes
}

// A Dangling is an id that is referred to, by how many, and one of those.
type Dangling struct {
	ID     object.ID
	Refs   uint64
	Parent object.ID // zero where only roots do, or it was not looked for
}

// maxListed is how many ids a Tally names.
const maxListed = 100

// ErrRecount marks headers and runs of which no counts can be made: they
// contradict each other, or what was put aside came back as something else.
var ErrRecount = errors.New("cannot be counted")

// Recount counts a view, whose segments stand in bucket. Each header that counts
// is read once, and once more where something is dangling, to say from where.
//
// The error wraps [ErrRecount], [object.ErrCorrupt], or what bucket or the
// temporary file returned; who deletes stops then.
func Recount(ctx context.Context, bucket pack.ReaderAt, v View, options RecountOptions, progress Progress) (*Tally, error) {
	if progress == nil {
		progress = NoProgress{}
	}
	c, err := NewRecounter(ctx, v, options, progress)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	t, err := c.recount(ctx, bucket, progress)
	if err := errors.Join(err, c.Close()); err != nil {
		return nil, err
	}
	return t, nil
}

func (c *Recounter) recount(ctx context.Context, bucket pack.ReaderAt, progress Progress) (*Tally, error) {
	err := c.eachHeader(ctx, bucket, "read the headers of metadata segments", progress, c.Add)
	if err != nil {
		return nil, err
	}
	t, err := c.Tally(ctx, progress)
	if err == nil && len(t.Dangling)+len(t.Homeless) > 0 {
		err = c.nameParents(ctx, bucket, progress)
	}
	return t, err
}

// eachHeader calls fn with each header that c wants, several at once.
func (c *Recounter) eachHeader(ctx context.Context, bucket pack.ReaderAt, phase string, progress Progress, fn func(part, ordinal int, h *pack.Header) error) error {
	wanted := uint64(0)
	for i := range c.parts {
		for n := range c.parts[i].segments {
			if c.Wants(i, n) {
				wanted++
			}
		}
	}
	progress.Phase(phase, wanted)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(c.options.Readers)
	for i := range c.parts {
		for n := range c.parts[i].segments {
			if !c.Wants(i, n) || gctx.Err() != nil {
				continue
			}
			g.Go(func() error {
				defer progress.Add(1)
				s := c.view.Index.Segment(i, n)
				h, err := pack.ReadHeader(gctx, bucket, s.Ref())
				if err == nil {
					err = fn(i, n, h)
				}
				return err
			})
		}
	}
	return cmp.Or(g.Wait(), ctx.Err())
}

// nameParents sets the parents of what is dangling and homeless.
func (c *Recounter) nameParents(ctx context.Context, bucket pack.ReaderAt, progress Progress) error {
	missing := map[object.ID]*Dangling{}
	for _, list := range [][]Dangling{c.tally.Dangling, c.tally.Homeless} {
		for i := range list {
			missing[list[i].ID] = &list[i]
		}
	}
	return c.eachHeader(ctx, bucket, "find what refers to objects that are missing", progress, func(part, ordinal int, h *pack.Header) error {
		for i := range c.homesIn(part, ordinal, h) {
			for _, ref := range h.Ordinals(i) {
				if d := missing[h.RefID(ref)]; d != nil {
					c.mu.Lock()
					if d.Parent.IsZero() || h.Objects[i].ID.Compare(d.Parent) < 0 {
						d.Parent = h.Objects[i].ID
					}
					c.mu.Unlock()
				}
			}
		}
		return nil
	})
}
