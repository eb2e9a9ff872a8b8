package tree

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bluesky/object"
)

// buildFile makes an inode with the given blocks as content.
func buildFile(ctx context.Context, sink Sink, p Params, blocks []Extent) (Inode, error) {
	b := NewListBuilder(sink, p)
	for _, e := range blocks {
		if err := b.Add(ctx, e.Block, e.Length); err != nil {
			return Inode{}, err
		}
	}
	extents, root, err := b.Finish(ctx)
	return Inode{Number: 2, Type: TypeFile, Size: b.Length(), Extents: extents, Root: root}, err
}

func numberedBlocks(n int) []Extent {
	blocks := make([]Extent, n)
	for i := range blocks {
		blocks[i] = Extent{Block: testID(uint64(i)), Length: 1 + uint64(i)}
	}
	return blocks
}

func TestListRoundTrip(t *testing.T) {
	ctx, p := context.Background(), testParams()
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory()
		numbers := rapid.SliceOfN(rapid.Uint64Range(0, 20), 0, 200).Draw(t, "blocks")
		blocks := make([]Extent, len(numbers))
		for i, n := range numbers {
			blocks[i] = Extent{Block: testID(n), Length: n + 1}
		}
		in, err := buildFile(ctx, m, p, blocks)
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Check(&p); err != nil {
			t.Fatal(err)
		}
		if got := in.Root.IsZero(); got != (len(blocks) <= p.ExtentsMax) {
			t.Fatalf("%d blocks, and a list is %v", len(blocks), !got)
		}
		if got := collect(t, Content(ctx, m, p, &in)); !slices.Equal(got, blocks) {
			t.Fatalf("got %v, want %v", got, blocks)
		}
	})
}

// One block that repeats is the worst case of a cut by id: each list would end
// after every entry.
func TestListOfOneBlock(t *testing.T) {
	ctx, p := context.Background(), testParams()
	block := testID(0)
	for !listEnds(&p, &block, 2) {
		block[0]++
	}
	for _, n := range []int{5, 64, 1000, 1001} {
		m := newMemory()
		blocks := slices.Repeat([]Extent{{Block: block, Length: 7}}, n)
		in, err := buildFile(ctx, m, p, blocks)
		if err != nil {
			t.Fatal(err)
		}
		if got := collect(t, Content(ctx, m, p, &in)); !slices.Equal(got, blocks) {
			t.Fatalf("%d blocks come back as %d", n, len(got))
		}
	}
}

// Changing, inserting or removing a block stores few lists again.
func TestListIsLocal(t *testing.T) {
	ctx, p, m := context.Background(), DefaultParams(), newMemory()
	blocks := numberedBlocks(10_000)
	if _, err := buildFile(ctx, m, p, blocks); err != nil {
		t.Fatal(err)
	}
	all := m.added[object.KindList]
	if all < 100 {
		t.Fatalf("10,000 blocks take %d lists", all)
	}
	new := Extent{Block: testID(1 << 40), Length: 9}
	for name, edited := range map[string][]Extent{
		"change": slices.Replace(slices.Clone(blocks), 5000, 5001, new),
		"insert": slices.Insert(slices.Clone(blocks), 5000, new),
		"remove": slices.Delete(slices.Clone(blocks), 5000, 5001),
		"append": append(slices.Clone(blocks), new),
	} {
		m.forgetCounts()
		if _, err := buildFile(ctx, m, p, edited); err != nil {
			t.Fatal(err)
		}
		if got := m.added[object.KindList]; got > 6 {
			t.Errorf("%s: %d of %d lists are stored again", name, got, all)
		}
	}
}

func TestListBuilderRefuses(t *testing.T) {
	ctx, p := context.Background(), testParams()
	b := NewListBuilder(newMemory(), p)
	if err := b.Add(ctx, object.ID{}, 1); err == nil {
		t.Error("a block without an id is taken")
	}
	if err := b.Add(ctx, testID(1), 0); err == nil {
		t.Error("an empty block is taken")
	}
	if err := b.Add(ctx, testID(1), object.MaxPayload+1); err == nil {
		t.Error("a block that is too large is taken")
	}
}

func forgeList(t *testing.T, m *memory, node listNode) object.ID {
	t.Helper()
	refs, payload := node.encode()
	id, err := m.Put(context.Background(), object.KindList, refs, payload)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestForgedListIsCorrupt(t *testing.T) {
	ctx, p, m := context.Background(), testParams(), newMemory()
	var ends, goes []listEntry // blocks that end a list, and that do not
	for i := uint64(0); len(ends) < 8 || len(goes) < 8; i++ {
		e := listEntry{testID(i), 10}
		if listEnds(&p, &e.id, 2) {
			ends = append(ends, e)
		} else {
			goes = append(goes, e)
		}
	}
	full := func(n int, last listEntry) listNode {
		return listNode{0, append(slices.Clone(goes[:n-1]), last)}
	}
	above := func(level int, nodes ...listNode) listNode {
		top := listNode{level: level}
		for _, n := range nodes {
			top.entries = append(top.entries, listEntry{forgeList(t, m, n), n.sum()})
		}
		return top
	}
	first := full(5, ends[0])
	tests := []struct {
		name  string
		root  listNode
		extra uint64 // bytes that the inode claims beyond the list
		ok    bool
	}{
		{"right", full(6, goes[7]), 0, true},
		{"right, with a long root", above(1, first, full(2, goes[6])), 0, true},
		{"wrong length", full(6, goes[7]), 1, false},
		{"few blocks", full(4, goes[7]), 0, false},
		{"should have ended", listNode{0, slices.Insert(slices.Clone(goes[:6]), 3, ends[1])}, 0, false},
		{"ends too early", above(1, full(5, goes[7]), full(2, goes[6])), 0, false},
		{"a root above one list", above(1, full(6, goes[7])), 0, false},
		{"a level left out", above(2, first, full(2, goes[6])), 0, false},
		{"a block too long", listNode{0, append(slices.Clone(goes[:5]), listEntry{goes[6].id, 16<<20 + 1})}, 0, false},
		{"an empty block", listNode{0, append(slices.Clone(goes[:5]), listEntry{goes[6].id, 0})}, 0, false},
		{"a sum that overflows", listNode{1, []listEntry{{goes[0].id, math.MaxUint64}, {goes[1].id, 11}}}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := Inode{Number: 2, Type: TypeFile, Size: tt.root.sum() + tt.extra, Root: forgeList(t, m, tt.root)}
			var got error
			sum := uint64(0)
			for e, err := range Content(ctx, m, p, &in) {
				sum += e.Length
				got = err
			}
			if tt.ok && got != nil || !tt.ok && !errors.Is(got, ErrCorrupt) {
				t.Errorf("got %v, want ok = %v", got, tt.ok)
			}
			if sum > in.Size {
				t.Errorf("%d bytes are yielded for a file of %d", sum, in.Size)
			}
		})
	}
}

func TestContentPassesErrorsOn(t *testing.T) {
	ctx, p := context.Background(), testParams()
	in, err := buildFile(ctx, newMemory(), p, numberedBlocks(50))
	if err != nil {
		t.Fatal(err)
	}
	var got error
	for _, err := range Content(ctx, newMemory(), p, &in) {
		got = err
	}
	if !errors.Is(got, errNoObject) {
		t.Fatalf("got %v, want %v", got, errNoObject)
	}
}
