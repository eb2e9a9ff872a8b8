package cmd

import (
	"testing"
	"time"

	"github.com/spf13/pflag"

	"bluesky/prune"
)

func TestParseLimit(t *testing.T) {
	for text, want := range map[string]prune.Limit{
		"0":         {},
		"500M":      {Bytes: 500 << 20},
		"1k":        {Bytes: 1 << 10},
		"5%":        {Percent: 5, IsPercent: true},
		"0%":        {IsPercent: true},
		"2.5%":      {Percent: 2.5, IsPercent: true},
		"100%":      {Percent: 100, IsPercent: true},
		"unlimited": {Unlimited: true},
	} {
		if got, err := parseLimit(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "%", "-1", "-1%", "100.5%", "NaN%", "5 %", "lots", "1.5M", "99999999999T", "Unlimited"} {
		if got, err := parseLimit(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0s": 0, "0": 0, "30m": 30 * time.Minute, "12h": 12 * time.Hour, "7d": 7 * day, "1d12h": 36 * time.Hour,
		"90m": 90 * time.Minute, "1d0s": day, "36525d": maxSpan, "1h30m5s": time.Hour + 30*time.Minute + 5*time.Second,
	} {
		got, err := parseSpan(text)
		if err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", text, got, err, want)
		}
		if again, err := parseSpan(formatSpan(got)); err != nil || again != got {
			t.Errorf("%q is written as %q, which is %v, %v", text, formatSpan(got), again, err)
		}
	}
	for _, text := range []string{"", "d", "7", "-1h", "-7d", "7d-1h", "1dd", "1.5d", "36525d1s", "99999d", "1y", "999999999h", "1h7d"} {
		if got, err := parseSpan(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
	for d, want := range map[time.Duration]string{0: "0s", 7 * day: "7d", 36 * time.Hour: "1d12h", 90 * time.Minute: "1h30m", 61 * time.Second: "1m1s"} {
		if got := formatSpan(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

// A limit of 0 copies nothing; one that nobody gave is none.
func TestPruneLimits(t *testing.T) {
	for _, tt := range []struct {
		args []string
		none bool
	}{
		{nil, false},
		{[]string{"--max-repack-size=1M", "--max-read=1", "--max-duration=1s"}, false},
		{[]string{"--max-repack-size=0"}, true},
		{[]string{"--max-read=0"}, true},
		{[]string{"--max-duration=0s"}, true},
		{[]string{"--repack=never"}, true},
		{[]string{"--repack=auto", "--max-unused=0"}, false},
	} {
		flags := pflag.NewFlagSet("prune", pflag.ContinueOnError)
		f := addPruneFlags(flags)
		if err := flags.Parse(tt.args); err != nil {
			t.Fatal(err)
		}
		if got := f.options(); got.NoRepack != tt.none || len(tt.args) == 0 && got.MaxUnused != (prune.Limit{Percent: 5, IsPercent: true}) {
			t.Errorf("%q: %+v", tt.args, got)
		}
	}
}
