package pack

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"bluesky/object"
)

func TestName(t *testing.T) {
	n, err := NewName(bytes.NewReader([]byte("\x3f\x9a0123456789abcd")))
	if err != nil {
		t.Fatal(err)
	}
	const want = "seg/3f/3f9a3031323334353637383961626364"
	if n.Key() != want {
		t.Errorf("key = %s, want %s", n.Key(), want)
	}
	if got, err := ParseKey(want); err != nil || got != n {
		t.Errorf("ParseKey = %v, %v", got, err)
	}
	if got, err := ParseName(n.String()); err != nil || got != n {
		t.Errorf("ParseName = %v, %v", got, err)
	}
	if _, err := NewName(bytes.NewReader(make([]byte, 15))); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("15 random bytes: error = %v, want unexpected EOF", err)
	}
}

func TestForeignKeys(t *testing.T) {
	for _, key := range []string{
		"", "seg/", "seg/3f", "seg/3f/", "seg/3f/3f9a",
		"seg/40/3f9a3031323334353637383961626364", // another folder
		"seg/3f/3F9A3031323334353637383961626364", // upper case
		"seg/3f/3f9a303132333435363738396162636g", // no hex digit
		"seg/3f/3f9a3031323334353637383961626364.tmp",
		"seg/3f-3f9a3031323334353637383961626364",
		"idx/3f/3f9a3031323334353637383961626364",
	} {
		if n, err := ParseKey(key); err == nil {
			t.Errorf("ParseKey(%q) = %v, want an error", key, n)
		}
	}
}

func TestSummerIsSumOf(t *testing.T) {
	m := newMaker(1)
	var sums summer
	for _, n := range []int{0, 1, 50, 3} {
		s := m.session(object.ClassMeta)
		o := m.object(object.KindInodes, s, 34+n*100, m.ids(n)...)
		if got, want := sums.sum(o.ID, o.Kind, o.Session, o.Refs, o.Bytes), o.Sum(); got != want {
			t.Errorf("%d refs: sum = %v, want %v", n, got, want)
		}
	}
}
