package cmd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"bluesky/check"
	"bluesky/prune"
)

// What amounts are written as on the command line: sizes as in restic, 500M;
// spans of time as in Go, and with days, 7d.

// sizeValue is the value of a flag that takes a size in bytes.
type sizeValue struct {
	bytes uint64
	given bool
}

func (v *sizeValue) Set(text string) (err error) {
	if v.bytes, err = check.ParseSize(text); err != nil {
		return errors.New("want a number of bytes, or of KiB, MiB, GiB or TiB with the suffix K, M, G or T")
	}
	v.given = true
	return nil
}

// none reports whether somebody has given a size of 0.
func (v *sizeValue) none() bool { return v.given && v.bytes == 0 }

func (v *sizeValue) String() string {
	if v == nil || !v.given {
		return ""
	}
	return strconv.FormatUint(v.bytes, 10)
}

func (v *sizeValue) Type() string { return "size" }

// limitValue is the value of --max-unused.
type limitValue struct {
	prune.Limit
	text string
}

func (v *limitValue) Set(text string) (err error) {
	if v.Limit, err = parseLimit(text); err != nil {
		return err
	}
	v.text = text
	return nil
}

func (v *limitValue) String() string { return v.text }

func (v *limitValue) Type() string { return "limit" }

func parseLimit(text string) (prune.Limit, error) {
	if text == "unlimited" {
		return prune.Limit{Unlimited: true}, nil
	}
	if number, ok := strings.CutSuffix(text, "%"); ok {
		percent, err := strconv.ParseFloat(number, 64)
		if err != nil || !(percent >= 0 && percent <= 100) {
			return prune.Limit{}, errors.New("the percentage has to be from 0 to 100")
		}
		return prune.Limit{Percent: percent, IsPercent: true}, nil
	}
	bytes, err := check.ParseSize(text)
	if err != nil {
		return prune.Limit{}, errors.New(`want a size such as 500M, a percentage such as 2.5%, or "unlimited"`)
	}
	return prune.Limit{Bytes: bytes}, nil
}

// spanValue is the value of a flag that takes a span of time.
type spanValue struct {
	time.Duration
	given bool
}

func (v *spanValue) Set(text string) (err error) {
	if v.Duration, err = parseSpan(text); err == nil {
		v.given = true
	}
	return err
}

func (v *spanValue) String() string {
	if v == nil || !v.given {
		return ""
	}
	return formatSpan(v.Duration)
}

func (v *spanValue) Type() string { return "duration" }

const day = 24 * time.Hour

// maxSpan is a hundred years: more is a mistake.
const maxSpan = 36525 * day

// parseSpan reads "7d", "1d12h", "30m": days of 24 hours, and what Go reads.
func parseSpan(text string) (time.Duration, error) {
	bad := fmt.Errorf("%s is no duration such as 30m, 12h, 7d or 1d12h, of at most 100 years", quote(text))
	rest, span := text, time.Duration(0)
	if days, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		if err != nil {
			return 0, bad
		}
		rest, span = after, time.Duration(n)*day
		if rest == "" {
			rest = "0"
		}
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 || more > maxSpan || span+more > maxSpan {
		return 0, bad
	}
	return span + more, nil
}

// formatSpan returns d so that parseSpan reads it: "7d", "1d12h", "30m", "0s".
func formatSpan(d time.Duration) string {
	var b strings.Builder
	if days := d / day; days > 0 {
		fmt.Fprintf(&b, "%dd", days)
		d %= day
	}
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"h", time.Hour}, {"m", time.Minute}} {
		if n := d / unit.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			d %= unit.size
		}
	}
	if d > 0 || b.Len() == 0 {
		b.WriteString(d.String())
	}
	return b.String()
}
