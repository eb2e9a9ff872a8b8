package object

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/zeebo/blake3"
)

func TestKinds(t *testing.T) {
	for k := range 256 {
		kind := Kind(k)
		want := k >= 1 && k <= 6
		if kind.Valid() != want {
			t.Errorf("Kind(%d).Valid() = %v", k, !want)
		}
		if class := kind.Class(); kind == KindBlock && class != ClassData || kind != KindBlock && class != ClassMeta {
			t.Errorf("%s is of class %s", kind, class)
		}
	}
	if got := KindImap.String() + " " + Kind(9).String() + " " + ClassData.String() + " " + Class(3).String(); got != "imap kind(9) data class(3)" {
		t.Errorf("names: %s", got)
	}
	if Class(0).Valid() || !ClassMeta.Valid() || Class(3).Valid() {
		t.Error("classes are 1 and 2")
	}
}

func TestParseID(t *testing.T) {
	want := ID{0: 0xab, 31: 0x01}
	got, err := ParseID(want.String())
	if err != nil || got != want {
		t.Errorf("ParseID(%s) = %s, %v", want, got, err)
	}
	if want.Short() != "ab000000" {
		t.Errorf("Short() = %s", want.Short())
	}
	for _, bad := range []string{"", "ab", strings.Repeat("x", 64), want.String() + "0", want.String()[1:]} {
		if id, err := ParseID(bad); err == nil {
			t.Errorf("ParseID(%q) = %s", bad, id)
		}
	}
}

func TestCompareIsBytewise(t *testing.T) {
	ids := []ID{{0: 1}, {}, {31: 1}, {0: 1, 31: 0xff}, {0: 0xff}}
	slices.SortFunc(ids, ID.Compare)
	if !slices.IsSortedFunc(ids, func(a, b ID) int { return bytes.Compare(a[:], b[:]) }) {
		t.Errorf("sorted to %v", ids)
	}
	if !(ID{}).IsZero() || (ID{31: 1}).IsZero() {
		t.Error("IsZero")
	}
}

// TestLabels: no label is a prefix of another, and a hash is that of label and
// bytes, as docs/format.md has it.
func TestLabels(t *testing.T) {
	if got := Label("sum"); got != "bluesky v1 sum\x00" {
		t.Errorf("Label = %q", got)
	}
	if strings.HasPrefix(Label("summary"), Label("sum")) {
		t.Error("one label is a prefix of another")
	}
	want := blake3.Sum256([]byte("bluesky v1 run\x00abc"))
	if got := HashBytes("run", []byte("a"), []byte("bc")); got != Hash(want) {
		t.Errorf("HashBytes = %x, want %x", got, want)
	}
}

// TestSum puts the bytes of a sum together as docs/format.md, "Sums", says.
func TestSum(t *testing.T) {
	o := Sealed{
		ID: ID{1}, Kind: KindInodes, Session: SessionID{2},
		Refs: []ID{{3}, {4}}, Bytes: []byte("sealed"),
	}
	b := []byte("bluesky v1 sum\x00")
	b = append(b, o.ID[:]...)
	b = append(b, 4)
	b = append(b, o.Session[:]...)
	b = binary.LittleEndian.AppendUint32(b, 2)
	b = append(append(b, o.Refs[0][:]...), o.Refs[1][:]...)
	b = binary.LittleEndian.AppendUint64(b, 6)
	b = append(b, "sealed"...)
	want := blake3.Sum256(b)
	if got := o.Sum(); got != Sum(want[:16]) {
		t.Errorf("got %s, want %x", got, want[:16])
	}
	if got := o.Sum().String(); got != hex.EncodeToString(want[:16]) {
		t.Errorf("String() = %s", got)
	}
	changes := map[string]func(*Sealed){
		"id":      func(o *Sealed) { o.ID[31]++ },
		"kind":    func(o *Sealed) { o.Kind = KindDir },
		"session": func(o *Sealed) { o.Session[15]++ },
		"refs":    func(o *Sealed) { o.Refs = o.Refs[:1] },
		"order":   func(o *Sealed) { o.Refs = []ID{{4}, {3}} },
		"bytes":   func(o *Sealed) { o.Bytes = []byte("sealee") },
	}
	for name, change := range changes {
		other := o
		change(&other)
		if other.Sum() == o.Sum() {
			t.Errorf("the sum does not cover %s", name)
		}
	}
}

func TestTime(t *testing.T) {
	for _, at := range []time.Time{
		time.Unix(0, 0), time.Unix(-1, 5), time.Date(1901, 12, 13, 20, 45, 52, 1, time.UTC),
		time.Date(2400, 1, 1, 0, 0, 0, 999999999, time.UTC),
	} {
		if got := TimeOf(at); !got.Time().Equal(at) || !got.Valid() {
			t.Errorf("TimeOf(%v).Time() = %v", at, got.Time())
		}
	}
	early, late := Time{Sec: -1, Nsec: 5}, Time{Sec: -1, Nsec: 6}
	if !early.Before(late) || late.Before(early) || early.Before(early) || !late.Before(Time{}) {
		t.Error("Before")
	}
	if (Time{Nsec: 1e9}).Valid() {
		t.Error("a second of nanoseconds is valid")
	}
}

// record has what records of the format have.
type record struct {
	Version uint64   `cbor:"1,keyasint,omitempty"`
	Name    [2]byte  `cbor:"2,keyasint"`
	List    []uint64 `cbor:"3,keyasint,omitempty"`
	Bytes   []byte   `cbor:"4,keyasint,omitempty"`
	At      *Time    `cbor:"5,keyasint,omitempty"`
}

// wholeRecord is {1, 0a0b, [1, 2], "c", [-1, 10000]}.
const wholeRecord = "a50101" + "02420a0b" + "03820102" + "044163" + "058220192710"

func TestDecodeCBOR(t *testing.T) {
	tests := []struct {
		name string
		hex  string
		ok   bool
	}{
		{"whole", wholeRecord, true},
		{"defaults omitted", "a102420a0b", true},
		{"default written", "a2010002420a0b", false},
		{"keys out of order", "a202420a0b0101", false},
		{"key twice", "a3" + "0101" + "0102" + "02420a0b", false},
		{"unknown key", "a202420a0b0901", false},
		{"long form of a number", "a2011801" + "02420a0b", false},
		{"array too short", "a102410a", false},
		{"array too long", "a102430a0b0c", false},
		{"indefinite array", "a202420a0b039f01ff", false},
		{"tag", "a202420a0b03c1820102", false},
		{"float", "a2" + "01f93c00" + "02420a0b", false},
		{"text for bytes", "a202420a0b046161", false},
		{"text key", "a2" + "613101" + "02420a0b", false},
		{"bytes behind", "a102420a0b00", false},
		{"cut short", "a102420a", false},
		{"nothing", "", false},
		{"count of 2^32 elements", "a202420a0b039b0000000100000000", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			data, err := hex.DecodeString(tt.hex)
			if err != nil {
				t.Fatal(err)
			}
			var r record
			err = DecodeCBOR(data, &r)
			if (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("got %+v, %v", r, err)
			}
		})
	}
}

func TestDecodeCBORDoesNotAliasItsInput(t *testing.T) {
	data, err := EncodeCBOR(&record{Bytes: []byte("abc")})
	if err != nil {
		t.Fatal(err)
	}
	var r record
	if err := DecodeCBOR(data, &r); err != nil {
		t.Fatal(err)
	}
	clear(data)
	if string(r.Bytes) != "abc" {
		t.Errorf("got %q", r.Bytes)
	}
}

func TestPeekVersion(t *testing.T) {
	// A record of the future may hold what this version does not know.
	data, err := EncodeCBOR(map[uint64]any{1: 7, 99: "new", 100: []any{1.5}})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := PeekVersion(data); v != 7 || err != nil {
		t.Errorf("got %d, %v", v, err)
	}
	if _, err := PeekVersion([]byte{0xff}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("garbage: %v", err)
	}
}

// FuzzDecodeCBOR: whatever decodes encodes to the same bytes.
func FuzzDecodeCBOR(f *testing.F) {
	for _, seed := range []string{"a102420a0b", "a2010002420a0b", "a202420a0b039b0000000100000000", wholeRecord} {
		data, err := hex.DecodeString(seed)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r record
		if DecodeCBOR(data, &r) != nil {
			return
		}
		again, err := EncodeCBOR(&r)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x decodes and encodes to %x, %v", data, again, err)
		}
	})
}
