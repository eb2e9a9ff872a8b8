package backup

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"bluesky/object"
	"bluesky/snapshot"
	"bluesky/tree"
)

// numbers returns the inode numbers of a snapshot by path below root.
func (b *bed) numbers(t testing.TB, s *snapshot.Snapshot, root string) map[string]uint64 {
	t.Helper()
	m, _ := b.tree(s)
	numbers := map[string]uint64{}
	must(t, tree.Walk(t.Context(), m, func(path []string, in *tree.Inode) error {
		full := "/" + strings.Join(path, "/")
		if rest, ok := strings.CutPrefix(full, root+"/"); ok {
			numbers[rest] = in.Number
		}
		return nil
	}))
	return numbers
}

// What becomes of the numbers when files change between two backups. Every
// case is compared with the disk too, and with a map that has no orphans.
func TestNumbersFollowPaths(t *testing.T) {
	at := func(root string) func(string) string {
		return func(name string) string { return filepath.Join(root, name) }
	}
	tests := []struct {
		name          string
		before, after func(t *testing.T, in func(string) string)
		first, second []string // sources; nil is the root
		same          string   // names that keep their number
		fresh         string   // names that get one above all of the parent's
	}{
		{
			name:   "content",
			before: func(t *testing.T, in func(string) string) { write(t, in("a"), "1"); write(t, in("b"), "1") },
			after:  func(t *testing.T, in func(string) string) { write(t, in("a"), "2") },
			same:   "a b",
		},
		{
			name:   "renamed",
			before: func(t *testing.T, in func(string) string) { write(t, in("a"), "1"); write(t, in("b"), "1") },
			after:  func(t *testing.T, in func(string) string) { must(t, os.Rename(in("a"), in("c"))) },
			same:   "b", fresh: "c",
		},
		{
			name:   "swapped",
			before: func(t *testing.T, in func(string) string) { write(t, in("a"), "1"); write(t, in("b"), "22") },
			after: func(t *testing.T, in func(string) string) {
				must(t, os.Rename(in("a"), in("c")), os.Rename(in("b"), in("a")), os.Rename(in("c"), in("b")))
			},
			same: "a b",
		},
		{
			name:   "file to folder",
			before: func(t *testing.T, in func(string) string) { write(t, in("a"), "1"); write(t, in("b"), "1") },
			after: func(t *testing.T, in func(string) string) {
				must(t, os.Remove(in("a")))
				write(t, in("a/x/y"), "1")
			},
			same: "a b", fresh: "a/x a/x/y",
		},
		{
			name:   "folder to file",
			before: func(t *testing.T, in func(string) string) { write(t, in("a/x/y"), "1"); write(t, in("b"), "1") },
			after: func(t *testing.T, in func(string) string) {
				must(t, os.RemoveAll(in("a")))
				write(t, in("a"), "1")
			},
			same: "a b",
		},
		{
			name:   "folder to link",
			before: func(t *testing.T, in func(string) string) { write(t, in("a/x/y"), "1"); write(t, in("b/z"), "1") },
			after: func(t *testing.T, in func(string) string) {
				must(t, os.RemoveAll(in("a")), os.Symlink("b", in("a")))
			},
			same: "a b b/z",
		},
		{
			name:   "links formed",
			before: func(t *testing.T, in func(string) string) { write(t, in("b"), "1") },
			after: func(t *testing.T, in func(string) string) {
				must(t, os.Link(in("b"), in("c")), os.Mkdir(in("d"), 0o755), os.Link(in("b"), in("d/e")))
			},
			same: "b", fresh: "d",
		},
		{
			name:   "link formed before the name",
			before: func(t *testing.T, in func(string) string) { write(t, in("b"), "1") },
			after:  func(t *testing.T, in func(string) string) { must(t, os.Link(in("b"), in("a"))) },
			fresh:  "a b", // the first name decides
		},
		{
			name: "links broken",
			before: func(t *testing.T, in func(string) string) {
				write(t, in("a"), "1")
				must(t, os.Link(in("a"), in("b")), os.Link(in("a"), in("c")))
			},
			after: func(t *testing.T, in func(string) string) {
				write(t, in("new"), "2")
				must(t, os.Rename(in("new"), in("b")))
			},
			same: "a c", fresh: "b",
		},
		{
			name: "links broken and all unlinked",
			before: func(t *testing.T, in func(string) string) {
				write(t, in("a"), "1")
				must(t, os.Link(in("a"), in("b")), os.Link(in("a"), in("c")))
			},
			after: func(t *testing.T, in func(string) string) {
				for _, name := range []string{"a", "b", "c"} {
					must(t, os.Remove(in(name)))
					write(t, in(name), "of "+name)
				}
			},
			same: "a", fresh: "b c",
		},
		{
			name: "first name of a link becomes a folder",
			before: func(t *testing.T, in func(string) string) {
				write(t, in("a"), "1")
				must(t, os.Mkdir(in("z"), 0o755), os.Link(in("a"), in("z/b")))
			},
			after: func(t *testing.T, in func(string) string) {
				must(t, os.Remove(in("a")), os.Mkdir(in("a"), 0o755))
			},
			same: "a z", fresh: "z/b",
		},
		{
			name:   "moved folder",
			before: func(t *testing.T, in func(string) string) { write(t, in("a/x/y"), "1"); write(t, in("b/z"), "1") },
			after:  func(t *testing.T, in func(string) string) { must(t, os.Rename(in("a"), in("b/a"))) },
			same:   "b b/z", fresh: "b/a b/a/x b/a/x/y",
		},
		{
			name:   "deleted subtree",
			before: func(t *testing.T, in func(string) string) { write(t, in("a/x/y"), "1"); write(t, in("b/z"), "1") },
			after:  func(t *testing.T, in func(string) string) { must(t, os.RemoveAll(in("a"))) },
			same:   "b b/z",
		},
		{
			name: "deleted subtree with a name elsewhere",
			before: func(t *testing.T, in func(string) string) {
				write(t, in("a/x/y"), "1")
				must(t, os.Link(in("a/x/y"), in("b")))
			},
			after: func(t *testing.T, in func(string) string) { must(t, os.RemoveAll(in("a"))) },
			same:  "b",
		},
		{
			name:   "source appears",
			before: func(t *testing.T, in func(string) string) { write(t, in("a/x"), "1"); write(t, in("b/y"), "1") },
			after:  func(t *testing.T, in func(string) string) {},
			first:  []string{"a"}, second: []string{"a", "b"},
			same: "a a/x", fresh: "b b/y",
		},
		{
			name:   "source disappears",
			before: func(t *testing.T, in func(string) string) { write(t, in("a/x"), "1"); write(t, in("b/y"), "1") },
			after:  func(t *testing.T, in func(string) string) {},
			first:  []string{"a", "b"}, second: []string{"b"},
			same: "b b/y",
		},
		{
			name:   "waypoint to source",
			before: func(t *testing.T, in func(string) string) { write(t, in("d/a/x"), "1"); write(t, in("d/b"), "1") },
			after:  func(t *testing.T, in func(string) string) {},
			first:  []string{"d/a"}, second: []string{"d"},
			same: "d d/a d/a/x", fresh: "d/b",
		},
		{
			name:   "source to waypoint",
			before: func(t *testing.T, in func(string) string) { write(t, in("d/a/x"), "1"); write(t, in("d/b"), "1") },
			after:  func(t *testing.T, in func(string) string) {},
			first:  []string{"d"}, second: []string{"d/a"},
			same: "d d/a d/a/x",
		},
		{
			name:   "nested sources",
			before: func(t *testing.T, in func(string) string) { write(t, in("d/a/x"), "1"); write(t, in("d/b"), "1") },
			after:  func(t *testing.T, in func(string) string) {},
			first:  []string{"d", "d/a", "d/a/x"}, second: []string{"d/a", "d"},
			same: "d d/a d/a/x d/b",
		},
		{
			name:   "sources that are files",
			before: func(t *testing.T, in func(string) string) { write(t, in("d/a"), "1"); write(t, in("d/b"), "22") },
			after:  func(t *testing.T, in func(string) string) { write(t, in("d/b"), "333") },
			first:  []string{"d/a", "d/b"}, second: []string{"d/a", "d/b"},
			same: "d d/a d/b",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			root := filepath.Join(t.TempDir(), "root")
			in := at(root)
			must(t, os.Mkdir(root, 0o755))
			sources := func(names []string) (list []string) {
				for _, name := range append([]string{}, names...) {
					list = append(list, in(name))
				}
				if list == nil {
					list = []string{root}
				}
				return list
			}
			tt.before(t, in)
			first := b.verify(t, paths(sources(tt.first)...), sources(tt.first)...)
			waitTick(t)
			tt.after(t, in)
			options := paths(sources(tt.second)...)
			options.Parent = first
			second := b.verify(t, options, sources(tt.second)...)

			before, after := b.numbers(t, first, root), b.numbers(t, second, root)
			for _, name := range strings.Fields(tt.same) {
				if before[name] == 0 || before[name] != after[name] {
					t.Errorf("%s has number %d, and had %d", name, after[name], before[name])
				}
			}
			for _, name := range strings.Fields(tt.fresh) {
				if after[name] < first.Record.Next {
					t.Errorf("%s has number %d, which the parent may have used: its next is %d", name, after[name], first.Record.Next)
				}
			}
		})
	}
}

// TestNumbersAreDeterministic: the same tree gives the same numbers, and so the
// same map, however the workers are scheduled, and whether or not a parent of
// another history stands behind.
func TestNumbersAreDeterministic(t *testing.T) {
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	generate(t, root, scaled(300))
	var want map[string]uint64
	var roots []object.ID
	for i := range scaled(12) {
		old := runtime.GOMAXPROCS([]int{1, 2, 8}[i%3])
		options := paths(root)
		options.Host = fmt.Sprint("host", i)
		s := b.verify(t, options, root)
		runtime.GOMAXPROCS(old)
		roots = append(roots, s.Root)
		got := b.numbers(t, s, root)
		if want == nil {
			want = got
		}
		if !maps.Equal(got, want) {
			t.Fatalf("run %d: numbers differ", i)
		}
	}
	if slices.ContainsFunc(roots, func(id object.ID) bool { return id != roots[0] }) {
		t.Errorf("the maps of equal trees have roots %v", roots)
	}
	// Depth first, in bytewise order.
	last := uint64(0)
	for _, name := range slices.SortedFunc(maps.Keys(want), func(a, b string) int {
		return strings.Compare(strings.ReplaceAll(a, "/", "\x00"), strings.ReplaceAll(b, "/", "\x00"))
	}) {
		if want[name] <= last && !strings.HasPrefix(filepath.Base(name), "hard") {
			t.Errorf("%q has number %d behind %d", name, want[name], last)
		}
		last = max(last, want[name])
	}
}

// generate makes about n files of all ordinary sorts in nested folders, always
// the same.
func generate(t testing.TB, root string, n int) {
	t.Helper()
	for i := range n {
		dir := filepath.Join(root, fmt.Sprintf("dir%d", i%7), fmt.Sprintf("sub.%d", i%5))
		name := filepath.Join(dir, fmt.Sprintf("file%d", i))
		must(t, os.MkdirAll(dir, 0o755))
		switch i % 20 {
		case 3:
			must(t, os.Symlink(fmt.Sprint("to", i), name))
		case 4:
			must(t, os.Link(filepath.Join(root, "dir0/sub.0/file0"), filepath.Join(dir, fmt.Sprintf("hard%d", i))))
		default:
			write(t, name, strings.Repeat(fmt.Sprintf("line of file %d\n", i), i%400))
		}
	}
}
