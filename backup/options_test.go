package backup

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/snapshot"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

func TestSelect(t *testing.T) {
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	generate(t, root, 60)
	parent := b.verify(t, paths(root), root)
	want := diskView(t, root)
	maps.DeleteFunc(want, func(path string, n node) bool {
		return strings.Contains(path, "/dir2") || n.kind == tree.TypeFile && n.size > 300
	})
	for _, p := range []*snapshot.Snapshot{nil, parent} {
		options := paths(root)
		options.Parent = p
		options.Select = func(path string, info *Info) bool {
			if strings.Contains(path, "/dir2/") {
				t.Errorf("asked for %s, below what was left out", path)
			}
			return filepath.Base(path) != "dir2" && (info.Type != tree.TypeFile || info.Size <= 300)
		}
		options.Excludes = []string{"dir2"}
		got := b.view(t, b.snapshot(t, b.run(t, options).Snapshot))
		sameView(t, "selected", got, want)
	}
}

func TestOneFileSystem(t *testing.T) {
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	mnt := filepath.Join(root, "mnt")
	write(t, filepath.Join(root, "file"), "1")
	must(t, os.Mkdir(mnt, 0o755))
	mountTmpfs(t, mnt, "1m")
	write(t, filepath.Join(mnt, "a/b"), "1")
	write(t, filepath.Join(mnt, "c"), "1")
	want := func(paths ...string) map[string]node {
		all := diskView(t, root)
		view := map[string]node{}
		for _, p := range paths {
			view[filepath.Join(root, p)] = all[filepath.Join(root, p)]
		}
		return view
	}
	tests := []struct {
		name    string
		sources []string
		want    map[string]node
	}{
		{"the mount point is empty", []string{root}, want("", "file", "mnt")},
		{"asked for", []string{root, mnt}, diskView(t, root)},
		{"asked for below", []string{root, mnt + "/a"}, want("", "file", "mnt", "mnt/a", "mnt/a/b")},
		{"alone", []string{mnt}, want("mnt", "mnt/a", "mnt/a/b", "mnt/c")},
	}
	parent := b.verify(t, paths(root), root) // with what is mounted
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			options := paths(tt.sources...)
			options.OneFileSystem = true
			options.Parent = parent
			sameView(t, tt.name, b.view(t, b.snapshot(t, b.run(t, options).Snapshot)), tt.want)
		})
	}
}

// A dry run reads and counts as the real one does, and stores nothing.
func TestDryRun(t *testing.T) {
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	generate(t, root, 60)
	var parent *snapshot.Snapshot
	for range 2 {
		options := paths(root)
		options.Parent = parent
		options.DryRun = true
		before := b.bucket.Objects.All()
		dry := b.run(t, options)
		if !maps.EqualFunc(before, b.bucket.Objects.All(), func(a, b []byte) bool { return string(a) == string(b) }) {
			t.Error("a dry run has changed the bucket")
		}
		options.DryRun = false
		real := b.run(t, options)
		if !dry.Snapshot.IsZero() {
			t.Errorf("a dry run made snapshot %s", dry.Snapshot)
		}
		for _, r := range []*Result{&dry, &real} {
			r.Counts.BackupStart, r.Counts.BackupEnd = object.Time{}, object.Time{}
		}
		if dry.Counts != real.Counts || dry.Parent != real.Parent {
			t.Errorf("dry run %+v, real run %+v", dry, real)
		}
		waitTick(t)
		write(t, filepath.Join(root, "new"), "content")
		parent = b.snapshot(t, real.Snapshot)
	}
}

func TestCounts(t *testing.T) {
	b := newBed(t)
	root := filepath.Join(t.TempDir(), "root")
	write(t, filepath.Join(root, "same"), "12345")
	write(t, filepath.Join(root, "changed"), "12345")
	write(t, filepath.Join(root, "removed"), "12345")
	parent := b.verify(t, paths(root), root)
	waitTick(t)
	write(t, filepath.Join(root, "changed"), "1234567")
	write(t, filepath.Join(root, "dir/new"), "123")
	must(t, os.Remove(filepath.Join(root, "removed")))
	options := paths(root)
	options.Parent = parent
	log := &progressLog{}
	result, err := Run(t.Context(), b.repo, b.keys, options, log)
	must(t, err)
	c := result.Counts
	got := [8]uint64{c.FilesNew, c.FilesChanged, c.FilesUnmodified, c.DirsNew, c.DirsChanged, c.DirsUnmodified, c.TotalFilesProcessed, c.TotalBytesProcessed}
	if want := [8]uint64{1, 1, 1, 1, 1, 0, 3, 15}; got != want {
		t.Errorf("counts %v, want %v", got, want)
	}
	want := map[string]Change{"": Modified, "/same": Unmodified, "/changed": Modified, "/dir": New, "/dir/new": New}
	items := map[string]Change{}
	for path, change := range log.items {
		items[strings.TrimPrefix(path, root)] = change
	}
	if !maps.Equal(items, want) {
		t.Errorf("told of %v, want %v", items, want)
	}
}

// touch sets the times of a file, which only its ctime betrays.
func touch(t *testing.T, name string, at time.Time) {
	t.Helper()
	must(t, os.Chtimes(name, at, at))
}

func TestWhatCountsAsUnchanged(t *testing.T) {
	old := time.Unix(1e9, 5)
	content := func(b *bed, s *snapshot.Snapshot, name string) string {
		m, source := b.tree(s)
		in := b.inode(t, s, name)
		var data []byte
		for e, err := range m.Content(t.Context(), &in) {
			must(t, err)
			_, block, err := source.Object(t.Context(), e.Block, object.KindBlock)
			must(t, err)
			data = append(data, block...)
		}
		return string(data)
	}
	tests := []struct {
		name    string
		options func(*Options)
		edit    func(t *testing.T, name string)
		want    string // content in the second snapshot
		read    bool   // the file was read
	}{
		{"nothing", func(*Options) {}, func(*testing.T, string) {}, "first", false},
		{"same size and mtime", func(*Options) {},
			func(t *testing.T, n string) { write(t, n, "other"); touch(t, n, old) }, "other", true},
		{"same size and mtime, ctime ignored", func(o *Options) { o.IgnoreCTime = true },
			func(t *testing.T, n string) { write(t, n, "other"); touch(t, n, old) }, "first", false},
		{"other size, ctime ignored", func(o *Options) { o.IgnoreCTime = true },
			func(t *testing.T, n string) { write(t, n, "longer"); touch(t, n, old) }, "longer", true},
		{"mode and ctime ignored", func(o *Options) { o.IgnoreCTime = true },
			func(t *testing.T, n string) { must(t, os.Chmod(n, 0o600)) }, "first", false},
		{"other inode", func(o *Options) { o.IgnoreCTime = true },
			func(t *testing.T, n string) {
				write(t, n+".new", "other")
				touch(t, n+".new", old)
				must(t, os.Rename(n+".new", n))
			}, "other", true},
		{"other inode and ctime, both ignored", func(o *Options) { o.IgnoreCTime, o.IgnoreInode = true, true },
			func(t *testing.T, n string) {
				write(t, n+".new", "other")
				touch(t, n+".new", old)
				must(t, os.Rename(n+".new", n))
			}, "first", false},
		{"changed while the parent was made", func(o *Options) { o.Now = time.Now },
			func(t *testing.T, n string) {}, "first", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newBed(t)
			name := write(t, filepath.Join(t.TempDir(), "file"), "first")
			touch(t, name, old)
			options := paths(name)
			tt.options(&options)
			s := b.verify(t, options, name)
			waitTick(t)
			tt.edit(t, name)
			options.Parent = s
			log := &progressLog{onEvent: nil}
			result, err := Run(t.Context(), b.repo, b.keys, options, log)
			must(t, err)
			s = b.snapshot(t, result.Snapshot)
			if got := content(b, s, name); got != tt.want {
				t.Errorf("content %q, want %q", got, tt.want)
			}
			if read := log.events > 1; read != tt.read { // but for Item
				t.Errorf("read %v, want %v", read, tt.read)
			}
			// All but the content is that of now, whatever is ignored.
			got, want := b.view(t, s)[name], diskView(t, name)[name]
			got.content, want.content = "", ""
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

// The ctime of a symlink is not to be ignored: its size says nothing.
func TestIgnoredCTimeOfSymlink(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	name := filepath.Join(dir, "link")
	options := paths(dir)
	options.IgnoreCTime, options.IgnoreInode = true, true
	for _, target := range []string{"aa", "bb"} {
		os.Remove(name)
		must(t, os.Symlink(target, name), unix.Lutimes(name, make([]unix.Timeval, 2)))
		options.Parent = b.verify(t, options, dir)
		waitTick(t)
	}
}

func TestRacyTimes(t *testing.T) {
	start := time.Unix(1000, 500)
	for _, tt := range []struct {
		at   time.Time
		want bool
	}{
		{start, true},
		{start.Add(time.Hour), true},
		{start.Add(-clockTick), true},
		{start.Add(-clockTick - 1), false},
		{time.Unix(999, 0), true}, // of a file system with whole seconds
		{time.Unix(998, 0), false},
		{time.Unix(999, 1), false},
	} {
		if got := racy(object.TimeOf(tt.at), object.TimeOf(start)); got != tt.want {
			t.Errorf("changed %v before the parent: racy %v, want %v", start.Sub(tt.at), got, tt.want)
		}
		b := &backup{}
		st := unix.Stat_t{Ctim: unix.NsecToTimespec(tt.at.UnixNano()), Size: 1}
		old := &tree.Inode{Type: tree.TypeFile, Size: 1, CTime: object.TimeOf(tt.at), MTime: timeOf(st.Mtim)}
		if got := b.compare(old, &st, object.TimeOf(start)); (got == same) == tt.want {
			t.Errorf("changed %v before the parent: likeness %v", start.Sub(tt.at), got)
		}
	}
}

func TestAccessTimes(t *testing.T) {
	b := newBed(t)
	dir := t.TempDir()
	name := write(t, filepath.Join(dir, "file"), "content")
	at := time.Unix(1e9, 7)
	must(t, os.Chtimes(name, at, time.Unix(1e9, 8)))
	var parent *snapshot.Snapshot
	for _, with := range []bool{false, true, true, false} {
		options := paths(dir)
		options.Parent, options.WithATime = parent, with
		waitTick(t)
		parent = b.snapshot(t, b.run(t, options).Snapshot)
		in := b.inode(t, parent, name)
		if with != (in.ATime != nil) || with && *in.ATime != object.TimeOf(at) {
			t.Errorf("with %v: access time %v, want %v: reading must not change it", with, in.ATime, at)
		}
	}
}

// A second backup of the same files adds next to nothing, another machine's no
// more than a map, and one edit among many files a leaf and its nodes.
func TestWhatABackupAdds(t *testing.T) {
	b := newDefaultBed(t)
	root := filepath.Join(t.TempDir(), "root")
	generate(t, root, scaled(5000))
	first := b.snapshot(t, b.run(t, paths(root)).Snapshot)
	added := func(who *bed, options Options, limit int) *snapshot.Snapshot {
		t.Helper()
		before := b.bucket.Objects.All()
		result := who.run(t, options)
		if n := sizeOf(before, b.bucket.Objects.All()); n > limit {
			t.Errorf("%d bytes were added, want at most %d", n, limit)
		} else {
			t.Logf("%d bytes were added", n)
		}
		return who.snapshot(t, result.Snapshot)
	}
	options := paths(root)
	options.Parent = first
	if s := added(b, options, 4<<10); s.Root != first.Root {
		t.Error("the second map is another")
	}
	fresh := paths(root)
	fresh.Host = "other"
	if s := added(b.other(t), fresh, 64<<10); s.Root != first.Root {
		t.Error("the map of another host is another")
	}
	waitTick(t)
	write(t, filepath.Join(root, "dir3/sub.1/file31"), "edited")
	added(b, options, 100<<10)
}

// TestSealedObjectsAreOpenedAgain: verify-before-upload is the default.
func TestSealedObjectsAreOpenedAgain(t *testing.T) {
	if o := (&Options{}); !o.sealer().Verify {
		t.Error("by default it is not asked for")
	}
	if o := (&Options{NoVerify: true}); o.sealer().Verify {
		t.Error("it cannot be turned off")
	}
}
