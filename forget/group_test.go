package forget

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"bluesky/object"
)

func TestParseGroupBy(t *testing.T) {
	tests := []struct {
		text string
		want GroupBy
		ok   bool
	}{
		{"", GroupBy{}, true},
		{"host", GroupBy{Host: true}, true},
		{"hosts,path", GroupBy{Host: true, Paths: true}, true},
		{"tags,paths", GroupBy{Paths: true, Tags: true}, true},
		{"tag,", GroupBy{Tags: true}, true},
		{"user", GroupBy{}, false},
		{"host, paths", GroupBy{}, false},
	}
	for _, tt := range tests {
		got, err := ParseGroupBy(tt.text)
		if got != tt.want || (err == nil) != tt.ok {
			t.Errorf("%q: got %+v, %v", tt.text, got, err)
		}
		if again, err := ParseGroupBy(got.String()); again != got || err != nil {
			t.Errorf("%q prints as %q, which is %+v, %v", tt.text, got, again, err)
		}
	}
}

// snapshotsOf makes snapshots out of words like "1:host:/a,/b:tag,tag", of which
// the first is the signer; the series is that of host and paths.
func snapshotsOf(words ...string) []Snapshot {
	series := map[string]byte{}
	var list []Snapshot
	for i, word := range words {
		f := strings.Split(word, ":")
		name := f[1] + f[2]
		if series[name] == 0 {
			series[name] = byte(len(series) + 1)
		}
		s := Snapshot{ID: object.ID{byte(i)}, Line: testLine(f[0][0]-'0', series[name]), Generation: uint64(i), Host: f[1]}
		s.Claimed = object.Time{Sec: int64(i) * 3600}
		s.Effective = s.Claimed
		for _, part := range []struct {
			text string
			to   *[]string
		}{{f[2], &s.Paths}, {f[3], &s.Tags}} {
			if part.text != "" {
				*part.to = strings.Split(part.text, ",")
			}
		}
		list = append(list, s)
	}
	return list
}

func TestGroups(t *testing.T) {
	list := snapshotsOf("1:b:/x:", "1:a:/x,/y:t", "1:b:/x:t,u", "2:b:/x:", "1:a:/x,/y:", "1:b:/z:t")
	tests := []struct {
		by   string
		want string
	}{
		{"host,paths", `{"tags":null,"host":"a","paths":["/x","/y"]} 1 4; {"tags":null,"host":"b","paths":["/x"]} 0 2; {"tags":null,"host":"b","paths":["/x"]} 3; {"tags":null,"host":"b","paths":["/z"]} 5`},
		{"host", `{"tags":null,"host":"a","paths":null} 1 4; {"tags":null,"host":"b","paths":null} 0 2 5; {"tags":null,"host":"b","paths":null} 3`},
		{"tags", `{"tags":null,"host":"","paths":null} 0 4; {"tags":null,"host":"","paths":null} 3; {"tags":["t"],"host":"","paths":null} 1 5; {"tags":["t","u"],"host":"","paths":null} 2`},
		{"", `{"tags":null,"host":"","paths":null} 0 1 2 4 5; {"tags":null,"host":"","paths":null} 3`},
	}
	for _, tt := range tests {
		by, err := ParseGroupBy(tt.by)
		if err != nil {
			t.Fatal(err)
		}
		if got := describeGroups(t, Groups(list, by)); got != tt.want {
			t.Errorf("by %q:\ngot  %s\nwant %s", tt.by, got, tt.want)
		}
	}
	if got := len(Lines(list)); got != 4 {
		t.Errorf("%d lines, want 4", got)
	}
}

func describeGroups(t *testing.T, groups []Group) string {
	t.Helper()
	var all []string
	for _, g := range groups {
		key, err := json.Marshal(g.Key)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range g.Snapshots {
			key = fmt.Appendf(key, " %d", s.Generation)
		}
		all = append(all, string(key))
	}
	return strings.Join(all, "; ")
}

func TestKeysInWords(t *testing.T) {
	for want, key := range map[string]Key{
		"":                               {},
		"host h, path [/a /b], tags [t]": {Host: "h", Paths: []string{"/a", "/b"}, Tags: []string{"t"}},
		"series 07000000000000000000000000000000": {Series: testLine(1, 7).Series},
	} {
		if got := key.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOneEach(t *testing.T) {
	tests := []struct {
		sizes  []int
		single int
		most   bool
	}{
		{nil, 0, false},
		{[]int{1}, 1, false},
		{[]int{1, 1}, 2, false}, // two hosts that have just begun
		{[]int{1, 1, 1}, 3, true},
		{[]int{1, 2, 1}, 2, true},
		{[]int{1, 2, 1, 2}, 2, false},
		{[]int{5, 1, 2}, 1, false},
	}
	for _, tt := range tests {
		var groups []Group
		for _, size := range tt.sizes {
			groups = append(groups, Group{Snapshots: make([]Snapshot, size)})
		}
		if single, most := OneEach(groups); single != tt.single || most != tt.most {
			t.Errorf("%v: got %d, %v, want %d, %v", tt.sizes, single, most, tt.single, tt.most)
		}
	}
}

func TestTheLastOfEachLine(t *testing.T) {
	all := snapshotsOf("1:a:/x:", "1:a:/x:", "1:b:/x:", "2:a:/x:", "1:a:/x:", "1:b:/x:")
	all[4].Effective = all[1].Effective // the later in the log is the newer
	tests := []struct {
		remove []int
		want   string
	}{
		{nil, ""},
		{[]int{0, 1}, ""},
		{[]int{0, 1, 4}, "4"},
		{[]int{0, 1, 2, 4, 5}, "4 5"},
		{[]int{3}, "3"},
		{[]int{0, 1, 2, 3, 4, 5}, "3 4 5"},
	}
	for _, tt := range tests {
		var remove []Snapshot
		for _, i := range tt.remove {
			remove = append(remove, all[i])
		}
		spared := lastOfLines(all, remove)
		var got []string
		for _, s := range all {
			if spared[s.ID] {
				got = append(got, fmt.Sprint(s.Generation))
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("without %v: got %v, want %s", tt.remove, got, tt.want)
		}
	}
}

func TestDecide(t *testing.T) {
	all := snapshotsOf("1:a:/x:", "1:a:/x:t", "1:a:/y:", "1:a:/x:", "1:b:/x:", "2:a:/x:")
	last := func(n Count, tags ...TagList) *Policy { return &Policy{Keep: [len(Spans)]Count{Last: n}, Tags: tags} }
	tests := []struct {
		name, by string
		policy   *Policy
		hidden   int // how many of the first no filter has chosen
		want     string
	}{
		{"one of each host and paths", "host,paths", last(1), 0,
			"host a, path [/x]: 3 [last snapshot], not 1 0; host a, path [/x]: 5 [last snapshot], not; " +
				"host a, path [/y]: 2 [last snapshot], not; host b, path [/x]: 4 [last snapshot], not; "},
		{"one of each host", "host", last(1), 0,
			"host a: 3 [last snapshot], 2 [last of its series], not 1 0; host a: 5 [last snapshot], not; host b: 4 [last snapshot], not; "},
		{"one of all", "", last(1), 0, ": 4 [last snapshot], 3 [last of its series], 2 [last of its series], not 1 0; : 5 [last snapshot], not; "},
		{"with a filter", "", last(1), 3, ": 4 [last snapshot], not 3; : 5 [last snapshot], not; "},
		{"of tags alone", "", last(0, TagList{"t"}), 0, "error"},
	}
	for _, tt := range tests {
		by, err := ParseGroupBy(tt.by)
		if err != nil {
			t.Fatal(err)
		}
		outcomes, err := Decide(all, Groups(all[tt.hidden:], by), tt.policy)
		got := ""
		if errors.Is(err, ErrNothingLeft) {
			got = "error"
		}
		for _, o := range outcomes {
			got += o.Key.String() + ": "
			for i, s := range o.Keep {
				got += fmt.Sprintf("%d %v, ", s.Generation, o.Reasons[i])
			}
			got += "not"
			for _, s := range o.Remove {
				got += fmt.Sprintf(" %d", s.Generation)
			}
			got += "; "
		}
		if got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// TestPolicyAtItsLimit: what is exactly as old as a duration is not within it.
func TestPolicyAtItsLimit(t *testing.T) {
	list := snapshotsOf("1:a:/x:", "1:a:/x:", "1:a:/x:", "1:a:/x:") // of each hour
	for _, span := range []Span{Last, Hourly} {
		for d, want := range map[Duration]int{{Hours: 2}: 2, {Hours: 2, Seconds: 1}: 3, {Seconds: 1}: 1} {
			p := Policy{}
			p.Within[span] = &d
			if got := len(Apply(list, &p).Keep); got != want {
				t.Errorf("%v: %d are kept, want %d", &p, got, want)
			}
		}
	}
}

func TestPinnedOnesAreKept(t *testing.T) {
	list := snapshotsOf("1:a:/x:", "1:a:/x:", "1:a:/x:", "1:a:/x:")
	list[1].Pinned = true
	got := Apply(list, &Policy{Keep: [len(Spans)]Count{Last: 1}})
	if fmt.Sprint(got.Reasons) != "[[last snapshot] [pinned]]" || got.Keep[1].ID != list[1].ID {
		t.Errorf("kept %v for %v", got.Keep, got.Reasons)
	}
}

// TestOldSnapshotsThatCameLater: a history that is copied here behind newer
// snapshots has the place that its claims give it, as in restic.
func TestOldSnapshotsThatCameLater(t *testing.T) {
	list := snapshotsOf("1:a:/x:", "1:a:/x:", "1:a:/x:", "1:a:/x:", "1:a:/x:")
	const year = 365 * 86400
	list[0].Claimed = object.Time{Sec: 20 * year}
	list[0].Effective = list[0].Claimed
	for i := range list[1:] {
		s := &list[1+i]
		s.Claimed, s.Effective = object.Time{Sec: int64(10+i) * year}, list[0].Effective
	}
	got := Apply(list, &Policy{Keep: [len(Spans)]Count{Yearly: 3}})
	var kept []string
	for _, s := range got.Keep {
		kept = append(kept, fmt.Sprintf("%d %s", s.Generation, s.Dating()))
	}
	if strings.Join(kept, ", ") != "0 , 4 past, 3 past" {
		t.Errorf("kept %q", kept)
	}
}
