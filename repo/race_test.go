package repo

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bluesky/object"
	"bluesky/store"
)

// TestUseFromManyGoroutines: what a Repo says of concurrent use, for the race
// detector.
func TestUseFromManyGoroutines(t *testing.T) {
	r, f := newRepo(t)
	backUp(t, r, 1)
	block := refresh(t, r).Snapshots[0].Root
	client := open(t, f.open(t), Options{StateDir: t.TempDir(), CacheDir: t.TempDir()})
	var wg sync.WaitGroup
	run := func(fn func(i int) error) {
		wg.Go(func() {
			for i := range 20 {
				if err := fn(i); err != nil {
					t.Error(err)
				}
			}
		})
	}
	run(func(i int) error { backUp(t, r, uint64(10+i)); return nil })
	for range 2 {
		run(func(int) error { _, err := client.Refresh(t.Context()); return err })
		run(func(int) error { _, err := client.Index(t.Context(), client.State()); return err })
		run(func(int) error { _, _, err := client.Sealed(t.Context(), block); return err })
		run(func(int) error { return client.Pin(client.Identity()) })
		run(func(int) error { client.Verified(); client.Problems(); return nil })
		run(func(int) error { return os.RemoveAll(client.options.CacheDir) })
	}
	wg.Wait()
}

// TestHelperHold is no test: TestKilledHolder runs it as another process, which
// registers something and waits to be killed.
func TestHelperHold(t *testing.T) {
	dir := os.Getenv("BLUESKY_TEST_HOLD")
	if dir == "" {
		return // nobody asked
	}
	st, err := store.Open(t.Context(), filepath.Join(dir, "bucket"))
	if err != nil {
		t.Fatal(err)
	}
	s := register(t, open(t, st, Options{StateDir: filepath.Join(dir, "state")}), 7)
	fmt.Printf("holding %s\n", s.ID())
	select {}
}

// TestKilledHolder: the next run ends the session of a process that was
// killed, and not before; the journals of runs that come and go meanwhile are
// nobody's problem.
func TestKilledHolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bucket"), 0o700); err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), filepath.Join(dir, "bucket"))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	create(t, st)
	client := func() *Repo { return open(t, st, Options{StateDir: filepath.Join(dir, "state")}) }

	holder := exec.Command(os.Args[0], "-test.run=^TestHelperHold$")
	holder.Env = append(os.Environ(), "BLUESKY_TEST_HOLD="+dir)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "holding") {
	}
	if got := backUp(t, client(), 1).Unfinished(); len(got) != 1 || !strings.Contains(lines.Text(), got[0].String()) {
		t.Errorf("while it lives: unfinished %v, %q", got, lines.Text())
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed

	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 3 {
				r := client()
				s, err := r.Begin(t.Context(), writer)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Commit(t.Context(), putTree(t, s, uint64(100+10*i+j))); err != nil {
					t.Error(err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
				for _, problem := range r.Problems() {
					t.Error(problem)
				}
			}
		})
	}
	wg.Wait()
	if s := audit(t, st); len(s.Unfinished()) != 0 || len(s.Snapshots) != 25 {
		t.Errorf("unfinished %v, %d snapshots", s.Unfinished(), len(s.Snapshots))
	}
	if got := journals(t, client()); len(got) != 0 {
		t.Errorf("journals left: %v", got)
	}
}

// TestTrustOfManyWriters: whoever writes last, the newest generation stays.
func TestTrustOfManyWriters(t *testing.T) {
	dir := t.TempDir()
	id := Identity{Repository: object.RepositoryID{1}}
	var wg sync.WaitGroup
	for i := range uint64(8) {
		wg.Go(func() {
			for j := range uint64(10) {
				n := 1 + i*10 + j
				if err := writeTrust(dir, trust{id, n, object.Hash{byte(n)}, nil}, false); err != nil {
					t.Error(err)
				}
				if got, err := readTrust(dir); err != nil || got.Generation < n {
					t.Errorf("generation %d after %d was written: %v", got.Generation, n, err)
				}
			}
		})
	}
	wg.Wait()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("%d files left: %v", len(left), err)
	}
}

// TestJournalRemovedMeanwhile: two runs find the remains of a third; the faster
// one removes them under the other, which has nothing to report.
func TestJournalRemovedMeanwhile(t *testing.T) {
	_, f := newRepo(t)
	state := t.TempDir()
	client := func() *Repo { return open(t, f.open(t), Options{StateDir: state}) }
	if err := register(t, client(), 1).Close(); err != nil {
		t.Fatal(err)
	}
	r := client()
	s := begin(t, r)
	for _, path := range journals(t, r) {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Commit(t.Context(), putTree(t, s, 2)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	for _, problem := range r.Problems() {
		t.Error(problem)
	}
}
