package index

import (
	"encoding/binary"
	"fmt"
	"slices"

	"bluesky/object"
	"bluesky/pack"
)

// A Builder collects the rows of one run. The zero Builder is ready. It is not
// safe for concurrent use.
//
// It holds 64 bytes for each row and about 200 for each segment, and
// [Builder.Encode] makes as much again for the result.
type Builder struct {
	repository object.RepositoryID
	segments   []Segment
	names      map[pack.Name]bool
	rows       []Row
}

// Segments returns the number of segments.
func (b *Builder) Segments() int { return len(b.segments) }

// Len returns the number of rows.
func (b *Builder) Len() int { return len(b.rows) }

// AddSegment adds segment seg, whose header is h, and a row for each of its
// objects. Nothing of h is kept. A description that does not fit its header, a
// segment that was added before and one of another repository are errors.
func (b *Builder) AddSegment(seg Segment, h *pack.Header) error {
	switch {
	case seg.Name != h.Name || seg.Class != h.Class || seg.Size != h.Size() || seg.HeaderLength != h.HeaderLength:
		return fmt.Errorf("index segment %s: its description does not fit its header", seg.Name)
	case b.names[seg.Name]:
		return fmt.Errorf("index segment %s: it stands in the run already", seg.Name)
	case len(b.segments) > 0 && h.Repository != b.repository:
		return fmt.Errorf("index segment %s: it belongs to repository %s, not to %s", seg.Name, h.Repository, b.repository)
	}
	if b.names == nil {
		b.names = map[pack.Name]bool{}
	}
	b.names[seg.Name] = true
	b.repository = h.Repository
	ordinal := uint32(len(b.segments))
	b.segments = append(b.segments, seg)
	for i := range h.Objects {
		o := &h.Objects[i]
		b.rows = append(b.rows, Row{ID: o.ID, Sum: o.Sum, Segment: ordinal, Offset: o.Offset, Length: o.Length, Kind: o.Kind})
	}
	return nil
}

// Keep adds segment seg, as a state registers it, and returns its ordinal for
// [Builder.KeepRow]: so runs are merged. RegisteredAt of seg is resolved. A
// segment that was added before and one of another repository are errors.
func (b *Builder) Keep(repository object.RepositoryID, seg Segment) (uint32, error) {
	switch {
	case b.names[seg.Name]:
		return 0, fmt.Errorf("index segment %s: it stands in the run already", seg.Name)
	case len(b.segments) > 0 && repository != b.repository:
		return 0, fmt.Errorf("index segment %s: it belongs to repository %s, not to %s", seg.Name, repository, b.repository)
	}
	if b.names == nil {
		b.names = map[pack.Name]bool{}
	}
	b.names[seg.Name] = true
	b.repository = repository
	b.segments = append(b.segments, seg)
	return uint32(len(b.segments) - 1), nil
}

// KeepRow adds a row of a segment that Keep has added, under its ordinal.
func (b *Builder) KeepRow(row Row, segment uint32) {
	row.Segment = segment
	b.rows = append(b.rows, row)
}

// Remove takes segments out again and returns where their objects stand.
func (b *Builder) Remove(segments map[pack.Name]bool) []Location {
	var removed []Location
	ordinals := make([]uint32, len(b.segments))
	kept := make([]Segment, 0, len(b.segments))
	for i, seg := range b.segments {
		ordinals[i] = uint32(len(kept))
		if !segments[seg.Name] {
			kept = append(kept, seg)
		}
		delete(b.names, seg.Name)
	}
	rows := b.rows[:0]
	for _, row := range b.rows {
		if seg := b.segments[row.Segment]; segments[seg.Name] {
			removed = append(removed, Location{Row: row, Segment: seg})
			continue
		}
		row.Segment = ordinals[row.Segment]
		rows = append(rows, row)
	}
	for _, seg := range kept {
		b.names[seg.Name] = true
	}
	b.segments, b.rows = kept, rows
	return removed
}

// Encode returns the run of that name with all that was added, and its hash,
// which is for the add-run statement. The builder may go on afterwards.
func (b *Builder) Encode(repository object.RepositoryID, name RunName) ([]byte, object.Hash, error) {
	if len(b.segments) > 0 && repository != b.repository {
		return nil, object.Hash{}, fmt.Errorf("run %s: its segments belong to repository %s, not to %s", name, b.repository, repository)
	}
	b.sort()
	size := preludeSize + segmentSize*len(b.segments) + rowSize*len(b.rows) + trailerSize
	data := prelude{segments: uint64(len(b.segments)), rows: uint64(len(b.rows)), repository: repository, name: name}.
		append(make([]byte, 0, size))
	for i := range b.segments {
		data = b.segments[i].append(data)
	}
	for i := range b.rows {
		data = b.rows[i].append(data)
	}
	hash := object.HashBytes("run", data)
	return append(data, hash[:]...), hash, nil
}

// sort brings segments and rows into the order of the run, whatever the order
// in which they were added.
func (b *Builder) sort() {
	order := make([]uint32, len(b.segments))
	for i := range order {
		order[i] = uint32(i)
	}
	slices.SortFunc(order, func(x, y uint32) int { return b.segments[x].compare(&b.segments[y]) })
	sorted := make([]Segment, len(order))
	ordinals := make([]uint32, len(order))
	for i, was := range order {
		sorted[i], ordinals[was] = b.segments[was], uint32(i)
	}
	b.segments = sorted
	for i := range b.rows {
		b.rows[i].Segment = ordinals[b.rows[i].Segment]
	}
	slices.SortFunc(b.rows, func(x, y Row) int {
		p, q := binary.BigEndian.Uint64(x.ID[:]), binary.BigEndian.Uint64(y.ID[:])
		switch {
		case p < q:
			return -1
		case p > q:
			return 1
		}
		return x.compare(&y)
	})
}
