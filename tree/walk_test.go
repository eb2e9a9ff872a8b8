package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bluesky/object"
)

// A world is a tree in the making: directories by number, and their entries.
type world struct {
	m       *memory
	p       Params
	entries map[uint64][]Entry
	others  []Inode // of which no directory is made
}

func newWorld() *world {
	return &world{m: newMemory(), p: testParams(), entries: map[uint64][]Entry{1: nil}}
}

// open stores the world.
func (w *world) open(t interface {
	Helper()
	Fatal(...any)
}) *Map {
	t.Helper()
	ctx := context.Background()
	inodes := slices.Clone(w.others)
	for n, entries := range w.entries {
		root, err := BuildDir(ctx, w.m, testHasher{}, w.p, slices.Clone(entries))
		if err != nil {
			t.Fatal(err)
		}
		in := Inode{Number: n, Type: TypeDir, Mode: 0o755, Root: root}
		if n == RootNumber {
			in.Marks = MarkWaypoint
		}
		inodes = append(inodes, in)
	}
	slices.SortFunc(inodes, func(a, b Inode) int { return compareNumbers(a.Number, b.Number) })
	return mustBuild(t, w.m, w.p, inodes)
}

func walkAll(m *Map) (visited []string, err error) {
	err = Walk(context.Background(), m, func(path []string, in *Inode) error {
		visited = append(visited, fmt.Sprintf("/%s %d", strings.Join(path, "/"), in.Number))
		return nil
	})
	return visited, err
}

func smallWorld() *world {
	w := newWorld()
	w.entries[1] = []Entry{{"b", 2, TypeDir}, {"a", 3, TypeFIFO}, {"c", 5, TypeSymlink}}
	w.entries[2] = []Entry{{"a", 4, TypeDir}, {"B", 3, TypeFIFO}, {"\xff", 3, TypeFIFO}}
	w.entries[4] = []Entry{}
	w.others = []Inode{{Number: 3, Type: TypeFIFO}, {Number: 5, Type: TypeSymlink, Target: "b"}}
	return w
}

func TestWalk(t *testing.T) {
	got, err := walkAll(smallWorld().open(t))
	want := []string{"/ 1", "/a 3", "/b 2", "/b/B 3", "/b/a 4", "/b/\xff 3", "/c 5"}
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func TestWalkSkipsAndStops(t *testing.T) {
	m := smallWorld().open(t)
	var got []string
	boom := errors.New("boom")
	err := Walk(context.Background(), m, func(path []string, in *Inode) error {
		got = append(got, strings.Join(path, "/"))
		switch {
		case in.Number == 2:
			return SkipDir
		case in.Number == 5:
			return boom
		}
		return nil
	})
	if want := []string{"", "a", "b", "c"}; !errors.Is(err, boom) || !slices.Equal(got, want) {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := Walk(ctx, m, func([]string, *Inode) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want %v", err, context.Canceled)
	}
}

func TestWalkOfNoTree(t *testing.T) {
	tests := []struct {
		name string
		edit func(*world)
	}{
		{"an entry of no inode", func(w *world) { w.entries[4] = []Entry{{"x", 99, TypeFIFO}} }},
		{"an entry of another type", func(w *world) { w.entries[4] = []Entry{{"x", 3, TypeFile}} }},
		{"a directory with two parents", func(w *world) { w.entries[1] = append(w.entries[1], Entry{"z", 4, TypeDir}) }},
		{"a directory with two names", func(w *world) { w.entries[2] = append(w.entries[2], Entry{"z", 4, TypeDir}) }},
		{"a cycle", func(w *world) { w.entries[4] = []Entry{{"up", 2, TypeDir}} }},
		{"a directory in itself", func(w *world) { w.entries[4] = []Entry{{"self", 4, TypeDir}} }},
		{"too many names", func(w *world) {
			for n := uint64(10); n < 10+MaxDepth; n++ {
				w.entries[n] = []Entry{{"d", n + 1, TypeDir}}
			}
			w.entries[10+MaxDepth] = nil
			w.entries[4] = []Entry{{"d", 10, TypeDir}}
		}},
		{"no root", func(w *world) { delete(w.entries, 1) }},
		{"a root that is no directory", func(w *world) {
			delete(w.entries, 1)
			w.others = append(w.others, Inode{Number: 1, Type: TypeFIFO})
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := smallWorld()
			tt.edit(w)
			if _, err := walkAll(w.open(t)); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("got %v, want %v", err, ErrCorrupt)
			}
		})
	}
}

func TestWalkReachesTheDepthLimit(t *testing.T) {
	w := newWorld()
	for n := uint64(1); n <= MaxDepth; n++ {
		w.entries[n] = []Entry{{"d", n + 1, TypeDir}}
	}
	w.entries[MaxDepth+1] = nil
	visited, err := walkAll(w.open(t))
	if err != nil || len(visited) != MaxDepth+1 {
		t.Fatalf("%d visited, %v, want %d", len(visited), err, MaxDepth+1)
	}
}

// Walk visits every path of a random tree once, in order, and Resolve finds
// each of them.
func TestWalkVisitsAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		want := []string{"/ 1"}
		paths := map[uint64]string{1: ""}
		dirs := []uint64{1}
		for n := uint64(2); n < rapid.Uint64Range(2, 80).Draw(t, "inodes"); n++ {
			parent := rapid.SampledFrom(dirs).Draw(t, "parent")
			e := Entry{fmt.Sprintf("%c%d", 'A'+byte(n*7%50), n), n, TypeFIFO}
			if rapid.Bool().Draw(t, "directory") {
				e.Type = TypeDir
				w.entries[n] = nil
				dirs = append(dirs, n)
			} else {
				w.others = append(w.others, Inode{Number: n, Type: TypeFIFO})
			}
			w.entries[parent] = append(w.entries[parent], e)
			paths[n] = paths[parent] + "/" + e.Name
			want = append(want, fmt.Sprintf("%s %d", paths[n], n))
		}
		m := w.open(t)
		got, err := walkAll(m)
		// Depth first is the order of the lists of names, not of joined paths.
		slices.SortFunc(want, func(a, b string) int {
			return slices.Compare(strings.Split(strings.TrimPrefix(strings.Fields(a)[0], "/"), "/"),
				strings.Split(strings.TrimPrefix(strings.Fields(b)[0], "/"), "/"))
		})
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %q, %v\nwant %q", got, err, want)
		}
		for n, path := range paths {
			if path == "" {
				path = "/"
			}
			names, err := SplitPath(path)
			if err != nil {
				t.Fatal(err)
			}
			in, err := m.Resolve(context.Background(), names)
			if err != nil || in.Number != n {
				t.Fatalf("Resolve(%q) gives inode %d, %v, want %d", path, in.Number, err, n)
			}
		}
	})
}

func TestResolve(t *testing.T) {
	m := smallWorld().open(t)
	for _, path := range [][]string{{"x"}, {"a", "x"}, {"c", "a"}, {"b", "b"}} {
		if _, err := m.Resolve(context.Background(), path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Resolve(%q) gives %v, want %v", path, err, fs.ErrNotExist)
		}
	}
}

func TestNumberSet(t *testing.T) {
	var s numberSet
	numbers := []uint64{0, 1, 63, 64, 511, 512, 1 << 40, 1<<64 - 1}
	for _, n := range numbers {
		if !s.add(n) {
			t.Errorf("%d is there before it is added", n)
		}
	}
	for _, n := range numbers {
		if s.add(n) {
			t.Errorf("%d is not there after it is added", n)
		}
	}
}

func TestXattr(t *testing.T) {
	ctx, p, m := context.Background(), DefaultParams(), newMemory()
	for _, n := range []int{0, 1, 256, 257, MaxXattr} {
		x, err := StoreXattr(ctx, m, p, "user.x", make([]byte, n))
		if err != nil {
			t.Fatal(err)
		}
		if got := !x.Block.IsZero(); got != (n > p.XattrInline) {
			t.Errorf("%d bytes in a block: %v", n, got)
		}
		value, err := x.Load(ctx, m, p)
		if err != nil || len(value) != n {
			t.Errorf("%d bytes come back as %d, %v", n, len(value), err)
		}
	}
	if _, err := StoreXattr(ctx, m, p, "user.x", make([]byte, MaxXattr+1)); err == nil {
		t.Error("a value that is too long is stored")
	}
	for _, n := range []int{0, 256, MaxXattr + 1} {
		id, err := m.Put(ctx, object.KindBlock, nil, make([]byte, n))
		if err != nil {
			t.Fatal(err)
		}
		x := Xattr{Name: "user.x", Block: id}
		if _, err := x.Load(ctx, m, p); !errors.Is(err, ErrCorrupt) {
			t.Errorf("a block of %d bytes gives %v, want %v", n, err, ErrCorrupt)
		}
	}
}
