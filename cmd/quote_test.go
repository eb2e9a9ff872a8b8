package cmd

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestQuote(t *testing.T) {
	tests := []struct {
		name          string
		in            string
		quoted, plain string // of quote and of printable
	}{
		{"plain", "/home/a b/ä/日本", "/home/a b/ä/日本", "/home/a b/ä/日本"},
		{"backslash", `a\b`, `a\b`, `a\b`},
		{"escape sequence", "a\x1b[31mb", `"a\x1b[31mb"`, `a\x1b[31mb`},
		{"line feed", "a\nb", `"a\nb"`, `a\nb`},
		{"not UTF-8", "a\xffb", `"a\xffb"`, `a\xffb`},
		{"a truncated character", "a\xe2\x82", `"a\xe2\x82"`, `a\xe2\x82`},
		{"C1 control", "a\u009bb", `"a\u009bb"`, `a\u009bb`},
		{"right to left override", "a\u202eb", `"a\u202eb"`, `a\u202eb`},
		{"no-break space", "a\u00a0b", `"a\u00a0b"`, `a\u00a0b`},
		{"replacement character", "a\ufffdb", "a\ufffdb", "a\ufffdb"},
		{"empty", "", `""`, ""},
		{"blank in front", " a", `" a"`, " a"},
		{"blank behind", "a ", `"a "`, "a "},
		{"already in quotes", `"a"`, `"\"a\""`, `"a"`},
		{"DEL", "a\x7f", `"a\x7f"`, `a\x7f`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := quote(tt.in); got != tt.quoted {
				t.Errorf("quote: got %s, want %s", got, tt.quoted)
			}
			if got := printable(tt.in); got != tt.plain {
				t.Errorf("printable: got %s, want %s", got, tt.plain)
			}
		})
	}
}

func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"", "a b", "\x1b]0;x\a", "\xff\xfe", "\"", "\u202e", "\ufffd", "e\u0301"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		for _, got := range []string{quote(name), printable(name)} {
			if !utf8.ValidString(got) {
				t.Fatalf("%q became %q, which is not UTF-8", name, got)
			}
			if i := strings.IndexFunc(got, func(r rune) bool { return !strconv.IsPrint(r) }); i >= 0 {
				t.Fatalf("%q became %q, with something unprintable at %d", name, got, i)
			}
		}
		// What quote gives leads back to the name, so no two look the same.
		back := quote(name)
		if strings.HasPrefix(back, `"`) {
			var err error
			if back, err = strconv.Unquote(back); err != nil {
				t.Fatal(err)
			}
		}
		if back != name {
			t.Errorf("%q became %s", name, quote(name))
		}
		if again := printable(printable(name)); again != printable(name) {
			t.Errorf("printable changes its own result for %q", name)
		}
	})
}
