package forget

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Duration is a span of the calendar: what it is in seconds depends on where
// it ends. Its text is restic's, "1y5m7d2h", and may have seconds, "90s".
type Duration struct {
	Years, Months, Days, Hours, Seconds uint32
}

// ErrNegative is that of a duration with a negative part.
var ErrNegative = errors.New("negative durations are not allowed")

// IsZero reports whether d has no length.
func (d Duration) IsZero() bool { return d == Duration{} }

// parts are the units of d in the order in which they are printed.
func (d *Duration) parts() []part {
	return []part{{'y', &d.Years}, {'m', &d.Months}, {'d', &d.Days}, {'h', &d.Hours}, {'s', &d.Seconds}}
}

type part struct {
	unit  rune
	count *uint32
}

// String returns what [ParseDuration] reads: "0s" for none.
func (d Duration) String() string {
	var text strings.Builder
	for _, p := range d.parts() {
		if *p.count > 0 {
			fmt.Fprintf(&text, "%d%c", *p.count, p.unit)
		}
	}
	if text.Len() == 0 {
		return "0s"
	}
	return text.String()
}

// ParseDuration reads numbers with the units y, m (months), d, h and s, each at
// most once. The empty text is an error, other than in restic: it is the unset
// variable of a script more often than the wish to keep nothing.
func ParseDuration(text string) (Duration, error) {
	var d Duration
	rest := strings.TrimSpace(text)
	if rest == "" {
		return Duration{}, errors.New("the duration is empty; 0s is none")
	}
	seen := ""
	for rest != "" {
		number := rest[:len(rest)-len(strings.TrimLeft(rest, "-0123456789"))]
		rest = rest[len(number):]
		switch {
		case number == "":
			return Duration{}, fmt.Errorf("no number found before %q", rest)
		case strings.HasPrefix(number, "-"):
			return Duration{}, ErrNegative
		case rest == "":
			return Duration{}, fmt.Errorf("no unit found after number %s", number)
		}
		count, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return Duration{}, fmt.Errorf("%s is no number of up to %d", number, uint32(1<<32-1))
		}
		unit, size := utf8.DecodeRuneInString(rest)
		rest = rest[size:]
		if err := d.set(unit, uint32(count)); err != nil {
			return Duration{}, fmt.Errorf("%w found after number %s", err, number)
		}
		if strings.ContainsRune(seen, unit) {
			return Duration{}, fmt.Errorf("unit %q stands twice", unit)
		}
		seen += string(unit)
	}
	return d, nil
}

func (d *Duration) set(unit rune, count uint32) error {
	for _, p := range d.parts() {
		if p.unit == unit {
			*p.count = count
			return nil
		}
	}
	return fmt.Errorf("invalid unit %q", unit)
}

// before returns the moment that lies d before t.
func (d Duration) before(t time.Time) time.Time {
	day := t.AddDate(-int(d.Years), -int(d.Months), -int(d.Days))
	// Not by a time.Duration, which ends at 292 years.
	return time.Unix(day.Unix()-3600*int64(d.Hours)-int64(d.Seconds), int64(day.Nanosecond())).UTC()
}
