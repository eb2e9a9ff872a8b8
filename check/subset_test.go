package check

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"testing"

	"bluesky/index"
	"bluesky/pack"
	"bluesky/seal"
)

func TestParseSubset(t *testing.T) {
	tests := []struct {
		text string
		want Subset
		err  string // part of the error, "" for none
	}{
		{"1/1", Subset{Part: 1, Parts: 1}, ""},
		{"7/30", Subset{Part: 7, Parts: 30}, ""},
		{"100%", Subset{Percent: 100}, ""},
		{"2.5%", Subset{Percent: 2.5}, ""},
		{"0.001%", Subset{Percent: 0.001}, ""},
		{"1", Subset{Bytes: 1}, ""},
		{"3k", Subset{Bytes: 3 << 10}, ""},
		{"50M", Subset{Bytes: 50 << 20}, ""},
		{"10G", Subset{Bytes: 10 << 30}, ""},
		{"2T", Subset{Bytes: 2 << 40}, ""},
		{"", Subset{}, "want a part such as 1/10"},
		{"all", Subset{}, "want a part"},
		{"K", Subset{}, "want a part"},
		{"%", Subset{}, "want a part"},
		{"/", Subset{}, "want a part"},
		{"1/", Subset{}, "want a part"},
		{"1/2/3", Subset{}, "want a part"},
		{"-1/2", Subset{}, "want a part"},
		{"1.5G", Subset{}, "want a part"},
		{"5P", Subset{}, "want a part"},
		{"18446744073709551615T", Subset{}, "want a part"},
		{"0/5", Subset{}, "between 1 and the number of parts"},
		{"6/5", Subset{}, "between 1 and the number of parts"},
		{"0/0", Subset{}, "between 1 and the number of parts"},
		{"0%", Subset{}, "above 0 and at most 100"},
		{"100.1%", Subset{}, "above 0 and at most 100"},
		{"-5%", Subset{}, "above 0 and at most 100"},
		{"NaN%", Subset{}, "above 0 and at most 100"},
		{"0", Subset{}, "size has to be above 0"},
		{"0G", Subset{}, "size has to be above 0"},
	}
	for _, tt := range tests {
		got, err := ParseSubset(tt.text)
		if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: got %+v, %v; want %+v, %q", tt.text, got, err, tt.want, tt.err)
		}
	}
}

// someSegments makes segments of random names and sizes.
func someSegments(random *rand.Rand, n int) []*segment {
	list := make([]*segment, n)
	for i := range list {
		var name pack.Name
		binary.BigEndian.PutUint64(name[:], random.Uint64())
		binary.BigEndian.PutUint64(name[8:], random.Uint64())
		list[i] = &segment{Segment: index.Segment{Name: name, Size: 1 + random.Int64N(1<<24)}}
	}
	return list
}

// TestPartsAreAll: each segment is in exactly one of t parts, and stays there
// when others come and go.
func TestPartsAreAll(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	list := someSegments(random, 1000)
	for _, parts := range []uint64{1, 2, 7, 30, 256, 5000} {
		in := map[*segment]uint64{}
		for n := uint64(1); n <= parts; n++ {
			s := Subset{Part: n, Parts: parts}
			chosen := s.choose(list, nil)
			for _, seg := range chosen {
				if before := in[seg]; before != 0 {
					t.Fatalf("a segment is in the parts %d and %d of %d", before, n, parts)
				}
				in[seg] = n
			}
			if again := s.choose(chosen, nil); len(again) != len(chosen) {
				t.Errorf("part %d of %d is another without the others", n, parts)
			}
			if want := 1000 / int(parts); parts <= 30 && (len(chosen) < want/2 || len(chosen) > 2*want) {
				t.Errorf("part %d of %d has %d of 1,000 segments", n, parts, len(chosen))
			}
		}
		if len(in) != len(list) {
			t.Errorf("%d parts have %d of %d segments", parts, len(in), len(list))
		}
	}
}

// TestRandomSubset: as much as was asked for, and less than one segment more;
// another choice each time.
func TestRandomSubset(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	list := someSegments(random, 200)
	total := sumSizes(list)
	for _, tt := range []struct {
		subset Subset
		want   uint64
	}{
		{Subset{Percent: 0.0001}, 1}, {Subset{Percent: 2.5}, total / 40}, {Subset{Percent: 50}, total / 2}, {Subset{Percent: 100}, total},
		{Subset{Bytes: 1}, 1}, {Subset{Bytes: 100 << 20}, 100 << 20}, {Subset{Bytes: total}, total}, {Subset{Bytes: 1 << 60}, total},
	} {
		seen := map[*segment]bool{}
		for range 50 {
			chosen := tt.subset.choose(list, random)
			got := sumSizes(chosen)
			if got < tt.want || got > tt.want+1<<24 {
				t.Errorf("%+v: %d bytes, want %d", tt.subset, got, tt.want)
			}
			last := -1
			for _, s := range chosen {
				seen[s] = true
				at := last + 1
				for list[at] != s { // in order, so none twice; else this runs off the end
					at++
				}
				last = at
			}
		}
		if tt.want > total/50 && len(seen) < 150 {
			t.Errorf("%+v: 50 times, and only %d of %d segments were ever chosen", tt.subset, len(seen), len(list))
		}
	}
	if chosen := (Subset{Percent: 5}).choose(nil, random); len(chosen) != 0 {
		t.Error("something of nothing")
	}
}

// TestSubsetFindsDamage damages one segment: of the parts, the one that it falls
// to finds it, with the key and without, and the level names the part.
func TestSubsetFindsDamage(t *testing.T) {
	f := newFixture(t)
	names := f.names("seg/")
	const parts = 3
	for _, key := range names {
		d := f.copy()
		data := d.read(key)
		data[len(data)-1] ^= 1 // only reading all of it shows that
		d.put(key, data)
		name, err := pack.ParseKey(key)
		if err != nil {
			t.Fatal(err)
		}
		read, found := uint64(0), 0
		for n := uint64(1); n <= parts; n++ {
			subset := Subset{Part: n, Parts: parts}
			for _, keyed := range []bool{false, true} {
				r := d.checkSubset(t, subset, keyed)
				if want := subset.holds(name); r.OK() == want {
					t.Errorf("%s, part %d, with key %v: damage found %v, want %v\n%s", key, n, keyed, !r.OK(), want, describe(r))
				} else if want {
					found++
				}
				if !keyed {
					read += r.ReadWhole
				}
			}
		}
		if found != 2 || read != uint64(len(names)) {
			t.Errorf("%s: found %d times, and %d of %d segments read", key, found, read, len(names))
		}
	}
}

func TestSubsetLevel(t *testing.T) {
	f := newFixture(t)
	for _, tt := range []struct {
		subset Subset
		keyed  bool
		level  string // part of it
		unseen string // part of it, "" for nothing of segments
	}{
		{Subset{Bytes: 1}, true, "; 1 of ", "segments, which were not read: whether file contents are whole"},
		{Subset{Bytes: 1}, false, "; all sums and hashes of 1 of ", "segments, which were not read: whether the bytes of objects are whole"},
		{Subset{Percent: 100}, true, "; all data decrypted, trees of all snapshots", ""},
		{Subset{Percent: 100}, false, "; all sums and hashes; without the key", ""},
		{Subset{Part: 1, Parts: 1}, true, "; all data decrypted, ", ""},
	} {
		r := f.checkSubset(t, tt.subset, tt.keyed)
		if !r.OK() || !strings.Contains(r.Level, tt.level) {
			t.Errorf("%+v: OK %v, level %q, want %q", tt.subset, r.OK(), r.Level, tt.level)
		}
		if unseen := strings.Join(r.Unseen, "\n"); !strings.Contains(unseen, tt.unseen) || tt.unseen == "" && strings.Contains(unseen, "segments") {
			t.Errorf("%+v: unseen %q, want %q", tt.subset, unseen, tt.unseen)
		}
		if tt.subset.Bytes == 1 && r.ReadWhole != 1 {
			t.Errorf("%+v: %d segments read", tt.subset, r.ReadWhole)
		}
	}
	// A check that does not come to reading does not say that it did.
	ctx, cancel := context.WithCancel(t.Context())
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	report, err := Run(ctx, r, nil, Options{Subset: Subset{Percent: 100}}, nil)
	if err == nil || strings.Contains(report.Level, "sums") {
		t.Errorf("canceled: %v, level %q", err, report.Level)
	}
}

func (f *fixture) checkSubset(t testing.TB, subset Subset, keyed bool) Report {
	t.Helper()
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	var keys *seal.Keys
	if keyed {
		keys = f.keys
	}
	report, err := Run(t.Context(), r, keys, Options{Subset: subset, Random: rand.New(rand.NewPCG(5, 6))}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return report
}
