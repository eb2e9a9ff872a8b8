package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bluesky/repo"
	"bluesky/snapshot"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// random returns n bytes that do not compress, the same for a seed.
func random(seed byte, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// inode returns the inode at path in a snapshot.
func (b *bed) inode(t testing.TB, s *snapshot.Snapshot, path string) tree.Inode {
	t.Helper()
	m, _ := b.tree(s)
	in, err := m.Resolve(t.Context(), slices.DeleteFunc(splitPath(path), func(n string) bool { return n == "" }))
	must(t, err)
	return in
}

func splitPath(path string) (names []string) {
	for _, n := range bytes.Split([]byte(path), []byte("/")) {
		names = append(names, string(n))
	}
	return names
}

// sparse makes a file of the given size with data only at the given offsets, 4 KiB each.
func sparse(t testing.TB, name string, size int64, data ...int64) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	must(t, f.Truncate(size))
	for i, at := range data {
		_, err := f.WriteAt(random(byte(i), 4096)[:min(4096, size-at)], at)
		must(t, err)
	}
	must(t, f.Close())
}

const kib = 1 << 10

func TestHoles(t *testing.T) {
	var many, few []int64
	n := int64(max(1200, scaled(3000)))
	for i := range n {
		many = append(many, i*8*kib) // n holes of 4 KiB
	}
	for i := range int64(1024) {
		few = append(few, i*8*kib) // as many as are recorded
	}
	tests := []struct {
		name  string
		size  int64
		data  []int64
		holes int // recorded
	}{
		{"none", 8 * kib, []int64{0, 4 * kib}, 0},
		{"all hole", 1 << 20, nil, 1},
		{"leading", 64 * kib, []int64{60 * kib}, 1},
		{"trailing", 64 * kib, []int64{0}, 1},
		{"inner", 64 * kib, []int64{0, 60 * kib}, 1},
		{"on both sides", 64 * kib, []int64{32 * kib}, 2},
		{"odd size", 64*kib + 17, []int64{0, 32 * kib}, 2},
		{"odd size, data at the end", 64*kib + 17, []int64{64 * kib}, 1},
		{"small", 100, nil, 0},
		{"huge and empty", 5 << 40, nil, 1},
		{"as many as are recorded", 8 * kib * 1024, few, 1024},
		{"too many", 8 * kib * n, many, 0},
		{"too many and a large one", 8*kib*n + 1<<20, many, 1},
	}
	b := newBed(t)
	dir := t.TempDir()
	for i, tt := range tests {
		sparse(t, filepath.Join(dir, fmt.Sprint(i)), tt.size, tt.data...)
	}
	s := b.snapshot(t, b.run(t, paths(dir)).Snapshot)
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := b.inode(t, s, filepath.Join(dir, fmt.Sprint(i)))
			if in.Size != uint64(tt.size) || len(in.Holes) != tt.holes {
				t.Errorf("size %d with %d holes, want %d with %d", in.Size, len(in.Holes), tt.size, tt.holes)
			}
		})
	}
	must(t, os.Remove(filepath.Join(dir, "9"))) // nobody hashes 5 TiB
	b.verify(t, paths(dir), dir)
}

// A hole that is punched between two looks at a file stands next to another.
func TestHolesThatTouch(t *testing.T) {
	holes := appendHole(nil, tree.Hole{Offset: 0, Length: 10})
	holes = appendHole(holes, tree.Hole{Offset: 10, Length: 5})
	holes = appendHole(holes, tree.Hole{Offset: 20, Length: 5})
	want := []tree.Hole{{Offset: 0, Length: 15}, {Offset: 20, Length: 5}}
	if !slices.Equal(holes, want) {
		t.Errorf("got %v, want %v", holes, want)
	}
}

func TestLargeSparseImage(t *testing.T) {
	b := newDefaultBed(t)
	name := filepath.Join(t.TempDir(), "image")
	sparse(t, name, 300<<20, 0, 100<<20, 200<<20, 299<<20)
	before := b.bucket.Objects.All()
	b.verify(t, paths(name), name)
	if n := sizeOf(before, b.bucket.Objects.All()); n > 64*kib {
		t.Errorf("an image with 16 KiB of data took %d bytes", n)
	}
}

// Sizes about the limits of the chunker, and numbers of extents about those of
// an inode and a list.
func TestSizes(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	for _, size := range []int{0, 1, 4<<10 - 1, 4 << 10, 4<<10 + 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 300 << 10} {
		must(t,
			os.WriteFile(filepath.Join(dir, fmt.Sprint("random", size)), random(1, size), 0o644),
			os.WriteFile(filepath.Join(dir, fmt.Sprint("ones", size)), bytes.Repeat([]byte{1}, size), 0o644))
	}
	s := b.verify(t, paths(dir), dir)
	if in := b.inode(t, s, filepath.Join(dir, "ones65536")); len(in.Extents) != 1 {
		t.Errorf("a file of one chunk of the maximum has %d extents", len(in.Extents))
	}
	if in := b.inode(t, s, filepath.Join(dir, "ones65537")); len(in.Extents) != 2 {
		t.Errorf("a file of one byte more has %d extents", len(in.Extents))
	}
	if in := b.inode(t, s, filepath.Join(dir, "random0")); in.Extents != nil || !in.Root.IsZero() {
		t.Error("an empty file has content")
	}
	// In the default parameters: 64 extents, 65, and a list of lists.
	b = newBedWith(t, func(c *repo.Config) {
		c.Chunker.Min, c.Chunker.Bits, c.Chunker.Max = 64, 8, 1024
		p := tree.DefaultParams()
		c.Tree = repo.TreeConfig(p)
	})
	name := filepath.Join(dir, "many")
	for _, n := range []int{64, 65, max(1100, scaled(3000))} {
		must(t, os.WriteFile(name, bytes.Repeat([]byte{1}, n*1024), 0o644)) // cut at the maximum
		in := b.inode(t, b.verify(t, paths(name), name), name)
		if got := in.Root.IsZero(); got != (n <= 64) {
			t.Errorf("%d blocks: extents %v", n, got)
		}
	}
	must(t, os.WriteFile(name, random(2, scaled(2<<20)), 0o644))
	b.verify(t, paths(name), name)
}

// testWorker returns a worker whose objects go nowhere.
func testWorker(t testing.TB, b *bed) *worker {
	t.Helper()
	options := paths("/")
	target, err := newDryTarget(t.Context(), b.repo)
	must(t, err)
	w, err := newBackup(b.repo, b.keys, options, target, nil, NoProgress{}).newWorker()
	must(t, err)
	return w
}

func TestParallelCutsAreThoseOfOne(t *testing.T) {
	b := newBed(t)
	data := append(random(3, 3<<20), make([]byte, 1<<20)...)
	for _, n := range []int{0, 1, 4 << 10, 64 << 10, len(data)} {
		var lists [2]tree.Inode
		for i := range lists {
			w := testWorker(t, b)
			list := tree.NewListBuilder(w.sink, w.params)
			cut := w.cut
			if i == 1 {
				cut = w.cutParallel
			}
			must(t, cut(t.Context(), bytes.NewReader(data[:n]), &content{list: list}))
			var err error
			lists[i].Extents, lists[i].Root, err = list.Finish(t.Context())
			must(t, err)
		}
		if !slices.Equal(lists[0].Extents, lists[1].Extents) || lists[0].Root != lists[1].Root {
			t.Errorf("%d bytes: one goroutine makes %v, several %v", n, lists[0], lists[1])
		}
	}
}

// A file that is long enough is really cut by several.
func TestLongFile(t *testing.T) {
	b := newDefaultBed(t)
	name := filepath.Join(t.TempDir(), "long")
	must(t, os.WriteFile(name, random(4, parallelFrom+5<<20), 0o644))
	first := b.verify(t, paths(name), name)
	// A changed byte in the midst changes no more than a chunk or two.
	waitTick(t)
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	must(t, err)
	_, err = f.WriteAt([]byte("x"), 20<<20)
	must(t, err, f.Close())
	before := b.bucket.Objects.All()
	options := paths(name)
	options.Parent = first
	b.verify(t, options, name)
	if n := sizeOf(before, b.bucket.Objects.All()); n > 17<<20 || n < 768*kib {
		t.Errorf("one byte changed, and %d were stored", n)
	}
}

// What a file loses or gains while it is read.
func TestFileChangesWhileRead(t *testing.T) {
	tests := []struct {
		name   string
		make   func(t *testing.T, name string)
		change func(t *testing.T, name string)
		size   uint64 // as backed up
	}{
		{"grows", func(t *testing.T, n string) { write(t, n, "0123456789") },
			func(t *testing.T, n string) { must(t, os.Truncate(n, 1<<20)) }, 10},
		{"shrinks", func(t *testing.T, n string) { must(t, os.WriteFile(n, random(1, 300*kib), 0o644)) },
			func(t *testing.T, n string) { must(t, os.Truncate(n, 100*kib)) }, 100 * kib},
		{"shrinks to nothing", func(t *testing.T, n string) { must(t, os.WriteFile(n, random(1, 300*kib), 0o644)) },
			func(t *testing.T, n string) { must(t, os.Truncate(n, 0)) }, 0},
		{"is unlinked", func(t *testing.T, n string) { must(t, os.WriteFile(n, random(1, 300*kib), 0o644)) },
			func(t *testing.T, n string) { must(t, os.Remove(n)) }, 300 * kib},
		{"is overwritten", func(t *testing.T, n string) { must(t, os.WriteFile(n, random(1, 300*kib), 0o644)) },
			func(t *testing.T, n string) { must(t, os.WriteFile(n, random(2, 300*kib), 0o644)) }, 300 * kib},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			dir := t.TempDir()
			name := filepath.Join(dir, "a")
			tt.make(t, name)
			write(t, filepath.Join(dir, "other"), "content")
			log := &progressLog{onEvent: func(n int) {
				if n == 1 { // File of a, or of other
					tt.change(t, name)
				}
			}}
			options := paths(dir)
			options.Select = func(path string, _ *Info) bool { return path != filepath.Join(dir, "other") }
			result, err := Run(t.Context(), b.repo, b.keys, options, log)
			must(t, err)
			if result.Errors != 0 {
				t.Errorf("errors: %v", log.errors)
			}
			first := b.snapshot(t, result.Snapshot)
			if in := b.inode(t, first, name); in.Size != tt.size {
				t.Errorf("size %d, want %d", in.Size, tt.size)
			}
			b.view(t, first)
			// The next backup has what is there now.
			waitTick(t)
			options = paths(dir)
			options.Parent = first
			b.verify(t, options, dir)
		})
	}
}

// A hole that is punched while the file is read leaves a file that reads.
// TestSizeless: a file whose size is given as 0 is stored as it reads, and is an
// error where it goes on and on.
func TestSizeless(t *testing.T) {
	b := newBed(t)
	const name = "/proc/self/limits"
	want, err := os.ReadFile(name)
	must(t, err)
	result := b.run(t, paths(name))
	if in := b.inode(t, b.snapshot(t, result.Snapshot), name[1:]); in.Size != uint64(len(want)) {
		t.Errorf("%s has %d bytes in the snapshot, %d when it is read", name, in.Size, len(want))
	}
	f, err := os.Open("/dev/zero")
	must(t, err)
	defer f.Close()
	n, err := io.Copy(io.Discard, newContentReader(int(f.Fd()), &tree.Inode{}, NoProgress{}))
	if !errors.Is(err, errSizeless) || n > sizelessMax {
		t.Errorf("read %d endless bytes, %v", n, err)
	}
}

// TestEmptyFileGrows: what was empty when it was opened, and is no more when it
// is read, is stored as it was, with the times that belong to that.
func TestEmptyFileGrows(t *testing.T) {
	name := write(t, filepath.Join(t.TempDir(), "file"), "later")
	f, err := os.Open(name)
	must(t, err)
	defer f.Close()
	r := newContentReader(int(f.Fd()), &tree.Inode{}, NoProgress{})
	if n, err := r.Read(make([]byte, 100)); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if size, _ := r.read(); size != 0 {
		t.Errorf("size %d, want 0", size)
	}
}

func TestHolePunchedWhileRead(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "a")
	must(t, os.WriteFile(name, random(1, 300*kib), 0o644))
	log := &progressLog{onEvent: func(n int) {
		if n == 1 {
			f, err := os.OpenFile(name, os.O_RDWR, 0)
			must(t, err, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 64*kib, 64*kib), f.Close())
		}
	}}
	result, err := Run(t.Context(), b.repo, b.keys, paths(dir), log)
	must(t, err)
	first := b.snapshot(t, result.Snapshot)
	b.view(t, first)
	options := paths(dir)
	options.Parent = first
	b.verify(t, options, dir)
}
