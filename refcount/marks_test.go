package refcount

import (
	"bytes"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"

	"bluesky/index"
)

var vectorShapes = Shapes{vectorRuns[0]: {Rows: 200000, Segments: 9}, vectorRuns[1]: {Rows: 70000, Segments: 3}}

func marksOf(dead func(*roaring.Bitmap), gone ...uint32) *RunMarks {
	r := newRunMarks()
	r.gone.AddMany(gone)
	if dead != nil {
		dead(r.dead)
	}
	return r
}

func marksTable(runs map[index.RunName]*RunMarks) []byte {
	return encodeMarks(repository, vectorName, vectorShapes, runs).Data
}

// validMarks is the table that most vectors vary. In the first run a bitmap with
// an array, in the second no row is dead.
func validMarks() []byte {
	return marksTable(map[index.RunName]*RunMarks{
		vectorRuns[0]: marksOf(func(b *roaring.Bitmap) { b.AddMany([]uint32{3, 5, 9, 12, 70000}) }, 1, 8),
		vectorRuns[1]: marksOf(nil, 2),
	})
}

// runMarks has runs of rows, in two containers; manyMarks has containers of each
// form, and offsets.
func runMarks() []byte {
	return marksTable(map[index.RunName]*RunMarks{
		vectorRuns[0]: marksOf(func(b *roaring.Bitmap) { b.AddRange(10, 20); b.AddRange(30, 90); b.Add(65536) }),
		vectorRuns[1]: marksOf(func(b *roaring.Bitmap) { b.AddRange(0, 70000) }, 0, 1, 2),
	})
}

func manyMarks() []byte {
	return marksTable(map[index.RunName]*RunMarks{
		vectorRuns[0]: marksOf(func(b *roaring.Bitmap) {
			b.AddRange(0, 100)
			b.AddMany([]uint32{65536, 70000})
			for i := uint32(2 << 16); i < 2<<16+9000; i += 2 {
				b.Add(i)
			}
			b.AddRange(199990, 200000)
		}),
	})
}

func bitsetMarks() []byte {
	return marksTable(map[index.RunName]*RunMarks{
		vectorRuns[1]: marksOf(func(b *roaring.Bitmap) {
			for i := uint32(1); i < 10000; i += 2 {
				b.Add(i)
			}
		}),
	})
}

// atDead is where the bitmap of dead rows of validMarks stands, atRuns that of
// runMarks, atBits the bitset of bitsetMarks.
const (
	atDead = preludeSize + 2*sectionSize + 4
	atRuns = atDead
	atBits = preludeSize + sectionSize + 4 + 4 + 4 + 4 + 4
)

func marksVectors() []vectorCase {
	valid, runs, bits := editor(validMarks), editor(runMarks), editor(bitsetMarks)
	one := func(content []byte) func() []byte {
		return func() []byte {
			p := prelude{typ: TypeMarks, repository: repository, name: vectorName}
			return encodeTable(p, []section{{run: vectorRuns[0], rows: 200000, form: formMarks, content: content}}).Data
		}
	}
	none := []byte{8, 0, 0, 0, 0x3a, 0x30, 0, 0, 0, 0, 0, 0}
	own := []vectorCase{
		{"valid-marks-none", func() []byte { return marksTable(nil) }},
		{"valid-marks-arrays", valid},
		{"valid-marks-runs", runs},
		{"valid-marks-bitset", bits},
		{"valid-marks-each-form", manyMarks},
		{"corrupt-marks-empty-section", one(bytes.Repeat(none, 2))},
		{"corrupt-marks-no-section-content", one(nil)},
		{"corrupt-marks-one-bitmap", one(validMarks()[atDead-4 : atDead+binaryLen(validMarks(), atDead-4)])},
		{"corrupt-marks-length-longest", one([]byte{255, 255, 255, 255, 1, 2, 3})},
		{"corrupt-marks-length-0", one(make([]byte, 8))},
		{"corrupt-marks-bytes-behind-bitmaps", one(append(slices.Concat(none, []byte{18, 0, 0, 0}, []byte{0x3a, 0x30, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 1, 0}), 0))},
		{"corrupt-marks-cookie", valid.u32(atDead, 12345)},
		{"corrupt-marks-containers-more", valid.u32(atDead+4, 3)},
		{"corrupt-marks-containers-most", valid.u32(atDead+4, ^uint32(0))},
		{"corrupt-marks-containers-none", valid.u32(atDead+4, 0)},
		{"corrupt-marks-key-twice", valid.set(atDead+12, 0)},
		{"corrupt-marks-values-more", valid.set(atDead+10, 4)},
		{"corrupt-marks-values-most", valid.with(func(d []byte) { d[atDead+10], d[atDead+11] = 255, 255 })},
		{"corrupt-marks-offset", valid.set(atDead+16, 25)},
		{"corrupt-marks-array-out-of-order", valid.swap(atDead+24, 2)},
		{"corrupt-marks-array-value-twice", valid.set(atDead+24, 5)},
		{"corrupt-marks-array-for-runs", valid.with(func(d []byte) { copy(d[atDead+24:], []byte{3, 0, 4, 0, 5, 0, 6, 0}) })},
		{"corrupt-marks-row-past-run", valid.with(func(d []byte) { d[atDead+12] = 4 })},
		{"corrupt-marks-row-of-run", valid.u64(preludeSize+16, 200001)},
		{"corrupt-marks-segment-past-run", valid.with(func(d []byte) { d[len(d)-trailerSize-2] = 3 })},
		{"corrupt-marks-runs-padding", runs.set(atRuns+4, 0x81)},
		{"corrupt-marks-runs-announced", runs.set(atRuns+4, 0)},
		{"corrupt-marks-runs-overlap", runs.set(atRuns+4+1+8+2+4, 15)},
		{"corrupt-marks-runs-touch", runs.set(atRuns+4+1+8+2+4, 20)},
		{"corrupt-marks-runs-past-container", runs.with(func(d []byte) { d[atRuns+4+1+8+2+7] = 255 })},
		{"corrupt-marks-runs-number", runs.set(atRuns+4+1+8, 255)},
		{"corrupt-marks-runs-values", runs.set(atRuns+4+1+2, 9)},
		{"corrupt-marks-runs-containers-most", runs.with(func(d []byte) { d[atRuns+2], d[atRuns+3] = 255, 255 })},
		{"corrupt-marks-bitset-values", bits.set(atBits+4, 2)},
		{"corrupt-marks-bitset-for-array", bits.with(func(d []byte) { binary.LittleEndian.PutUint16(d[atBits-4-4+2:], 4095) })},
		{"corrupt-marks-bitset-for-runs", bits.with(func(d []byte) {
			for i := range bitsetSize {
				d[atBits+4+i] = 0
				if i < 625 {
					d[atBits+4+i] = 255
				}
			}
		})},
	}
	return slices.Concat(own, valid.frame("marks"), valid.sections("marks"))
}

func binaryLen(d []byte, at int) int { return int(binary.LittleEndian.Uint32(d[at:])) }

// recodeMarks decodes data with the shapes of the vectors; runs that these do
// not have get any shape.
func decodeMarksTable(data []byte) (func() []byte, error) {
	shapes := maps.Clone(vectorShapes)
	if sections, _, err := decodeFrame(data, TypeMarks, repository, vectorName); err == nil {
		for _, s := range sections {
			if _, ok := shapes[s.run]; !ok {
				shapes[s.run] = Shape{int(s.rows), 1 << 32}
			}
		}
	}
	m, err := LoadMarks(repository, []Table{tableOf(data)}, shapes)
	if err != nil {
		return nil, err
	}
	return func() []byte { return m.Change().Base(vectorName, nil).Data }, nil
}

func FuzzMarks(f *testing.F) { fuzz(f, "marks") }

// FuzzBitmap: what passes the judge is read by the library, which finds it sound,
// and encodes to the same bytes; the library reads what we encode.
func FuzzBitmap(f *testing.F) {
	for _, path := range vectorFiles(f, "marks") {
		if d := readVector(f, path); len(d) > atDead && d[16] == 2 {
			f.Add(d[atDead : len(d)-trailerSize])
			if n := binaryLen(d, atDead-4); n < len(d)-atDead {
				f.Add(d[atDead : atDead+n])
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := decodeBitmap(data, 1<<32)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		if err := b.Validate(); err != nil {
			t.Fatalf("the library says %v", err)
		}
		if again := appendBitmap(nil, b); !bytes.Equal(again, data) {
			t.Fatalf("it encodes to other bytes: %x", again)
		}
		if !b.IsEmpty() {
			if _, err := decodeBitmap(data, uint64(b.Maximum())); err == nil {
				t.Fatalf("the highest value passes a limit of as much")
			}
		}
	})
}

// TestBitmapOfAnyHistory: however a bitmap came to be, and whatever forms its
// containers have in memory, equal sets have equal bytes, which are as long as
// the shortest of the library or shorter.
func TestBitmapOfAnyHistory(t *testing.T) {
	r := newRand(t)
	for range 300 {
		b := drawBitmap(r, 1<<18)
		want := appendBitmap(nil, b)
		values := b.ToArray()
		other := roaring.New()
		for _, i := range r.Perm(len(values)) {
			other.Add(values[i])
		}
		if r.IntN(2) == 0 {
			other.RunOptimize()
		}
		if got := appendBitmap(nil, other); !bytes.Equal(got, want) {
			t.Fatalf("%d values: two encodings", len(values))
		}
		other.RunOptimize()
		if n := other.GetSerializedSizeInBytes(); uint64(len(want)) > n {
			t.Fatalf("%d values: %d bytes, the library needs %d", len(values), len(want), n)
		}
		if err := checkBitmap(want, 1<<18); err != nil {
			t.Fatal(err)
		}
		got, err := decodeBitmap(want, 1<<18)
		if err != nil || !got.Equals(b) {
			t.Fatalf("%d values: decoded %d, %v", len(values), got.GetCardinality(), err)
		}
	}
}

// drawBitmap draws a set below limit of ranges and single values.
func drawBitmap(r *rand.Rand, limit uint32) *roaring.Bitmap {
	b := roaring.New()
	for range r.IntN(6) {
		from := r.Uint32N(limit)
		b.AddRange(uint64(from), uint64(min(limit, from+r.Uint32N(1<<r.IntN(18)))))
	}
	for range r.IntN(1 << r.IntN(15)) {
		b.Add(r.Uint32N(limit))
	}
	for range r.IntN(1 << r.IntN(13)) {
		b.Remove(r.Uint32N(limit))
	}
	return b
}

// TestMarksAgainstModel marks at random, through deltas and bases, beside maps.
func TestMarksAgainstModel(t *testing.T) {
	r := newRand(t)
	type mark struct {
		run index.RunName
		n   uint32
	}
	for range 60 {
		shapes := Shapes{}
		for i := range 1 + r.IntN(4) {
			shapes[index.RunName{byte(r.IntN(256)), byte(i)}] = Shape{1 + r.IntN(1<<r.IntN(18)), 1 + r.IntN(50)}
		}
		dead, gone := map[mark]bool{}, map[mark]bool{}
		var list []Table
		var refs []Ref
		for range 25 {
			m, err := LoadMarks(repository, list, shapes)
			if err != nil {
				t.Fatal(err)
			}
			c := m.Change()
			for run, shape := range shapes {
				for range r.IntN(1 << r.IntN(8)) {
					row := r.Uint32N(uint32(shape.Rows))
					dead[mark{run, row}] = true
					check(t, c.MarkDead(run, row))
				}
				for range r.IntN(3) {
					s := r.Uint32N(uint32(shape.Segments))
					gone[mark{run, s}] = true
					check(t, c.MarkGone(run, s))
				}
			}
			if r.IntN(8) == 0 && len(shapes) > 1 { // a merge takes a run away
				for run := range shapes {
					delete(shapes, run)
					maps.DeleteFunc(dead, func(k mark, _ bool) bool { return k.run == run })
					maps.DeleteFunc(gone, func(k mark, _ bool) bool { return k.run == run })
					break
				}
			}
			keep := func(run index.RunName) bool { _, ok := shapes[run]; return ok }
			next := c.Delta(drawName(r), keep)
			if NeedsBase(refs, next.Ref.Size) {
				next = c.Base(drawName(r), keep)
				list, refs = nil, nil
			}
			list, refs = append(list, next), append(refs, next.Ref)

			again, err := LoadMarks(repository, list, shapes)
			check(t, err)
			for _, m := range []*Marks{again, c.Marks()} {
				total := 0
				for run := range shapes {
					d, g := m.Of(run).Counts()
					total += d + g
				}
				if total != len(dead)+len(gone) {
					t.Fatalf("%d marks, want %d", total, len(dead)+len(gone))
				}
				for k := range dead {
					if !m.Of(k.run).Dead(k.n) || m == again && !c.Dead(k.run, k.n) {
						t.Fatalf("row %d is not dead", k.n)
					}
				}
				for k := range gone {
					if !m.Of(k.run).Gone(k.n) || m == again && !c.Gone(k.run, k.n) {
						t.Fatalf("segment %d is not gone", k.n)
					}
				}
			}
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestChangeOfMarks: marks stay as they are under a change, which refuses what
// lies outside of its run.
func TestChangeOfMarks(t *testing.T) {
	m, err := LoadMarks(repository, []Table{tableOf(validMarks())}, vectorShapes)
	check(t, err)
	c := m.Change()
	run := vectorRuns[0]
	check(t, c.MarkDead(run, 3))
	check(t, c.MarkGone(run, 8))
	if !c.Empty() {
		t.Error("what was marked before is a change")
	}
	check(t, c.MarkDead(run, 199999))
	if c.Empty() || m.Of(run).Dead(199999) || !c.Dead(run, 199999) || !c.Marks().Of(run).Dead(199999) {
		t.Error("a mark of a change stands elsewhere, or nowhere")
	}
	if again := m.Change().Base(vectorName, nil); !bytes.Equal(again.Data, validMarks()) {
		t.Error("the marks below a change have changed")
	}
	if c.MarkDead(run, 200000) == nil || c.MarkGone(run, 9) == nil || c.MarkDead(index.RunName{9}, 0) == nil || c.MarkGone(index.RunName{9}, 0) == nil {
		t.Error("a mark outside of its run")
	}
	none := m.Of(index.RunName{9})
	if dead, gone := none.Counts(); none.Dead(0) || none.Gone(0) || dead+gone != 0 || none.DeadRows() != nil || none.GoneSegments() != nil {
		t.Error("an unknown run has marks")
	}
	if got := m.Of(run).DeadRows().ToArray(); !slices.Equal(got, []uint32{3, 5, 9, 12, 70000}) {
		t.Errorf("dead rows %v", got)
	}
	if got := m.Of(run).GoneSegments().ToArray(); !slices.Equal(got, []uint32{1, 8}) {
		t.Errorf("gone segments %v", got)
	}
}
