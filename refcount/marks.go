package refcount

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"

	"bluesky/index"
	"bluesky/object"
)

// Marks say which rows of the registered runs are dead, and which of their
// segments gone: condemned at some time, so that all of their rows are absent. They are immutable and safe
// for concurrent use; [Marks.Change] makes others from them.
type Marks struct {
	repository object.RepositoryID
	shapes     Shapes
	runs       map[index.RunName]*RunMarks
}

// RunMarks are the marks of one run. A nil *RunMarks has none.
type RunMarks struct{ dead, gone *roaring.Bitmap }

// Dead reports whether that row is marked dead.
func (r *RunMarks) Dead(row uint32) bool { return r != nil && r.dead.Contains(row) }

// Gone reports whether the segment of that ordinal is marked gone.
func (r *RunMarks) Gone(segment uint32) bool { return r != nil && r.gone.Contains(segment) }

// Counts returns how many rows are dead and how many segments gone.
func (r *RunMarks) Counts() (dead, gone int) {
	if r == nil {
		return 0, 0
	}
	return int(r.dead.GetCardinality()), int(r.gone.GetCardinality())
}

// DeadRows returns the dead rows, nil if there is none; read only.
func (r *RunMarks) DeadRows() *roaring.Bitmap {
	if r == nil {
		return nil
	}
	return r.dead
}

// GoneSegments returns the ordinals of the segments that are gone, nil if there
// is none; read only.
func (r *RunMarks) GoneSegments() *roaring.Bitmap {
	if r == nil {
		return nil
	}
	return r.gone
}

func newRunMarks() *RunMarks { return &RunMarks{roaring.New(), roaring.New()} }

func (r *RunMarks) empty() bool { return r.dead.IsEmpty() && r.gone.IsEmpty() }

// add makes r the union of both. It keeps nothing of other.
func (r *RunMarks) add(other *RunMarks) {
	r.dead.Or(other.dead.Clone())
	r.gone.Or(other.gone.Clone())
}

// LoadMarks reads a list of tables, oldest first. shapes are those of the runs
// that the state registers: marks of other runs are left out, and a mark outside
// of its run is corrupt. Nothing of the tables is kept.
//
// The error wraps [ErrCorrupt] or [ErrVersion].
func LoadMarks(repository object.RepositoryID, list []Table, shapes Shapes) (*Marks, error) {
	m := &Marks{repository, shapes, map[index.RunName]*RunMarks{}}
	for i := range list {
		if err := m.load(list[i]); err != nil {
			return nil, fmt.Errorf("marks: table %s: %w", list[i].Ref.Name, err)
		}
	}
	for _, r := range m.runs {
		r.dead.RunOptimize()
		r.gone.RunOptimize()
	}
	return m, nil
}

func (m *Marks) load(t Table) error {
	sections, _, err := decodeTable(t, TypeMarks, m.repository)
	if err != nil {
		return err
	}
	for i := range sections {
		s := &sections[i]
		shape, known, err := m.shapes.of(s)
		if err != nil {
			return err
		}
		segments := uint64(maxRows)
		if known {
			segments = uint64(shape.Segments)
		}
		marks, err := decodeMarks(s, segments)
		if err != nil {
			return fmt.Errorf("run %s: %w", s.run, err)
		}
		if old := m.runs[s.run]; old != nil {
			old.dead.Or(marks.dead)
			old.gone.Or(marks.gone)
		} else if known {
			m.runs[s.run] = marks
		}
	}
	return nil
}

// decodeMarks decodes a section of marks of a run of so many segments.
func decodeMarks(s *section, segments uint64) (*RunMarks, error) {
	if s.form != formMarks {
		return nil, corruptf("form %d", s.form)
	}
	dead, rest, err := cutBitmap(s.content, s.rows)
	if err != nil {
		return nil, fmt.Errorf("dead rows: %w", err)
	}
	gone, rest, err := cutBitmap(rest, segments)
	if err != nil {
		return nil, fmt.Errorf("gone segments: %w", err)
	}
	r := &RunMarks{dead, gone}
	if len(rest) > 0 || r.empty() {
		return nil, corruptf("%d bytes behind the bitmaps, or no marks", len(rest))
	}
	return r, nil
}

// cutBitmap decodes the bitmap that b begins with, its length before it, and
// returns what stands behind.
func cutBitmap(b []byte, limit uint64) (*roaring.Bitmap, []byte, error) {
	if len(b) < 4 || uint64(binary.LittleEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, corruptf("no bitmap in %d bytes", len(b))
	}
	end := 4 + int(binary.LittleEndian.Uint32(b))
	bitmap, err := decodeBitmap(b[4:end], limit)
	return bitmap, b[end:], err
}

func (r *RunMarks) append(dst []byte) []byte {
	for _, b := range []*roaring.Bitmap{r.dead, r.gone} {
		at := len(dst)
		dst = appendBitmap(append(dst, 0, 0, 0, 0), b)
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	return dst
}

// encodeMarks makes a table of those marks that are not empty.
func encodeMarks(repository object.RepositoryID, name TableName, shapes Shapes, runs map[index.RunName]*RunMarks) Table {
	var sections []section
	for run, r := range runs {
		if !r.empty() {
			sections = append(sections, section{run: run, rows: uint64(shapes[run].Rows), form: formMarks, content: r.append(nil)})
		}
	}
	slices.SortFunc(sections, func(a, b section) int { return bytes.Compare(a.run[:], b.run[:]) })
	return encodeTable(prelude{typ: TypeMarks, repository: repository, name: name}, sections)
}

// Of returns the marks of a run; they may be nil, which has none.
func (m *Marks) Of(run index.RunName) *RunMarks { return m.runs[run] }

// Change begins a change of m, which stays as it is.
func (m *Marks) Change() *MarksChange {
	return &MarksChange{m, map[index.RunName]*RunMarks{}}
}

// A MarksChange collects marks that are to be added to others. It is not safe for
// concurrent use.
type MarksChange struct {
	old *Marks
	new map[index.RunName]*RunMarks // those that old does not have
}

// MarkDead marks a row dead. A run that the state does not register and a row
// that it does not have are errors.
func (c *MarksChange) MarkDead(run index.RunName, row uint32) error {
	r, shape, err := c.of(run)
	if err == nil && uint64(row) >= uint64(shape.Rows) {
		err = fmt.Errorf("mark row %d of run %s dead: it has %d rows", row, run, shape.Rows)
	}
	if err == nil && !c.old.runs[run].Dead(row) {
		r.dead.Add(row)
	}
	return err
}

// MarkGone marks a segment gone, by its ordinal in the run. Errors are as those
// of [MarksChange.MarkDead].
func (c *MarksChange) MarkGone(run index.RunName, segment uint32) error {
	r, shape, err := c.of(run)
	if err == nil && uint64(segment) >= uint64(shape.Segments) {
		err = fmt.Errorf("mark segment %d of run %s gone: it has %d segments", segment, run, shape.Segments)
	}
	if err == nil && !c.old.runs[run].Gone(segment) {
		r.gone.Add(segment)
	}
	return err
}

func (c *MarksChange) of(run index.RunName) (*RunMarks, Shape, error) {
	shape, ok := c.old.shapes[run]
	if !ok {
		return nil, shape, fmt.Errorf("mark run %s: no such run is registered", run)
	}
	r := c.new[run]
	if r == nil {
		r = newRunMarks()
		c.new[run] = r
	}
	return r, shape, nil
}

// Dead reports whether a row is marked dead, before or by the change.
func (c *MarksChange) Dead(run index.RunName, row uint32) bool {
	return c.old.runs[run].Dead(row) || c.new[run].Dead(row)
}

// Gone reports whether a segment is marked gone, before or by the change.
func (c *MarksChange) Gone(run index.RunName, segment uint32) bool {
	return c.old.runs[run].Gone(segment) || c.new[run].Gone(segment)
}

// Empty reports whether the change marks nothing that was not marked before.
func (c *MarksChange) Empty() bool {
	for _, r := range c.new {
		if !r.empty() {
			return false
		}
	}
	return true
}

// Delta returns the table of that name with what the change adds, in runs that
// keep reports; nil keeps all.
func (c *MarksChange) Delta(name TableName, keep func(index.RunName) bool) Table {
	return encodeMarks(c.old.repository, name, c.old.shapes, kept(c.new, keep))
}

// Base returns the table of that name with all marks, old and new, of the runs
// that keep reports; nil keeps all. It takes the place of the whole list.
func (c *MarksChange) Base(name TableName, keep func(index.RunName) bool) Table {
	return encodeMarks(c.old.repository, name, c.old.shapes, kept(c.union(), keep))
}

// Marks returns the marks with those that the change adds.
func (c *MarksChange) Marks() *Marks { return &Marks{c.old.repository, c.old.shapes, c.union()} }

func (c *MarksChange) union() map[index.RunName]*RunMarks {
	all := make(map[index.RunName]*RunMarks, len(c.old.runs)+len(c.new))
	for run, r := range c.old.runs {
		all[run] = r
	}
	for run, r := range c.new {
		both := newRunMarks()
		if old := c.old.runs[run]; old != nil {
			both.add(old)
		}
		both.add(r)
		all[run] = both
	}
	return all
}

// kept returns those of runs that keep reports.
func kept(runs map[index.RunName]*RunMarks, keep func(index.RunName) bool) map[index.RunName]*RunMarks {
	if keep == nil {
		return runs
	}
	out := map[index.RunName]*RunMarks{}
	for run, r := range runs {
		if keep(run) {
			out[run] = r
		}
	}
	return out
}
