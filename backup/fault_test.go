package backup

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"bluesky/keyring"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
	"bluesky/store/fault"

	"golang.org/x/sys/unix"
)

// The context ends at any event of the progress, or any operation of the bucket.
func TestCancel(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	generate(t, root, 30)
	must(t, os.WriteFile(filepath.Join(root, "long"), random(9, 1<<20), 0o644))
	for _, by := range []string{"progress", "operation"} {
		t.Run(by, func(t *testing.T) {
			base := newBed(t)
			base.run(t, paths(filepath.Join(root, "dir1")))
			base.snapshotSeen(t)
			stopped := 0
			for k := 1; ; k += step(k, 4) {
				b := base.clone(t)
				fds := openFDs(t)
				ctx, cancel := context.WithCancel(t.Context())
				log := &progressLog{}
				reached := false
				stop := func(n int) {
					if n == k {
						reached = true
						cancel()
					}
				}
				if by == "progress" {
					log.onEvent = stop
				} else {
					b.bucket.Inject(func(op fault.Op) fault.Effect { stop(op.N); return fault.None })
				}
				result, err := Run(ctx, b.repo, b.keys, paths(root), log)
				cancel()
				what := fmt.Sprintf("canceled at %s %d", by, k)
				if !reached {
					must(t, err)
					break
				}
				if len(log.errors) > 0 {
					t.Errorf("%s: counted as sources that cannot be read: %v", what, log.errors)
				}
				if err == nil {
					b.bucket.Inject(nil)
					b.snapshot(t, result.Snapshot) // committed before it was noticed
				} else if stopped++; !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", what, err)
				}
				b.aftermath(t, what, root, fds)
			}
			if stopped < 4 {
				t.Errorf("only %d backups were stopped", stopped)
			}
		})
	}
}

// Full disks say so, and hurt nobody.
func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	mountTmpfs(t, dir, "6m")
	src := filepath.Join(t.TempDir(), "src")
	write(t, filepath.Join(src, "small"), "content")
	st, err := store.Create(t.Context(), filepath.Join(dir, "repo"))
	must(t, err)
	t.Cleanup(func() { st.Close() })
	b := &bed{state: t.TempDir()}
	_, err = keyring.Create(t.Context(), st, keyring.Options{Password: []byte("secret"), Slot: cheapSlot, Now: time.Now(), ConfigDir: b.state})
	must(t, err)
	b.repo, err = repo.Open(t.Context(), st, repo.Options{StateDir: b.state})
	must(t, err)
	b.keys, err = keyring.Open(t.Context(), b.repo, []byte("secret"))
	must(t, err)
	first := b.verify(t, paths(src), src)

	ballast := filepath.Join(dir, "ballast")
	must(t, os.WriteFile(ballast, make([]byte, 3<<20), 0o600))
	must(t, os.WriteFile(filepath.Join(src, "large"), random(1, 4<<20), 0o644))
	options := paths(src)
	options.Parent = first
	log := &progressLog{}
	if _, err := Run(t.Context(), b.repo, b.keys, options, log); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("a full disk gives %v", err)
	}
	if len(log.errors) > 0 {
		t.Errorf("the store's full disk was taken for a source's: %v", log.errors)
	}
	must(t, os.Remove(ballast))
	b.verify(t, options, src)
	b.view(t, first) // still there
}

// Many machines and processes back up at once: all snapshots are there.
func TestConcurrentBackups(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	equal := filepath.Join(dir, "equal")
	generate(t, equal, 80)
	roots := make([]string, 8)
	ids := make([]object.ID, len(roots))
	errs := make([]error, len(roots))
	var g sync.WaitGroup
	for i := range roots {
		roots[i] = equal
		if i%2 == 1 {
			roots[i] = filepath.Join(dir, fmt.Sprint("own", i))
			generate(t, roots[i], 20*i)
		}
		client := b.other(t)
		if i >= 4 { // two processes on one machine
			client = &bed{bucket: b.bucket, state: b.state}
			client.open(t)
		}
		options := paths(roots[i])
		options.Host = fmt.Sprint("host", i)
		if i%3 == 0 {
			options.Now = often()
		}
		g.Go(func() {
			result, err := Run(t.Context(), client.repo, client.keys, options, nil)
			ids[i], errs[i] = result.Snapshot, err
		})
	}
	g.Wait()
	must(t, errs...)
	b.open(t)
	if n := len(b.list(t)); n != len(roots) {
		t.Errorf("%d snapshots of %d", n, len(roots))
	}
	for i, id := range ids {
		b.compare(t, b.snapshot(t, id), roots[i])
	}
	state, err := b.repo.Refresh(t.Context())
	must(t, err)
	if list := state.Unfinished(); len(list) > 0 {
		t.Errorf("unfinished sessions %v", list)
	}
}

// A long backup registers what it has. If it then dies, the next run of the
// machine ends its session and uses what it stored.
func TestAddRunThenCrash(t *testing.T) {
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	generate(t, root, 100)
	must(t, os.WriteFile(filepath.Join(root, "a"), random(1, 2<<20), 0o644)) // stored before the others, in one job
	watcher := b.other(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runs, unfinished := 0, 0
	log := &progressLog{onEvent: func(int) {
		state, err := watcher.repo.Refresh(t.Context())
		if err != nil {
			t.Error(err)
			return
		}
		runs, unfinished = len(state.Runs), max(unfinished, len(state.Unfinished()))
		if runs >= 5 {
			cancel()
		}
	}}
	options := paths(root)
	options.Now = often()
	if _, err := Run(ctx, b.repo, b.keys, options, log); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if runs < 5 || unfinished != 1 {
		t.Fatalf("%d runs and %d unfinished sessions meanwhile", runs, unfinished)
	}
	b.open(t)
	s := b.verify(t, paths(root), root)
	state, err := b.repo.Refresh(t.Context())
	must(t, err)
	if list := state.Unfinished(); len(list) > 0 {
		t.Errorf("session %v is unfinished still", list)
	}
	// What the first had registered was not stored again.
	fresh := newBed(t).run(t, paths(root))
	if got, all := s.Record.Counts.DataAdded, fresh.Counts.DataAdded; got+64*kib > all {
		t.Errorf("of %d bytes %d were new behind the crash", all, got)
	}
}

// A large file alone is registered piece by piece.
func TestAddRunWithinFile(t *testing.T) {
	b := newBed(t)
	name := filepath.Join(t.TempDir(), "long")
	must(t, os.WriteFile(name, random(1, 3<<20), 0o644))
	options := paths(name)
	options.Now = often()
	b.verify(t, options, name)
	if n := len(b.repo.State().Runs); n < 5 {
		t.Errorf("%d runs", n)
	}
}

// A strictTarget holds the backup to what [repo.Session.AddRun] wants: all that
// was claimed is added, and nobody is adding.
type strictTarget struct {
	target
	t       *testing.T
	pending atomic.Int64 // claimed and not added
	runs    atomic.Int64
	ended   atomic.Bool // no data follows
}

func (s *strictTarget) EndData() error {
	s.ended.Store(true)
	return s.target.EndData()
}

func (s *strictTarget) Claim(id object.ID) bool {
	s.pending.Add(1)
	if s.target.Claim(id) {
		return true
	}
	s.pending.Add(-1)
	return false
}

func (s *strictTarget) Add(o object.Sealed, row object.Session) error {
	if s.ended.Load() && o.Kind.Class() == object.ClassData {
		s.t.Errorf("%v %s behind the last data", o.Kind, o.ID.Short())
	}
	runtime.Gosched() // let an add-run that does not wait come in between
	err := s.target.Add(o, row)
	runtime.Gosched()
	s.pending.Add(-1)
	return err
}

func (s *strictTarget) AddRun(ctx context.Context) error {
	s.runs.Add(1)
	for range 20 {
		if n := s.pending.Load(); n != 0 {
			s.t.Errorf("an add-run with %d objects claimed and not added", n)
		}
		runtime.Gosched()
	}
	return s.target.AddRun(ctx)
}

// Whoever makes an add-run due, a worker, one of several with the same file or
// the walk with the attributes of a directory: nobody else is storing meanwhile.
func TestAddRunWhileNobodyStores(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(8))
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	generate(t, root, 100)
	for i := range 5 {
		dir := filepath.Join(root, fmt.Sprint("dir", i))
		if err := unix.Setxattr(dir, "user.long", random(byte(i), 1000), 0); err != nil {
			t.Logf("NOT TESTED: attributes of directories: %v", err)
		}
	}
	must(t, os.WriteFile(filepath.Join(root, "long"), random(1, parallelFrom+1), 0o644))
	strict := &strictTarget{t: t}
	open := func(ctx context.Context, r *repo.Repo, keys *seal.Keys, o Options) (target, error) {
		var err error
		strict.target, err = openTarget(ctx, r, keys, o)
		return strict, err
	}
	options := paths(root)
	now, start := often(), time.Now()
	options.Now = func() time.Time { return start.Add(now().Sub(start) / 10) } // at every hundredth look
	result, err := run(t.Context(), b.repo, b.keys, options, NoProgress{}, open)
	must(t, err)
	if n := strict.runs.Load(); n < 10 {
		t.Errorf("only %d add-runs", n)
	}
	if !strict.ended.Load() {
		t.Error("the end of the data was not said")
	}
	b.compare(t, b.snapshot(t, result.Snapshot), root)
}

// A goneTarget loses what it was given, at every commit but the last.
type goneTarget struct {
	target
	left *int
}

func (g goneTarget) Commit(ctx context.Context, s repo.AddSnapshot) error {
	if *g.left--; *g.left >= 0 {
		return fmt.Errorf("%w: object of the test", repo.ErrObjectGone)
	}
	return g.target.Commit(ctx, s)
}

func TestObjectGoneRestartsOnce(t *testing.T) {
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	generate(t, root, 30)
	parent := b.verify(t, paths(root), root)
	for _, times := range []int{1, 2} {
		left, opened, parents := times, 0, []bool{}
		open := func(ctx context.Context, r *repo.Repo, keys *seal.Keys, o Options) (target, error) {
			opened++
			parents = append(parents, o.Parent != nil)
			target, err := openTarget(ctx, r, keys, o)
			return goneTarget{target, &left}, err
		}
		options := paths(root)
		options.Parent = parent
		log := &progressLog{}
		result, err := run(t.Context(), b.repo, b.keys, options, log, open)
		if opened != 2 || log.restarts != 1 || !parents[0] || parents[1] {
			t.Errorf("%d attempts, %d restarts, with parents %v", opened, log.restarts, parents)
		}
		if times == 2 {
			if !errors.Is(err, repo.ErrObjectGone) {
				t.Errorf("gone twice: %v", err)
			}
			continue
		}
		must(t, err)
		b.compare(t, b.snapshot(t, result.Snapshot), root)
	}
	if n := len(b.list(t)); n != 2 {
		t.Errorf("%d snapshots", n)
	}
}

// A parent that was removed since it was chosen is done without.
func TestParentGone(t *testing.T) {
	b, foreign := newBed(t), newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	generate(t, root, 30)
	options := paths(root)
	options.Parent = foreign.verify(t, options, root)
	log := &progressLog{}
	result, err := Run(t.Context(), b.repo, b.keys, options, log)
	must(t, err)
	if log.restarts != 1 || !result.Parent.IsZero() {
		t.Errorf("%d restarts, parent %s", log.restarts, result.Parent)
	}
	b.compare(t, b.snapshot(t, result.Snapshot), root)
}
