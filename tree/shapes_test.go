package tree

import (
	"context"
	"slices"
	"testing"

	"bluesky/object"
)

// Where nodes end is format as much as the bytes in them. These are the roots
// of fixed trees with the default parameters, the hasher of these tests and
// plain BLAKE3 ids.
func TestShapesAreFrozen(t *testing.T) {
	ctx, p := context.Background(), DefaultParams()
	m := newMemory()
	dir, err := BuildDir(ctx, m, testHasher{}, p, numberedEntries(70_000)) // split twice
	if err != nil {
		t.Fatal(err)
	}
	list, err := buildFile(ctx, m, p, slices.Concat(numberedBlocks(5000), numberedBlocks(5000)))
	if err != nil {
		t.Fatal(err)
	}
	imap, err := buildMap(ctx, m, p, sparseInodes(5000))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		got  object.ID
		want string
	}{
		{"dir", dir, "41d89d7a5c18dd60d2d3d1763e92087ff13f554d41557326bf128977d431090a"},
		{"list", list.Root, "f806627cf09e2520f323090f21e74c2aa95e2281c598f673fa82800ad456d29b"},
		{"inode map", imap, "06e589c57bfd79b1dc829e237fc70f4c7fed84a0729fe5876483e2a1074e54b1"},
	} {
		if tt.got.String() != tt.want {
			t.Errorf("the %s is %s, want %s", tt.name, tt.got, tt.want)
		}
	}
	if m.added[object.KindDir] < 1+16+256 {
		t.Errorf("the directory takes %d objects: it is not split twice", m.added[object.KindDir])
	}
}
