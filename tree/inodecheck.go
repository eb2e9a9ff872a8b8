package tree

import (
	"errors"
	"fmt"
	"strings"

	"bluesky/object"
)

// Check returns an error if in is not an inode as docs/format.md, "inodes",
// describes it. Encoders check what they are given and decoders what they
// read; a builder of inodes may ask earlier.
func (in *Inode) Check(p *Params) error {
	if in.Number == 0 {
		return errors.New("inode 0: numbers begin at 1")
	}
	if err := in.check(p); err != nil {
		return fmt.Errorf("inode %d: %w", in.Number, err)
	}
	return nil
}

func (in *Inode) check(p *Params) error {
	if !in.Type.Valid() {
		return fmt.Errorf("unknown %s", in.Type)
	}
	if in.Mode > 0o7777 {
		return fmt.Errorf("mode %#o has more than 12 bits", in.Mode)
	}
	if err := in.checkFields(); err != nil {
		return err
	}
	if err := in.checkTimes(); err != nil {
		return err
	}
	if err := in.checkXattrs(p); err != nil {
		return err
	}
	if in.Waypoint() {
		return in.checkWaypoint()
	}
	if in.Type == TypeFile {
		return in.checkContent(p)
	}
	return nil
}

// checkFields holds the fields to the types that have them.
func (in *Inode) checkFields() error {
	file, dir := in.Type == TypeFile, in.Type == TypeDir
	device := in.Type == TypeCharDevice || in.Type == TypeBlockDevice
	fields := [...]struct {
		name     string
		set, may bool
	}{
		{"a size", in.Size != 0, file},
		{"a count of links", in.Links != 0, !dir},
		{"a device number", in.Device != Device{}, device},
		{"a target", in.Target != "", in.Type == TypeSymlink},
		{"flags", in.Flags != 0, file || dir},
		{"holes", len(in.Holes) != 0, file},
		{"a content hash", in.ContentHash != [16]byte{}, file},
		{"inline content", len(in.Inline) != 0, file},
		{"extents", len(in.Extents) != 0, file},
		{"a root", !in.Root.IsZero(), file || dir},
		{"marks", in.Marks != 0, dir},
	}
	for i := range fields {
		if fields[i].set && !fields[i].may {
			return fmt.Errorf("a %s with %s", in.Type, fields[i].name)
		}
	}
	switch {
	case dir && in.Root.IsZero():
		return errors.New("a directory without a root")
	case len(in.Target) > MaxTarget:
		return fmt.Errorf("a target of %d bytes, more than %d", len(in.Target), MaxTarget)
	case in.Flags&^FlagsMask != 0:
		return fmt.Errorf("unknown flags %#x", in.Flags&^FlagsMask)
	case in.Marks&^MarkWaypoint != 0:
		return fmt.Errorf("unknown marks %#x", in.Marks&^MarkWaypoint)
	}
	return nil
}

func (in *Inode) checkTimes() error {
	if !in.MTime.Valid() || !in.CTime.Valid() ||
		in.ATime != nil && !in.ATime.Valid() || in.BTime != nil && !in.BTime.Valid() {
		return errors.New("a time of a billion nanoseconds or more")
	}
	return nil
}

func (in *Inode) checkWaypoint() error {
	zero := object.Time{}
	if in.MTime != zero || in.CTime != zero || in.ATime != nil || in.BTime != nil {
		return errors.New("a waypoint with times")
	}
	if len(in.Xattrs) != 0 || in.Flags != 0 || in.Source != 0 {
		return errors.New("a waypoint with more than mode and owner")
	}
	return nil
}

func (in *Inode) checkXattrs(p *Params) error {
	if len(in.Xattrs) > MaxXattrs {
		return fmt.Errorf("%d xattrs, more than %d", len(in.Xattrs), MaxXattrs)
	}
	for i := range in.Xattrs {
		x := &in.Xattrs[i]
		switch {
		case x.Name == "" || len(x.Name) > MaxName || strings.IndexByte(x.Name, 0) >= 0:
			return fmt.Errorf("an xattr of the name %q", x.Name)
		case i > 0 && x.Name <= in.Xattrs[i-1].Name:
			return fmt.Errorf("xattr %q after %q", x.Name, in.Xattrs[i-1].Name)
		case !x.Block.IsZero() && len(x.Value) != 0:
			return fmt.Errorf("xattr %q has two values", x.Name)
		case len(x.Value) > min(p.XattrInline, MaxXattr):
			return fmt.Errorf("xattr %q holds %d bytes inside the inode, more than %d", x.Name, len(x.Value), p.XattrInline)
		}
	}
	return nil
}

func (in *Inode) checkContent(p *Params) error {
	if err := in.checkHoles(); err != nil {
		return err
	}
	length := in.ContentLength()
	places := 0
	for _, used := range [...]bool{len(in.Inline) != 0, len(in.Extents) != 0, !in.Root.IsZero()} {
		if used {
			places++
		}
	}
	if (length == 0 && places != 0) || (length != 0 && places != 1) {
		return fmt.Errorf("%d bytes of content in %d places", length, places)
	}
	if len(in.Inline) > p.InlineLimit {
		return fmt.Errorf("%d bytes of inline content, more than %d", len(in.Inline), p.InlineLimit)
	}
	if len(in.Inline) != 0 && uint64(len(in.Inline)) != length {
		return fmt.Errorf("%d bytes of inline content, not %d", len(in.Inline), length)
	}
	return in.checkExtents(p, length)
}

func (in *Inode) checkHoles() error {
	if len(in.Holes) > MaxHoles {
		return fmt.Errorf("%d holes, more than %d", len(in.Holes), MaxHoles)
	}
	end := uint64(0) // of the hole before
	for i, h := range in.Holes {
		switch {
		case h.Length == 0:
			return errors.New("an empty hole")
		case i > 0 && h.Offset <= end:
			return fmt.Errorf("a hole at %d, not behind the one that ends at %d", h.Offset, end)
		case h.Offset > in.Size || h.Length > in.Size-h.Offset:
			return fmt.Errorf("a hole of %d bytes at %d reaches past the size, %d", h.Length, h.Offset, in.Size)
		}
		end = h.Offset + h.Length
	}
	return nil
}

func (in *Inode) checkExtents(p *Params, length uint64) error {
	if len(in.Extents) == 0 {
		return nil
	}
	if len(in.Extents) > p.ExtentsMax {
		return fmt.Errorf("%d extents, more than %d", len(in.Extents), p.ExtentsMax)
	}
	sum := uint64(0) // cannot overflow: at most 65,536 extents of 16 MiB
	for i := range in.Extents {
		e := &in.Extents[i]
		switch {
		case e.Block.IsZero():
			return errors.New("an extent without a block")
		case e.Length == 0:
			return errors.New("an empty extent")
		case e.Offset > object.MaxPayload || e.Length > object.MaxPayload-e.Offset:
			return fmt.Errorf("an extent of %d bytes at %d, where no block reaches", e.Length, e.Offset)
		case e.Offset != 0 && in.ContentHash == [16]byte{}:
			return errors.New("an extent inside a block, and no content hash")
		}
		sum += e.Length
	}
	if sum != length {
		return fmt.Errorf("extents of %d bytes, not %d", sum, length)
	}
	return nil
}
