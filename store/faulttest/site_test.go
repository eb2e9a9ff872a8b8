package faulttest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bluesky/backup"
	"bluesky/check"
	"bluesky/keyring"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/restore"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/store"

	"go.uber.org/goleak"
	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var password = []byte("secret")

// later is when backups are made: no file is so new that its next change could
// go unnoticed.
var later = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

// A site is a repository, a machine that backs up to it, and what it was
// promised.
type site struct {
	bucket func() driver.Bucket // as the next process finds it
	dir    string
	state  string                          // what the machine knows of the repository
	kept   map[object.ID]map[string]string // the sources of snapshots whose backup returned success

	keys *seal.Keys // as the password gave them the last time; nil asks it again
	id   repo.Identity

	host     string          // of backups
	progress backup.Progress // likewise
}

func newSite(t *testing.T, bucket func() driver.Bucket) *site {
	s := &site{bucket: bucket, dir: fastDir(t), host: "h", kept: map[object.ID]map[string]string{}}
	s.state = filepath.Join(s.dir, "state")
	return s
}

// fastDir is in memory where it can be: restores sync what they write, thousands
// of times here.
func fastDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "bluesky-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

func (s *site) source() string { return filepath.Join(s.dir, "source") }

// forget loses what the machine knows of the repository, as a new disk does.
func (s *site) forget() { s.state += "x" }

// write makes the source of the given version, which differs from the one before
// in a few files. What is in it follows from the version.
func (s *site) write(t *testing.T, version int) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(s.source(), "dir", "sub"), 0o750))
	for i := range 4 {
		s.file(t, fmt.Sprintf("dir/file%d", i), i, 300*i)
	}
	s.file(t, "dir/sub/long", 100, 30<<10)
	if _, err := os.Lstat(filepath.Join(s.source(), "link")); err != nil {
		must(t, os.Symlink("dir/file1", filepath.Join(s.source(), "link")))
		must(t, os.Link(filepath.Join(s.source(), "dir/file2"), filepath.Join(s.source(), "hard")))
	}
	for v := 2; v <= version; v++ {
		s.file(t, "dir/file3", 3*v, 1000*v)
		s.file(t, fmt.Sprintf("new%d", v), v, 5<<10)
		s.file(t, "dir/sub/long", 100, 30<<10+v)
	}
}

func (s *site) file(t *testing.T, name string, seed, size int) {
	t.Helper()
	data := make([]byte, 0, size+sha256.Size)
	for i := 0; len(data) < size; i++ {
		sum := sha256.Sum256(fmt.Append(nil, seed, i))
		data = append(data, sum[:]...)
	}
	path := filepath.Join(s.source(), name)
	if old, err := os.ReadFile(path); err == nil && len(old) == size {
		return // as it was
	}
	must(t, os.WriteFile(path, data[:size], 0o640))
}

// store opens the bucket.
func (s *site) store() *store.Store {
	return store.NewImpatient(blob.NewBucket(s.bucket()), "the site")
}

// init makes the repository; one that is there is right, too.
func (s *site) init(ctx context.Context) error {
	st := s.store()
	defer st.Close()
	parameters := repo.DefaultConfig(object.RepositoryID{}, later)
	parameters.Chunker = repo.ChunkerConfig{ID: parameters.Chunker.ID, Min: 4 << 10, Bits: 12, Max: 16 << 10}
	parameters.Tree.LeafBits, parameters.Tree.DirMax, parameters.Tree.ExtentsMax = 2, 4, 4
	parameters.Segment.DataTarget, parameters.Segment.MetaTarget = 64<<10, 64<<10
	_, err := keyring.Create(ctx, st, keyring.Options{
		Password: password, Slot: seal.SlotParams{Time: 1, Memory: 64, Lanes: 1}, Now: later,
		ConfigDir: filepath.Join(s.dir, "config"), Parameters: &parameters,
	})
	if errors.Is(err, repo.ErrRepositoryExists) {
		return nil
	}
	return err
}

// unlock gets the keys of r. Asking the password takes more time than a backup.
func (s *site) unlock(ctx context.Context, r *repo.Repo) error {
	if s.keys != nil {
		return r.Pin(s.id)
	}
	keys, err := keyring.Open(ctx, r, password)
	if err == nil {
		s.keys, s.id = keys, r.Identity()
	}
	return err
}

// with opens the repository and calls fn.
func (s *site) with(ctx context.Context, fn func(r *repo.Repo, keys *seal.Keys, list []snapshot.Snapshot) error) error {
	st := s.store()
	defer st.Close()
	r, err := repo.Open(ctx, st, repo.Options{StateDir: s.state})
	if err != nil {
		return err
	}
	if err := s.unlock(ctx, r); err != nil {
		return err
	}
	state, err := r.Refresh(ctx)
	if err != nil {
		return err
	}
	list, err := snapshot.List(ctx, r, s.keys, state)
	if err != nil {
		return err
	}
	return fn(r, s.keys, list)
}

// backup backs up the source. often is how many looks at the clock it takes
// until what was stored is registered; 0 does so at the end alone.
func (s *site) backup(ctx context.Context, t *testing.T, often int) error {
	t.Helper()
	was := digest(t, s.source())
	return s.with(ctx, func(r *repo.Repo, keys *seal.Keys, list []snapshot.Snapshot) error {
		o := backup.Options{Paths: []string{s.source()}, Host: s.host, Now: func() time.Time { return later }}
		if often > 0 {
			o.Now = clock(often)
		}
		o.Parent = snapshot.Latest(list, o.Host, o.Paths)
		result, err := backup.Run(ctx, r, keys, o, s.progress)
		if err != nil {
			return err
		}
		if result.Errors > 0 {
			t.Errorf("backup: %d files that could not be read, though the sources are whole", result.Errors)
		}
		s.kept[result.Snapshot] = was
		return nil
	})
}

// restore restores a snapshot and compares it with what it was made from. The
// error says that the restore did not claim to be complete.
func (s *site) restore(ctx context.Context, t *testing.T, r *repo.Repo, keys *seal.Keys, snap snapshot.Snapshot) error {
	t.Helper()
	target := filepath.Join(s.dir, "restored")
	defer os.RemoveAll(target)
	result, err := restore.Run(ctx, r, keys, snap, restore.Options{Target: target, Subpath: s.source()}, nil)
	if err == nil && result.Errors > 0 {
		err = fmt.Errorf("%d files were not restored", result.Errors)
	}
	if err != nil {
		return err
	}
	if want := s.kept[snap.ID]; want != nil {
		if got := digest(t, target); !maps.Equal(got, want) {
			t.Errorf("snapshot %s was restored as\n%v, and backed up as\n%v", snap.ID.Short(), list(got), list(want))
		}
	}
	return nil
}

// check checks with the key and all data, as a machine that knows nothing of
// the repository. A report that is not OK is an error.
func (s *site) check(ctx context.Context) error {
	st := s.store()
	defer st.Close()
	r, err := repo.Open(ctx, st, repo.Options{})
	if err != nil {
		return err
	}
	if err := s.unlock(ctx, r); err != nil {
		return err
	}
	report, err := check.Run(ctx, r, s.keys, check.Options{ReadData: true}, nil)
	if err == nil && !report.OK() {
		err = fmt.Errorf("check found %+v", report.Problems)
	}
	return err
}

// verify restores, with no faults any more, all that was promised and not seen
// since, and checks the repository.
func (s *site) verify(t *testing.T, what string) {
	t.Helper()
	err := s.with(t.Context(), func(r *repo.Repo, keys *seal.Keys, list []snapshot.Snapshot) error {
		found := 0
		for _, snap := range list {
			if s.kept[snap.ID] != nil {
				found++
			}
			if err := s.restore(t.Context(), t, r, keys, snap); err != nil {
				return fmt.Errorf("snapshot %s: %w", snap.ID.Short(), err)
			}
		}
		if found != len(s.kept) {
			return fmt.Errorf("of %d snapshots whose backup succeeded %d are there", len(s.kept), found)
		}
		return nil
	})
	if err == nil {
		err = s.check(t.Context())
	}
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// recover checks what must hold after anything: with no manual step the
// repository opens or can be made, the next backup succeeds, and then all that
// was ever promised is there. again looks in between as well.
func (s *site) recover(t *testing.T, what string, again bool) {
	t.Helper()
	if err := s.init(t.Context()); err != nil {
		t.Errorf("%s: the next init: %v", what, err)
		return
	}
	s.keys = nil // the password still opens it
	if again {
		s.verify(t, what)
	}
	s.write(t, 3)
	if err := s.backup(t.Context(), t, 0); err != nil {
		t.Errorf("%s: the next backup: %v", what, err)
		return
	}
	s.verify(t, what+", and one more backup")
}

// clock is one by which an add-run is due at every nth look or so.
func clock(n int) func() time.Time {
	ticks := make(chan int, 1)
	ticks <- 0
	return func() time.Time {
		i := <-ticks
		ticks <- i + 1
		return later.Add(time.Duration(i) * time.Hour / time.Duration(n))
	}
}

// digest describes all that lies below dir.
func digest(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		text := fmt.Sprint(info.Mode(), " ", info.ModTime().UnixNano())
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %d %x", len(data), sha256.Sum256(data))
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " -> " + target
		}
		all[strings.TrimPrefix(path, dir)] = text
		return nil
	}))
	return all
}

func list(m map[string]string) string {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "  %s: %s\n", key, m[key])
	}
	return b.String()
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}

// soak returns when a long campaign ends, and skips it where none was asked for.
func soak(t *testing.T) time.Time {
	t.Helper()
	d, err := time.ParseDuration(os.Getenv("BLUESKY_SOAK"))
	if err != nil {
		t.Skip("a long campaign: BLUESKY_SOAK says how long")
	}
	return time.Now().Add(d)
}
