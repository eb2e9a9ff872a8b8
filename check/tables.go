package check

import (
	"context"
	"errors"

	"bluesky/object"
	"bluesky/refcount"
	"bluesky/repo"
)

// checkTables reads the counts and opens the space map, which cleaners rely on.
// They say nothing of what can be restored; whether they are right, prune says
// when it counts anew. Then it notes what nothing names.
func (c *checker) checkTables(ctx context.Context) error {
	defer c.findOrphans(ctx)
	if len(c.state.Counts)+len(c.state.Space) == 0 {
		return nil // nobody has cleaned yet
	}
	c.progress.Phase("read the tables of cleaners", uint64(len(c.state.Counts)))
	tables := make([]refcount.Table, 0, len(c.state.Counts))
	for _, ref := range c.state.Counts {
		data, err := c.repo.FetchTable(ctx, ref)
		if err != nil {
			return c.badTable(ctx, c.state.Counts, err)
		}
		c.bytes.Add(uint64(len(data)))
		tables = append(tables, refcount.Table{Ref: ref, Data: data})
		c.progress.Step(1)
	}
	if _, err := refcount.LoadCounts(c.state.Repository, tables, c.counted()); err != nil {
		return c.badTable(ctx, c.state.Counts, err)
	}
	if len(c.state.Space) == 0 {
		return nil
	}
	if _, err := refcount.OpenSpace(ctx, c, c.state.Repository, c.state.Space); err != nil {
		return c.badTable(ctx, c.state.Space, err)
	}
	return nil
}

// counted returns the shapes of the runs that are counted.
func (c *checker) counted() refcount.Shapes {
	shapes := refcount.Shapes{}
	for i := range c.runs {
		if c.state.Counted(&c.runs[i].Run) {
			shapes[c.runs[i].Name] = refcount.ShapeOf(c.runs[i].run)
		}
	}
	return shapes
}

// badTable records what is wrong with a table of list, unless a cleaner has
// replaced it meanwhile.
func (c *checker) badTable(ctx context.Context, list []repo.TableRef, err error) error {
	for _, ref := range list {
		if c.isTaken(ctx, repo.TableName(ref.Name), err) {
			return nil
		}
	}
	if errors.Is(err, object.ErrCorrupt) {
		err = errors.Join(err, errRecount)
	}
	return c.failed(ctx, "cnt/", nil, err)
}

var errRecount = errors.New("bluesky prune --recount counts anew")
