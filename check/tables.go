package check

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

// errUnmarked ends a check: nobody can tell what is there and what is not.
var errUnmarked = errors.New("what is visible is not known, because the marks of dead objects cannot be read")

// readTables reads a list of tables from the bucket and verifies each by
// itself. What is wrong is recorded; then ok is false. It returns errMoved where a
// cleaner has taken one meanwhile.
func (c *checker) readTables(ctx context.Context, typ refcount.Type, list []repo.TableRef) (tables []refcount.Table, ok bool, err error) {
	ok = true
	for _, ref := range list {
		data, err := c.store.Get(ctx, ref.Name.Key(), ref.Size)
		c.bytes.Add(uint64(len(data)))
		table := refcount.Table{Ref: ref, Data: data}
		if err == nil {
			err = refcount.Verify(c.state.Repository, typ, table)
		}
		if c.isTaken(ctx, repo.TableName(ref.Name), err) {
			return nil, false, errMoved
		}
		if err != nil {
			ok = false
			if end := c.failed(ctx, ref.Name.Key(), nil, err); end != nil {
				return nil, false, end
			}
		}
		tables = append(tables, table)
	}
	return tables, ok, nil
}

// loadMarks says which rows of the parts are absent. Marks that cannot be read
// end the check: without them what is gone for good would seem to be lost.
func (c *checker) loadMarks(ctx context.Context, parts []index.Part) error {
	shapes := refcount.Shapes{}
	for i := range parts {
		shapes[parts[i].Run.Name()] = refcount.ShapeOf(parts[i].Run)
	}
	tables, ok, err := c.readTables(ctx, refcount.TypeMarks, c.state.Marks)
	if err != nil {
		return err
	}
	if !ok {
		return errUnmarked
	}
	marks, err := refcount.LoadMarks(c.state.Repository, tables, shapes)
	if err != nil {
		c.book.add(Error, "cnt/", err.Error())
		return errUnmarked
	}
	for i := range parts {
		of := marks.Of(parts[i].Run.Name())
		parts[i].Dead, parts[i].Gone = of.DeadRows(), of.GoneSegments()
	}
	return nil
}

// isCondemned reports whether a file is to be deleted: whether it is there does
// not matter.
func (c *checker) isCondemned(name repo.Name) bool {
	_, ok := c.state.Condemned[name]
	return ok
}

// judgeRegistration checks what a segment table says of when and by whom a
// segment was registered. What a clean has merged keeps what it had.
func (c *checker) judgeRegistration(run *openRun, s *index.Segment) {
	switch {
	case s.RegisteredAt != 0 && (!run.Cleaned || s.RegisteredAt > run.Generation):
		c.book.add(Error, run.Name.Key(), fmt.Sprintf(
			"segment %s claims to be of generation %d, the run is of %d", s.Name, s.RegisteredAt, run.Generation))
	case s.Session != run.Session && !run.Cleaned:
		c.book.add(Error, run.Name.Key(), fmt.Sprintf("segment %s is of session %s, the run of %s", s.Name, s.Session, run.Session))
	}
}

// whyAbsent says why an object is not visible.
func (c *checker) whyAbsent(id object.ID) string {
	if len(c.index.Remains(id)) > 0 {
		return "a clean has marked it dead, or condemned its segment"
	}
	return "no run has it"
}

// goneSegments returns those that some run lists and whose rows are absent.
func (c *checker) goneSegments() map[pack.Name]bool {
	gone := map[pack.Name]bool{}
	for i, run := range c.runs {
		for ordinal := range run.run.SegmentCount() {
			if !c.index.ShowsSegment(i, ordinal) {
				gone[run.run.Segment(ordinal).Name] = true
			}
		}
	}
	return gone
}
