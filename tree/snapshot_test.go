package tree

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"bluesky/object"
)

func TestSnapshotRoundTrip(t *testing.T) {
	want := fullSnapshot()
	refs, payload, err := EncodeSnapshot(&want)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(refs, []object.ID{want.Root}) {
		t.Fatalf("refs are %v, want the root", refs)
	}
	got, err := DecodeSnapshot(refs, payload)
	if err != nil || !reflect.DeepEqual(*got, want) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
	record, err := EncodeSummary(&want)
	if err != nil {
		t.Fatal(err)
	}
	if len(want.Excludes) == 0 {
		t.Fatal("EncodeSummary has changed what it was given")
	}
	summary := want
	summary.Root, summary.Excludes = object.ID{}, nil
	got, err = DecodeSummary(record)
	if err != nil || !reflect.DeepEqual(*got, summary) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, summary)
	}
}

// Every field of the record is stored: a change of any changes the bytes.
func TestSnapshotStoresEveryField(t *testing.T) {
	full := fullSnapshot()
	_, payload, err := EncodeSnapshot(&full)
	if err != nil {
		t.Fatal(err)
	}
	var zero func(v reflect.Value, name string)
	zero = func(v reflect.Value, name string) {
		for i := range v.NumField() {
			f, name := v.Field(i), name+"."+v.Type().Field(i).Name
			if f.IsZero() {
				t.Errorf("the full snapshot lacks %s", name)
			}
			if f.Type() == reflect.TypeFor[Counts]() {
				zero(f, name)
				continue
			}
			old := reflect.ValueOf(f.Interface())
			f.SetZero()
			_, got, err := EncodeSnapshot(&full)
			f.Set(old)
			if err == nil && slices.Equal(got, payload) && name != ".Root" {
				t.Errorf("without %s the bytes are the same", name)
			}
		}
	}
	zero(reflect.ValueOf(&full).Elem(), "")
}

func TestEncodeSnapshotRefuses(t *testing.T) {
	for name, edit := range map[string]func(*Snapshot){
		"no root":          func(s *Snapshot) { s.Root = object.ID{} },
		"no session":       func(s *Snapshot) { s.Session = object.SessionID{} },
		"relative path":    func(s *Snapshot) { s.Paths = []string{"a"} },
		"unsorted paths":   func(s *Snapshot) { s.Paths = []string{"/b", "/a"} },
		"a tag twice":      func(s *Snapshot) { s.Tags = []string{"a", "a"} },
		"next 1":           func(s *Snapshot) { s.Next = 1 },
		"broken time":      func(s *Snapshot) { s.Counts.BackupEnd.Nsec = 1e9 },
		"program no UTF-8": func(s *Snapshot) { s.Program = "\xff" },
		"too large":        func(s *Snapshot) { s.Description = strings.Repeat("x", object.MaxPayload) },
	} {
		s := fullSnapshot()
		edit(&s)
		if _, _, err := EncodeSnapshot(&s); err == nil {
			t.Errorf("%s: it is encoded", name)
		}
	}
}

func TestDecodeSnapshotTellsTheVersion(t *testing.T) {
	payload, err := object.EncodeCBOR(map[int]any{1: 2, 3: "from the future"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := DecodeSnapshot(nil, payload); !errors.Is(err, ErrVersion) {
		t.Fatalf("got %v, want %v", err, ErrVersion)
	}
}

func TestSplitPath(t *testing.T) {
	tests := []struct {
		path string
		want []string
		ok   bool
	}{
		{"/", nil, true},
		{"/a", []string{"a"}, true},
		{"/a/..b/\xff", []string{"a", "..b", "\xff"}, true},
		{"", nil, false},
		{"a", nil, false},
		{"//", nil, false},
		{"/a/", nil, false},
		{"/a//b", nil, false},
		{"/a/./b", nil, false},
		{"/a/..", nil, false},
		{"/a\x00", nil, false},
		{strings.Repeat("/a", MaxDepth+1), nil, false},
	}
	for _, tt := range tests {
		got, err := SplitPath(tt.path)
		if (err == nil) != tt.ok || !slices.Equal(got, tt.want) {
			t.Errorf("SplitPath(%q) gives %q, %v, want %q, %v", tt.path, got, err, tt.want, tt.ok)
		}
	}
}
