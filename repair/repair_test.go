package repair

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bluesky/index"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/store/fault"
)

// TestHeadersGiveTheIndex makes all runs again from the headers: the same to the
// bit.
func TestHeadersGiveTheIndex(t *testing.T) {
	for seed := range uint64(5) {
		b := standard(t, seed)
		r := mustRepair(t, clone(b), 0, Options{All: true})
		if r.Runs != 8 || r.Equal != r.Runs || r.Unregistered == 0 || r.Segments != len(b.Objects.Keys("seg/")) {
			t.Errorf("seed %d: %d of %d runs equal, %d of %d segments read, %d of no run", seed, r.Equal, r.Runs, r.Segments, len(b.Objects.Keys("seg/")), r.Unregistered)
		}
	}
}

// A damage of one file; nil removes it.
var damages = map[string]func([]byte) []byte{
	"removed":           func([]byte) []byte { return nil },
	"emptied":           func([]byte) []byte { return []byte{} },
	"cut":               func(b []byte) []byte { return b[:len(b)-1] },
	"halved":            func(b []byte) []byte { return b[:len(b)/2] },
	"longer":            func(b []byte) []byte { return append(b, 0) },
	"of a later form":   func(b []byte) []byte { b[8]++; return b },
	"name flipped":      func(b []byte) []byte { b[50] ^= 1; return b },
	"table flipped":     func(b []byte) []byte { b[70] ^= 1; return b },
	"row flipped":       func(b []byte) []byte { b[len(b)-40] ^= 1; return b },
	"trailer flipped":   func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
	"full of zeros":     func(b []byte) []byte { clear(b); return b },
	"of something else": func([]byte) []byte { return []byte("something else") },
}

func damage(t testing.TB, b *fault.Bucket, key string, edit func([]byte) []byte) {
	t.Helper()
	set(t, b, key, edit(b.Objects.Get(key)))
}

// TestEachRunComesBack damages each run, and one in every way.
func TestEachRunComesBack(t *testing.T) {
	whole := standard(t, 1)
	cases := 0
	for name, edit := range damages {
		runs := registered(t, whole)
		if name != "removed" && name != "row flipped" {
			runs = runs[cases%len(runs):][:1]
		}
		for _, key := range runs {
			cases++
			b := clone(whole)
			damage(t, b, key, edit)
			r, err := repairIn(t, b, Options{DryRun: true})
			if err != nil || len(r.Wrong) != 1 || r.Repaired() != 1 || r.Wrong[0].Name.Key() != key {
				t.Errorf("%s, %s, dry run: %v\n%s", key, name, err, describe(r))
			}
			if bytes.Equal(b.Objects.Get(key), whole.Objects.Get(key)) {
				t.Fatalf("%s, %s: a dry run has repaired it", key, name)
			}
			r = mustRepair(t, b, 1, Options{All: cases%2 == 0})
			if run := r.Wrong[0]; run.Source != FromHeaders || run.Segments == 0 || run.Err != nil {
				t.Errorf("%s, %s: %+v", key, name, run)
			}
			same(t, b, whole)
			mustRepair(t, b, 0, Options{})
		}
	}
	t.Logf("%d cases", cases)
}

// registered returns the keys of the registered runs.
func registered(t testing.TB, b *fault.Bucket) (keys []string) {
	t.Helper()
	r, err := repo.Open(t.Context(), openBucket(t, b), repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range state.Runs {
		keys = append(keys, run.Name.Key())
	}
	return keys
}

// TestAllRunsComeBack loses the whole index, with the times of the segments as
// they were, all the same, and in disorder, as in copies of a repository.
func TestAllRunsComeBack(t *testing.T) {
	for seed := range uint64(6) {
		whole := standard(t, seed)
		random := rand.New(rand.NewPCG(seed, 2))
		for name, of := range map[string]func(was time.Time) time.Time{
			"as they were": func(was time.Time) time.Time { return was },
			"all the same": func(time.Time) time.Time { return time.Unix(5, 0) },
			"in disorder":  func(time.Time) time.Time { return time.Unix(int64(random.Uint32()), 0) },
		} {
			b := clone(whole)
			for _, key := range b.Objects.Keys("") {
				b.Objects.SetTime(key, of(timeOf(t, b, key)))
			}
			runs := registered(t, b)
			for _, key := range runs {
				b.Objects.Remove(key)
			}
			r := mustRepair(t, b, len(runs), Options{})
			same(t, b, whole)
			if r.Segments != len(b.Objects.Keys("seg/")) || r.Unregistered == 0 {
				t.Errorf("seed %d, times %s: %d segments read, %d of no run", seed, name, r.Segments, r.Unregistered)
			}
			mustRepair(t, b, 0, Options{All: true})
		}
	}
}

// TestSomeRunsComeBack loses any number of runs, in any way, of any repository.
func TestSomeRunsComeBack(t *testing.T) {
	random := seeded(t)
	for range 10 {
		loseSome(t, random)
	}
}

// TestSoakRepair is TestSomeRunsComeBack for as long as BLUESKY_SOAK says.
func TestSoakRepair(t *testing.T) {
	text := os.Getenv("BLUESKY_SOAK")
	if text == "" {
		t.Skip("BLUESKY_SOAK does not say how long")
	}
	limit, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	random := seeded(t)
	cases, runs := 0, 0
	for began := time.Now(); time.Since(began) < limit; cases++ {
		runs += loseSome(t, random)
	}
	t.Logf("%d repositories, %d runs lost and found", cases, runs)
}

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// loseSome makes a repository, spoils any number of its runs, and repairs them.
// It returns how many they were.
func loseSome(t *testing.T, random *rand.Rand) (n int) {
	t.Helper()
	edits := slices.Sorted(maps.Keys(damages))
	m := newMaker(t, random.Uint64N(1<<16))
	var sessions []*repo.Session
	for range 1 + random.IntN(3) {
		sessions = append(sessions, m.begin())
	}
	for range 1 + random.IntN(6) {
		s := sessions[random.IntN(len(sessions))]
		m.add(s, s.ID(), 1+random.IntN(20))
		m.run(s)
	}
	b := clone(m.b)
	for _, key := range registered(t, b) {
		if random.IntN(2) == 0 {
			damage(t, b, key, damages[edits[random.IntN(len(edits))]])
			n++
		}
	}
	mustRepair(t, b, n, Options{All: random.IntN(2) == 0})
	same(t, b, m.b)
	if t.Failed() {
		t.FailNow()
	}
	return n
}

// TestTakenOverSegments: a session has registered, with its own, a part of what
// an interrupted one had uploaded, while a third one uploaded and came to nothing.
// There are far too many sums to try them all.
func TestTakenOverSegments(t *testing.T) {
	m := newMaker(t, 11)
	m.least = 6000
	first, third := object.SessionID{0xd1}, m.begin()
	taker := m.begin()
	for range 12 {
		m.add(taker, first, 9)
		m.add(third, third.ID(), 9)
	}
	m.add(taker, taker.ID(), 80)
	m.run(taker)
	m.orphans(third)
	whole := clone(m.b)
	lost := registered(t, whole)
	m.b.Objects.Remove(lost[0])
	r := mustRepair(t, m.b, 1, Options{})
	same(t, m.b, whole)
	if r.Unregistered < 10 || r.Wrong[0].Segments < 20 {
		t.Errorf("%d segments of the run, %d of none: too few to tell anything", r.Wrong[0].Segments, r.Unregistered)
	}
}

// TestSearchGivesUp: where the times are lost and there are too many sums, the
// search ends, and says what it could not do.
func TestSearchGivesUp(t *testing.T) {
	m := newMaker(t, 12)
	m.least = 6000
	s := m.begin()
	m.add(s, s.ID(), 240)
	m.run(s)
	m.add(s, s.ID(), 240)
	m.orphans(s)
	random := rand.New(rand.NewPCG(1, 1))
	for _, key := range m.b.Objects.Keys("") {
		m.b.Objects.SetTime(key, time.Unix(int64(random.Uint32()), 0))
	}
	lost := registered(t, m.b)
	before := len(m.b.Objects.Keys(""))
	for _, key := range lost {
		m.b.Objects.Remove(key)
	}
	r, err := repairIn(t, m.b, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d runs found among %d segments", r.Repaired(), len(lost), r.Segments)
	for _, run := range r.Wrong {
		if run.Repaired == errors.Is(run.Err, ErrNotFound) {
			t.Errorf("%s: repaired %v, %v", run.Name, run.Repaired, run.Err)
		}
	}
	if got := len(m.b.Objects.Keys("")); got != before-len(lost)+r.Repaired() {
		t.Errorf("%d objects, %d before", got, before)
	}
}

// TestLostSegment: a run whose segment is gone stays lost, and is said to be;
// the others come back, and so does this one when its segment does.
func TestLostSegment(t *testing.T) {
	whole := standard(t, 2)
	runs := registered(t, whole)
	segment := segmentOf(t, whole, runs[3])
	for name, edit := range map[string]func([]byte) []byte{
		"removed": damages["removed"], "cut": damages["cut"],
		"header flipped":  func(b []byte) []byte { b[70] ^= 1; return b },
		"trailer flipped": damages["trailer flipped"],
	} {
		b := clone(whole)
		damage(t, b, segment, edit)
		for _, key := range runs {
			b.Objects.Remove(key)
		}
		r, err := repairIn(t, b, Options{})
		if err != nil || r.OK() || len(r.Wrong) != len(runs) || r.Repaired() != len(runs)-1 {
			t.Fatalf("%s: %d of %d repaired, %v\n%s", name, r.Repaired(), len(r.Wrong), err, describe(r))
		}
		for _, run := range r.Wrong {
			if lost := run.Name.Key() == runs[3]; lost != !run.Repaired || lost != errors.Is(run.Err, ErrNotFound) {
				t.Errorf("%s: %s repaired %v, %v", name, run.Name, run.Repaired, run.Err)
			}
		}
		if b.Objects.Get(runs[3]) != nil {
			t.Errorf("%s: something was put for a run that cannot be made", name)
		}
		putBack(t, b, segment, whole)
		mustRepair(t, b, 1, Options{})
		same(t, b, whole)
	}
}

// segmentOf returns the key of a segment of a run.
func segmentOf(t testing.TB, b *fault.Bucket, run string) string {
	t.Helper()
	name, err := index.ParseKey(run)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := index.Decode(b.Objects.Get(run), [16]byte{0xab}, name)
	if err != nil {
		t.Fatal(err)
	}
	s := opened.Segment(opened.SegmentCount() / 2)
	return s.Name.Key()
}

// TestAllComparesHeaders: headers that do not give the run that names them are
// named.
func TestAllComparesHeaders(t *testing.T) {
	whole := standard(t, 3)
	segment := segmentOf(t, whole, registered(t, whole)[1])
	for name, edit := range map[string]func([]byte) []byte{
		"removed": damages["removed"], "cut": damages["cut"], "longer": damages["longer"],
		"object's sum flipped": func(b []byte) []byte { b[64+16+24+32] ^= 1; return b },
		"trailer flipped":      damages["trailer flipped"],
	} {
		b := clone(whole)
		damage(t, b, segment, edit)
		r, err := repairIn(t, b, Options{All: true})
		if err != nil || r.OK() || len(r.Wrong) != 0 || r.Equal != r.Runs-1 || len(r.Damaged) != 1 || r.Damaged[0].Name.Key() != segment {
			t.Errorf("%s: %v\n%s", name, err, describe(r))
		}
	}
}

// TestFromCache: a machine that has the run needs no headers.
func TestFromCache(t *testing.T) {
	whole := standard(t, 4)
	runs := registered(t, whole)
	local := repo.Options{CacheDir: t.TempDir()}
	r, err := repo.Open(t.Context(), openBucket(t, whole), local)
	if err != nil {
		t.Fatal(err)
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Index(t.Context(), state); err != nil {
		t.Fatal(err)
	}
	b := clone(whole)
	damage(t, b, runs[2], damages["row flipped"])
	b.Objects.Remove(runs[5])
	segments := []string{segmentOf(t, whole, runs[2]), segmentOf(t, whole, runs[5])}
	for _, key := range segments {
		b.Objects.Remove(key)
	}
	report, err := repairWith(t, b, Options{}, local)
	if err != nil || !report.OK() || report.Repaired() != 2 || report.Wrong[0].Source != FromCache || report.Segments != 0 {
		t.Errorf("%v\n%s", err, describe(report))
	}
	for _, key := range segments {
		putBack(t, b, key, whole)
	}
	same(t, b, whole)
	// All trusts no cache.
	b.Objects.Remove(runs[2])
	report, err = repairWith(t, b, Options{All: true}, local)
	if err != nil || !report.OK() || report.Wrong[0].Source != FromHeaders {
		t.Errorf("%v\n%s", err, describe(report))
	}
}

// TestRepairStops strikes a repair at each access to the bucket, in each way: no
// run becomes anything but itself, the next repair does the rest, and the one
// behind it finds nothing to do. A put that is executed late spoils nothing.
func TestRepairStops(t *testing.T) {
	m := newMaker(t, 7)
	for range 2 {
		s := m.begin()
		m.add(s, s.ID(), 6)
		m.run(s)
		m.add(s, s.ID(), 6)
		m.run(s)
	}
	runs := registered(t, m.b)
	broken := clone(m.b)
	broken.Objects.Remove(runs[0])
	damage(t, broken, runs[3], damages["row flipped"])
	cases, late := 0, 0
	for _, all := range []bool{false, true} {
		for s := range fault.Sweep(fault.Ways, nil) {
			b := clone(broken)
			b.Inject(s.Plan)
			r, err := repairIn(t, b, Options{All: all})
			b.Inject(nil)
			what := fmt.Sprintf("%v, all %v", s, all)
			if !s.Struck() {
				if err != nil || s.Way.Kinds == fault.Any && s.K < 10 {
					t.Errorf("%s: %d operations, %v", what, s.K-1, err)
				}
				same(t, b, m.b)
				continue
			}
			cases++
			for _, key := range runs {
				if got := b.Objects.Get(key); !bytes.Equal(got, m.b.Objects.Get(key)) && !bytes.Equal(got, broken.Objects.Get(key)) {
					t.Errorf("%s: %s has become something else", what, key)
				}
			}
			if err == nil && r.OK() {
				same(t, b, m.b)
				if s.Way.Dies {
					t.Errorf("%s: stopped, and says that all is right", what)
				}
			}
			if r, err = repairIn(t, b, Options{}); err != nil || !r.OK() {
				t.Errorf("%s: again: %v\n%s", what, err, describe(r))
			}
			same(t, b, m.b)
			late += b.Settle()
			same(t, b, m.b)
			b.Inject(nil)
			mustRepair(t, b, 0, Options{})
			if puts, _ := b.Count(fault.Writes, ""); puts > 0 {
				t.Errorf("%s: all was right, and %d writes were made", what, puts)
			}
			if t.Failed() {
				t.Fatalf("%s", what)
			}
		}
	}
	t.Logf("%d cases, %d puts executed behind the next repair", cases, late)
	if cases < 100 || late == 0 {
		t.Errorf("only %d cases, %d late puts", cases, late)
	}
}

// TestRepairBesideBackups: backups register while a repair runs; neither spoils
// the other.
func TestRepairBesideBackups(t *testing.T) {
	for _, at := range []fault.Way{
		{Name: "list", Kinds: fault.List, Prefix: "seg/"},
		{Name: "read a run", Kinds: fault.Get, Prefix: "idx/"},
		{Name: "read a header", Kinds: fault.Get | fault.Range, Prefix: "seg/"},
		{Name: "put a run", Kinds: fault.Create, Prefix: "idx/"},
	} {
		m := newMaker(t, 8)
		for range 3 {
			s := m.begin()
			m.add(s, s.ID(), 10)
			m.run(s)
		}
		lost := registered(t, m.b)[1]
		want := m.b.Objects.Get(lost)
		busy := m.begin() // began while all was well, and registers now
		m.add(busy, busy.ID(), 10)
		m.b.Objects.Remove(lost)
		var met atomic.Bool
		m.b.Inject(func(op fault.Op) fault.Effect {
			if op.Kind&at.Kinds != 0 && strings.HasPrefix(op.Key, at.Prefix) && met.CompareAndSwap(false, true) {
				m.run(busy)
			}
			return fault.None
		})
		mustRepair(t, m.b, 1, Options{})
		m.b.Inject(nil)
		if !met.Load() {
			t.Errorf("%s: never came there", at.Name)
		}
		if !bytes.Equal(m.b.Objects.Get(lost), want) {
			t.Errorf("%s: the run is not as it was", at.Name)
		}
		if r := mustRepair(t, m.b, 0, Options{All: true}); r.Runs != 4 || r.Equal != 4 {
			t.Errorf("%s: %d of %d runs equal", at.Name, r.Equal, r.Runs)
		}
	}
}
