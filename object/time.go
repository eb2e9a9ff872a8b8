package object

import "time"

// A Time is a point in time as the format stores it: seconds since 1970 and
// nanoseconds within the second, which reach beyond what 64 bits of
// nanoseconds hold (1678 to 2262).
type Time struct {
	_    struct{} `cbor:",toarray"`
	Sec  int64
	Nsec uint32 // less than 1e9
}

// TimeOf converts t.
func TimeOf(t time.Time) Time {
	return Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
}

// Time converts t to a time.Time in UTC.
func (t Time) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)).UTC() }

// Valid reports whether t is canonical.
func (t Time) Valid() bool { return t.Nsec < 1e9 }

// Before reports whether t is earlier than u.
func (t Time) Before(u Time) bool {
	return t.Sec < u.Sec || t.Sec == u.Sec && t.Nsec < u.Nsec
}
