package restore

import (
	"bytes"
	"path/filepath"
	"slices"
	"testing"

	"bluesky/restore/treetest"
	"bluesky/tree"

	"pgregory.net/rapid"
)

// TestLayout compares parts with a file that is laid out byte by byte.
func TestLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		runs := rapid.SliceOfN(rapid.IntRange(1, 9), 0, 12).Draw(t, "runs") // data and holes in turn
		hole := rapid.Bool().Draw(t, "begins with a hole")
		var holes []tree.Hole
		var places []uint64 // of each byte of content
		at := uint64(0)
		for _, n := range runs {
			if hole {
				holes = append(holes, tree.Hole{Offset: at, Length: uint64(n)})
			} else {
				for i := range n {
					places = append(places, at+uint64(i))
				}
			}
			at, hole = at+uint64(n), !hole
		}
		from := rapid.IntRange(0, len(places)).Draw(t, "from")
		to := rapid.IntRange(from, len(places)).Draw(t, "to")
		l := newLayout(holes)
		var got []uint64
		parts := 0
		for p := range l.parts(uint64(from), uint64(to-from)) {
			parts++
			for i := range p.length {
				got = append(got, p.offset+i)
			}
		}
		if !slices.Equal(got, places[from:to]) {
			t.Fatalf("holes %v: bytes %d to %d are at %v, want %v", holes, from, to, got, places[from:to])
		}
		if parts > len(holes)+1 {
			t.Fatalf("holes %v: %d parts", holes, parts)
		}
	})
}

// TestWindows restores with windows, descriptors and directories so few that
// each limit is met all the time.
func TestWindows(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source")
	data := treetest.Bytes(1, 4<<20) // many blocks
	writeFile(t, source+"/a/large", data)
	writeFile(t, source+"/z/large again", data)
	for i := range 100 {
		writeFile(t, filepath.Join(source, string(rune('a'+i%20)), "deep", string(rune('a'+i/20))), bytes.Repeat(treetest.Bytes(uint64(i%30), 1000), 90))
	}
	b := newMemoryBed(t)
	from := b.backup(t, source)
	target := t.TempDir()
	rec := &record{}
	s := newRestorer(t.Context(), b.repo, b.keys, from, Options{Target: target, Connections: 3}, rec)
	s.window.limit = 3
	s.handles.limit = 1
	start, err := s.resolve()
	must(t, err)
	top, err := s.openTarget()
	must(t, err)
	s.dirs.limit = 1
	must(t, s.walk(top, start))
	must(t, s.flush())
	must(t, s.finishTree())
	s.stop()
	if len(rec.errors) > 0 {
		t.Fatal(rec.errors)
	}
	treetest.Compare(t, source, target+source)
}
