package forget

import (
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

func TestParseDuration(t *testing.T) {
	tests := []struct {
		text string
		want Duration
		err  string // "" for none
	}{
		{"1y5m7d2h", Duration{1, 5, 7, 2, 0}, ""},
		{"2h7d", Duration{0, 0, 7, 2, 0}, ""},
		{" 90s ", Duration{Seconds: 90}, ""},
		{"0s", Duration{}, ""},
		{"4294967295d", Duration{Days: 1<<32 - 1}, ""},
		{"4294967296d", Duration{}, "4294967296 is no number of up to 4294967295"},
		{"99999999999999999999d", Duration{}, "is no number of up to"},
		{"", Duration{}, "the duration is empty; 0s is none"},
		{"7", Duration{}, "no unit found after number 7"},
		{"d", Duration{}, `no number found before "d"`},
		{"7d 2h", Duration{}, `no number found before " 2h"`},
		{"7w", Duration{}, `invalid unit 'w' found after number 7`},
		{"7µ", Duration{}, `invalid unit 'µ' found after number 7`},
		{"7d1d", Duration{}, `unit 'd' stands twice`},
		{"-7d", Duration{}, "negative durations are not allowed"},
		{"7-d", Duration{}, "7- is no number of up to 4294967295"},
		{"unlimited", Duration{}, `no number found before "unlimited"`},
	}
	for _, tt := range tests {
		got, err := ParseDuration(tt.text)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got %v, %v, want %v, %s", tt.text, got, err, tt.want, tt.err)
		}
	}
}

func FuzzDuration(f *testing.F) {
	for _, text := range []string{"1y5m7d2h", "0s", "90s", "7", "-1d"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDuration(text)
		if err != nil {
			return
		}
		if again, err := ParseDuration(d.String()); err != nil || again != d {
			t.Errorf("%q is %v, which reads as %v, %v", text, d, again, err)
		}
	})
}

func TestParseCount(t *testing.T) {
	tests := []struct {
		text string
		want Count
		err  string
	}{
		{"0", 0, ""},
		{"7", 7, ""},
		{"unlimited", Unlimited, ""},
		{"4294967294", 1<<32 - 2, ""},
		{"4294967295", 0, `"unlimited" keeps all`},
		{"-1", 0, "negative values not allowed, use 'unlimited' instead"},
		{"", 0, "is no number"},
		{"7d", 0, "is no number"},
	}
	for _, tt := range tests {
		got, err := ParseCount(tt.text)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got %v, %v, want %v, %s", tt.text, got, err, tt.want, tt.err)
		}
		if err == nil && got.String() != tt.text {
			t.Errorf("%q prints as %v", tt.text, got)
		}
	}
}

func TestPolicySaysWhatItKeeps(t *testing.T) {
	tests := []struct{ flags, want string }{
		{"", "remove"},
		{"--keep-last=3", "keep 3 latest snapshots"},
		{"--keep-last=3 --keep-daily=unlimited", "keep 3 latest, all daily snapshots"},
		{"--keep-within=7d", "keep all snapshots within 7d of the newest"},
		{"--keep-within=0s", "remove"},
		{
			"--keep-yearly=1 --keep-within-daily=1m --keep-within-yearly=2y --keep-tag=a,b --keep-tag=c --keep-within=2h",
			"keep 1 yearly snapshots, daily snapshots within 1m, yearly snapshots within 2y" +
				" and all snapshots with tags [[a, b] [c]] and all snapshots within 2h of the newest",
		},
	}
	for _, tt := range tests {
		p := policyOfFlags(t, strings.Fields(tt.flags))
		if got := p.String(); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.flags, got, tt.want)
		}
		if p.Empty() != (tt.want == "remove") {
			t.Errorf("%s: empty: %v", tt.flags, p.Empty())
		}
	}
}

func TestTheFloorIsADefault(t *testing.T) {
	tests := []struct{ flags, want string }{
		{"--keep-last=1", "keep 1 latest snapshots and all snapshots within 7d of the newest"},
		{"--keep-last=1 --keep-within=3h", "keep 1 latest snapshots and all snapshots within 3h of the newest"},
		{"--keep-last=1 --keep-within=0s", "keep 1 latest snapshots"},
	}
	for _, tt := range tests {
		p := policyOfFlags(t, strings.Fields(tt.flags)).WithFloor(DefaultFloor)
		if got := p.String(); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.flags, got, tt.want)
		}
	}
}

func TestRecordsSayTheSame(t *testing.T) {
	random(t, 500, func(t *testing.T, r *rand.Rand) {
		p := randomPolicy(r)
		record, err := p.Record()
		if err != nil {
			t.Fatal(err)
		}
		if again := PolicyOf(record); !reflect.DeepEqual(again, p) {
			t.Errorf("%v comes back as %v", &p, &again)
		}
	})
	p := Policy{Tags: []TagList{{"a"}}}
	if record, err := p.Record(); err == nil {
		t.Errorf("a policy that keeps tags has the record %v", record)
	}
}

// policyOfFlags reads the flags of a policy as restic has them.
func policyOfFlags(t *testing.T, flags []string) Policy {
	t.Helper()
	var p Policy
	for _, flag := range flags {
		name, value, _ := strings.Cut(strings.TrimPrefix(flag, "--keep-"), "=")
		if name == "tag" {
			p.Tags = append(p.Tags, ParseTagList(value))
			continue
		}
		within, isWithin := strings.CutPrefix(name, "within")
		if isWithin {
			name = strings.TrimPrefix(within, "-")
			if name == "" {
				name = "last"
			}
		}
		span := spanNamed(t, name)
		var err error
		if isWithin {
			var d Duration
			d, err = ParseDuration(value)
			p.Within[span] = &d
		} else {
			p.Keep[span], err = ParseCount(value)
		}
		if err != nil {
			t.Fatalf("%s: %v", flag, err)
		}
	}
	return p
}

func spanNamed(t *testing.T, name string) Span {
	t.Helper()
	for _, span := range Spans {
		if span.String() == name {
			return span
		}
	}
	t.Fatalf("no span %q", name)
	return 0
}
