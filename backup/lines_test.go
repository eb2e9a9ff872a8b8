package backup

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"

	"golang.org/x/sys/unix"
)

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
