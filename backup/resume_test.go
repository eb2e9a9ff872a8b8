package backup

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bluesky/journal"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/snapshot"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// readLog remembers what was read.
type readLog struct {
	NoProgress
	mu    sync.Mutex
	bytes int
	files map[string]uint64 // sizes of those that were begun
}

func (l *readLog) Bytes(n int) { l.mu.Lock(); defer l.mu.Unlock(); l.bytes += n }

func (l *readLog) File(path string, size uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files == nil {
		l.files = map[string]uint64{}
	}
	l.files[path] = size
}

// scatter makes n files of different content, most of them small, and a large
// one.
func scatter(t testing.TB, root string, n int) {
	t.Helper()
	for i := range n {
		size := 100 + i*i*1009%(30*kib)
		write(t, filepath.Join(root, fmt.Sprint("dir", i%3), fmt.Sprint("file", i)), string(random(byte(i), size)))
	}
	write(t, filepath.Join(root, "large"), string(random(200, 300*kib)))
	must(t, unix.Setxattr(filepath.Join(root, "large"), "user.test", random(201, 300), 0))
}

// blocksOf returns what the content of each file of a snapshot refers to, and
// the lengths of the contents.
func (b *bed) blocksOf(t testing.TB, s *snapshot.Snapshot) (map[string][]object.ID, map[string]int) {
	t.Helper()
	blocks, lengths := map[string][]object.ID{}, map[string]int{}
	m, source := b.tree(s)
	must(t, tree.Walk(t.Context(), m, func(path []string, in *tree.Inode) error {
		if in.Type != tree.TypeFile {
			return nil
		}
		name := "/" + strings.Join(path, "/")
		lengths[name] = int(in.ContentLength())
		if !in.Root.IsZero() {
			blocks[name] = append(blocks[name], in.Root)
		}
		for e, err := range tree.Content(t.Context(), source, tree.Params(b.repo.Config().Tree), in) {
			if err != nil {
				return err
			}
			blocks[name] = append(blocks[name], e.Block)
		}
		return nil
	}))
	return blocks, lengths
}

// A killed is what a sweep counts.
type killed struct{ cases, adopted, resumed int }

// resumeAfter has a backup die after some operations and checks the next one:
// nothing that was acknowledged is uploaded again, and nothing of which all was
// acknowledged is read again, but for what the workers had in hand. It returns
// false if the backup did not die.
func (b *bed) resumeAfter(t *testing.T, left int, lost bool, options func() Options, root string, want object.ID, sum *killed) bool {
	t.Helper()
	before := b.segments(t)
	first, m := b.mortal(t, left, lost)
	_, err := Run(t.Context(), first.repo, first.keys, options(), nil)
	if !m.dead() {
		must(t, err)
		return false
	}
	sum.cases++
	b.open(t)
	log := &readLog{}
	next := options()
	result, err := Run(t.Context(), b.repo, b.keys, next, log)
	must(t, err)
	s := b.snapshot(t, result.Snapshot)
	b.compare(t, s, root)
	b.soundAfter(t, series(b, &next))
	if s.Root != want {
		t.Errorf("the root is %s, and %s without an interruption", s.Root.Short(), want.Short())
	}

	after := b.segments(t)
	stored := objects(after)
	acked := map[object.ID]bool{}
	for id, keys := range objects(before) {
		acked[id] = len(keys) > 0
	}
	for key := range m.acked {
		if !strings.HasPrefix(key, "seg/") {
			continue
		}
		h := after[key]
		if h == nil {
			t.Fatalf("segment %s was acknowledged and is not registered", key)
		}
		sum.adopted++
		for i := range h.Objects {
			acked[h.Objects[i].ID] = true
		}
	}
	for id, keys := range stored {
		if acked[id] && len(keys) != 1 {
			t.Errorf("object %s was acknowledged, and stands in %d segments", id.Short(), len(keys))
		}
	}
	blocks, lengths := b.blocksOf(t, s)
	allowed, inHand := 0, 0
	for path, n := range lengths {
		inHand = max(inHand, n)
		for _, id := range blocks[path] {
			if !acked[id] {
				allowed += n
				break
			}
		}
	}
	if log.bytes > allowed+workers()*inHand {
		t.Errorf("%d bytes were read again, of %d that were lost, with %d at most in hand", log.bytes, allowed, workers()*inHand)
	}
	extra := 0
	for path := range log.files {
		whole := true
		for _, id := range blocks[path] {
			whole = whole && acked[id]
		}
		if whole && lengths[path] > 0 {
			extra++
		}
	}
	if extra > workers() {
		t.Errorf("%d files of which nothing was lost were read again, with %d workers", extra, workers())
	}
	sum.resumed += int(result.Resumed.Files)
	return true
}

func series(b *bed, o *Options) repo.Series {
	return (&backup{keys: b.keys, options: *o}).series()
}

// soundAfter checks that a backup has left nothing unfinished and no local file
// of its series or its session.
func (b *bed) soundAfter(t testing.TB, series repo.Series) {
	t.Helper()
	state, err := b.repo.Refresh(t.Context())
	must(t, err)
	if list := state.Unfinished(); len(list) > 0 {
		t.Errorf("sessions %v are unfinished", list)
	}
	for _, pattern := range []string{"sessions/*", "resume/" + series.String()} {
		left, err := filepath.Glob(filepath.Join(b.repo.StateDir(), pattern))
		must(t, err)
		if len(left) > 0 {
			t.Errorf("local files are left: %v", left)
		}
	}
	for _, problem := range b.repo.Problems() {
		t.Error(problem)
	}
}

// A backup dies after any number of operations of the bucket, the last of which
// was applied or not.
func TestResume(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	scatter(t, root, 20+scaled(40))
	waitTick(t)
	for _, lost := range []bool{false, true} {
		for _, rhythm := range []bool{false, true} {
			if raceEnabled && lost != rhythm {
				continue // the others are enough, and these take long
			}
			t.Run(fmt.Sprintf("lost reply %v, add-runs %v", lost, rhythm), func(t *testing.T) {
				base := newSmallBed(t)
				options := func() Options {
					o := paths(root)
					if rhythm {
						o.Now = often()
					}
					return o
				}
				whole := base.clone(t)
				want := whole.verify(t, options(), root).Root
				sum := killed{}
				for k := 0; ; k += step(k, 6) {
					if !base.clone(t).resumeAfter(t, k, lost, options, root, want, &sum) {
						break
					}
					if t.Failed() {
						t.Fatalf("after %d operations", k)
					}
				}
				t.Logf("%d deaths; %d segments taken over, %d files not read again", sum.cases, sum.adopted, sum.resumed)
				if sum.adopted == 0 || sum.resumed == 0 || sum.cases < 5 {
					t.Error("nothing was resumed")
				}
			})
		}
	}
}

// One backup after another dies, each further on, until one lives: together they
// read each file once, but for those in hand, and upload each object once, but
// for those of segments that were open.
func TestResumeOfResumed(t *testing.T) {
	b := newSmallBed(t)
	root := filepath.Join(t.TempDir(), "root")
	scatter(t, root, 100)
	waitTick(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	size, largest := 0, 0
	must(t, filepath.Walk(root, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			size, largest = size+int(info.Size()), max(largest, int(info.Size()))
		}
		return err
	}))
	deaths, log := 0, &readLog{}
	for {
		b.open(t)
		next, m := b.mortal(t, 15+5*deaths+r.IntN(15), r.IntN(2) == 0)
		result, err := Run(t.Context(), next.repo, next.keys, paths(root), log)
		if err == nil {
			b.open(t)
			b.compare(t, b.snapshot(t, result.Snapshot), root)
			break
		}
		if !m.dead() || deaths > 200 {
			t.Fatalf("after %d deaths: %v", deaths, err)
		}
		deaths++
	}
	options := paths(root)
	b.soundAfter(t, series(b, &options))
	target := int(b.repo.Config().Segment.DataTarget)
	// A death costs the open segment, one for each upload under way, and what the
	// workers have in hand.
	limit := size + deaths*(4*target+workers()*largest)
	t.Logf("%d deaths; %d bytes read of %d", deaths, log.bytes, size)
	if deaths < 2 || log.bytes > limit {
		t.Errorf("%d deaths; %d bytes were read, of %d, want at most %d", deaths, log.bytes, size, limit)
	}
}

// interrupted returns a bed in which a backup of root has died with its first
// segments uploaded.
func interrupted(t testing.TB, root string, options Options) *bed {
	t.Helper()
	b := newSmallBed(t)
	b.interrupt(t, options)
	return b
}

// interrupt has a backup die when some of its segments are uploaded.
func (b *bed) interrupt(t testing.TB, options Options) {
	t.Helper()
	m, mortal := b.mortal(t, 1<<30, false)
	mortal.uploads = 9
	if _, err := Run(t.Context(), m.repo, m.keys, options, nil); !mortal.dead() {
		t.Fatalf("it has lived: %v", err)
	}
	b.open(t)
}

// newSmallBed makes a repository of small segments.
func newSmallBed(t testing.TB) *bed {
	return newBedWith(t, func(c *repo.Config) { c.Segment.DataTarget = 64 << 10 })
}

// resumed backs up and returns what it has read and taken over.
func (b *bed) resumed(t testing.TB, options Options, root string) (*readLog, Resumed) {
	t.Helper()
	log := &readLog{}
	result, err := Run(t.Context(), b.repo, b.keys, options, log)
	must(t, err)
	for _, problem := range b.repo.Problems() {
		if !errors.Is(problem, journal.ErrForeign) {
			t.Error(problem)
		}
	}
	if !options.DryRun {
		b.compare(t, b.snapshot(t, result.Snapshot), root)
	}
	return log, result.Resumed
}

// What the next backup finds on this machine decides what it takes over, never
// what it stores.
func TestResumeOrNot(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	scatter(t, root, 60)
	waitTick(t)
	lines := func(b *bed) string {
		options := paths(root)
		return filepath.Join(b.repo.StateDir(), "resume", series(b, &options).String())
	}
	edit := func(fn func(data []byte) []byte) func(*testing.T, *bed, *Options) {
		return func(t *testing.T, b *bed, _ *Options) {
			data, err := os.ReadFile(lines(b))
			must(t, err, os.WriteFile(lines(b), fn(data), 0o600))
		}
	}
	const all, some, none = 2, 1, 0
	tests := []struct {
		name string
		edit func(t *testing.T, b *bed, o *Options)
		want int
	}{
		{"as it is", func(*testing.T, *bed, *Options) {}, all},
		{"forced", func(_ *testing.T, _ *bed, o *Options) { o.Force = true }, none},
		{"a dry run", func(_ *testing.T, _ *bed, o *Options) { o.DryRun = true }, none},
		{"another series", func(_ *testing.T, _ *bed, o *Options) { o.Series = "other" }, none},
		{"another host", func(_ *testing.T, _ *bed, o *Options) { o.Host = "other" }, none},
		{"no file", func(t *testing.T, b *bed, _ *Options) { must(t, os.Remove(lines(b))) }, none},
		{"half of the file", edit(func(d []byte) []byte { return d[:len(d)/2] }), some},
		{"a file without its end", edit(func(d []byte) []byte { return d[:len(d)-1] }), some},
		{"an empty file", edit(func([]byte) []byte { return nil }), none},
		{"garbage", edit(func([]byte) []byte { return random(1, 10*kib) }), none},
		{"an edited line", edit(func(d []byte) []byte { d[60] ^= 1; return d }), none},
		{"an old file", func(t *testing.T, b *bed, _ *Options) {
			at := time.Now().Add(-8 * 24 * time.Hour)
			must(t, os.Chtimes(lines(b), at, at))
		}, none},
		{"no journal of uploads", func(t *testing.T, b *bed, _ *Options) {
			must(t, os.RemoveAll(filepath.Join(b.repo.StateDir(), "sessions")))
		}, none},
		{"of another repository", func(t *testing.T, b *bed, _ *Options) {
			other := newBedWith(t, func(c *repo.Config) {
				c.ID, c.Segment.DataTarget = object.RepositoryID{2}, 64<<10
			})
			options := paths(root)
			other.interrupt(t, options)
			data, err := os.ReadFile(filepath.Join(other.repo.StateDir(), "resume", series(other, &options).String()))
			must(t, err, os.WriteFile(lines(b), data, 0o600))
		}, none},
		{"held by another run", func(t *testing.T, b *bed, o *Options) {
			m, err := openResume(b.repo, b.keys, o, series(b, o), &dryTarget{}, time.Now())
			must(t, err)
			t.Cleanup(func() { must(t, m.close(false)) })
		}, none},
		{"all files touched", func(t *testing.T, _ *bed, _ *Options) {
			must(t, filepath.Walk(root, func(path string, _ os.FileInfo, err error) error {
				must(t, err)
				return os.Chmod(path, 0o755) // the ctime changes
			}))
		}, none},
		{"touched, and the ctime is ignored", func(t *testing.T, b *bed, o *Options) { o.IgnoreCTime = true }, all},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := interrupted(t, root, paths(root))
			waitTick(t)
			options := paths(root)
			if strings.HasPrefix(tt.name, "touched") { // after the lines were written
				must(t, filepath.Walk(root, func(path string, _ os.FileInfo, err error) error {
					must(t, err)
					return os.Chmod(path, 0o711)
				}))
			}
			tt.edit(t, b, &options)
			log, got := b.resumed(t, options, root)
			total := len(log.files) + int(got.Files)
			if total != 61 {
				t.Errorf("%d files read and %d taken over, of 61", len(log.files), got.Files)
			}
			if (got.Files != 0) != (tt.want != none) || got.Files > 61 || (got.Bytes != 0) != (got.Files != 0) {
				t.Errorf("resumed %+v", got)
			}
			if tt.want == none && log.bytes == 0 {
				t.Error("nothing was read")
			}
			waitTick(t)
		})
	}
}

// Between the line and the next backup the file becomes another one.
func TestLineOfChangedFile(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	in := func(name string) string { return filepath.Join(root, name) }
	scatter(t, root, 10)
	for _, name := range []string{"a/content", "a/size", "a/replaced", "a/renamed", "a/kept", "a/linked", "a/sparse", "a/times"} {
		write(t, in(name), string(random(byte(len(name)), 20*kib)))
	}
	must(t, os.Link(in("a/linked"), in("a/linked2")))
	sparse(t, in("a/sparse"), 200*kib, 100*kib)
	waitTick(t)
	b := newSmallBed(t)
	m, mortal := b.mortal(t, 1<<30, false)
	mortal.atCommit = true // all lines are written, and all they name is uploaded
	if _, err := Run(t.Context(), m.repo, m.keys, paths(root), nil); !mortal.dead() {
		t.Fatalf("it has lived: %v", err)
	}
	b.open(t)
	waitTick(t)
	overwrite := func(name string, data []byte, times bool) {
		var st unix.Stat_t
		must(t, unix.Stat(in(name), &st), os.WriteFile(in(name), data, 0o644))
		if times { // as a program does that hides its writing
			must(t, os.Chtimes(in(name), time.Now(), time.Unix(st.Mtim.Unix())))
		}
	}
	overwrite("a/content", random(77, 20*kib), true)
	overwrite("a/size", random(78, 21*kib), true)
	overwrite("a/times", random(79, 20*kib), false)
	write(t, in("new"), string(random(80, 20*kib)))
	must(t, os.Rename(in("new"), in("a/replaced")), os.Rename(in("a/renamed"), in("a/other")))

	log, got := b.resumed(t, paths(root), root)
	for name, want := range map[string]bool{
		"a/content": true, "a/size": true, "a/times": true, "a/replaced": true, "a/other": true,
		"a/kept": false, "a/linked": false, "a/linked2": false, "a/sparse": false,
	} {
		if _, read := log.files[in(name)]; read != want {
			t.Errorf("%s was read again: %v", name, read)
		}
	}
	if got.Files < 3 || got.Bytes < 40*kib || got.Uploaded == 0 {
		t.Errorf("resumed %+v", got)
	}
}

// A backup that dies within a file goes on within it, over its holes, whether
// one goroutine stores the file or several do.
func TestResumeWithinFile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		size   int64
		deaths int
		chunk  int // the longest
		target int // of a segment
	}{{"one", 2 << 20, 4, 64 * kib, 64 * kib}, {"several", parallelFrom + 1<<20, 1, 512 * kib, 2 << 20}} {
		t.Run(tt.name, func(t *testing.T) {
			size := tt.size
			root := filepath.Join(t.TempDir(), "root")
			must(t, os.MkdirAll(root, 0o755))
			file := filepath.Join(root, "file")
			must(t, os.WriteFile(file, random(7, int(size)), 0o644))
			f, err := os.OpenFile(file, os.O_RDWR, 0)
			must(t, err)
			for _, hole := range []int64{0, 600 * kib, 800 * kib} {
				must(t, unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, hole, 64*kib))
			}
			must(t, f.Truncate(size+128*kib), f.Close())
			waitTick(t)
			whole := newBedWith(t, func(c *repo.Config) {
				c.Chunker.Min, c.Chunker.Max, c.Segment.DataTarget = tt.chunk/16, tt.chunk, tt.target
				if tt.deaths == 1 {
					c.Chunker.Bits = 16
				}
			})
			b := whole.clone(t)
			want := whole.verify(t, paths(root), root).Root
			content := int(size) - 3*64*kib

			read := 0
			for range tt.deaths { // each after another fifth
				m, mortal := b.mortal(t, 1<<30, false)
				mortal.uploads = content / 5 / tt.target
				log := &readLog{}
				if _, err := Run(t.Context(), m.repo, m.keys, paths(root), log); !mortal.dead() {
					t.Fatalf("it has lived: %v", err)
				}
				read += log.bytes
				b.open(t)
			}
			log := &readLog{}
			result, err := Run(t.Context(), b.repo, b.keys, paths(root), log)
			must(t, err)
			read += log.bytes
			s := b.snapshot(t, result.Snapshot)
			b.compare(t, s, root)
			if s.Root != want {
				t.Errorf("the root is %s, and %s without an interruption", s.Root.Short(), want.Short())
			}
			// Each death costs the open segment, those under way, the last line,
			// what is being sealed, and what was cut and not yet sealed.
			b.soundAfter(t, s.Series)
			each := 4*tt.target + (lineBlocks+2*cap(newSealing().slots)+2)*tt.chunk
			t.Logf("%d bytes read of %d", read, content)
			if result.Resumed.Bytes == 0 || read > content+tt.deaths*each {
				t.Errorf("%d bytes were read, of %d, want at most %d; resumed %+v", read, content, content+tt.deaths*each, result.Resumed)
			}
		})
	}
}

// The holes of a file have changed, and by what the user wants to look at it has
// not: no block may come to stand at another place.
func TestLinesOverOtherHoles(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	file := filepath.Join(root, "a/sparse")
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	sparse(t, file, 300*kib, 100*kib)
	scatter(t, root, 100)
	var st unix.Stat_t
	must(t, unix.Stat(file, &st))
	waitTick(t)
	b := interrupted(t, root, paths(root))
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	must(t, err)
	_, err = f.WriteAt(random(5, 8*kib), 0)
	must(t, err, f.Close(), os.Chtimes(file, time.Now(), time.Unix(st.Mtim.Unix())))
	options := paths(root)
	options.IgnoreCTime = true
	log, got := b.resumed(t, options, root)
	if _, read := log.files[file]; !read || got.Files == 0 {
		t.Errorf("the file was read: %v; resumed %+v", read, got)
	}
}

// A file that may have changed within the tick in which it was read.
func TestRacyLine(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	scatter(t, root, 100)
	racing := paths(root)
	racing.Now = time.Now // so all files are as young as the backup
	now := time.Now().Add(-time.Second)
	racing.Now = func() time.Time { return now }
	b := interrupted(t, root, racing)
	if _, got := b.resumed(t, paths(root), root); got.Files != 0 {
		t.Errorf("resumed %+v, of files that were younger than the backup", got)
	}
}

// Another machine knows nothing of the interrupted backup, and harms it not.
func TestResumeOnTwoMachines(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	scatter(t, root, 100)
	waitTick(t)
	b := interrupted(t, root, paths(root))
	other := b.other(t)
	elsewhere := filepath.Join(t.TempDir(), "root")
	scatter(t, elsewhere, 30)
	if log, got := other.resumed(t, paths(elsewhere), elsewhere); got != (Resumed{}) || len(log.files) != 31 {
		t.Errorf("another machine: %+v, %d files read", got, len(log.files))
	}
	if _, got := b.resumed(t, paths(root), root); got.Files == 0 || got.Uploaded == 0 {
		t.Errorf("resumed %+v", got)
	}
	options := paths(root)
	b.soundAfter(t, series(b, &options))
}

// The power goes, and takes the ends of the local files.
func TestResumeAfterPowerCut(t *testing.T) {
	root := filepath.Join(t.TempDir(), "root")
	scatter(t, root, 100)
	waitTick(t)
	base := interrupted(t, root, paths(root))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for range scaled(20) {
		b := base.clone(t)
		must(t, os.RemoveAll(b.state), os.CopyFS(b.state, os.DirFS(base.state)))
		for _, folder := range []string{"sessions", "resume"} {
			files, err := filepath.Glob(filepath.Join(b.repo.StateDir(), folder, "*"))
			must(t, err)
			for _, name := range files {
				data, err := os.ReadFile(name)
				must(t, err)
				n := r.IntN(len(data) + 1)
				switch tail := data[n:]; r.IntN(3) {
				case 0: // lost
					data = data[:n]
				case 1: // never written, but the length was
					clear(tail)
				case 2:
					for i := range tail {
						tail[i] = byte(r.Uint32())
					}
				}
				must(t, os.WriteFile(name, data, 0o600))
			}
		}
		b.open(t)
		b.resumed(t, paths(root), root)
		state := b.repo.State()
		if list := state.Unfinished(); len(list) > 0 {
			t.Errorf("sessions %v are unfinished", list)
		}
	}
}

// A disk that takes no lines is a warning.
func TestUnwritableLines(t *testing.T) {
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	scatter(t, root, 5)
	write(t, filepath.Join(b.repo.StateDir(), "resume"), "no folder")
	b.verify(t, paths(root), root)
	if got := b.repo.Problems(); len(got) != 1 {
		t.Errorf("problems %v, want one", got)
	}
}

// What decodes as a line encodes to the same bytes.
func FuzzLine(f *testing.F) {
	for _, l := range []line{
		{blocks: []tree.Extent{{Block: object.ID{1}, Length: 1}}},
		{
			key: [16]byte{1}, start: object.Time{Sec: -1, Nsec: 999999999}, size: 1 << 40, source: 7, holes: [16]byte{3},
			mtime: object.Time{Sec: 5}, ctime: object.Time{Sec: 6, Nsec: 7},
			blocks: slices.Repeat([]tree.Extent{{Block: object.ID{9}, Length: object.MaxPayload}}, lineBlocks),
		},
	} {
		f.Add(l.encode())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := decodeLine(data)
		if err != nil {
			if !errors.Is(err, object.ErrCorrupt) {
				t.Error(err)
			}
			return
		}
		if again := l.encode(); !bytes.Equal(again, data) {
			t.Errorf("%x encodes to %x", data, again)
		}
	})
}
