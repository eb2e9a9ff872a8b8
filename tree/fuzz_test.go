package tree

import (
	"bytes"
	"strings"
	"testing"

	"bluesky/object"
)

// fuzzKind holds a decoder to its promise: no panic, and what decodes encodes
// to the same bytes.
func fuzzKind(f *testing.F, kind string) {
	for name, b := range readVectors(f, "*-"+kind+"-*.hex") {
		if !strings.Contains(name, kind) {
			f.Fatalf("%s is not of kind %s", name, kind)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		refs, payload, ok := splitVector(b)
		if !ok {
			return
		}
		gotRefs, got, err := recode(kind, refs, payload)
		if err != nil {
			return
		}
		if !bytes.Equal(join(gotRefs, got), b) {
			t.Fatalf("encodes to %x, was %x", join(gotRefs, got), b)
		}
		if kind == "inodes" {
			var library []libraryInode
			if err := object.DecodeCBOR(payload, &library); err != nil {
				t.Fatalf("the library does not take it: %v", err)
			}
		}
	})
}

func FuzzInodes(f *testing.F)   { fuzzKind(f, "inodes") }
func FuzzDir(f *testing.F)      { fuzzKind(f, "dir") }
func FuzzList(f *testing.F)     { fuzzKind(f, "list") }
func FuzzImap(f *testing.F)     { fuzzKind(f, "imap") }
func FuzzSnapshot(f *testing.F) { fuzzKind(f, "snapshot") }
func FuzzSummary(f *testing.F)  { fuzzKind(f, "summary") }
