package tree

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"bluesky/object"
)

func numberedEntries(n int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{fmt.Sprintf("name-%05d", i), uint64(i + 2), Type(1 + i%7)}
	}
	return entries
}

func genEntries() *rapid.Generator[[]Entry] {
	return rapid.Custom(func(t *rapid.T) []Entry {
		name := rapid.Map(rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 6), func(b []byte) string { return string(b) }).
			Filter(func(s string) bool { return CheckName(s) == nil })
		names := rapid.SliceOfNDistinct(name, 0, 60, rapid.ID[string]).Draw(t, "names")
		entries := make([]Entry, len(names))
		for i, n := range names {
			entries[i] = Entry{n, rapid.Uint64Range(2, 1<<40).Draw(t, "number"), Type(rapid.IntRange(1, 7).Draw(t, "type"))}
		}
		return entries
	})
}

func collect[T any](t interface{ Fatal(...any) }, seq func(func(T, error) bool)) []T {
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// A directory gives back its entries, whichever way it is read, and is the
// same object whatever order they came in.
func TestDirIsAFunctionOfItsEntries(t *testing.T) {
	ctx, p := context.Background(), testParams()
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory()
		want := genEntries().Draw(t, "entries")
		shuffled := rapid.Permutation(want).Draw(t, "order")
		id, err := BuildDir(ctx, m, testHasher{}, p, slices.Clone(want))
		if err != nil {
			t.Fatal(err)
		}
		again, err := BuildDir(ctx, m, testHasher{}, p, slices.Clone(shuffled))
		if err != nil || again != id {
			t.Fatalf("another order gives %s, %v, not %s", again.Short(), err, id.Short())
		}
		slices.SortFunc(want, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
		got, err := ReadDir(ctx, m, testHasher{}, p, id)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("ReadDir gives %v, %v, want %v", got, err, want)
		}
		for window := 1; window <= 64; window *= 4 {
			if got := collect(t, sortedEntries(ctx, m, testHasher{}, p, id, window)); !slices.Equal(got, want) {
				t.Fatalf("sorted by %d: %v, want %v", window, got, want)
			}
		}
		for _, e := range want {
			got, ok, err := Lookup(ctx, m, testHasher{}, p, id, e.Name)
			if err != nil || !ok || got != e {
				t.Fatalf("Lookup(%q) gives %v, %v, %v, want %v", e.Name, got, ok, err, e)
			}
		}
		if _, ok, err := Lookup(ctx, m, testHasher{}, p, id, "no such name"); ok || err != nil {
			t.Fatalf("Lookup of a name that is not there gives %v, %v", ok, err)
		}
	})
}

// A change of one entry of a split directory stores the way down to it again
// and nothing else.
func TestDirSplitIsLocal(t *testing.T) {
	ctx, p, m := context.Background(), DefaultParams(), newMemory()
	entries := numberedEntries(20_000)
	if _, err := BuildDir(ctx, m, testHasher{}, p, entries); err != nil {
		t.Fatal(err)
	}
	if got := m.added[object.KindDir]; got != 17 {
		t.Fatalf("20,000 entries take %d objects, want a split and 16 parts", got)
	}
	m.forgetCounts()
	entries[777].Number = 1 << 30
	if _, err := BuildDir(ctx, m, testHasher{}, p, entries); err != nil {
		t.Fatal(err)
	}
	if got := m.added[object.KindDir]; got != 2 {
		t.Fatalf("changing one entry adds %d objects, want 2", got)
	}
}

func TestLookupReadsOnlyTheWay(t *testing.T) {
	ctx, p, m := context.Background(), testParams(), newMemory()
	id, err := BuildDir(ctx, m, testHasher{}, p, numberedEntries(1000))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := Lookup(ctx, m, testHasher{}, p, id, "name-00500"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if got := m.gets[object.KindDir]; got > 5 {
		t.Fatalf("Lookup in 1,000 entries, 8 a part, reads %d nodes", got)
	}
}

func TestBuildDirRefuses(t *testing.T) {
	ctx, p := context.Background(), testParams()
	for name, entries := range map[string][]Entry{
		"empty name":    {{"", 2, TypeFile}},
		"dot":           {{".", 2, TypeFile}},
		"dot dot":       {{"..", 2, TypeFile}},
		"slash":         {{"a/b", 2, TypeFile}},
		"NUL":           {{"a\x00", 2, TypeFile}},
		"long name":     {{strings.Repeat("x", 256), 2, TypeFile}},
		"number 0":      {{"a", 0, TypeFile}},
		"the root":      {{"a", 1, TypeDir}},
		"type 0":        {{"a", 2, 0}},
		"type 8":        {{"a", 2, 8}},
		"the same name": {{"a", 2, TypeFile}, {"a", 3, TypeFile}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := BuildDir(ctx, newMemory(), testHasher{}, p, slices.Clone(entries)); err == nil {
				t.Error("BuildDir takes it")
			}
			if _, err := decodeDir(nil, encodeEntries(entries), &p); !errors.Is(err, ErrCorrupt) {
				t.Errorf("decodeDir gives %v", err)
			}
		})
	}
}

// forgeDir stores a node as it is.
func forgeDir(t *testing.T, m *memory, node dirNode) object.ID {
	t.Helper()
	refs, payload := node.encode()
	id, err := m.Put(context.Background(), object.KindDir, refs, payload)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// forgedSplits are directories that no builder makes.
func forgedSplits(t *testing.T, m *memory, p Params) map[string]object.ID {
	parts := make(map[int][]Entry)
	for _, e := range numberedEntries(3 * p.DirMax) {
		hash := testHasher{}.NameHash([]byte(e.Name))
		s := slot(&hash, 0)
		if len(parts[s]) < p.DirMax {
			parts[s] = append(parts[s], e)
		}
	}
	split := func(edit func(parts map[int][]Entry)) dirNode {
		parts := maps.Clone(parts)
		edit(parts)
		node := dirNode{split: true}
		for s, entries := range parts {
			node.children[s] = forgeDir(t, m, dirNode{entries: entries})
		}
		return node
	}
	good := split(func(map[int][]Entry) {})
	if _, err := ReadDir(context.Background(), m, testHasher{}, p, forgeDir(t, m, good)); err != nil {
		t.Fatalf("the forger cannot write: %v", err)
	}
	wrongLevel := good
	wrongLevel.level = 1
	deep := dirNode{split: true, level: 1}
	deep.children[3] = forgeDir(t, m, good)
	return map[string]object.ID{
		"names in the wrong slot": forgeDir(t, m, split(func(parts map[int][]Entry) {
			parts[3], parts[4] = parts[4], parts[3]
		})),
		"an empty part": forgeDir(t, m, split(func(parts map[int][]Entry) { parts[5] = nil })),
		"too few entries": forgeDir(t, m, split(func(parts map[int][]Entry) {
			for s := range parts {
				if len(parts) > 1 {
					delete(parts, s)
				}
			}
		})),
		"the wrong level":  forgeDir(t, m, wrongLevel),
		"levels backwards": forgeDir(t, m, deep),
	}
}

func TestForgedSplitIsCorrupt(t *testing.T) {
	ctx, p, m := context.Background(), testParams(), newMemory()
	for name, id := range forgedSplits(t, m, p) {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadDir(ctx, m, testHasher{}, p, id); !errors.Is(err, ErrCorrupt) {
				t.Errorf("ReadDir gives %v, want %v", err, ErrCorrupt)
			}
			for _, err := range SortedEntries(ctx, m, testHasher{}, p, id) {
				if err != nil && !errors.Is(err, ErrCorrupt) {
					t.Errorf("SortedEntries gives %v, want %v", err, ErrCorrupt)
				}
			}
		})
	}
}

func TestEntriesStopsWhenAsked(t *testing.T) {
	ctx, p, m := context.Background(), testParams(), newMemory()
	id, err := BuildDir(ctx, m, testHasher{}, p, numberedEntries(100))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range Entries(ctx, m, testHasher{}, p, id) {
		if n++; n == 10 {
			break
		}
	}
	for range SortedEntries(ctx, m, testHasher{}, p, id) {
		if n++; n == 20 {
			break
		}
	}
	if n != 20 {
		t.Fatalf("%d entries, want 20", n)
	}
}
