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
