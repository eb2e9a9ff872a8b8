package repair

import (
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"bluesky/index"
	"bluesky/prune/prunetest"
	"bluesky/refcount"
	"bluesky/repo"
	"bluesky/store/fault"
)

var cleanedSeed = flag.Uint64("cleaned-seed", 0, "`seed` of the tests of repositories that were cleaned; 0 draws one")

// cleaned makes a random repository that has been cleaned.
func cleaned(t testing.TB, seed uint64, steps int) (*prunetest.World, *fault.Bucket) {
	t.Helper()
	b := newMaker(t, seed).b
	w := &prunetest.World{Store: openBucket(t, b), Writer: writer, Admin: admin, Cleaner: cleaner}
	w.Begin(t, seed)
	w.Backup()
	w.Race()
	for range steps {
		w.Step()
	}
	w.Forget()
	w.Clean()
	return w, b
}

func seedOf(t testing.TB) uint64 {
	s := *cleanedSeed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-cleaned-seed %d", s)
	return s
}

// TestCleanedRepository: a repair finds nothing wrong in what cleans leave, and
// each run that it can make again it makes again to the bit: with segments that
// are condemned, while they are there. Of the others it says so. What is visible
// never changes.
func TestCleanedRepository(t *testing.T) {
	first := seedOf(t)
	made, refused, partly := 0, 0, 0
	for i := range uint64(4) {
		w, b := cleaned(t, first+i, 8)
		r, err := repairIn(t, b, Options{All: true})
		if err != nil || !r.OK() || r.Equal+r.Partly != r.Runs {
			t.Fatalf("%d of %d runs equal and %d partly: %v\n%s", r.Equal, r.Runs, r.Partly, err, describe(r))
		}
		partly += r.Partly
		s, runs, _ := w.View()
		for n, run := range runs {
			c := clone(b)
			set(t, c, run.Name().Key(), nil)
			whole := !s.Runs[n].Cleaned && !slices.ContainsFunc(run.Segments(), func(seg index.Segment) bool { return b.Objects.Get(seg.Name.Key()) == nil })
			r, err := repairIn(t, c, Options{})
			if err != nil || len(r.Wrong) != 1 {
				t.Fatalf("%v\n%s", err, describe(r))
			}
			switch {
			case whole && r.OK():
				made++
				same(t, c, b)
			case whole || r.OK():
				t.Errorf("run %s, whole %v:\n%s", run.Name(), whole, describe(r))
			default:
				refused++
				if s.Runs[n].Cleaned != errors.Is(r.Wrong[0].Err, errCleaned) {
					t.Errorf("run %s: %v", run.Name(), r.Wrong[0].Err)
				}
			}
		}
	}
	t.Logf("%d runs made again, %d refused, %d compared partly", made, refused, partly)
	if made == 0 || refused == 0 || partly == 0 {
		t.Error("some case did not come up")
	}
}

// TestRunOfCleanFromCache: the machine that has cleaned, or read since, has it.
func TestRunOfCleanFromCache(t *testing.T) {
	w, b := cleaned(t, 11, 0)
	for !slices.ContainsFunc(w.State().Runs, func(r repo.Run) bool { return r.Cleaned }) {
		w.Step()
		w.Clean()
	}
	local := repo.Options{CacheDir: t.TempDir()}
	warm(t, b, local)
	for _, run := range w.State().Runs {
		c := clone(b)
		set(t, c, run.Name.Key(), nil)
		for _, options := range []Options{{DryRun: true}, {All: run.Cleaned}} {
			r, err := repairWith(t, c, options, local)
			if err != nil || !r.OK() || r.Repaired() != 1 || r.Wrong[0].Source != FromCache {
				t.Fatalf("%+v: %v\n%s", options, err, describe(r))
			}
		}
		same(t, c, b)
	}
}

// warm fills the cache of a machine.
func warm(t *testing.T, b *fault.Bucket, local repo.Options) {
	t.Helper()
	r, err := repo.Open(t.Context(), openBucket(t, b), local)
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := r.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, ref := range s.Counts {
		if _, err := r.TableBytes(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTables: marks and counts come back from a cache alone, a space map from
// nowhere, and each says what to do.
func TestTables(t *testing.T) {
	w, b := cleaned(t, 12, 6)
	local := repo.Options{CacheDir: t.TempDir()}
	warm(t, b, local)
	s := w.State()
	for _, tt := range []struct {
		holds  refcount.Type
		refs   []repo.TableRef
		cached bool
		want   string
	}{
		{refcount.TypeMarks, s.Marks, true, "nothing else says what is dead"},
		{refcount.TypeCounts, s.Counts, true, "prune --recount"},
		{refcount.TypeSpace, s.Space, false, "prune --recount"},
	} {
		key := tt.refs[0].Name.Key()
		for name, damage := range map[string]func([]byte) []byte{
			"missing": func([]byte) []byte { return nil },
			"cut":     func(d []byte) []byte { return d[:len(d)/2] },
			"flipped": func(d []byte) []byte { d[len(d)-40] ^= 1; return d },
			"longer":  func(d []byte) []byte { return append(d, 0) },
		} {
			t.Run(tt.holds.String()+" "+name, func(t *testing.T) {
				c := clone(b)
				set(t, c, key, damage(slices.Clone(b.Objects.Get(key))))
				for _, options := range []Options{{}, {All: true}} {
					r, err := repairIn(t, c, options)
					if err != nil || r.OK() || len(r.Tables) != 1 || len(r.Wrong)+len(r.Damaged) > 0 {
						t.Fatalf("%v, %d tables\n%s", err, len(r.Tables), describe(r))
					}
					if got := r.Tables[0]; got.Holds != tt.holds || got.Ref != tt.refs[0] || !strings.Contains(got.Err.Error(), tt.want) {
						t.Errorf("%+v", got)
					}
				}
				r, err := repairWith(t, c, Options{DryRun: true}, local)
				if err != nil || r.OK() != tt.cached {
					t.Errorf("dry run: %v, OK %v", err, r.OK())
				}
				if r, err = repairWith(t, c, Options{}, local); err != nil || r.OK() != tt.cached {
					t.Errorf("%v, OK %v", err, r.OK())
				}
				if tt.cached {
					same(t, c, b)
				}
			})
		}
	}
}

// TestHeaderOfCleanedRun: a segment that is not the one that was registered is
// named, also where a run can be compared in part only.
func TestHeaderOfCleanedRun(t *testing.T) {
	w, b := cleaned(t, 13, 0)
	for {
		s, runs, x := w.View()
		for n, run := range runs {
			for i := range run.SegmentCount() {
				if !s.Runs[n].Cleaned || !x.ShowsSegment(n, i) {
					continue
				}
				name := run.Segment(i).Name
				data := slices.Clone(b.Objects.Get(name.Key()))
				data[len(data)-1] ^= 1 // of the trailer, which the run has too
				set(t, b, name.Key(), data)
				r, err := repairIn(t, b, Options{All: true})
				if err != nil || len(r.Damaged) != 1 || r.Damaged[0].Name != name || len(r.Wrong) > 0 {
					t.Errorf("%v\n%s", err, describe(r))
				}
				return
			}
		}
		w.Step()
		w.Clean()
	}
}
