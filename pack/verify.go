package pack

import (
	"context"

	"bluesky/object"
)

// A Report says what Verify found.
type Report struct {
	Objects int         // objects whose sums were compared
	Bytes   int64       // bytes read
	Damaged []object.ID // objects that differ from their sums, in body order
}

// verifyRead is the most that Verify holds of a body, unless one object alone
// is larger.
const verifyRead = 4 << 20

// Verify reads a whole segment and compares all that can be compared without a
// key: the header with ref, each object and its refs with its sum, the trailer
// with everything before it and with ref. It goes on behind a damaged object,
// so the report names all of them.
//
// The error is nil exactly when everything is right. It wraps [ErrCorrupt] or
// [ErrVersion] for what is not, and what r returned when reading failed; then
// the report covers what was read before. Memory is the header and 4 MiB, or
// the largest object.
func Verify(ctx context.Context, r ReaderAt, ref Ref) (Report, error) {
	var report Report
	h, head, err := readHead(ctx, r, ref)
	if err != nil {
		return report, err
	}
	report.Bytes = int64(len(head))
	whole := object.NewHasher("segment")
	whole.Write(head)

	all := make([]int, len(h.Objects))
	for i := range all {
		all[i] = i
	}
	d := delivery{header: h}
	for group := range h.groups(all, Coalesce{Max: verifyRead}) {
		off, end := h.span(group)
		data, err := getRange(ctx, r, h.Name, off, end-off)
		if err != nil {
			return report, err
		}
		whole.Write(data)
		report.Bytes += int64(len(data))
		for _, i := range group {
			if it := d.item(i, data, off); it.Err != nil {
				report.Damaged = append(report.Damaged, it.Object.ID)
			}
			report.Objects++
		}
	}
	trailer, err := getRange(ctx, r, h.Name, h.Size()-TrailerSize, TrailerSize)
	if err != nil {
		return report, err
	}
	report.Bytes += TrailerSize
	return report, report.judge(h, object.HashSum(whole), object.Hash(trailer), ref.Hash)
}

// judge compares the hash of what was read with the trailer and with the run.
func (r *Report) judge(h *Header, got, trailer, want object.Hash) error {
	switch {
	case len(r.Damaged) > 0:
		return corruptf("segment %s: %d of %d objects differ from their sums, the first is %s",
			h.Name, len(r.Damaged), len(h.Objects), r.Damaged[0].Short())
	case got != trailer:
		return corruptf("segment %s: differs from the hash in its trailer", h.Name)
	case got != want:
		return corruptf("segment %s: is not the one that the run describes", h.Name)
	}
	return nil
}
