package backup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bluesky/check"
	"bluesky/index"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/store/fault"

	"go.uber.org/goleak"
)

// openFDs counts the descriptors of this process.
func openFDs(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}

// aftermath checks what must hold after a backup of root has failed: nothing is
// left running or open, every snapshot there is reads to the last byte, the
// check finds no damage, and the next backup succeeds without uploading again
// what is registered.
func (b *bed) aftermath(t *testing.T, what string, root string, fds int) {
	t.Helper()
	b.bucket.Inject(nil)
	if err := goleak.Find(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if n := openFDs(t); n > fds {
		t.Fatalf("%s: %d descriptors are open, %d were before", what, n, fds)
	}
	b.open(t)
	for _, s := range b.list(t) { // each once: a backup deletes nothing
		if !b.seen[s.ID] {
			b.view(t, &s)
			b.seen[s.ID] = true
		}
	}
	registered, err := b.repo.Index(t.Context(), b.repo.State())
	must(t, err)
	b.verify(t, paths(root), root)
	b.wantUploadsNew(t, registered)
	state, err := b.repo.Refresh(t.Context())
	must(t, err)
	if list := state.Unfinished(); len(list) > 0 {
		t.Fatalf("%s: the next backup has left sessions %v unfinished", what, list)
	}
	b.bucket.Settle()
	b.wantClean(t)
	if n, _ := b.bucket.Count(fault.Delete|fault.Put, ""); n > 0 {
		t.Errorf("%d operations that a backup must not need", n)
	}
	if t.Failed() {
		t.Fatal(what)
	}
}

// wantUploadsNew checks that no segment uploaded since the last Inject holds an
// object that is in registered.
func (b *bed) wantUploadsNew(t *testing.T, registered *index.Index) {
	t.Helper()
	for _, op := range b.bucket.Log() {
		if op.Kind != fault.Create || !strings.HasPrefix(op.Key, "seg/") {
			continue
		}
		data := b.bucket.Objects.Get(op.Key)
		prelude, err := pack.DecodePrelude(data, int64(len(data)))
		must(t, err)
		header, err := pack.DecodeHeader(data[:prelude.HeadSize()], int64(len(data)))
		must(t, err)
		for _, o := range header.Objects {
			if registered.Has(o.ID) {
				t.Errorf("%s: object %s was uploaded again, though it is registered", op, o.ID.Short())
			}
		}
	}
}

// wantClean checks the repository with the key, all data included.
func (b *bed) wantClean(t *testing.T) {
	t.Helper()
	r, err := repo.Open(t.Context(), b.store(t), repo.Options{})
	must(t, err)
	must(t, r.Pin(b.repo.Identity()))
	report, err := check.Run(t.Context(), r, b.keys, check.Options{ReadData: true}, nil)
	must(t, err)
	if !report.OK() {
		t.Errorf("check found %+v", report.Problems)
	}
}

// snapshotSeen marks all snapshots as read by aftermath.
func (b *bed) snapshotSeen(t testing.TB) {
	for _, s := range b.list(t) {
		b.seen[s.ID] = true
	}
}

// step returns how far a sweep goes on behind k: to the next at first, then
// about k/part; further where everything is slow.
func step(k, part int) int {
	if raceEnabled {
		return 1 + 2*k/3
	}
	return 1 + k/part
}

// often is a clock by which an add-run is due at every tenth look or so.
func often() func() time.Time {
	var mu sync.Mutex
	now := time.Now().Add(time.Hour)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(runEvery / 10)
		return now
	}
}

// sweep strikes the operations of a backup of root in turn, in each way in which
// one can end. What the store says comes back as it is, never as a file that
// could not be read.
func (b *bed) sweep(t *testing.T, root string, rhythm bool, next func(k int) int) {
	cases := 0
	for s := range fault.Sweep(fault.Ways, next) {
		options := paths(root)
		if rhythm {
			options.Now = often()
		}
		b.clone(t).strike(t, s, options, root)
		if s.Struck() {
			cases++
		}
	}
	t.Logf("%d cases", cases)
	if cases < 15 {
		t.Errorf("only %d cases", cases)
	}
}

// Of the operations some are struck, the later the fewer: the first backup in
// one go, and an incremental one that registers what it has now and then.
func TestStoreFails(t *testing.T) {
	for _, rhythm := range []bool{false, true} {
		t.Run(fmt.Sprintf("incremental with add-runs %v", rhythm), func(t *testing.T) {
			b, root := sweepBed(t, rhythm)
			b.sweep(t, root, rhythm, func(k int) int { return step(k, 3) })
		})
	}
}

// All operations are struck, again and again, since goroutines come in another
// order each time.
func TestSoakStoreFails(t *testing.T) {
	for end := soakEnd(t); time.Now().Before(end); {
		for _, rhythm := range []bool{false, true} {
			for _, incremental := range []bool{false, true} {
				b, root := sweepBed(t, incremental)
				b.sweep(t, root, rhythm, nil)
			}
		}
	}
}

// sweepBed returns a repository and what is backed up to it in a sweep; of an
// incremental backup a part of it is there.
func sweepBed(t *testing.T, incremental bool) (b *bed, root string) {
	t.Helper()
	b, root = newBed(t), filepath.Join(t.TempDir(), "root")
	generate(t, root, 15)
	must(t, os.WriteFile(filepath.Join(root, "long"), random(9, 400*kib), 0o644))
	if incremental {
		b.run(t, paths(filepath.Join(root, "dir1")))
		b.snapshotSeen(t)
	}
	return b, root
}

// soakEnd returns when a long campaign ends, and skips it where none was asked
// for.
func soakEnd(t *testing.T) time.Time {
	t.Helper()
	d, err := time.ParseDuration(os.Getenv("BLUESKY_SOAK"))
	if err != nil {
		t.Skip("a long campaign: BLUESKY_SOAK says how long")
	}
	return time.Now().Add(d)
}

// strike runs a backup in which s strikes, and checks its aftermath.
func (b *bed) strike(t *testing.T, s *fault.Strike, options Options, root string) {
	t.Helper()
	fds := openFDs(t)
	b.bucket.Inject(s.Plan)
	log := &progressLog{}
	result, err := Run(t.Context(), b.repo, b.keys, options, log)
	if !s.Struck() {
		must(t, err)
		return
	}
	if len(log.errors) > 0 {
		t.Errorf("%v: counted as sources that cannot be read: %v", s, log.errors)
	}
	switch {
	case err == nil: // it was repeated, or read back
		b.bucket.Inject(nil)
		b.snapshot(t, result.Snapshot)
	case !errors.Is(err, fault.ErrRefused):
		t.Errorf("%v: error %v is not that of the store", s, err)
	}
	b.aftermath(t, s.String(), root, fds)
}
