package refcount

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"

	"bluesky/index"
	"bluesky/object"
)

var repository = object.RepositoryID{0xb1, 0x0e}

// newRand returns a generator whose seed the log tells; -seed repeats one.
func newRand(t testing.TB) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", s)
	return rand.New(rand.NewPCG(s, 1))
}

var seed = flag.Uint64("seed", 0, "`seed` of random tests; 0 draws one")

// drawName draws the name of a table.
func drawName(r *rand.Rand) TableName {
	var n TableName
	binary.LittleEndian.PutUint64(n[:], r.Uint64())
	binary.LittleEndian.PutUint64(n[8:], r.Uint64())
	return n
}

// The vectors in testdata are frozen: a change of one is a change of format.
// -update writes those of a new case; it must leave the others as they are.
var update = flag.Bool("update", false, "write testdata/vectors")

const vectors = "testdata/vectors"

// vectorName is the name of every table in the vectors, vectorRuns are the runs
// that they speak of.
var (
	vectorName = TableName{0x0c, 0x0d}
	vectorRuns = []index.RunName{{0x10, 1}, {0x20, 2}}
)

// A vectorCase is a file of testdata/vectors. The class of its error and its type
// stand in its name.
type vectorCase struct {
	name string
	make func() []byte
}

func vectorCases() []vectorCase {
	return slices.Concat(marksVectors(), countsVectors(), spaceVectors())
}

// decode decodes what is a table of the type in the name of a vector, and returns
// what encodes it again.
func decode(name string, data []byte) (encode func() []byte, err error) {
	switch strings.Split(name, "-")[1] {
	case "marks":
		return decodeMarksTable(data)
	case "counts":
		return decodeCountsTable(data)
	case "space":
		return decodeSpaceTable(data)
	}
	return nil, errors.New("no type in the name")
}

// tableOf returns data as what a state registers.
func tableOf(data []byte) Table {
	t := Table{Ref{Name: vectorName, Size: int64(len(data))}, data}
	if len(data) >= trailerSize {
		t.Ref.Hash = object.Hash(data[len(data)-trailerSize:])
	}
	return t
}

// reseal puts the right trailer behind what an edit left.
func reseal(data []byte) []byte {
	end := len(data) - trailerSize
	hash := object.HashBytes("table", data[:end])
	return append(data[:end:end], hash[:]...)
}

// An editor makes vectors by editing a valid one.
type editor func() []byte

func (valid editor) with(edit func([]byte)) func() []byte {
	return func() []byte { d := valid(); edit(d); return reseal(d) }
}

func (valid editor) set(at int, value byte) func() []byte {
	return valid.with(func(d []byte) { d[at] = value })
}

func (valid editor) u32(at int, v uint32) func() []byte {
	return valid.with(func(d []byte) { binary.LittleEndian.PutUint32(d[at:], v) })
}

func (valid editor) u64(at int, v uint64) func() []byte {
	return valid.with(func(d []byte) { binary.LittleEndian.PutUint64(d[at:], v) })
}

// swap exchanges the size bytes at at with those behind.
func (valid editor) swap(at, size int) func() []byte {
	return valid.with(func(d []byte) {
		first := bytes.Clone(d[at : at+size])
		copy(d[at:], d[at+size:at+2*size])
		copy(d[at+size:], first)
	})
}

// frame returns the cases that every type has.
func (valid editor) frame(typ string) []vectorCase {
	all := []vectorCase{
		{"version-T-next", valid.set(8, 2)},
		{"version-T-high", valid.set(9, 1)},
		{"version-T-feature", valid.set(12, 1)},
		{"version-T-highest-feature", valid.set(15, 0x80)},
		{"corrupt-T-version-0", valid.set(8, 0)},
		{"corrupt-T-magic", valid.set(7, 0)},
		{"corrupt-T-type", valid.set(10, 4)},
		{"corrupt-T-empty", func() []byte { return nil }},
		{"corrupt-T-prelude-cut", func() []byte { return valid()[:63] }},
		{"corrupt-T-prelude-padding", valid.set(11, 1)},
		{"corrupt-T-prelude-padding-behind", valid.set(23, 1)},
		{"corrupt-T-sections-more", valid.u32(16, 3)},
		{"corrupt-T-sections-most", valid.u32(16, ^uint32(0))},
		{"corrupt-T-content-longest", valid.u64(24, ^uint64(0))},
		{"corrupt-T-another-repository", valid.set(32, 0)},
		{"corrupt-T-another-name", valid.set(48, 0)},
		{"corrupt-T-trailer", func() []byte { d := valid(); d[len(d)-1] ^= 1; return d }},
		{"corrupt-T-bytes-behind", func() []byte { return append(valid(), 0) }},
		{"corrupt-T-cut", func() []byte { d := valid(); return d[:len(d)-1] }},
	}
	for i := range all {
		all[i].name = strings.Replace(all[i].name, "-T-", "-"+typ+"-", 1)
	}
	return all
}

// sections returns the cases that every type with two sections has.
func (valid editor) sections(typ string) []vectorCase {
	const first, second = preludeSize, preludeSize + sectionSize
	all := []vectorCase{
		{"corrupt-T-section-padding", valid.set(first+25, 1)},
		{"corrupt-T-section-padding-behind", valid.set(second+63, 1)},
		{"corrupt-T-section-rows", valid.u64(first+16, 1<<32+1)},
		{"corrupt-T-section-form-0", valid.set(first+24, 0)},
		{"corrupt-T-section-form-9", valid.set(second+24, 9)},
		{"corrupt-T-section-offset", valid.u64(second+32, 0)},
		{"corrupt-T-section-length-past-end", valid.u64(second+40, 1<<40)},
		{"corrupt-T-section-length-longest", valid.u64(first+40, ^uint64(0))},
		{"corrupt-T-section-length-less", valid.with(func(d []byte) { d[second+40]-- })},
		{"corrupt-T-sections-out-of-order", valid.with(func(d []byte) { d[first] = 0x30 })},
		{"corrupt-T-section-twice", valid.with(func(d []byte) { copy(d[second:], d[first:first+16]) })},
		{"corrupt-T-content-without-sections", func() []byte {
			p := prelude{repository: repository, name: vectorName, content: 3}
			p.typ = Type(valid()[10])
			return seal(vectorName, append(p.append(nil), 1, 2, 3)).Data
		}},
	}
	for i := range all {
		all[i].name = strings.Replace(all[i].name, "-T-", "-"+typ+"-", 1)
	}
	return all
}

func TestVectors(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range vectorCases() {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(vectors, c.name+".hex")
			if seen[path] {
				t.Fatal("two cases of that name")
			}
			seen[path] = true
			made := wrapHex(c.make())
			if *update {
				if err := os.WriteFile(path, []byte(made), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			data := readVector(t, path)
			if wrapHex(data) != made {
				t.Errorf("the vector is not what its case makes: one of both was changed")
			}
			judge(t, c.name, data)
		})
	}
	files, err := filepath.Glob(filepath.Join(vectors, "*.hex"))
	if err != nil || len(files) != len(seen) {
		t.Errorf("%d vectors for %d cases, %v", len(files), len(seen), err)
	}
}

// judge decodes a vector and compares the class of the error with its name.
func judge(t *testing.T, name string, data []byte) {
	t.Helper()
	encode, err := decode(name, data)
	switch class, _, _ := strings.Cut(name, "-"); class {
	case "valid":
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(encode(), data) {
			t.Errorf("it encodes to other bytes")
		}
	case "corrupt":
		if !errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion) {
			t.Errorf("error = %v, want corrupt", err)
		}
	case "version":
		if !errors.Is(err, ErrVersion) || errors.Is(err, ErrCorrupt) {
			t.Errorf("error = %v, want version", err)
		}
	default:
		t.Errorf("no class of error in the name")
	}
}

// TestVerify: what a table can say by itself, it says by itself. Two vectors are
// wrong only beside their runs.
func TestVerify(t *testing.T) {
	types := map[string]Type{"marks": TypeMarks, "counts": TypeCounts, "space": TypeSpace}
	for _, c := range vectorCases() {
		class := strings.Split(c.name, "-")
		table := spaceTableOf(c.make())
		if class[1] != "space" {
			table = tableOf(c.make())
		}
		err := Verify(repository, types[class[1]], table)
		want := map[string]error{"version": ErrVersion, "corrupt": ErrCorrupt}[class[0]]
		if c.name == "corrupt-marks-segment-past-run" || c.name == "corrupt-marks-row-of-run" {
			want = nil
		}
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", c.name, err)
		}
		table.Ref.Hash[5] ^= 1
		if err := Verify(repository, types[class[1]], table); err == nil {
			t.Errorf("%s: its hash is not compared", c.name)
		}
		table.Ref.Hash[5] ^= 1
		if Verify(repository, types[class[1]]%3+1, table) == nil || Verify(repository, 0, table) == nil {
			t.Errorf("%s: its type is not compared", c.name)
		}
	}
}

// TestVectorsTakeLittleMemory: whatever the counts and lengths of a vector
// claim, the decoder allocates in proportion to its bytes.
func TestVectorsTakeLittleMemory(t *testing.T) {
	for _, path := range vectorFiles(t, "") {
		data := readVector(t, path)
		name := filepath.Base(path)
		limitMemory(t, name, len(data), func() {
			if _, err := decode(name, data); (err == nil) != strings.HasPrefix(name, "valid-") {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// TestHostileTablesTakeLittleMemory: tables of the parts that take the most
// memory for their bytes.
func TestHostileTablesTakeLittleMemory(t *testing.T) {
	var many []section
	shapes, counted := Shapes{}, Shapes{}
	tiny := marksOf(nil, 0).append(nil)
	for i := range 5000 {
		s := section{rows: 1, form: formMarks, content: tiny}
		binary.BigEndian.PutUint32(s.run[:], uint32(i))
		many = append(many, s)
		shapes[s.run], counted[s.run] = Shape{1, 1}, Shape{Rows: 1}
	}
	sparse := roaring.New() // in each container one value, the shortest that there is
	for i := range uint32(1 << 16) {
		sparse.Add(i<<16 | i)
	}
	runs := roaring.New()
	for i := range uint64(1 << 16) {
		runs.AddRange(i<<16, i<<16+9)
	}
	marks := func(sections ...section) Table {
		return encodeTable(prelude{typ: TypeMarks, repository: repository, name: vectorName}, sections)
	}
	dense := slices.Clone(many)
	for i := range dense {
		dense[i].content = binary.LittleEndian.AppendUint32([]byte{255, 255, 1, 0, 0, 0, 0, 0, 0, 0}, 70000)
	}
	run := vectorRuns[0]
	shapes[run] = Shape{maxRows, 1}
	loadMarks := func(list ...Table) func() error {
		return func() error { _, err := LoadMarks(repository, list, shapes); return err }
	}
	one := func(b *roaring.Bitmap) Table {
		r := RunMarks{b, roaring.New()}
		return marks(section{run: run, rows: maxRows, form: formMarks, content: r.append(nil)})
	}
	counts := encodeTable(prelude{typ: TypeCounts, repository: repository, name: vectorName}, dense)
	for _, tt := range []struct {
		name string
		n    int64
		load func() error
	}{
		{"many sections of marks", marks(many...).Ref.Size, loadMarks(marks(many...))},
		{"containers of one value", one(sparse).Ref.Size, loadMarks(one(sparse))},
		{"containers of one run", one(runs).Ref.Size, loadMarks(one(runs))},
		{"both", one(sparse).Ref.Size + one(runs).Ref.Size, loadMarks(one(sparse), one(runs))},
		{"many sections of counts", counts.Ref.Size, func() error {
			_, err := LoadCounts(repository, []Table{counts}, counted)
			return err
		}},
	} {
		limitMemory(t, tt.name, int(tt.n), func() { check(t, tt.load()) })
	}
}

// limitMemory fails the test if decoding n bytes allocates more than a small
// multiple.
func limitMemory(t testing.TB, name string, n int, decode func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	decode()
	runtime.ReadMemStats(&after)
	if took, most := after.TotalAlloc-before.TotalAlloc, uint64(8*n+64<<10); took > most {
		t.Errorf("%s: %d bytes take %d of memory, more than %d", name, n, took, most)
	}
}

// vectorFiles returns the paths of the vectors of a type; all for "".
func vectorFiles(t testing.TB, typ string) []string {
	t.Helper()
	pattern := "*.hex"
	if typ != "" {
		pattern = "*-" + typ + "-*.hex"
	}
	files, err := filepath.Glob(filepath.Join(vectors, pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	return files
}

// fuzz decodes what the fuzzer makes of the vectors of a type, with the trailer
// put right so that it gets further.
func fuzz(f *testing.F, typ string) {
	for _, path := range vectorFiles(f, typ) {
		f.Add(readVector(f, path))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= preludeSize+trailerSize {
			data = reseal(data)
		}
		encode, err := decode("fuzzed-"+typ, data)
		if err != nil {
			if errors.Is(err, ErrCorrupt) == errors.Is(err, ErrVersion) {
				t.Fatalf("error %v is neither corrupt nor version, or both", err)
			}
			return
		}
		if !bytes.Equal(encode(), data) {
			t.Fatalf("it encodes to other bytes")
		}
	})
}

// wrapHex writes data as lines of 32 bytes.
func wrapHex(data []byte) string {
	var b strings.Builder
	for line := range slices.Chunk(data, 32) {
		b.WriteString(hex.EncodeToString(line) + "\n")
	}
	return b.String()
}

func readVector(t testing.TB, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return data
}
