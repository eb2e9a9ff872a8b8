package cmd

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"bluesky/keyring"
	"bluesky/repo"
	"bluesky/restore/treetest"
	"bluesky/seal"
	"bluesky/store"
)

// soak returns how long a test named TestSoak… may run, which BLUESKY_SOAK says;
// without it the test is skipped.
func soak(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("BLUESKY_SOAK")
	if text == "" {
		t.Skip("BLUESKY_SOAK does not say how long to run")
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("BLUESKY_SOAK: %v", err)
	}
	return d
}

// fastDir is a folder of the test, in memory where it can be. A process that is
// killed leaves the same on any disk.
func fastDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "bluesky-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// newSmallSegments returns a machine whose repository has the smallest segments
// there can be, so that a small tree fills many.
func newSmallSegments(t testing.TB) *machine {
	t.Helper()
	m := &machine{t: t, dir: fastDir(t)}
	m.repo, m.home = m.path("repo"), m.mkdir("home")
	config := repo.DefaultConfig([16]byte{}, time.Now())
	config.Segment = repo.SegmentConfig{DataTarget: 1 << 16, MetaTarget: 1 << 16}
	st, err := store.Create(t.Context(), m.repo)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := keyring.Create(t.Context(), st, keyring.Options{
		Password: []byte("secret"), Now: time.Now(), Parameters: &config,
		Slot: seal.SlotParams{Time: 1, Memory: 8, Lanes: 1}, ConfigDir: m.path("home/.config/bluesky"),
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

// open opens the repository until the test ends, as somebody who knows nothing
// of it yet.
func (m *machine) open() *repo.Repo {
	m.t.Helper()
	st, err := store.Open(context.Background(), m.repo)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { st.Close() })
	r, err := repo.Open(m.t.Context(), st, repo.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	return r
}

// A changingTree is a directory that changes from backup to backup, within bounds.
type changingTree struct {
	m      *machine
	name   string // below m.dir
	random *rand.Rand
}

// files is how many there are in a changingTree, about.
const files = 32

// newTree makes a tree of files in folders, with links among them.
func newTree(m *machine, name string, random *rand.Rand) *changingTree {
	tr := &changingTree{m, name, random}
	for i := range files {
		tr.write(i)
	}
	tr.change()
	return tr
}

func (tr *changingTree) file(i int) string {
	return fmt.Sprintf("%s/dir%d/sub%d/file %d", tr.name, i%4, i%3, i)
}

// write gives file i new content: mostly little, sometimes as much as a segment.
func (tr *changingTree) write(i int) {
	n := tr.random.IntN(2000)
	if tr.random.IntN(4) == 0 {
		n = 20_000 + tr.random.IntN(40_000)
	}
	path := tr.m.path(tr.file(i))
	os.RemoveAll(path)
	tr.m.write(tr.file(i), treetest.Bytes(tr.random.Uint64(), n))
	tr.must(os.Chmod(path, fs.FileMode(0o600|tr.random.IntN(8))))
}

// change writes, removes, renames and links some files anew.
func (tr *changingTree) change() {
	for range 10 {
		tr.write(tr.random.IntN(files))
	}
	i := tr.random.IntN(files)
	path := tr.m.path(tr.file(i))
	switch tr.random.IntN(4) {
	case 0:
		tr.must(os.RemoveAll(path))
	case 1:
		tr.must(os.RemoveAll(path))
		tr.must(os.Symlink(fmt.Sprint("to ", tr.random.Uint64()), path))
	case 2:
		tr.write((i + 1) % files)
		tr.must(os.RemoveAll(path))
		tr.must(os.Link(tr.m.path(tr.file((i+1)%files)), path))
	case 3:
		old := filepath.Dir(path)
		tr.must(os.Rename(old, old+" moved"))
		tr.must(os.RemoveAll(old))
		tr.must(os.Rename(old+" moved", old))
		tr.must(os.Chtimes(old, time.Time{}, time.Unix(tr.random.Int64N(1e9), tr.random.Int64N(1e9))))
	}
}

func (tr *changingTree) must(err error) {
	tr.m.t.Helper()
	if err != nil {
		tr.m.t.Fatal(err)
	}
}

// A treePrint is what must be the same in a tree and its restored copy.
type treePrint [sha256.Size]byte

// printOf returns the print of what is below dir: types, modes, owners, times,
// targets, hard links and contents.
func printOf(t testing.TB, dir string) treePrint {
	t.Helper()
	h := sha256.New()
	linked := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		name := path[len(dir):]
		if _, ok := linked[st.Ino]; !ok {
			linked[st.Ino] = name
		}
		fmt.Fprintf(h, "%q %v %d %d %d %q ", name, info.Mode(), st.Uid, st.Gid, info.ModTime().UnixNano(), linked[st.Ino])
		var data []byte
		switch {
		case info.Mode().IsRegular():
			data, err = os.ReadFile(path)
		case info.Mode()&fs.ModeSymlink != 0:
			var target string
			target, err = os.Readlink(path)
			data = []byte(target)
		}
		fmt.Fprintf(h, "%x\n", sha256.Sum256(data))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return treePrint(h.Sum(nil))
}

// A blow is a way to end backups.
type blow struct {
	hit    func(*rand.Rand, *os.Process)
	ended  func(c *exec.Cmd, stderr string) string // what is wrong with how a struck one ended; "" is nothing
	phases []string                                // in which it meets them
}

// A campaign makes backups of one tree and ends many of them at random moments,
// and sees to it that none of that shows.
type campaign struct {
	*machine
	t      testing.TB
	random *rand.Rand
	tree   *changingTree
	blow

	usual  map[string]int // events of the last backup that came to its end
	saved  map[string]treePrint
	met    map[string]int // phases
	events map[string]int // that were aimed at
	other  int            // backups that were over before their moment
	log    *repo.Repo     // as another machine sees it
}

// The phases in which an end may meet a backup, by what is there afterwards. One
// that is interrupted before it has registered anything leaves no journal, so
// that it looks as if it had not begun.
const (
	beforeBegin   = "before it began"
	begun         = "after it began"
	segmentStored = "segments stored"
	runStored     = "a run stored"
	runRegistered = "a run registered"
	committed     = "committed"
)

func newCampaign(t testing.TB, random *rand.Rand, b blow) *campaign {
	m := newSmallSegments(t)
	c := &campaign{
		machine: m, t: t, blow: b, random: random, tree: newTree(m, "src", random),
		saved: map[string]treePrint{}, met: map[string]int{}, events: map[string]int{},
	}
	c.log = m.open()
	c.complete()
	return c
}

// state returns the newest state.
func (c *campaign) state() *repo.State {
	c.t.Helper()
	state, err := c.log.Refresh(c.t.Context())
	if err != nil {
		c.t.Fatal(err)
	}
	return state
}

func (c *campaign) backup() (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := c.command(c.t.Context(), "backup", "--json", "-q", "src")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.random.IntN(2) == 0 { // a long backup: it registers now and then what it has
		cmd.Env = append(cmd.Env, hurryEnv+"=4")
	}
	return cmd, &stdout, &stderr
}

// strike makes one backup and ends it at a random moment, unless it was over
// before.
func (c *campaign) strike() bool {
	c.t.Helper()
	at := randomMoment(c.random, c.usual)
	before, had := c.state(), c.contents()
	cmd, stdout, stderr := c.backup()
	w := newWitness(c.t, c.step, c.repo, c.home, c.path("src"))
	w.strike(cmd, at, func(p *os.Process) { c.hit(c.random, p) })
	if cmd.ProcessState.ExitCode() == 0 {
		c.other++
		c.save(stdout.String(), stderr.String())
		return false
	}
	if wrong := c.ended(cmd, stderr.String()); wrong != "" {
		c.t.Errorf("struck at %+v: %s, stderr %q", at, wrong, stderr)
	}
	c.events[at.event]++
	c.met[c.phase(before, had)]++
	return true
}

// contents counts what is stored, by kind, and the journals.
func (c *campaign) contents() map[string]int {
	c.t.Helper()
	count := map[string]int{}
	eachFile(c.t, c.repo, func(path string, _ fs.FileInfo) {
		kind, _, _ := strings.Cut(strings.TrimPrefix(path, c.repo+"/"), "/")
		count[kind]++
	})
	eachFile(c.t, c.home, func(path string, _ fs.FileInfo) {
		if strings.Contains(path, "journal") {
			count["journal"]++
		}
	})
	return count
}

// phase tells in which phase the end met a backup that found what was before.
func (c *campaign) phase(before *repo.State, had map[string]int) string {
	after, has := c.state(), c.contents()
	switch {
	case len(after.Snapshots) > len(before.Snapshots):
		return committed
	case has["idx"]-had["idx"] > len(after.Runs)-len(before.Runs):
		return runStored
	case len(after.Runs) > len(before.Runs):
		return runRegistered
	case has["seg"] > had["seg"]:
		return segmentStored
	case has["journal"] > had["journal"]:
		return begun
	}
	return beforeBegin
}

// complete makes a backup that is left alone, which needs no step before it.
func (c *campaign) complete() {
	c.t.Helper()
	cmd, stdout, stderr := c.backup()
	c.usual = newWitness(c.t, c.step, c.repo, c.home, c.path("src")).strike(cmd, moment{}, func(*os.Process) {})
	if code := cmd.ProcessState.ExitCode(); code != 0 {
		c.t.Fatalf("the backup after exits with %d: %s", code, stderr)
	}
	id := c.save(stdout.String(), stderr.String())
	c.restores(id, c.saved[id])
}

// save notes that a backup has reported a snapshot of the tree as it is.
func (c *campaign) save(stdout, stderr string) (id string) {
	c.t.Helper()
	var summary backupSummary
	if err := json.Unmarshal([]byte(stdout), &summary); err != nil || summary.SnapshotID == "" || stderr != "" {
		c.t.Fatalf("a backup reports %q, %q: %v", stdout, stderr, err)
	}
	c.saved[summary.SnapshotID] = printOf(c.t, c.path("src"))
	return summary.SnapshotID
}

// restores restores a snapshot and compares it.
func (c *campaign) restores(id string, want treePrint) {
	c.t.Helper()
	out := c.mkdir("out")
	c.must("restore", "-q", id+":"+c.path("src"), "-t", out)
	if got := printOf(c.t, out); got != want {
		c.t.Errorf("snapshot %s restores as another tree", id)
	}
	if err := os.RemoveAll(out); err != nil {
		c.t.Fatal(err)
	}
}

// aftermath checks what must hold after a struck backup, and that the next one
// works.
func (c *campaign) aftermath() {
	c.t.Helper()
	now := printOf(c.t, c.path("src"))
	listed := map[string]bool{}
	for _, s := range c.state().Snapshots {
		id := s.ID.String()
		listed[id] = true
		if _, ok := c.saved[id]; !ok { // committed; only the report did not come
			c.saved[id] = now
			c.restores(id, now)
		}
	}
	for id := range c.saved {
		if !listed[id] {
			c.t.Errorf("snapshot %s was reported and is gone", id)
		}
	}
	if out := c.must("check", "-q"); !strings.HasPrefix(out, "OK, checked: ") {
		c.t.Errorf("check: %s", out)
	}
	c.complete()
	if list := c.state().Unfinished(); len(list) > 0 {
		c.t.Errorf("sessions %v are unfinished after the next backup", list)
	}
	if c.t.Failed() {
		c.t.FailNow() // with the repository as the first mistake has left it
	}
}

// finish checks everything that the campaign has left: all of it by check, some
// of it by a restore.
func (c *campaign) finish() {
	c.t.Helper()
	c.mustCheck()
	ids := slices.Sorted(maps.Keys(c.saved))
	c.random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
	for _, id := range ids[:min(5, len(ids))] {
		c.restores(id, c.saved[id])
	}
	out := c.mkdir("compared")
	c.must("restore", "-q", "latest:"+c.path("src"), "-t", out)
	treetest.Compare(c.t, c.path("src"), out)
	c.wantClean()
}

// wantClean checks that the backup of the next week leaves nothing lying about
// that a killed process has not finished.
func (c *campaign) wantClean() {
	c.t.Helper()
	for _, dir := range []string{c.home, c.repo} {
		ageFiles(c.t, dir)
	}
	c.complete()
	for _, dir := range []string{c.home, c.repo} {
		wantNoneLeft(c.t, dir)
	}
}

// ageFiles makes all files below dir those of last week.
func ageFiles(t testing.TB, dir string) {
	t.Helper()
	old := time.Now().Add(-8 * 24 * time.Hour)
	eachFile(t, dir, func(path string, _ fs.FileInfo) {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	})
}

// wantNoneLeft checks that no temporary file, no journal and no half-fetched run
// lies below dir.
func wantNoneLeft(t testing.TB, dir string) {
	t.Helper()
	eachFile(t, dir, func(path string, _ fs.FileInfo) {
		base := filepath.Base(path)
		for _, sign := range []string{"tmp", "journal", ".new"} {
			if strings.Contains(base, sign) {
				t.Errorf("%s is left over", path)
			}
		}
	})
}

// newRandom returns a source of randomness whose seed the test shows.
func newRandom(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}
