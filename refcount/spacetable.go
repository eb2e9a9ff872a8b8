package refcount

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"

	"github.com/zeebo/blake3"

	"bluesky/object"
	"bluesky/pack"
)

// Lengths in bytes; docs/format.md, "Space map".
const (
	spaceHeaderSize = 16
	usageSize       = 40
	totalsSize      = 32
	summarySize     = totalsSize + 16
	entrySize       = 32 + 24 + 2*summarySize
)

const (
	formBase  = 1
	formDelta = 2

	minFanOut = 2
	maxFanOut = 4096
	// fanOut is that of the maps that are written: a page of 2.5 KB describes 1 GB
	// of segments.
	fanOut = 64
)

// A Key is what segments are sorted by in a space map: the generation that
// registered one, and its name. It stays the same as long as the segment is there.
type Key struct {
	RegisteredAt uint64
	Name         pack.Name
}

// Compare orders keys by generation, then by name.
func (k Key) Compare(other Key) int {
	if c := cmp.Compare(k.RegisteredAt, other.RegisteredAt); c != 0 {
		return c
	}
	return bytes.Compare(k.Name[:], other.Name[:])
}

// Usage says how much of one segment is live.
type Usage struct {
	Key
	Size  uint32 // of the segment, in bytes
	Body  uint32 // the sealed lengths of all its objects
	Live  uint32 // the sealed lengths of its visible home rows
	Class object.Class
}

// One is the utilisation of a segment all of whose objects are live.
const One = 1 << 16

// Utilisation returns Live/Body in units of 1/65,536, rounded down.
func (u *Usage) Utilisation() uint32 {
	return uint32(uint64(u.Live) * One / uint64(max(u.Body, 1)))
}

// frameSize is the least that a segment is larger than its body.
const frameSize = pack.MinSize - pack.MinSealed

func (u *Usage) check() error {
	switch {
	case !u.Class.Valid():
		return corruptf("segment %s: %v", u.Name, u.Class)
	case u.Live > u.Body || u.Body < pack.MinSealed || uint64(u.Body)+frameSize > uint64(u.Size):
		return corruptf("segment %s: %d live of %d in %d bytes", u.Name, u.Live, u.Body, u.Size)
	}
	return nil
}

// removed reports whether u, in a delta, says that its segment is gone.
func (u *Usage) removed() bool { return *u == Usage{Key: u.Key} }

func (u *Usage) append(dst []byte) []byte {
	dst = append(dst, u.Name[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, u.RegisteredAt)
	dst = binary.LittleEndian.AppendUint32(dst, u.Size)
	dst = binary.LittleEndian.AppendUint32(dst, u.Body)
	dst = binary.LittleEndian.AppendUint32(dst, u.Live)
	return append(dst, byte(u.Class), 0, 0, 0)
}

// decodeUsages decodes rows in strictly ascending order, in a delta also of removed
// segments.
func decodeUsages(b []byte, delta bool) ([]Usage, error) {
	rows := make([]Usage, 0, len(b)/usageSize)
	for ; len(b) > 0; b = b[usageSize:] {
		u := Usage{
			Key:   Key{binary.LittleEndian.Uint64(b[16:]), pack.Name(b)},
			Size:  binary.LittleEndian.Uint32(b[24:]),
			Body:  binary.LittleEndian.Uint32(b[28:]),
			Live:  binary.LittleEndian.Uint32(b[32:]),
			Class: object.Class(b[36]),
		}
		if b[37]|b[38]|b[39] != 0 {
			return nil, corruptf("segment %s: padding is not zero", u.Name)
		}
		if err := u.check(); err != nil && !(delta && u.removed()) {
			return nil, err
		}
		if n := len(rows); n > 0 && rows[n-1].Compare(u.Key) >= 0 {
			return nil, corruptf("segment %s is out of order", u.Name)
		}
		rows = append(rows, u)
	}
	return rows, nil
}

// Totals are sums over segments; lengths are in bytes, as those of [Usage].
type Totals struct {
	Segments uint32
	Dead     uint32 // segments without a live byte
	Size     uint64
	Body     uint64
	Live     uint64
}

// add adds u once, or takes it away for a sign of -1.
func (t *Totals) add(u *Usage, sign int) {
	n := uint64(sign)
	t.Segments += uint32(sign)
	if u.Live == 0 {
		t.Dead += uint32(sign)
	}
	t.Size += n * uint64(u.Size)
	t.Body += n * uint64(u.Body)
	t.Live += n * uint64(u.Live)
}

func (t *Totals) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, t.Segments)
	dst = binary.LittleEndian.AppendUint32(dst, t.Dead)
	dst = binary.LittleEndian.AppendUint64(dst, t.Size)
	dst = binary.LittleEndian.AppendUint64(dst, t.Body)
	return binary.LittleEndian.AppendUint64(dst, t.Live)
}

func decodeTotals(b []byte) Totals {
	return Totals{
		Segments: binary.LittleEndian.Uint32(b),
		Dead:     binary.LittleEndian.Uint32(b[4:]),
		Size:     binary.LittleEndian.Uint64(b[8:]),
		Body:     binary.LittleEndian.Uint64(b[16:]),
		Live:     binary.LittleEndian.Uint64(b[24:]),
	}
}

// summary is what an inner page says of the segments of one class below a page.
type summary struct {
	Totals
	leastUtilisation uint32
	leastSize        uint32
	mostWaste        uint32 // body without live
}

// add makes s the summary of what both are of.
func (s *summary) add(o *summary) {
	if o.Segments == 0 {
		return
	}
	if s.Segments == 0 {
		*s = *o
		return
	}
	s.Segments += o.Segments
	s.Dead += o.Dead
	s.Size += o.Size
	s.Body += o.Body
	s.Live += o.Live
	s.leastUtilisation = min(s.leastUtilisation, o.leastUtilisation)
	s.leastSize = min(s.leastSize, o.leastSize)
	s.mostWaste = max(s.mostWaste, o.mostWaste)
}

// entry is a row of an inner page.
type entry struct {
	hash    object.Hash // of the page below
	first   Key         // in it
	summary [2]summary  // by class, data first
}

func (e *entry) append(dst []byte) []byte {
	dst = append(dst, e.hash[:]...)
	dst = append(dst, e.first.Name[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, e.first.RegisteredAt)
	for i := range e.summary {
		s := &e.summary[i]
		dst = s.Totals.append(dst)
		dst = binary.LittleEndian.AppendUint32(dst, s.leastUtilisation)
		dst = binary.LittleEndian.AppendUint32(dst, s.leastSize)
		dst = binary.LittleEndian.AppendUint32(dst, s.mostWaste)
		dst = binary.LittleEndian.AppendUint32(dst, 0)
	}
	return dst
}

func decodeEntries(b []byte) ([]entry, error) {
	entries := make([]entry, 0, len(b)/entrySize)
	for ; len(b) > 0; b = b[entrySize:] {
		e := entry{hash: object.Hash(b), first: Key{binary.LittleEndian.Uint64(b[48:]), pack.Name(b[32:])}}
		for i := range e.summary {
			s := b[56+i*summarySize:]
			e.summary[i] = summary{decodeTotals(s), binary.LittleEndian.Uint32(s[32:]), binary.LittleEndian.Uint32(s[36:]), binary.LittleEndian.Uint32(s[40:])}
			if binary.LittleEndian.Uint32(s[44:]) != 0 {
				return nil, corruptf("page: padding is not zero")
			}
		}
		if n := len(entries); n > 0 && entries[n-1].first.Compare(e.first) >= 0 {
			return nil, corruptf("page: entries are out of order")
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// entryOf describes a page of those rows or entries to the page above.
func entryOf(hash object.Hash, rows []Usage, entries []entry) entry {
	e := entry{hash: hash}
	for i := range rows {
		u := &rows[i]
		var one summary
		one.Totals.add(u, 1)
		one.leastUtilisation, one.leastSize, one.mostWaste = u.Utilisation(), u.Size, u.Body-u.Live
		e.summary[u.Class-1].add(&one)
	}
	for i := range entries {
		for c := range e.summary {
			e.summary[c].add(&entries[i].summary[c])
		}
	}
	if len(rows) > 0 {
		e.first = rows[0].Key
	} else if len(entries) > 0 {
		e.first = entries[0].first
	}
	return e
}

// A pageHasher hashes pages, without 10 KB of garbage for each.
type pageHasher struct{ *blake3.Hasher }

func newPageHasher() pageHasher { return pageHasher{blake3.New()} }

// of returns the hash that stands in the page above.
func (h pageHasher) of(page []byte) object.Hash {
	h.Reset()
	h.WriteString(object.Label("space page"))
	h.Write(page)
	return object.HashSum(h.Hasher)
}

// A level of the tree: pages of fanOut entries each, the last one of the rest.
type level struct {
	start   int64 // of its first page, from the start of the table
	entries int64
	size    int64 // of an entry
}

// A tree says where the pages of a space map stand: this follows from the number
// of segments and the fan-out. levels[0] are the leaves, the last one is the root.
type tree struct {
	fanOut int64
	levels []level
}

func newTree(segments, fanOut int64) tree {
	t := tree{fanOut: fanOut, levels: []level{{entries: segments, size: usageSize}}}
	for n := t.pages(0); n > 1; n = t.pages(len(t.levels) - 1) {
		t.levels = append(t.levels, level{entries: n, size: entrySize})
	}
	start := int64(preludeSize + spaceHeaderSize)
	for i := len(t.levels) - 1; i >= 0; i-- {
		t.levels[i].start = start
		start += t.levels[i].entries * t.levels[i].size
	}
	return t
}

// pages returns the number of pages of a level.
func (t *tree) pages(level int) int64 {
	return (t.levels[level].entries + t.fanOut - 1) / t.fanOut
}

// page returns where a page stands, as offset and length.
func (t *tree) page(level int, n int64) (offset, length int64) {
	l := &t.levels[level]
	first := n * t.fanOut
	return l.start + first*l.size, min(t.fanOut, l.entries-first) * l.size
}

// root returns the level of the root, and the end of its page.
func (t *tree) root() (level int, end int64) {
	level = len(t.levels) - 1
	offset, length := t.page(level, 0)
	return level, offset + length
}

// size returns the length of the content of the table.
func (t *tree) size() int64 {
	leaves := &t.levels[0]
	return leaves.start + leaves.entries*leaves.size - preludeSize
}

// decodeSpaceHeader parses the start of the content, of a base or a delta, and
// checks that its number of rows fills the content.
func decodeSpaceHeader(b []byte, p *prelude, form uint8) (tree, error) {
	if len(b) < spaceHeaderSize {
		return tree{}, corruptf("space map: %d bytes", len(b))
	}
	rows, fan := binary.LittleEndian.Uint64(b[8:]), int64(binary.LittleEndian.Uint16(b[2:]))
	if b[0] != form {
		return tree{}, corruptf("space map: form %d, not %d", b[0], form)
	}
	if b[1] != 0 || binary.LittleEndian.Uint32(b[4:]) != 0 || form == formDelta && fan != 0 {
		return tree{}, corruptf("space map: padding is not zero")
	}
	if rows > math.MaxUint32 || p.sections != 0 {
		return tree{}, corruptf("space map: %d segments, %d sections", rows, p.sections)
	}
	if form == formDelta {
		if p.content != spaceHeaderSize+2*totalsSize+usageSize*rows {
			return tree{}, corruptf("space map: %d changes in %d bytes", rows, p.content)
		}
		return tree{}, nil
	}
	if fan < minFanOut || fan > maxFanOut {
		return tree{}, corruptf("space map: %d entries in a page", fan)
	}
	t := newTree(int64(rows), fan)
	if p.content != uint64(t.size()) {
		return tree{}, corruptf("space map: %d segments in %d bytes", rows, p.content)
	}
	return t, nil
}

func appendSpaceHeader(dst []byte, form uint8, fanOut uint16, rows int) []byte {
	dst = append(dst, form, 0)
	dst = binary.LittleEndian.AppendUint16(dst, fanOut)
	dst = append(dst, 0, 0, 0, 0)
	return binary.LittleEndian.AppendUint64(dst, uint64(rows))
}

// encodeSpaceBase makes the base of a space map of rows, which are in ascending
// order. It takes memory for the table twice.
func encodeSpaceBase(repository object.RepositoryID, name TableName, fanOut int64, rows []Usage) Table {
	t := newTree(int64(len(rows)), fanOut)
	p := prelude{typ: TypeSpace, content: uint64(t.size()), repository: repository, name: name}
	data := make([]byte, preludeSize+t.size(), preludeSize+t.size()+trailerSize)
	appendSpaceHeader(p.append(data[:0]), formBase, uint16(fanOut), len(rows))
	leaves := data[t.levels[0].start:t.levels[0].start]
	for i := range rows {
		leaves = rows[i].append(leaves)
	}
	pages := newPageHasher()
	var below []entry // of the pages of the level before
	for i := range len(t.levels) - 1 {
		above := make([]entry, 0, t.pages(i))
		next := data[t.levels[i+1].start:t.levels[i+1].start]
		for n := range t.pages(i) {
			offset, length := t.page(i, n)
			first, last := n*t.fanOut, min((n+1)*t.fanOut, t.levels[i].entries)
			hash := pages.of(data[offset : offset+length])
			var e entry
			if i == 0 {
				e = entryOf(hash, rows[first:last], nil)
			} else {
				e = entryOf(hash, nil, below[first:last])
			}
			above, next = append(above, e), e.append(next)
		}
		below = above
	}
	_, end := t.root()
	table := seal(name, data)
	table.Ref.Hash = object.HashBytes("space root", data[:end])
	return table
}

// spaceDelta is what a delta of a space map holds.
type spaceDelta struct {
	totals [2]Totals // after it, by class
	rows   []Usage
}

func (d *spaceDelta) encode(repository object.RepositoryID, name TableName) Table {
	p := prelude{typ: TypeSpace, content: uint64(spaceHeaderSize + 2*totalsSize + usageSize*len(d.rows)), repository: repository, name: name}
	data := appendSpaceHeader(p.append(nil), formDelta, 0, len(d.rows))
	for i := range d.totals {
		data = d.totals[i].append(data)
	}
	for i := range d.rows {
		data = d.rows[i].append(data)
	}
	return seal(name, data)
}

func decodeSpaceDelta(t Table, repository object.RepositoryID) (*spaceDelta, error) {
	_, content, err := decodeTable(t, TypeSpace, repository)
	if err != nil {
		return nil, err
	}
	if _, err := decodeSpaceHeader(content, &prelude{content: uint64(len(content))}, formDelta); err != nil {
		return nil, err
	}
	d := &spaceDelta{}
	for i := range d.totals {
		d.totals[i] = decodeTotals(content[spaceHeaderSize+i*totalsSize:])
	}
	d.rows, err = decodeUsages(content[spaceHeaderSize+2*totalsSize:], true)
	return d, err
}
