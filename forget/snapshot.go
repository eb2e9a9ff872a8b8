package forget

import (
	"cmp"
	"slices"
	"time"

	"bluesky/object"
	"bluesky/repo"
)

// A Snapshot is what retention knows of a snapshot.
type Snapshot struct {
	ID object.ID
	Line
	Generation uint64      // that added it
	Claimed    object.Time // by its writer
	Effective  object.Time // what its writer claims, within the bounds of docs/format.md, "Ops"
	Pinned     bool

	// What only the key shows.
	Host        string
	Paths, Tags []string // sorted
}

// InLogOrder sorts snapshots as their generations stand in the log.
func InLogOrder(list []Snapshot) {
	slices.SortFunc(list, func(a, b Snapshot) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), a.ID.Compare(b.ID))
	})
}

// A Line is the snapshots of one series by one writer: what retention goes by
// where there is no key. Nobody else can add to it.
type Line struct {
	Signer repo.PublicKey
	Series repo.Series
}

func (l Line) compare(other Line) int {
	return cmp.Or(slices.Compare(l.Signer[:], other.Signer[:]), slices.Compare(l.Series[:], other.Series[:]))
}

// A Dating says on which side of its effective time the claim of a snapshot
// lies, if it is far from it.
type Dating int

// The datings.
const (
	Undated Dating = iota
	Past           // claims to be older than what came before it
	Future         // claims to be newer than the moment when it was stored
)

func (d Dating) String() string { return [...]string{"", "past", "future"}[d] }

// Tolerance is how far the claimed time may be from the effective one. Clocks
// that are wrong by a time zone, and backups of one series that overlap for some
// hours, are no more than mistakes.
const Tolerance = 24 * time.Hour

// Dating tells whether s is dated into the past or the future.
func (s *Snapshot) Dating() Dating {
	switch {
	case after(s.Claimed, s.Effective):
		return Future
	case after(s.Effective, s.Claimed):
		return Past
	}
	return Undated
}

// after reports whether a is later than b by more than [Tolerance]. Any two
// times may be compared, so nothing is subtracted that could overflow.
func after(a, b object.Time) bool {
	limit := object.Time{Sec: a.Sec - int64(Tolerance/time.Second), Nsec: a.Nsec}
	return limit.Sec < a.Sec && b.Before(limit)
}

// compareTimes orders times.
func compareTimes(a, b object.Time) int {
	return cmp.Or(cmp.Compare(a.Sec, b.Sec), cmp.Compare(a.Nsec, b.Nsec))
}

// first and last bound the times that have a place in the calendar: the years 1
// to 9999.
var (
	first = object.TimeOf(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC))
	last  = object.TimeOf(time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC))
)

// calendar returns t, or the nearest time that has a place in the calendar.
func calendar(t object.Time) time.Time {
	if t.Before(first) {
		t = first
	}
	if last.Before(t) {
		t = last
	}
	return t.Time()
}
