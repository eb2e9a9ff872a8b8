package refcount

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/zeebo/blake3"

	"bluesky/index"
	"bluesky/object"
)

const rowCountSize = 8

// LoadCounts reads a list of tables, oldest first. counted are the shapes of the
// counted runs: each must have counts, those of other runs are left out. The
// data of the tables are used in place, and must not change any more (nor be
// unmapped) while the counts are in use.
//
// It looks at each count once, and takes about 20 bytes of memory for each that a
// table behind the base holds. The error wraps [ErrCorrupt], also where a
// counted run has no counts, or [ErrVersion].
func LoadCounts(repository object.RepositoryID, list []Table, counted Shapes) (*Counts, error) {
	c := &Counts{repository: repository, runs: map[index.RunName]*runCounts{}}
	for i := range list {
		if err := c.load(list[i], counted); err != nil {
			return nil, fmt.Errorf("counts: table %s: %w", list[i].Ref.Name, err)
		}
	}
	for run := range counted {
		if c.runs[run] == nil {
			return nil, corruptf("counts: none of run %s, which is counted", run)
		}
	}
	return c.Layer(), nil
}

func (c *Counts) load(t Table, counted Shapes) error {
	sections, _, err := decodeTable(t, TypeCounts, c.repository)
	if err != nil {
		return err
	}
	for i := range sections {
		s := &sections[i]
		_, known, err := counted.of(s)
		if err == nil {
			err = c.loadSection(s, known)
		}
		if err != nil {
			return fmt.Errorf("run %s: %w", s.run, err)
		}
	}
	return nil
}

// loadSection checks a section, and takes it if its run is known.
func (c *Counts) loadSection(s *section, known bool) error {
	switch s.form {
	case formDense:
		r, err := decodeDense(s)
		if err == nil && known {
			c.runs[s.run] = r
		}
		return err
	case formSparse:
		r := c.runs[s.run]
		if known && r == nil {
			return corruptf("some counts, and none of all rows before")
		}
		if !known {
			return decodeSparse(s, func(row, count uint32) {})
		}
		if r.changed == nil {
			r.changed = make(map[uint32]uint32, s.length/rowCountSize)
		}
		return decodeSparse(s, func(row, count uint32) { r.changed[row] = count })
	}
	return corruptf("form %d", s.form)
}

// decodeDense decodes a section of all counts of a run, and uses it in place.
func decodeDense(s *section) (*runCounts, error) {
	if s.length < 2*s.rows+4 || (s.length-2*s.rows-4)%rowCountSize != 0 {
		return nil, corruptf("%d bytes for %d rows", s.length, s.rows)
	}
	dense, list := s.content[:2*s.rows:2*s.rows], s.content[2*s.rows+4:]
	n := len(list) / rowCountSize
	if stored := binary.LittleEndian.Uint32(s.content[2*s.rows:]); uint64(stored) != uint64(n) {
		return nil, corruptf("%d counts behind the rows, not %d", n, stored)
	}
	r := &runCounts{rows: s.rows, dense: dense, overflow: make(map[uint32]uint32, n)}
	err := decodeRowCounts(list, s.rows, func(row, count uint32) error {
		if count < denseMax || binary.LittleEndian.Uint16(dense[2*uint64(row):]) != denseMax {
			return corruptf("a count of %d of row %d stands behind the rows", count, row)
		}
		r.overflow[row] = count
		return nil
	})
	if err != nil {
		return nil, err
	}
	most := 0
	for b := dense; len(b) > 0; b = b[2:] {
		if b[0]&b[1] == 0xff {
			most++
		}
	}
	if most != n {
		return nil, corruptf("%d rows have their count behind the rows, and %d stand there", most, n)
	}
	return r, nil
}

// decodeSparse goes through a section of some counts of a run.
func decodeSparse(s *section, put func(row, count uint32)) error {
	if s.length == 0 || s.length%rowCountSize != 0 {
		return corruptf("%d bytes of counts", s.length)
	}
	return decodeRowCounts(s.content, s.rows, func(row, count uint32) error { put(row, count); return nil })
}

func decodeRowCounts(b []byte, rows uint64, put func(row, count uint32) error) error {
	for next := uint64(0); len(b) > 0; b = b[rowCountSize:] {
		row := binary.LittleEndian.Uint32(b)
		if uint64(row) < next || uint64(row) >= rows {
			return corruptf("the count of row %d of %d is out of order", row, rows)
		}
		if err := put(row, binary.LittleEndian.Uint32(b[4:])); err != nil {
			return err
		}
		next = uint64(row) + 1
	}
	return nil
}

func appendRowCounts(dst []byte, list []rowCount) []byte {
	for _, c := range list {
		dst = binary.LittleEndian.AppendUint32(dst, c.row)
		dst = binary.LittleEndian.AppendUint32(dst, c.count)
	}
	return dst
}

// denseSize returns the length of a dense section.
func denseSize(rows uint64, overflow int) uint64 { return 2*rows + 4 + rowCountSize*uint64(overflow) }

// denseChunk is how much of a dense section is copied at a time, in rows.
const denseChunk = 32 << 10

// writeDense writes a dense section. changes are those over base.dense.
func (v *view) writeDense(w io.Writer, changes []rowCount) error {
	list := v.overflow(changes)
	buf := make([]byte, 0, min(2*denseChunk, len(v.base.dense)))
	for start := uint64(0); start < v.base.rows; start += denseChunk {
		end := min(start+denseChunk, v.base.rows)
		buf = append(buf[:0], v.base.dense[2*start:2*end]...)
		for len(changes) > 0 && uint64(changes[0].row) < end {
			at := 2 * (uint64(changes[0].row) - start)
			binary.LittleEndian.PutUint16(buf[at:], uint16(min(changes[0].count, denseMax)))
			changes = changes[1:]
		}
		if _, err := w.Write(buf); err != nil {
			return err
		}
	}
	behind := binary.LittleEndian.AppendUint32(nil, uint32(len(list)))
	_, err := w.Write(appendRowCounts(behind, list))
	return err
}

// Changed reports whether [Counts.Delta] has anything to say.
func (c *Counts) Changed() bool {
	for _, run := range c.Runs() {
		if v := c.view(run); !v.stored || len(v.fresh()) > 0 {
			return true
		}
	}
	return false
}

// Delta returns the table of that name with what c has changed since the tables
// that were loaded: all counts of new runs, and of others those that differ, or
// all where that is shorter. It takes memory for twice the table.
func (c *Counts) Delta(name TableName) Table {
	var sections []section
	for _, run := range c.Runs() {
		v := c.view(run)
		fresh := v.fresh()
		if v.stored && len(fresh) == 0 {
			continue
		}
		s := section{run: run, rows: v.base.rows, form: formSparse}
		if !v.stored || rowCountSize*uint64(len(fresh)) > denseSize(v.base.rows, 0) {
			var content bytes.Buffer
			v.writeDense(&content, v.overDense()) // a Buffer takes all
			s.form, s.content = formDense, content.Bytes()
		} else {
			s.content = appendRowCounts(nil, fresh)
		}
		sections = append(sections, s)
	}
	return encodeTable(prelude{typ: TypeCounts, repository: c.repository, name: name}, sections)
}

// WriteBase writes the table of that name with all counts of c to w, and returns
// what the state is to say of it: it takes the place of the whole list. It goes
// through the runs one by one, and takes 64 KiB and some 30 bytes for each
// count of one run that has changed since the last base.
func (c *Counts) WriteBase(w io.Writer, name TableName) (Ref, error) {
	var sections []section
	for _, run := range c.Runs() {
		v := c.view(run)
		length := denseSize(v.base.rows, len(v.overflow(v.overDense())))
		sections = append(sections, section{run: run, rows: v.base.rows, form: formDense, length: length})
	}
	out := &hashed{w: w, hash: object.NewHasher("table")}
	_, err := out.Write(appendHead(nil, prelude{typ: TypeCounts, repository: c.repository, name: name}, sections))
	for i := range sections {
		if err == nil {
			v := c.view(sections[i].run)
			err = v.writeDense(out, v.overDense())
		}
	}
	hash := object.HashSum(out.hash)
	if err == nil {
		_, err = out.Write(hash[:])
	}
	if err != nil {
		return Ref{}, fmt.Errorf("counts: write table %s: %w", name, err)
	}
	return Ref{Name: name, Size: out.size, Hash: hash}, nil
}

// hashed passes on what is written, hashes and counts it.
type hashed struct {
	w    io.Writer
	hash *blake3.Hasher
	size int64
}

func (h *hashed) Write(b []byte) (int, error) {
	h.hash.Write(b)
	h.size += int64(len(b))
	return h.w.Write(b)
}
