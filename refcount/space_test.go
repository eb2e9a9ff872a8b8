package refcount

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"bluesky/object"
	"bluesky/pack"
)

// memory is a bucket that counts what is asked of it.
type memory struct {
	data     map[string][]byte
	requests int
	bytes    int
}

var errMissing = errors.New("no such key or range")

func (m *memory) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	data, ok := m.data[key]
	if !ok || off < 0 || n < 0 || off+n > int64(len(data)) {
		return nil, errMissing
	}
	m.requests++
	m.bytes += int(n)
	return bytes.Clone(data[off : off+n]), ctx.Err()
}

func (m *memory) put(tables ...Table) (refs []Ref) {
	if m.data == nil {
		m.data = map[string][]byte{}
	}
	for _, t := range tables {
		m.data[t.Ref.Name.Key()] = t.Data
		refs = append(refs, t.Ref)
	}
	return refs
}

func usageOf(at uint64, name byte, size, body, live uint32, class object.Class) Usage {
	return Usage{Key{at, pack.Name{name, 1}}, size, body, live, class}
}

// vectorUsages are more than a page of two pages of two.
var vectorUsages = []Usage{
	usageOf(1, 0x90, 1000, 500, 500, object.ClassData),
	usageOf(1, 0xa0, 2000, 1500, 0, object.ClassMeta),
	usageOf(2, 0x10, 1<<32-1, 1<<32-1-frameSize, 1<<31, object.ClassData),
	usageOf(3, 0x20, pack.MinSize, pack.MinSealed, 33, object.ClassData),
	usageOf(1<<40, 0x05, 16<<20, 15<<20, 15<<20, object.ClassMeta),
}

func validSpace() []byte { return encodeSpaceBase(repository, vectorName, 2, vectorUsages).Data }

func validDelta() []byte {
	d := spaceDelta{rows: []Usage{{Key: vectorUsages[0].Key}, vectorUsages[2]}}
	d.totals[0] = Totals{3, 1, 4, 5, 6}
	d.totals[1] = Totals{2, 0, 7, 8, 1 << 40}
	return d.encode(repository, vectorName).Data
}

func spaceVectors() []vectorCase {
	const header = preludeSize
	const root = header + spaceHeaderSize
	const leaves = root + (2+3)*entrySize
	const rows = header + spaceHeaderSize + 2*totalsSize // of the delta
	base, delta := editor(validSpace), editor(validDelta)
	own := []vectorCase{
		{"valid-space-none", func() []byte { return encodeSpaceBase(repository, vectorName, fanOut, nil).Data }},
		{"valid-space-one-page", func() []byte { return encodeSpaceBase(repository, vectorName, fanOut, vectorUsages).Data }},
		{"valid-space-three-levels", base},
		{"valid-space-delta", delta},
		{"valid-space-delta-empty", func() []byte { return new(spaceDelta).encode(repository, vectorName).Data }},
		{"corrupt-space-form-0", base.set(header, 0)},
		{"corrupt-space-form-3", base.set(header, 3)},
		{"corrupt-space-header-padding", base.set(header+1, 1)},
		{"corrupt-space-header-padding-behind", base.set(header+7, 1)},
		{"corrupt-space-no-content", func() []byte {
			return seal(vectorName, prelude{typ: TypeSpace, repository: repository, name: vectorName}.append(nil)).Data
		}},
		{"corrupt-space-sections", func() []byte {
			p := prelude{typ: TypeSpace, repository: repository, name: vectorName}
			return encodeTable(p, []section{{run: vectorRuns[0], rows: 1, form: 1, content: validSpace()[preludeSize:]}}).Data
		}},
		{"corrupt-space-fan-out-0", base.set(header+2, 0)},
		{"corrupt-space-fan-out-1", base.set(header+2, 1)},
		{"corrupt-space-fan-out-3", base.set(header+2, 3)},
		{"corrupt-space-fan-out-most", base.set(header+3, 0xff)},
		{"corrupt-space-segments-more", base.u64(header+8, 6)},
		{"corrupt-space-segments-most", base.u64(header+8, 1<<32-1)},
		{"corrupt-space-segments-overflow", base.u64(header+8, 1<<63)},
		{"corrupt-space-hash-of-page", base.set(root, 0)},
		{"corrupt-space-first-key", base.set(root+32, 0)},
		{"corrupt-space-entries-out-of-order", base.swap(root, entrySize)},
		{"corrupt-space-summary-padding", base.set(root+entrySize-1, 1)},
		{"corrupt-space-summary-sum", base.with(func(d []byte) { d[root+56+24]++ })},
		{"corrupt-space-summary-least", base.with(func(d []byte) { d[root+56+32]++ })},
		{"corrupt-space-row-padding", base.set(leaves+37, 1)},
		{"corrupt-space-row-padding-end", base.set(leaves+39, 1)},
		{"corrupt-space-row-class", base.set(leaves+36, 3)},
		{"corrupt-space-row-changed", base.set(leaves+32, 0)},
		{"corrupt-space-row-removed", base.with(func(d []byte) { clear(d[leaves+24 : leaves+usageSize]) })},
		{"corrupt-space-more-live-than-body", base.u32(leaves+32, 501)},
		{"corrupt-space-body-0", base.with(func(d []byte) { clear(d[leaves+28 : leaves+36]) })},
		{"corrupt-space-body-longest", base.u32(leaves+28, ^uint32(0))},
		{"corrupt-space-size-too-small", base.u32(leaves+24, 500)},
		{"corrupt-space-rows-out-of-order", base.swap(leaves, usageSize)},
		{"corrupt-space-row-twice", base.with(func(d []byte) { copy(d[leaves+usageSize:leaves+2*usageSize], d[leaves:]) })},
		{"corrupt-space-delta-fan-out", delta.set(header+2, 64)},
		{"corrupt-space-delta-rows-more", delta.u64(header+8, 3)},
		{"corrupt-space-delta-rows-most", delta.u64(header+8, ^uint64(0))},
		{"corrupt-space-delta-row-class", delta.set(rows+usageSize+36, 0)},
		{"corrupt-space-delta-row-half-removed", delta.set(rows+32, 1)},
		{"corrupt-space-delta-rows-out-of-order", delta.swap(rows, usageSize)},
		{"corrupt-space-delta-row-twice", delta.with(func(d []byte) { copy(d[rows+usageSize:rows+2*usageSize], d[rows:]) })},
	}
	return slices.Concat(own, base.frame("space"))
}

// spaceTableOf returns data as what a state registers.
func spaceTableOf(data []byte) Table {
	t := tableOf(data)
	if len(data) <= preludeSize+spaceHeaderSize || data[preludeSize] != formBase {
		return t
	}
	if p, err := decodePrelude(data, int64(len(data))); err == nil {
		if tree, err := decodeSpaceHeader(data[preludeSize:], &p, formBase); err == nil {
			_, end := tree.root()
			t.Ref.Hash = object.HashBytes("space root", data[:end])
		}
	}
	return t
}

// decodeSpaceTable decodes a base or a delta as a whole.
func decodeSpaceTable(data []byte) (func() []byte, error) {
	t := spaceTableOf(data)
	if err := Verify(repository, TypeSpace, t); err != nil {
		return nil, err
	}
	return func() []byte {
		if data[preludeSize] == formDelta {
			d, err := decodeSpaceDelta(t, repository)
			if err != nil {
				panic(err)
			}
			return d.encode(repository, vectorName).Data
		}
		// By way of a reader.
		m := &memory{}
		s, err := OpenSpace(context.Background(), m, repository, m.put(t))
		if err != nil {
			panic(err)
		}
		again, err := s.Change().base(context.Background(), vectorName, s.tree.fanOut)
		if err != nil {
			panic(err)
		}
		return again.Data
	}, nil
}

func FuzzSpace(f *testing.F) { fuzz(f, "space") }

// FuzzSpaceReader: what the pages of a hostile map say, reading it ends, without a
// panic, and within memory of a small multiple. Hashes of pages are put right
// from the leaves up, so that a reader believes what is in them.
func FuzzSpaceReader(f *testing.F) {
	for _, path := range vectorFiles(f, "space") {
		f.Add(readVector(f, path))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < preludeSize+trailerSize {
			return
		}
		data = bytes.Clone(data)
		believe(data)
		m := &memory{}
		s, err := OpenSpace(t.Context(), m, repository, m.put(spaceTableOf(data)))
		n := 0
		if err == nil {
			for u, e := range s.All(t.Context()) {
				if err = e; e == nil {
					if err := u.check(); err != nil {
						t.Fatal(err)
					}
					n++
				}
			}
		}
		if n > len(data)/usageSize || m.bytes > 2*len(data) {
			t.Fatalf("%d segments, %d bytes read of a map of %d bytes", n, m.bytes, len(data))
		}
		if err != nil && errors.Is(err, ErrCorrupt) == errors.Is(err, ErrVersion) {
			t.Fatal(err)
		}
	})
}

// believe puts right the hashes of the pages of a map.
func believe(data []byte) {
	p, err := decodePrelude(data, int64(len(data)))
	if err != nil {
		return
	}
	tree, err := decodeSpaceHeader(data[preludeSize:], &p, formBase)
	if err != nil {
		return
	}
	for i := range len(tree.levels) - 1 {
		for n := range tree.pages(i) {
			offset, length := tree.page(i, n)
			hash := object.HashBytes("space page", data[offset:offset+length])
			copy(data[tree.levels[i+1].start+n*entrySize:], hash[:])
		}
	}
}

// TestPagesAreNotBelieved: each page that a reader comes to, whose hash is right
// but which is not what the page above says, and each one whose hash is not,
// is an error.
func TestPagesAreNotBelieved(t *testing.T) {
	whole := validSpace()
	start := preludeSize + spaceHeaderSize
	for at := preludeSize; at < len(whole)-trailerSize; at++ {
		for _, right := range []bool{false, true} {
			data := bytes.Clone(whole)
			data[at] ^= 1
			if right {
				believe(data)
				if bytes.Equal(data, whole) {
					continue // a hash, put right again
				}
			}
			m := &memory{}
			table := spaceTableOf(data)
			if !right {
				table.Ref.Hash = spaceTableOf(whole).Ref.Hash
			}
			s, err := OpenSpace(t.Context(), m, repository, m.put(table))
			var got []Usage
			if err == nil {
				got, err = collect(s.All(t.Context()))
			}
			if !errors.Is(err, ErrCorrupt) {
				// The bytes of the leaf of each segment that the sums do not cover.
				if right && at >= start && err == nil && !slices.Equal(got, vectorUsages) && spaceSums(got) == spaceSums(vectorUsages) {
					continue
				}
				t.Errorf("byte %d changed, hashes right %v: %v", at, right, err)
			}
		}
	}
}

func spaceSums(rows []Usage) (sums [2]Totals) {
	for i := range rows {
		sums[rows[i].Class-1].add(&rows[i], 1)
	}
	return sums
}

func collect(all func(func(Usage, error) bool)) (out []Usage, err error) {
	for u, e := range all {
		if e != nil {
			return nil, e
		}
		out = append(out, u)
	}
	return out, nil
}

// drawUsage draws what may be said of the segment of a key.
func drawUsage(r *rand.Rand, k Key) Usage {
	u := Usage{Key: k, Body: pack.MinSealed + r.Uint32N(1<<r.IntN(32)), Class: object.Class(1 + r.IntN(2))}
	u.Body = min(u.Body, 1<<32-1-frameSize)
	u.Size = u.Body + frameSize + r.Uint32N(min(1000, 1<<32-1-frameSize-u.Body+1))
	if r.IntN(4) > 0 {
		u.Live = r.Uint32N(u.Body + 1)
	}
	return u
}

// TestSpaceAgainstModel: changes through deltas and bases of any fan-out, and
// every question, beside a map.
func TestSpaceAgainstModel(t *testing.T) {
	r := newRand(t)
	ctx := t.Context()
	questions, deltas := 0, 0
	for range 20 {
		model := map[Key]Usage{}
		m := &memory{}
		var refs []Ref
		fan := int64(minFanOut + r.IntN(1<<r.IntN(8)))
		start := r.IntN(1 << r.IntN(14))
		for round := range 15 {
			s, err := OpenSpace(ctx, m, repository, refs)
			check(t, err)
			c := s.Change()
			keys := slices.SortedFunc(maps.Keys(model), Key.Compare)
			for range min(len(keys), r.IntN(12)) {
				k := keys[r.IntN(len(keys))]
				if r.IntN(3) == 0 {
					c.Remove(k)
					delete(model, k)
				} else {
					model[k] = drawUsage(r, k)
					check(t, c.Put(model[k]))
				}
			}
			for range start {
				k := Key{uint64(round) + r.Uint64N(2), pack.Name(drawName(r))}
				model[k] = drawUsage(r, k)
				check(t, c.Put(model[k]))
			}
			start = r.IntN(10)
			var next Table
			if round > 0 {
				next, err = c.Delta(ctx, drawName(r))
				check(t, err)
			}
			if deltas++; NeedsBase(refs, next.Ref.Size) {
				deltas--
				next, err = c.base(ctx, drawName(r), fan)
				check(t, err)
				refs = nil
			}
			check(t, Verify(repository, TypeSpace, next))
			refs = append(refs, m.put(next)...)
			questions += askAll(t, r, m, refs, model)
		}
	}
	t.Logf("%d questions, %d deltas", questions, deltas)
	if deltas < 20 {
		t.Error("too few deltas")
	}
}

// askAll compares a map with its model.
func askAll(t *testing.T, r *rand.Rand, m *memory, refs []Ref, model map[Key]Usage) (questions int) {
	ctx := t.Context()
	s, err := OpenSpace(ctx, m, repository, refs)
	check(t, err)
	want := slices.SortedFunc(maps.Values(model), compareUsages)
	got, err := collect(s.All(ctx))
	if err != nil || !slices.Equal(got, want) {
		t.Fatalf("%d segments, want %d, %v", len(got), len(want), err)
	}
	if sums := spaceSums(want); s.Totals(object.ClassData) != sums[0] || s.Totals(object.ClassMeta) != sums[1] {
		t.Fatalf("totals %+v, want %+v", s.totals, sums)
	}
	for _, q := range []Query{
		{}, {Dead: true}, {Dead: true, Class: object.ClassData}, {Below: r.Uint32N(One + 2)}, {Below: r.Uint32N(200), Class: object.ClassMeta},
		{Smaller: 1 << r.IntN(32)}, {Wasting: 1 << r.IntN(32)}, {Dead: true, Smaller: 300, Below: 10, Wasting: 1 << 31},
	} {
		got, err := collect(s.Candidates(ctx, q))
		var matching []Usage
		for i := range want {
			u := &want[i]
			is := q.Dead && u.Live == 0 || uint64(u.Live)*One < uint64(q.Below)*uint64(u.Body) || u.Size < q.Smaller || q.Wasting > 0 && u.Body-u.Live >= q.Wasting
			if is && (q.Class == 0 || q.Class == u.Class) {
				matching = append(matching, *u)
			}
		}
		if err != nil || !slices.Equal(got, matching) {
			t.Fatalf("%+v: %d segments, want %d, %v", q, len(got), len(matching), err)
		}
		for range s.Candidates(ctx, q) {
			break // an early end
		}
		questions++
	}
	keys := []Key{{}, {1, pack.Name{0xff}}, {1 << 60, pack.Name{}}}
	for range min(len(want), r.IntN(20)) {
		keys = append(keys, want[r.IntN(len(want))].Key)
	}
	found, err := s.Get(ctx, keys)
	check(t, err)
	for _, k := range keys {
		u, ok := found[k]
		if w, there := model[k]; ok != there || u != w {
			t.Fatalf("Get %v: %+v, want %+v", k, u, w)
		}
	}
	return questions + 1
}

// largeSpace makes a map of n segments that are well used, but for each of the
// victims, which are dead.
func largeSpace(n int, victims map[int]bool) (*memory, []Ref) {
	rows := make([]Usage, n)
	for i := range rows {
		rows[i] = Usage{Size: 16 << 20, Body: 15 << 20, Live: 14 << 20, Class: object.ClassData}
		rows[i].RegisteredAt = uint64(i / 50)
		binary.BigEndian.PutUint64(rows[i].Name[:], uint64(i))
		if victims[i] {
			rows[i].Live = 0
		}
	}
	m := &memory{}
	return m, m.put(encodeSpaceBase(repository, TableName{1}, fanOut, rows))
}

// TestPlannerReadsFewPages: 20 victims among 100,000 segments, wherever they are.
func TestPlannerReadsFewPages(t *testing.T) {
	r := newRand(t)
	victims := map[int]bool{}
	for len(victims) < 20 {
		victims[r.IntN(100000)] = true
	}
	m, refs := largeSpace(100000, victims)
	s, err := OpenSpace(t.Context(), m, repository, refs)
	check(t, err)
	if m.requests != 1 || m.bytes > 10000 {
		t.Errorf("opening takes %d requests and %d bytes", m.requests, m.bytes)
	}
	got, err := collect(s.Candidates(t.Context(), Query{Dead: true, Below: One / 2}))
	if err != nil || len(got) != 20 {
		t.Fatalf("%d candidates, %v", len(got), err)
	}
	t.Logf("20 of 100000: %d requests, %d of %d bytes", m.requests, m.bytes, refs[0].Size)
	// The root, at most 20 pages of 9.7 KB below it and 20 leaves of 2.5 KB, with
	// gaps of at most 32 KiB; nearly all the pages below the root are wanted.
	if m.requests > 1+20+20 || m.bytes > 20*(2560+32<<10)+26*64*entrySize {
		t.Errorf("%d requests, %d bytes", m.requests, m.bytes)
	}
	m.requests, m.bytes = 0, 0
	if got, err := collect(s.Candidates(t.Context(), Query{Class: object.ClassMeta, Below: One, Dead: true})); len(got) > 0 || err != nil || m.requests > 0 {
		t.Errorf("of a class without segments: %d, %v, %d requests", len(got), err, m.requests)
	}
}

// TestOpenSpaceRefuses what is in the wrong place.
func TestOpenSpaceRefuses(t *testing.T) {
	base, delta := spaceTableOf(validSpace()), tableOf(validDelta())
	delta.Ref.Name[0]++
	copy(delta.Data[48:], delta.Ref.Name[:])
	delta.Data = reseal(delta.Data)
	delta.Ref.Hash = tableOf(delta.Data).Ref.Hash
	m := &memory{}
	refs := m.put(base, delta)
	for name, tt := range map[string]struct {
		refs []Ref
		want error
	}{
		"in order":       {refs, nil},
		"delta first":    {refs[1:], ErrCorrupt},
		"base twice":     {[]Ref{refs[0], refs[0]}, ErrCorrupt},
		"another size":   {[]Ref{{refs[0].Name, refs[0].Size - 1, refs[0].Hash}}, ErrCorrupt},
		"negative size":  {[]Ref{{refs[0].Name, -5, refs[0].Hash}}, ErrCorrupt},
		"another hash":   {[]Ref{{refs[0].Name, refs[0].Size, refs[1].Hash}}, ErrCorrupt},
		"another delta":  {[]Ref{refs[0], {refs[1].Name, refs[1].Size, refs[0].Hash}}, ErrCorrupt},
		"a missing base": {[]Ref{{TableName{9}, 500, object.Hash{}}}, errMissing},
	} {
		if _, err := OpenSpace(t.Context(), m, repository, tt.refs); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := OpenSpace(t.Context(), m, repository, refs)
	check(t, err)
	// The delta of the vectors has totals of nobody.
	if _, err := collect(s.All(t.Context())); !errors.Is(err, ErrCorrupt) {
		t.Errorf("wrong totals: %v", err)
	}
}

func TestChangeOfSpaceRefuses(t *testing.T) {
	m := &memory{}
	empty, err := OpenSpace(t.Context(), m, repository, nil)
	check(t, err)
	if _, err := empty.Change().Delta(t.Context(), vectorName); err == nil {
		t.Error("a delta without a base")
	}
	base, err := OpenSpace(t.Context(), m, repository, m.put(spaceTableOf(validSpace())))
	check(t, err)
	c := base.Change()
	if c.Put(usageOf(1, 1, 100, 500, 0, object.ClassData)) == nil {
		t.Error("a body longer than its segment")
	}
	c.Remove(Key{9, pack.Name{9}})
	if _, err := c.Delta(t.Context(), vectorName); !errors.Is(err, ErrCorrupt) {
		t.Errorf("delta: %v", err)
	}
	if _, err := c.Base(t.Context(), vectorName); !errors.Is(err, ErrCorrupt) {
		t.Errorf("base: %v", err)
	}
	same := base.Change()
	check(t, same.Put(vectorUsages[1]))
	if d, err := same.Delta(t.Context(), vectorName); err != nil || d.Ref.Size != preludeSize+spaceHeaderSize+2*totalsSize+trailerSize {
		t.Errorf("a delta that says nothing new has %d bytes, %v", d.Ref.Size, err)
	}
}
