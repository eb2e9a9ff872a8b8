package prune

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/refcount"
	"bluesky/repo"
	"bluesky/store/local"
)

// BenchmarkSteps takes the steps of prunes, and a recount, of repositories that
// consist of headers: see playSteps. It plays them once, whatever is asked for.
func BenchmarkSteps(b *testing.B) {
	for _, objects := range []int{1_000_000, 10_000_000} {
		b.Run(fmt.Sprint(objects), func(b *testing.B) {
			playSteps(b, objects)
		})
	}
}

// TestSoakSteps is BenchmarkSteps with a hundred million objects. Their runs take
// 7 GB of the folder for temporary files, and the refs that a recount sorts some
// more.
func TestSoakSteps(t *testing.T) {
	soakEnd(t)
	playSteps(t, 100_000_000)
}

// playSteps makes a repository of so many objects in 40 backups, and takes the
// steps of its first prune, which counts all but the last backup; of the one
// after that, with the oldest snapshot forgotten and 1 % allowed to be unused; and
// of a recount. It logs what each takes; headers are made as they are read, which
// is a good part of the time.
func playSteps(tb testing.TB, objects int) {
	defer debug.SetGCPercent(debug.SetGCPercent(25)) // as the program
	m := &meter{TB: tb}
	s := newSynthetic(objects, 40)
	var whole, later *base
	folder := tb.TempDir()
	bucket, err := local.Open(folder)
	if err != nil {
		tb.Fatal(err)
	}
	m.step("make it", func() { whole = s.base(tb, bucket) })
	m.objects = s.objects()

	first := before(whole)
	a := m.prune("first prune", first, nil, Options{MaxUnused: Limit{Unlimited: true}})
	later = counted(tb, whole, a, folder)
	first, a = nil, nil

	oldest := []object.ID{whole.state.Snapshots[0].ID}
	m.prune("next prune", later, oldest, Options{MaxUnused: Limit{Percent: 1, IsPercent: true}})

	var tally *Tally
	m.step("recount", func() {
		view := View{State: whole.state, Runs: whole.runs, Index: whole.view}
		if tally, err = Recount(tb.Context(), s, view, RecountOptions{Fold: whole.state.Generation, Folder: tb.TempDir()}, nil); err != nil {
			tb.Fatal(err)
		}
	})
	if tally.Visible.N != uint64(s.objects()) || tally.Garbage.N+tally.DanglingCount != 0 {
		tb.Errorf("a recount finds %d objects and %d dead ones, want %d and none", tally.Visible.N, tally.Garbage.N, s.objects())
	}
}

// prune takes the steps of a prune, but for copying.
func (m *meter) prune(title string, b *base, collected []object.ID, options Options) *assembly {
	m.Helper()
	p := &Plan{options: options, at: map[int]map[uint32]*segment{}, collected: collected}
	var f *folded
	var a *assembly
	var err error
	try := func(step string, do func()) {
		m.Helper()
		m.step(title+": "+step, do)
		if err != nil {
			m.Fatal(err)
		}
	}
	try("fold", func() { f, err = b.fold(m.Context(), collected, NoProgress{}) })
	m.Logf("  %.1f MB of headers read", float64(b.headers.Bytes)/1e6)
	try("plan", func() {
		if p.dying, err = f.cascade(m.Context(), NoProgress{}); err != nil {
			return
		}
		if err = p.measure(m.Context()); err != nil {
			return
		}
		if err = p.choose(m.Context()); err == nil {
			p.findCopies()
			p.count()
		}
	})
	m.Logf("  %d of %d objects die, %d segments go, %d objects are to be copied, %.1f MB of headers read",
		p.Dead, p.Objects, p.Condemned, p.Repacked, float64(b.headers.Bytes)/1e6)
	if p.Dead == 0 && len(collected) > 0 || p.Dead > 0 && len(collected) == 0 {
		m.Errorf("%s: %d objects die", title, p.Dead)
	}
	// Nothing can be copied, so victims with something to copy stay.
	try("assemble", func() {
		a, err = p.assemble(m.Context(), &copier{repo: b.repo, where: map[object.ID]copied{}, Failed: map[pack.Name]error{}})
	})
	return a
}

// before returns what b was before its last backup.
func before(b *base) *base {
	n := len(b.runs) - 1
	was := *b
	state := *b.state
	state.Runs, state.Snapshots, state.Generation = state.Runs[:n:n], state.Snapshots[:n:n], uint64(n)
	was.state, was.runs, was.view = &state, b.runs[:n:n], indexOf(&state, b.runs)
	was.headers = headers{base: &was, known: map[pack.Name]*pack.Header{}}
	return &was
}

func indexOf(state *repo.State, runs []*index.Run) *index.Index {
	var parts []index.Part
	for i := range state.Runs {
		parts = append(parts, index.Part{Run: runs[i], At: state.Runs[i].Generation, Cleaned: state.Runs[i].Cleaned})
	}
	return index.New(parts, nil)
}

// counted returns what b is behind the clean a, which has counted all but its
// last backup and merged runs, and came before that backup. Its files are in
// folder.
func counted(tb testing.TB, b *base, a *assembly, folder string) *base {
	tb.Helper()
	n, last := uint64(len(b.runs)), len(b.runs)-1
	if a.run == nil || a.clean.Fold != n-1 {
		tb.Fatalf("a clean of many small runs has made none: %+v", a.clean)
	}
	state := *b.state
	state.Fold, state.Marks, state.Counts, state.Space = a.clean.Fold, a.clean.Marks, a.clean.Counts, a.clean.Space
	state.Generation = n + 1
	run, err := index.OpenFile(filepath.Join(folder, repo.RunName(a.run.Name()).Key()), index.Meta{Repository: synRepository, Name: a.run.Name(), Size: a.run.Size(), Hash: a.run.Hash()})
	if err != nil {
		tb.Fatal(err)
	}
	now := &base{repo: b.repo, state: &state, expired: b.expired}
	state.Runs = nil
	for i := range last {
		if !a.removed[i] {
			state.Runs, now.runs = append(state.Runs, b.state.Runs[i]), append(now.runs, b.runs[i])
		}
	}
	merged, newest := repo.Run{AddRun: a.clean.Runs[0], Generation: n, Cleaned: true}, b.state.Runs[last]
	newest.Generation = n + 1
	state.Runs, now.runs = append(state.Runs, merged, newest), append(now.runs, run, b.runs[last])
	state.Snapshots = slices.Clone(b.state.Snapshots)
	state.Snapshots[last].Generation = n + 1
	now.view = indexOf(&state, now.runs)
	now.headers = headers{base: now, known: map[pack.Name]*pack.Header{}}
	if now.counts, err = now.loadCounts(tb.Context()); err == nil {
		now.space, err = refcount.OpenSpace(tb.Context(), b.repo.Store(), b.repo.Config().ID, state.Space)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return now
}

// A meter logs what steps take.
type meter struct {
	testing.TB
	objects int
}

// step logs how long do takes, and the most memory that the process has
// meanwhile: its own, also how much of it there was before, and with the pages of
// mapped runs.
func (m *meter) step(title string, do func()) {
	runtime.GC()
	debug.FreeOSMemory()
	least := status("RssAnon")
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // the peak begins anew, where the kernel can
	var most atomic.Int64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			most.Store(max(most.Load(), status("RssAnon")))
			select {
			case <-tick.C:
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	start := time.Now()
	do()
	took := time.Since(start)
	close(stop)
	<-stopped
	line := fmt.Sprintf("%s: %.2f s; own memory %d MB, %d MB of it before; with mapped runs %d MB", title, took.Seconds(), most.Load()/1e6, least/1e6, status("VmHWM")/1e6)
	if m.objects > 0 {
		line += fmt.Sprintf("; %.1f MB more for each million objects", float64(most.Load()-least)/float64(m.objects))
	}
	m.Log(line)
}

// status returns a size in /proc/self/status, in bytes.
func status(field string) int64 {
	data, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := bytes.Cut(data, []byte("\n"+field+":"))
	words := bytes.Fields(rest)
	if len(words) == 0 {
		return 0
	}
	kib, _ := strconv.ParseInt(string(words[0]), 10, 64)
	return kib << 10
}
