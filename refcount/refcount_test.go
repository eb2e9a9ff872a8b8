package refcount

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"bluesky/object"
)

func TestKeys(t *testing.T) {
	n, err := NewTableName(strings.NewReader("0123456789abcdef"))
	if err != nil || n.Key() != "cnt/30313233343536373839616263646566" {
		t.Errorf("key %q, %v", n.Key(), err)
	}
	if got, err := ParseKey(n.Key()); got != n || err != nil {
		t.Errorf("ParseKey = %s, %v", got, err)
	}
	for _, key := range []string{"", "cnt/", "idx" + n.Key()[3:], n.Key() + "0", n.Key()[:35], strings.ToUpper(n.Key()), "cnt/" + strings.Repeat("g", 32),
		"cnt/" + strings.Repeat("A", 32)} {
		if got, err := ParseKey(key); err == nil {
			t.Errorf("ParseKey(%q) = %s", key, got)
		}
	}
	if _, err := NewTableName(strings.NewReader("short")); err == nil {
		t.Error("a name of 5 random bytes")
	}
}

// TestRefEncoding: {1 name, 2 size, 3 hash}, which the op clean holds.
func TestRefEncoding(t *testing.T) {
	ref := Ref{TableName{1}, 300, object.Hash{2}}
	data, err := object.EncodeCBOR(&ref)
	want := append([]byte{0xa3, 1, 0x50, 1}, make([]byte, 15)...)
	want = append(want, 2, 0x19, 1, 0x2c, 3, 0x58, 0x20, 2)
	want = append(want, make([]byte, 31)...)
	if err != nil || !bytes.Equal(data, want) {
		t.Errorf("%x, %v; want %x", data, err, want)
	}
	var got Ref
	if err := object.DecodeCBOR(data, &got); err != nil || got != ref {
		t.Errorf("decoded %+v, %v", got, err)
	}
}

func TestNeedsBase(t *testing.T) {
	list := func(sizes ...int64) (out []Ref) {
		for _, s := range sizes {
			out = append(out, Ref{Size: s})
		}
		return out
	}
	many := list(1000000, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
	tests := []struct {
		name string
		list []Ref
		next int64
		want bool
	}{
		{"the first table", nil, 10, true},
		{"a tenth", list(1000), 100, false},
		{"more than a tenth", list(1000), 101, true},
		{"a tenth with those before", list(1000, 40, 30), 30, false},
		{"more with those before", list(1000, 40, 30), 31, true},
		{"sixteen tables", many[:15], 1, false},
		{"more than sixteen", many, 1, true},
	}
	for _, tt := range tests {
		if got := NeedsBase(tt.list, tt.next); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

// TestOtherBytes: a right table that is not the one the state names, and one of
// the future that is not either, are corrupt.
func TestOtherBytes(t *testing.T) {
	valid := tableOf(validMarks())
	future := tableOf(editor(validMarks).set(8, 2)())
	load := func(t Table) error { _, err := LoadMarks(repository, []Table{t}, vectorShapes); return err }
	if err := load(valid); err != nil {
		t.Fatal(err)
	}
	if err := load(future); !errors.Is(err, ErrVersion) {
		t.Errorf("of the future: %v", err)
	}
	for name, bad := range map[string]Table{"hash": valid, "future hash": future} {
		bad.Ref.Hash[0] ^= 1
		if err := load(bad); !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
			t.Errorf("%s: %v", name, err)
		}
	}
	valid.Ref.Size++
	if err := load(valid); !errors.Is(err, ErrCorrupt) {
		t.Errorf("size: %v", err)
	}
}
