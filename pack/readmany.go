package pack

import (
	"context"
	"fmt"
	"iter"

	"bluesky/object"
)

// Coalesce says how ReadMany joins neighbouring objects into one read.
type Coalesce struct {
	// Gap is the most bytes between two objects that are read in vain to save a
	// request.
	Gap int64
	// Max is the most bytes of one read, unless one object alone is larger. It
	// bounds the memory of a ReadMany.
	Max int64
}

// An Item is what ReadMany delivers for one object.
type Item struct {
	Ordinal int           // in Header.Objects
	Object  object.Sealed // Refs and Bytes are valid during the callback alone
	Session object.Session
	// Err is set, and wraps [ErrCorrupt], if the bytes differ from the object's
	// sum. They are then left out, and reading goes on.
	Err error
}

// ReadMany reads the objects of the given ordinals, which must be strictly
// ascending and in range, with as few reads as c allows, one after the other.
// It verifies each sum and calls fn for each object in that order. It stops at
// the first error that fn or a read returns, and returns it.
//
// Memory is one read of c (or one object, at most [object.MaxSealed]) at a time.
func (h *Header) ReadMany(ctx context.Context, r ReaderAt, ordinals []int, c Coalesce, fn func(Item) error) error {
	for i, o := range ordinals {
		if o < 0 || o >= len(h.Objects) || i > 0 && ordinals[i-1] >= o {
			return fmt.Errorf("segment %s: read objects: ordinal %d is out of order or range", h.Name, o)
		}
	}
	d := delivery{header: h}
	for group := range h.groups(ordinals, c) {
		off, end := h.span(group)
		data, err := getRange(ctx, r, h.Name, off, end-off)
		if err != nil {
			return err
		}
		for _, i := range group {
			if err := fn(d.item(i, data, off)); err != nil {
				return err
			}
		}
	}
	return nil
}

// groups cuts ordinals into the groups that one read each fetches.
func (h *Header) groups(ordinals []int, c Coalesce) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		for len(ordinals) > 0 {
			n := 1
			for n < len(ordinals) {
				_, before := h.span(ordinals[:n])
				start, end := h.span(ordinals[n : n+1])
				if start-before > c.Gap || end-int64(h.Objects[ordinals[0]].Offset) > c.Max {
					break
				}
				n++
			}
			if !yield(ordinals[:n]) {
				return
			}
			ordinals = ordinals[n:]
		}
	}
}

// span returns where the first of the objects begins and the last one ends.
func (h *Header) span(group []int) (start, end int64) {
	first, last := &h.Objects[group[0]], &h.Objects[group[len(group)-1]]
	return int64(first.Offset), int64(last.Offset) + int64(last.Length)
}

// A delivery cuts objects out of what was read; its scratch is used again for
// the next one.
type delivery struct {
	header *Header
	sums   summer
	refs   []object.ID
}

// item cuts object i out of data, which begins at offset off of the segment.
func (d *delivery) item(i int, data []byte, off int64) Item {
	row := &d.header.Objects[i]
	start := int64(row.Offset) - off
	d.refs = d.header.Refs(i, d.refs[:0])
	o := d.header.sealed(i, d.refs, data[start:start+int64(row.Length):start+int64(row.Length)])
	it := Item{Ordinal: i, Object: o, Session: d.header.Sessions[row.Session]}
	if it.Err = d.header.checkSum(&d.sums, i, &o); it.Err != nil {
		it.Object.Bytes = nil
	}
	return it
}
