package refcount

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"

	"bluesky/index"
	"bluesky/object"
)

// Counts are the reference counts of the rows of all counted runs. They are a
// stack of layers: at the bottom what the tables hold, in place, and above it
// only what was changed, so that memory is proportional to the change. What
// [LoadCounts] returns is a layer already; [Counts.Layer] puts another on top,
// which can be thrown away. Reading is safe for concurrent use while nobody writes
// to the layer or one below it.
type Counts struct {
	repository object.RepositoryID
	below      *Counts // nil at the bottom, which is never changed
	runs       map[index.RunName]*runCounts
}

// runCounts is what one layer says of a run. changed goes before dense, which
// goes before the layers below.
type runCounts struct {
	rows     uint64
	dropped  bool
	dense    []byte            // u16 for each row; nil: see below. Above the bottom the layer owns it
	overflow map[uint32]uint32 // the counts of the rows that are denseMax in dense
	changed  map[uint32]uint32
}

// denseMax in a dense section stands for a count of as much or more.
const denseMax = math.MaxUint16

// rowCount is an entry of an overflow list, and of a sparse section.
type rowCount struct{ row, count uint32 }

// value returns the count of a row; ok is false if it stands further below.
func (r *runCounts) value(row uint32) (count uint32, ok bool) {
	if v, ok := r.changed[row]; ok {
		return v, true
	}
	if r.dense == nil {
		return 0, false
	}
	if v := binary.LittleEndian.Uint16(r.dense[2*uint64(row):]); v != denseMax {
		return uint32(v), true
	}
	return r.overflow[row], true
}

// put sets the count of a row in this layer.
func (r *runCounts) put(row, count uint32) {
	if r.dense == nil {
		if r.changed == nil {
			r.changed = map[uint32]uint32{}
		}
		r.changed[row] = count
		return
	}
	binary.LittleEndian.PutUint16(r.dense[2*uint64(row):], uint16(min(count, denseMax)))
	if count < denseMax {
		delete(r.overflow, row)
	} else {
		r.overflow[row] = count
	}
}

// Layer returns a layer above c. c must not be changed while it is in use.
func (c *Counts) Layer() *Counts {
	return &Counts{c.repository, c, map[index.RunName]*runCounts{}}
}

// layersOf goes through what the layers say of a run, from the top to the one that
// has all of its counts; nothing if the run is not counted.
func (c *Counts) layersOf(run index.RunName) iter.Seq[*runCounts] {
	return func(yield func(*runCounts) bool) {
		for l := c; l != nil; l = l.below {
			r := l.runs[run]
			if r == nil {
				continue
			}
			if r.dropped || !yield(r) || r.dense != nil {
				return
			}
		}
	}
}

// rowsOf returns the number of rows of a counted run.
func (c *Counts) rowsOf(run index.RunName) (rows uint64, counted bool) {
	for r := range c.layersOf(run) {
		return r.rows, true
	}
	return 0, false
}

// Counted reports whether there are counts of a run.
func (c *Counts) Counted(run index.RunName) bool { _, ok := c.rowsOf(run); return ok }

// Runs returns the counted runs, in ascending order.
func (c *Counts) Runs() []index.RunName {
	all := map[index.RunName]bool{}
	for l := c; l != nil; l = l.below {
		for run := range l.runs {
			all[run] = true
		}
	}
	maps.DeleteFunc(all, func(run index.RunName, _ bool) bool { return !c.Counted(run) })
	return slices.SortedFunc(maps.Keys(all), func(a, b index.RunName) int { return bytes.Compare(a[:], b[:]) })
}

// Get returns the count of a row. A run that is not counted and a row that it
// does not have are errors.
func (c *Counts) Get(run index.RunName, row uint32) (uint32, error) {
	for r := range c.layersOf(run) {
		if uint64(row) >= r.rows {
			return 0, fmt.Errorf("count of row %d: run %s has %d rows", row, run, r.rows)
		}
		if v, ok := r.value(row); ok {
			return v, nil
		}
	}
	return 0, fmt.Errorf("count of row %d: run %s is not counted", row, run)
}

// Set sets the count of a row. Errors are as those of [Counts.Get].
func (c *Counts) Set(run index.RunName, row, count uint32) error {
	rows, counted := c.rowsOf(run)
	if !counted || uint64(row) >= rows {
		_, err := c.Get(run, row)
		return err
	}
	r := c.runs[run]
	if r == nil {
		r = &runCounts{rows: rows}
		c.runs[run] = r
	}
	r.put(row, count)
	return nil
}

// Add adds delta to the count of a row and returns the new count. A count that
// would fall below 0, or rise above 2³² − 1, shows that the counts are damaged:
// the error wraps [ErrCorrupt], and the count stays. Other errors are as those of [Counts.Get].
func (c *Counts) Add(run index.RunName, row uint32, delta int64) (uint32, error) {
	old, err := c.Get(run, row)
	if err != nil {
		return 0, err
	}
	if delta < -int64(old) || delta > math.MaxUint32-int64(old) {
		return old, corruptf("count of row %d of run %s: %d %+d; count all anew (prune --recount)", row, run, old, delta)
	}
	return uint32(int64(old) + delta), c.Set(run, row, uint32(int64(old)+delta))
}

// AddRun adds a run whose rows have those counts, of which nothing is kept. It
// takes 2 bytes for each row. A run that is counted, or was, is an error.
func (c *Counts) AddRun(run index.RunName, counts []uint32) error {
	if c.runs[run] != nil || c.Counted(run) {
		return fmt.Errorf("count run %s: it is counted already", run)
	}
	r := &runCounts{rows: uint64(len(counts)), dense: make([]byte, 2*len(counts)), overflow: map[uint32]uint32{}}
	for i, n := range counts {
		r.put(uint32(i), n)
	}
	c.runs[run] = r
	return nil
}

// DropRun forgets the counts of a run. One that is not counted is an error.
func (c *Counts) DropRun(run index.RunName) error {
	if !c.Counted(run) {
		return fmt.Errorf("drop the counts of run %s: it is not counted", run)
	}
	c.runs[run] = &runCounts{dropped: true}
	return nil
}

// A view is all that the layers say of one run.
type view struct {
	base    *runCounts        // that has all of its counts
	stored  bool              // base is at the bottom
	changed map[uint32]uint32 // above it
}

func (c *Counts) view(run index.RunName) view {
	v := view{stored: true}
	for r := range c.layersOf(run) {
		if r.dense != nil {
			v.base = r
			break
		}
		if v.changed == nil {
			v.changed = r.changed
			continue
		}
		below := maps.Clone(r.changed)
		maps.Copy(below, v.changed)
		v.changed = below
	}
	for l := c; l.below != nil; l = l.below {
		if l.runs[run] == v.base {
			v.stored = false
		}
	}
	return v
}

// fresh returns the rows whose counts differ from those that are stored.
func (v *view) fresh() []rowCount {
	return sortedRows(v.changed, func(row, count uint32) bool {
		old, _ := v.base.value(row)
		return old != count
	})
}

// overDense returns the rows whose counts are not those of base.dense, or may
// be equal by chance.
func (v *view) overDense() []rowCount {
	if len(v.base.changed) == 0 {
		return sortedRows(v.changed, nil)
	}
	all := maps.Clone(v.base.changed)
	maps.Copy(all, v.changed)
	return sortedRows(all, nil)
}

// overflow returns the overflow list, where changes are those over base.dense.
func (v *view) overflow(changes []rowCount) []rowCount {
	over := maps.Clone(v.base.overflow)
	for _, c := range changes {
		if c.count >= denseMax {
			over[c.row] = c.count
		} else {
			delete(over, c.row)
		}
	}
	return sortedRows(over, nil)
}

// sortedRows returns the rows that keep reports, all if it is nil.
func sortedRows(counts map[uint32]uint32, keep func(row, count uint32) bool) []rowCount {
	out := make([]rowCount, 0, len(counts))
	for row, count := range counts {
		if keep == nil || keep(row, count) {
			out = append(out, rowCount{row, count})
		}
	}
	slices.SortFunc(out, func(a, b rowCount) int { return cmp.Compare(a.row, b.row) })
	return out
}
