package check

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bluesky/index"
	"bluesky/pack"
	"bluesky/prune"
	"bluesky/refcount"
	"bluesky/repo"
)

// recountProgress is a Progress for package prune.
type recountProgress struct{ Progress }

func (p recountProgress) Add(n uint64) { p.Step(n) }

// beginRecount prepares to count all refs anew, if there are counts to compare
// with. Where a run is lost they cannot be made.
func (c *checker) beginRecount(ctx context.Context) error {
	counted := slices.ContainsFunc(c.state.Runs, func(r repo.Run) bool { return c.state.Counted(&r) })
	if !counted && len(c.state.Counts)+len(c.state.Space) == 0 {
		return nil
	}
	if c.lostRun {
		c.uncountable.Store(true)
		return nil
	}
	view := prune.View{State: c.state, Index: c.index, Runs: make([]*index.Run, len(c.runs))}
	for i := range c.runs {
		view.Runs[i] = c.runs[i].run
	}
	var err error
	c.recount, err = prune.NewRecounter(ctx, view, prune.RecountOptions{Fold: c.state.Fold, Folder: c.options.Folder}, recountProgress{c.progress})
	return err
}

// count adds the refs in the header of a segment, nil where it is not to be had.
func (c *checker) count(s *segment, h *pack.Header) error {
	if c.recount == nil || !c.recount.Wants(s.run, int(s.ordinal)) {
		return nil
	}
	if h == nil { // reported
		if s.taken {
			c.uncounted.Store(true)
		} else {
			c.uncountable.Store(true)
		}
		return nil
	}
	return c.unlessUncountable(c.recount.Add(s.run, int(s.ordinal), h))
}

// unlessUncountable takes err as a sign of damage, which is reported elsewhere, if
// it says that runs and headers cannot be counted.
func (c *checker) unlessUncountable(err error) error {
	if errors.Is(err, prune.ErrRecount) {
		c.uncountable.Store(true)
		return nil
	}
	return err
}

// checkCounts compares the stored counts and the space map with those that were
// counted anew, both as of the last clean.
func (c *checker) checkCounts(ctx context.Context) error {
	if c.recount == nil || c.uncountable.Load() || c.uncounted.Load() {
		return nil
	}
	tally, err := c.recount.Tally(ctx, recountProgress{c.progress})
	if err != nil {
		return c.unlessUncountable(err)
	}
	for _, d := range tally.Homeless {
		c.book.add(Error, "object "+d.ID.String(), fmt.Sprintf(
			"%d refs to it are counted, and it stands in runs alone that are not", d.Refs))
		c.book.suggestRecount()
	}
	err = c.compareCounts(ctx, tally)
	if err == nil {
		err = c.compareSpace(ctx, tally)
	}
	if errors.Is(err, errMoved) {
		c.uncounted.Store(true)
		return nil
	}
	c.counts.counted = err == nil
	return err
}

func (c *checker) compareCounts(ctx context.Context, tally *prune.Tally) error {
	tables, ok, err := c.readTables(ctx, refcount.TypeCounts, c.state.Counts)
	if err != nil {
		return err
	}
	shapes := refcount.Shapes{}
	for i, counts := range tally.Runs {
		if counts != nil {
			shapes[c.runs[i].Name] = refcount.ShapeOf(c.runs[i].run)
		}
	}
	if ok {
		var stored *refcount.Counts
		if stored, err = refcount.LoadCounts(c.state.Repository, tables, shapes); err == nil {
			return c.compareRuns(stored, tally)
		}
		c.book.add(Error, lastOf(c.state.Counts), err.Error())
	}
	c.book.suggestRecount()
	return nil
}

// lastOf names a list of tables by the newest.
func lastOf(list []repo.TableRef) string {
	if len(list) == 0 {
		return "cnt/"
	}
	return list[len(list)-1].Name.Key()
}

func (c *checker) compareRuns(stored *refcount.Counts, tally *prune.Tally) error {
	for i, counts := range tally.Runs {
		wrong := examples{}
		for row, want := range counts {
			if !c.index.Shows(i, row) {
				continue // what is said of it means nothing
			}
			got, err := stored.Get(c.runs[i].Name, uint32(row))
			if err != nil {
				return err
			}
			if got != want {
				wrong.add(fmt.Sprintf("row %d, object %s, has %d and should have %d", row, c.runs[i].run.Row(row).ID.Short(), got, want))
			}
		}
		if wrong.n > 0 {
			c.book.add(Error, lastOf(c.state.Counts), fmt.Sprintf(
				"%d counts of run %s are wrong, as of generation %d: %s", wrong.n, c.runs[i].Name, tally.Fold, wrong.text()))
			c.book.suggestRecount()
		}
	}
	return nil
}

func (c *checker) compareSpace(ctx context.Context, tally *prune.Tally) error {
	if len(c.state.Space) == 0 {
		return nil // a cache that nobody has made
	}
	_, ok, err := c.readTables(ctx, refcount.TypeSpace, c.state.Space)
	if err != nil {
		return err
	}
	if !ok {
		c.book.suggestRecount()
		return nil
	}
	stored, err := refcount.OpenSpace(ctx, c, c.state.Repository, c.state.Space)
	wrong := examples{}
	if err == nil {
		err = diffSpace(ctx, stored, tally.Space, &wrong)
	}
	switch {
	case slices.ContainsFunc(c.state.Space, func(ref repo.TableRef) bool { return c.isTaken(ctx, repo.TableName(ref.Name), err) }):
		return errMoved
	case err != nil:
		err = c.failed(ctx, lastOf(c.state.Space), nil, err)
	case wrong.n > 0:
		c.book.add(Error, lastOf(c.state.Space), fmt.Sprintf(
			"%d segments of the space map are wrong, as of generation %d: %s", wrong.n, tally.Fold, wrong.text()))
	default:
		return nil
	}
	c.book.suggestRecount()
	return err
}

// diffSpace compares two ascending lists.
func diffSpace(ctx context.Context, stored *refcount.Space, want []refcount.Usage, wrong *examples) error {
	for got, err := range stored.All(ctx) {
		if err != nil {
			return err
		}
		for len(want) > 0 && want[0].Compare(got.Key) < 0 {
			wrong.add(fmt.Sprintf("segment %s is missing", want[0].Name))
			want = want[1:]
		}
		switch {
		case len(want) == 0 || want[0].Key != got.Key:
			wrong.add(fmt.Sprintf("segment %s is not in use", got.Name))
			continue
		case want[0] != got:
			wrong.add(fmt.Sprintf("segment %s has %d live bytes of %d in %d and should have %d of %d in %d",
				got.Name, got.Live, got.Body, got.Size, want[0].Live, want[0].Body, want[0].Size))
		}
		want = want[1:]
	}
	for i := range want {
		wrong.add(fmt.Sprintf("segment %s is missing", want[i].Name))
	}
	return nil
}

// examples are the first of many.
type examples struct {
	n     int
	first []string
}

func (e *examples) add(text string) {
	if e.n++; e.n <= 3 {
		e.first = append(e.first, text)
	}
}

func (e *examples) text() string {
	text := strings.Join(e.first, "; ")
	if more := e.n - len(e.first); more > 0 {
		text += fmt.Sprintf("; and %d more", more)
	}
	return text
}
