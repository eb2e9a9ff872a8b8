package check

import (
	"flag"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/prune"
	"bluesky/prune/prunetest"
	"bluesky/refcount"
	"bluesky/repo"
	"bluesky/store"
)

var cleanedSeed = flag.Uint64("cleaned-seed", 0, "`seed` of the tests of random repositories that were cleaned; 0 draws one")

// newWorld makes a repository with a key slot, for objects that nobody opens.
func newWorld(t testing.TB, seed uint64) (*prunetest.World, *fixture) {
	t.Helper()
	f := newEmpty(t)
	t.Cleanup(func() { f.bucket.Close() })
	f.create(t, rand.NewChaCha8([32]byte{byte(seed)}))
	w := &prunetest.World{Store: f.bucket, Writer: f.keys.Writer(), Admin: f.keys.Admin(), Cleaner: f.keys.Admin()}
	return w.Begin(t, seed), f
}

func drawSeed(t testing.TB) uint64 {
	s := *cleanedSeed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-cleaned-seed %d", s)
	return s
}

// checkWorld checks without the key.
func checkWorld(t testing.TB, st *store.Store, options Options) (Report, error) {
	t.Helper()
	r, err := repo.Open(t.Context(), st, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return Run(t.Context(), r, nil, options, nil)
}

// TestCleanedRepositories: whatever order of backups, interrupted ones, forgets
// and cleans there was, made by hand or by package prune, and whatever was deleted
// of what is condemned, nothing is wrong.
func TestCleanedRepositories(t *testing.T) {
	first := drawSeed(t)
	states, compared := 0, 0
	for i := range uint64(7) {
		seed := first + i
		if i == 6 {
			seed = 1 // has dead objects that refer to others, whatever is drawn
		}
		w, _ := newWorld(t, seed)
		if i%2 == 1 {
			w.Cleaning = func() { pruneWorld(t, w) }
		}
		for range 20 {
			w.Step()
			r, err := checkWorld(t, w.Store, Options{ReadData: w.Rand.IntN(3) == 0})
			if err != nil || !r.OK() || r.Warnings > 0 {
				t.Fatalf("%v\n%s", err, describe(r))
			}
			states++
			if strings.Contains(r.Level, "counts") {
				compared++
			}
		}
	}
	t.Logf("%d states, the counts of %d compared", states, compared)
	if compared == 0 {
		t.Error("no counts were compared")
	}
}

// pruneWorld cleans as the program does.
func pruneWorld(t testing.TB, w *prunetest.World) {
	t.Helper()
	p, err := prune.NewPlan(t.Context(), w.Repo, prune.Options{AllowMassDelete: true, Recount: w.Rand.IntN(4) == 0}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Apply(t.Context(), w.Cleaner, nil); err != nil {
		t.Fatal(err)
	}
}

// cleanedWorld returns a repository with everything that a clean makes.
func cleanedWorld(t testing.TB) *prunetest.World {
	t.Helper()
	w, _ := newWorld(t, 5)
	for range 3 {
		w.Backup()
	}
	w.Forget()
	w.Race()
	w.Clean()
	w.Interrupt()
	w.Forget()
	w.Clean()
	w.Backup()
	s := w.State()
	if len(s.Counts) == 0 || len(s.Space) == 0 || len(s.Marks) == 0 {
		t.Fatal("the repository lacks tables")
	}
	return w
}

// homeWhere returns a home row with a count that want likes, as (run, row).
func homeWhere(t testing.TB, truth *prunetest.Truth, want func(uint64) bool) prunetest.Place {
	t.Helper()
	ids := make([]object.ID, 0, len(truth.Copies))
	for id := range truth.Copies {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, object.ID.Compare)
	for _, id := range ids {
		if want(truth.Count[id]) {
			return truth.Copies[id][0]
		}
	}
	t.Fatal("no such row")
	return prunetest.Place{}
}

func anyCount(n uint64) bool { return n > 0 }

// TestWrongCounts: tables of a cleaner that has counted wrongly.
func TestWrongCounts(t *testing.T) {
	tests := []struct {
		name string
		edit func(*testing.T, *prunetest.Truth)
		want string
	}{
		{"nothing wrong", func(*testing.T, *prunetest.Truth) {}, ""},
		{"a count too low", func(t *testing.T, truth *prunetest.Truth) {
			at := homeWhere(t, truth, anyCount)
			truth.Runs[at.Part][at.Row]--
		}, "1 counts of run"},
		{"a count too high", func(t *testing.T, truth *prunetest.Truth) {
			at := homeWhere(t, truth, anyCount)
			truth.Runs[at.Part][at.Row]++
		}, "1 counts of run"},
		{"a count of another row", func(t *testing.T, truth *prunetest.Truth) {
			for _, places := range truth.Copies {
				if a, b := places[0], places[len(places)-1]; a != b && truth.Runs[a.Part][a.Row] > 0 {
					truth.Runs[b.Part][b.Row], truth.Runs[a.Part][a.Row] = truth.Runs[a.Part][a.Row], 0
					return
				}
			}
			t.Fatal("no object has two copies")
		}, "counts of run"},
		{"a run without counts", func(t *testing.T, truth *prunetest.Truth) {
			truth.Runs[homeWhere(t, truth, anyCount).Part] = nil
		}, "which is counted"},
		{"a segment with too much that is live", func(t *testing.T, truth *prunetest.Truth) {
			for name, live := range truth.Live {
				if s := truth.Segments[name]; int64(live) < s.Size-int64(s.HeaderLength)-pack.PreludeSize-pack.TrailerSize {
					truth.Live[name]++
					return
				}
			}
			t.Fatal("every segment is live")
		}, "1 segments of the space map are wrong"},
		{"a segment that the space map lacks", func(t *testing.T, truth *prunetest.Truth) {
			for name := range truth.Segments {
				delete(truth.Segments, name)
				return
			}
		}, "is missing"},
		{"a segment that is not in use", func(t *testing.T, truth *prunetest.Truth) {
			for _, s := range truth.Segments {
				s.Name = pack.Name{1, 2, 3}
				truth.Segments[s.Name] = s
				return
			}
		}, "is not in use"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := cleanedWorld(t)
			w.Lie(nil, func(truth *prunetest.Truth) { tt.edit(t, truth) })
			r, err := checkWorld(t, w.Store, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if tt.want == "" {
				if !r.OK() || r.SuggestRecount {
					t.Errorf("got\n%s", describe(r))
				}
				return
			}
			found := slices.ContainsFunc(r.Problems, func(p Problem) bool {
				return p.Severity == Error && strings.Contains(p.Text, tt.want) && strings.HasPrefix(p.Subject, "cnt/")
			})
			if !found || !r.SuggestRecount || r.SuggestRepairIndex || r.Errors > 2 {
				t.Errorf("want %q, got\n%s", tt.want, describe(r))
			}
		})
	}
}

// TestWrongMarks: what the roots reach is marked dead, or its segment gone.
func TestWrongMarks(t *testing.T) {
	for _, tt := range []struct {
		name string
		mark func(c *refcount.MarksChange, run index.RunName, row uint32, segment uint32) error
	}{
		{"dead", func(c *refcount.MarksChange, run index.RunName, row, _ uint32) error { return c.MarkDead(run, row) }},
		{"gone", func(c *refcount.MarksChange, run index.RunName, _, segment uint32) error {
			return c.MarkGone(run, segment)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := cleanedWorld(t)
			s, runs, x := w.View()
			truth := w.Tell(s, runs, x, s.Generation)
			var id object.ID
			w.Lie(func(c *refcount.MarksChange) {
				ids := slices.SortedFunc(maps.Keys(truth.Copies), object.ID.Compare)
				for _, id = range ids {
					at := truth.Copies[id][0]
					row := runs[at.Part].Row(at.Row)
					if row.Kind != object.KindBlock || truth.Count[id] == 0 || len(truth.Copies[id]) > 1 {
						continue
					}
					if err := tt.mark(c, runs[at.Part].Name(), uint32(at.Row), row.Segment); err != nil {
						t.Fatal(err)
					}
					return
				}
				t.Fatal("no block that is referred to")
			}, nil)
			r, err := checkWorld(t, w.Store, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(r.Problems, func(p Problem) bool {
				return p.Severity == Error && p.Subject == "object "+id.String() && strings.Contains(p.Text, "refers to it, and a clean has marked it dead")
			}) {
				t.Errorf("want object %s, got\n%s", id, describe(r))
			}
		})
	}
}

// TestDamagedTables: the files of tables are missing, or damaged.
func TestDamagedTables(t *testing.T) {
	tables := []struct {
		name  string
		of    func(*repo.State) []repo.TableRef
		fatal bool
	}{
		{"marks", func(s *repo.State) []repo.TableRef { return s.Marks }, true},
		{"counts", func(s *repo.State) []repo.TableRef { return s.Counts }, false},
		{"space", func(s *repo.State) []repo.TableRef { return s.Space }, false},
	}
	w := cleanedWorld(t)
	for _, table := range tables {
		ref := table.of(w.State())[0]
		whole, err := w.Store.Get(t.Context(), ref.Name.Key(), ref.Size)
		if err != nil {
			t.Fatal(err)
		}
		for name, damage := range map[string]func([]byte) []byte{
			"missing": func([]byte) []byte { return nil },
			"cut":     func(b []byte) []byte { return b[:len(b)-1] },
			"longer":  func(b []byte) []byte { return append(b, 0) },
			"flipped": func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		} {
			t.Run(table.name+" "+name, func(t *testing.T) {
				replaceFile(t, w.Store, ref.Name.Key(), damage(slices.Clone(whole)))
				defer replaceFile(t, w.Store, ref.Name.Key(), whole)
				r, err := checkWorld(t, w.Store, Options{})
				if (err != nil) != table.fatal {
					t.Errorf("error %v", err)
				}
				named := slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Severity == Error && p.Subject == ref.Name.Key() })
				if !named || r.OK() || r.SuggestRecount == table.fatal {
					t.Errorf("got\n%s", describe(r))
				}
			})
		}
	}
	if r, err := checkWorld(t, w.Store, Options{}); err != nil || !r.OK() {
		t.Errorf("the repository is not as it was: %v\n%s", err, describe(r))
	}
}

func replaceFile(t *testing.T, st *store.Store, key string, data []byte) {
	t.Helper()
	var err error
	if data == nil {
		err = st.Delete(t.Context(), key)
	} else {
		err = st.Put(t.Context(), key, data)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCleanedOrphans: what nobody names is a note, also where it is there again
// after it was deleted; what is condemned is nothing.
func TestCleanedOrphans(t *testing.T) {
	w := cleanedWorld(t)
	gone, condemned := recordedSegment(t, w), repo.Name{}
	for name := range w.State().Condemned {
		condemned = name
	}
	if condemned == (repo.Name{}) {
		t.Fatal("nothing is condemned")
	}
	orphan := repo.TableName([16]byte{7, 7})
	for _, name := range []repo.Name{gone, condemned, orphan} {
		replaceFile(t, w.Store, name.Key(), []byte("anything"))
	}
	r, err := checkWorld(t, w.Store, Options{})
	if err != nil || !r.OK() || !r.SuggestPrune {
		t.Fatalf("%v\n%s", err, describe(r))
	}
	want := map[string]string{gone.Key(): "there again", orphan.Key(): "no generation names it"}
	for _, p := range r.Problems {
		if text, ok := want[p.Subject]; ok && p.Severity == Note && strings.Contains(p.Text, text) {
			delete(want, p.Subject)
		} else {
			t.Errorf("%s: %s", p.Subject, p.Text)
		}
	}
	if len(want) > 0 {
		t.Errorf("no note of %v", want)
	}
}

// recordedSegment makes w delete a segment that a run lists, and record it.
func recordedSegment(t *testing.T, w *prunetest.World) repo.Name {
	t.Helper()
	for range 100 {
		s, runs, x := w.View()
		for i, run := range runs {
			for n := range run.SegmentCount() {
				name := repo.SegmentName(run.Segment(n).Name)
				if _, condemned := s.Condemned[name]; !condemned && !x.ShowsSegment(i, n) {
					return name
				}
			}
		}
		w.Step()
	}
	t.Fatal("no segment was deleted")
	return repo.Name{}
}

// TestLostSegmentOfCleanedRepository: the counts cannot be compared then, and
// what is dead is not lost.
func TestLostSegmentOfCleanedRepository(t *testing.T) {
	w := cleanedWorld(t)
	s, runs, x := w.View()
	truth := w.Tell(s, runs, x, s.Fold)
	at := homeWhere(t, truth, anyCount)
	for _, places := range truth.Copies { // any that counts, of metadata
		if l := x.At(places[0].Part, places[0].Row); l.Segment.Class == object.ClassMeta && len(places) == 1 {
			at = places[0]
		}
	}
	segment := x.At(at.Part, at.Row).Segment
	replaceFile(t, w.Store, segment.Name.Key(), nil)
	r, err := checkWorld(t, w.Store, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors != 1 || r.Problems[0].Subject != segment.Name.Key() || r.SuggestRecount ||
		!slices.ContainsFunc(r.Unseen, func(s string) bool { return strings.HasPrefix(s, "reference counts") }) {
		t.Errorf("got\n%s\nnot seen: %q", describe(r), r.Unseen)
	}
}

// TestRegistration: a segment of a run of a clean comes from any session, and is
// not younger than the clean.
func TestRegistration(t *testing.T) {
	session, other := object.SessionID{1}, object.SessionID{2}
	for _, tt := range []struct {
		name    string
		cleaned bool
		segment index.Segment
		want    int
	}{
		{"of its session", false, index.Segment{Session: session}, 0},
		{"of another session", false, index.Segment{Session: other}, 1},
		{"older than its session", false, index.Segment{Session: session, RegisteredAt: 3}, 1},
		{"made by a clean", true, index.Segment{Session: other}, 0},
		{"merged by a clean", true, index.Segment{Session: other, RegisteredAt: 3}, 0},
		{"merged by the clean that made it", true, index.Segment{Session: other, RegisteredAt: 7}, 0},
		{"younger than the clean", true, index.Segment{Session: other, RegisteredAt: 8}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			run := openRun{Run: repo.Run{Generation: 7, Cleaned: tt.cleaned}}
			if !tt.cleaned {
				run.Session = session
			}
			c := checker{book: newBook(Options{MaxProblems: 9}, NoProgress{})}
			if c.judgeRegistration(&run, &tt.segment); c.book.errors != tt.want {
				t.Errorf("%d errors, want %d: %v", c.book.errors, tt.want, c.book.problems)
			}
		})
	}
}
