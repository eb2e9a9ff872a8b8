package tree

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"bluesky/object"
)

// edit draws what becomes of some numbers, and applies it to state.
func edit(t *rapid.T, p Params, state map[uint64]Inode) []Change {
	numbers := rapid.SliceOfNDistinct(rapid.Uint64Range(1, 500), 0, 30, rapid.ID[uint64]).Draw(t, "changed")
	if rapid.IntRange(0, 3).Draw(t, "remove a range") == 0 {
		low := rapid.Uint64Range(1, 500).Draw(t, "from")
		numbers = nil
		for n := low; n < low+rapid.Uint64Range(1, 400).Draw(t, "count"); n++ {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	remove := rapid.Bool().Draw(t, "remove all")
	var changes []Change
	for _, n := range numbers {
		if remove || rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
			delete(state, n)
			changes = append(changes, Change{Number: n})
			continue
		}
		in := genInode(n, p).Draw(t, "inode")
		state[n] = in
		changes = append(changes, Change{n, &in})
	}
	return changes
}

func changesOf(changes []Change) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		for _, c := range changes {
			if !yield(c, nil) {
				return
			}
		}
	}
}

func sortedState(state map[uint64]Inode) []Inode {
	var inodes []Inode
	for _, n := range slices.Sorted(maps.Keys(state)) {
		inodes = append(inodes, state[n])
	}
	return inodes
}

// Whatever edits lead to a state, updating gives the map that building gives,
// Diff finds the changes, and nothing that stays is stored again.
func TestUpdateEqualsBuild(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		p := testParams()
		p.LeafBits = rapid.IntRange(1, 4).Draw(t, "leaf bits")
		m := newMemory()
		state := make(map[uint64]Inode)
		for _, in := range genInodes(1, 200, p).Draw(t, "inodes") {
			state[in.Number] = in
		}
		old := mustBuild(t, m, p, sortedState(state))
		for range rapid.IntRange(1, 3).Draw(t, "edits") {
			before := maps.Clone(state)
			changes := edit(t, p, state)
			if len(state) == 0 {
				if _, err := Update(ctx, old, m, changesOf(changes)); err == nil {
					t.Fatal("an empty map is made")
				}
				return
			}
			root, err := Update(ctx, old, m, changesOf(changes))
			if err != nil {
				t.Fatal(err)
			}
			want, err := buildMap(ctx, newMemory(), p, sortedState(state))
			if err != nil {
				t.Fatal(err)
			}
			if root != want {
				t.Fatalf("Update gives %s, building %s", root.Short(), want.Short())
			}
			updated := OpenMap(m, testHasher{}, p, root)
			checkDiff(t, old, updated, before, state)
			old = updated
		}
	})
}

func checkDiff(t *rapid.T, old, new *Map, before, after map[uint64]Inode) {
	got := make(map[uint64]Delta)
	last := uint64(0)
	for d, err := range Diff(context.Background(), old, new) {
		if err != nil {
			t.Fatal(err)
		}
		if d.Number <= last {
			t.Fatalf("Diff yields %d after %d", d.Number, last)
		}
		last = d.Number
		got[d.Number] = d
	}
	for n := range uint64(1000) {
		a, inA := before[n]
		b, inB := after[n]
		d, differs := got[n]
		if want := inA != inB || inA && !a.Equal(&b); want != differs {
			t.Fatalf("Diff has inode %d: %v, want %v", n, differs, want)
		}
		if differs && (inA != (d.Old != nil) || inB != (d.New != nil) || inA && !d.Old.Equal(&a) || inB && !d.New.Equal(&b)) {
			t.Fatalf("Diff of inode %d is %v, want %v and %v", n, d, a, b)
		}
	}
}

// Updating and comparing cost what changes, not what is there.
func TestUpdateIsLocal(t *testing.T) {
	ctx, p, m := context.Background(), DefaultParams(), newMemory()
	inodes := sparseInodes(50_000)
	old := mustBuild(t, m, p, inodes)
	leaves := m.added[object.KindInodes]
	changed := typicalInode(300_001)
	changed.Mode = 0o600
	added := typicalInode(250_002)
	for name, changes := range map[string][]Change{
		"change": {{changed.Number, &changed}},
		"add":    {{added.Number, &added}},
		"remove": {{100_001, nil}},
		"first":  {{1, nil}},
		"last":   {{inodes[len(inodes)-1].Number, nil}},
		"append": {{1 << 40, &Inode{Number: 1 << 40, Type: TypeFIFO}}},
	} {
		m.forgetCounts()
		root, err := Update(ctx, old, m, changesOf(changes))
		if err != nil {
			t.Fatal(err)
		}
		gets, puts := m.gets[object.KindInodes], m.puts[object.KindInodes]
		if gets > 3 || puts > 4 || m.gets[object.KindImap] > 8 || m.puts[object.KindImap] > 8 {
			t.Errorf("%s: of %d leaves, reads %v and stores %v", name, leaves, m.gets, m.puts)
		}
		m.forgetCounts()
		n := 0
		for _, err := range Diff(ctx, OpenMap(m, testHasher{}, p, old.Root()), OpenMap(m, testHasher{}, p, root)) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != 1 || m.gets[object.KindInodes] > 6 {
			t.Errorf("%s: Diff yields %d and reads %v", name, n, m.gets)
		}
	}
}

// A leaf that ended because the next inode did not fit ends elsewhere when
// that one shrinks, though none of its own inodes changes.
func TestUpdateOfForcedBoundary(t *testing.T) {
	ctx, p, m := context.Background(), testParams(), newMemory()
	p.LeafBits = 16
	var inodes []Inode
	for n := uint64(1); n <= 40; n++ {
		in := typicalInode(n)
		in.Xattrs = []Xattr{{Name: "user.x", Value: make([]byte, 185)}}
		inodes = append(inodes, in)
	}
	old := mustBuild(t, m, p, inodes)
	_, root, err := old.open(ctx)
	if err != nil || len(root.children) < 3 {
		t.Fatalf("%d leaves, %v", len(root.children), err)
	}
	n := root.children[1].first
	inodes[n-1] = Inode{Number: n, Type: TypeFIFO}
	got, err := Update(ctx, old, m, changesOf([]Change{{n, &inodes[n-1]}}))
	if err != nil {
		t.Fatal(err)
	}
	want := mustBuild(t, m, p, inodes)
	if got != want.Root() {
		t.Fatalf("got %s, want %s", got.Short(), want.Root().Short())
	}
	_, root, err = want.open(ctx)
	if err != nil || root.children[1].first == n {
		t.Fatalf("the boundary has not moved: the case shows nothing (%v)", err)
	}
}

func TestUpdateRefuses(t *testing.T) {
	ctx, p, m := context.Background(), testParams(), newMemory()
	old := mustBuild(t, m, p, sparseInodes(100))
	five, broken := typicalInode(5), typicalInode(6)
	broken.Mode = 1 << 20
	boom := errors.New("boom")
	for name, changes := range map[string]iter.Seq2[Change, error]{
		"disorder":              changesOf([]Change{{6, nil}, {5, &five}}),
		"twice":                 changesOf([]Change{{5, nil}, {5, &five}}),
		"number 0":              changesOf([]Change{{0, nil}}),
		"two numbers":           changesOf([]Change{{6, &five}}),
		"an inode that is none": changesOf([]Change{{6, &broken}}),
		"an error":              func(yield func(Change, error) bool) { _ = yield(Change{5, &five}, nil) && yield(Change{}, boom) },
	} {
		if _, err := Update(ctx, old, m, changes); err == nil {
			t.Errorf("%s: Update takes it", name)
		}
	}
	if root, err := Update(ctx, old, m, changesOf(nil)); err != nil || root != old.Root() {
		t.Errorf("no changes give %s, %v, want %s", root.Short(), err, old.Root().Short())
	}
}

// If only the last child of a root is left and has one child itself, it is not
// the root: the way down to where it divides is left out.
func TestUpdateLeavesNoChainOfNodes(t *testing.T) {
	ctx, p := context.Background(), DefaultParams()
	p.LeafBits = 1
	chains := 0
	for n := 20; n < 200; n++ {
		m := newMemory()
		inodes := sparseInodes(n)
		old := mustBuild(t, m, p, inodes)
		s, root, err := old.open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		last := s.child(root, len(root.children)-1)
		if last.level < 2 {
			continue
		}
		node, err := old.load(ctx, last, false)
		if err != nil {
			t.Fatal(err)
		}
		if len(node.children) == 1 {
			chains++
		}
		var changes []Change
		kept := inodes
		for kept[0].Number < last.first {
			changes = append(changes, Change{Number: kept[0].Number})
			kept = kept[1:]
		}
		got, err := Update(ctx, old, m, changesOf(changes))
		if err != nil {
			t.Fatal(err)
		}
		if want := mustBuild(t, m, p, kept).Root(); got != want {
			t.Errorf("of %d inodes, %d are left: Update gives %s, building %s", n, len(kept), got.Short(), want.Short())
		}
	}
	if chains == 0 {
		t.Error("no map ended with a chain: the case shows nothing")
	}
}
