package restore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/restore/treetest"
	"bluesky/snapshot"
	"bluesky/store"
	"bluesky/tree"
)

// A damaged is a repository in a folder with a snapshot of files 0 to 39, of
// 100,000 bytes each, among them 2 times the same, and of one large file.
type damaged struct {
	*bed
	folder string
	source string
	from   snapshot.Snapshot
}

func newDamaged(t *testing.T) *damaged {
	b, folder := newFolderBed(t)
	source := filepath.Join(t.TempDir(), "source")
	for i := range 40 {
		writeFile(t, fmt.Sprintf("%s/%02d", source, i), treetest.Bytes(uint64(i%39), 100_000))
	}
	writeFile(t, source+"/large", treetest.Bytes(100, 3<<20))
	return &damaged{b, folder, source, b.backup(t, source)}
}

// segmentsOf returns the names of the data segments, and for each the files
// that need a block of it.
func (d *damaged) segmentsOf(t *testing.T) map[pack.Name][]string {
	t.Helper()
	view, err := d.repo.Index(t.Context(), d.repo.State())
	must(t, err)
	m := tree.OpenMap(newRestorer(t.Context(), d.repo, d.keys, d.from, Options{}, nil).source, d.keys,
		tree.Params(d.repo.Config().Tree), d.from.Root)
	needs := map[pack.Name][]string{}
	must(t, tree.Walk(t.Context(), m, func(path []string, in *tree.Inode) error {
		for e, err := range m.Content(t.Context(), in) {
			if err != nil {
				return err
			}
			name := view.Lookup(e.Block)[0].Segment.Name
			if file := "/" + strings.Join(path, "/"); !slices.Contains(needs[name], file) {
				needs[name] = append(needs[name], file)
			}
		}
		return nil
	}))
	return needs
}

func (d *damaged) file(name pack.Name) string { return filepath.Join(d.folder, name.Key()) }

// TestDamage damages three segments, one after the other: exactly the files that need it
// are missing, and named with the block.
func TestDamage(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(path string) error
		want string
	}{
		{"a flipped byte", func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data[len(data)*2/3] ^= 1
			return replace(path, data)
		}, "corrupt"},
		{"a flipped byte in the header", func(path string) error {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			data[100] ^= 1
			return replace(path, data)
		}, "corrupt"},
		{"a missing segment", os.Remove, "not found"},
		{"an empty segment", func(path string) error { return replace(path, nil) }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDamaged(t)
			needs := d.segmentsOf(t)
			if len(needs) < 5 {
				t.Fatalf("%d segments, want some more", len(needs))
			}
			tried := 0
			for name, files := range needs {
				if tried++; tried > 3 {
					break
				}
				saved, err := os.ReadFile(d.file(name))
				must(t, err)
				must(t, tt.do(d.file(name)))
				d.restoreDamaged(t, files, tt.want, strings.HasPrefix(tt.name, "a flipped byte") && !strings.Contains(tt.name, "header"))
				os.Remove(d.file(name))
				must(t, os.WriteFile(d.file(name), saved, 0o600))
			}
		})
	}
}

func replace(path string, data []byte) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o600)
}

// restoreDamaged restores while some of files cannot be: all of them, or if one
// block alone is damaged, those that need it.
func (d *damaged) restoreDamaged(t *testing.T, files []string, want string, one bool) {
	t.Helper()
	d.reopen(t)
	target := t.TempDir()
	rec := &record{}
	result, err := Run(t.Context(), d.repo, d.keys, d.from, Options{Target: target}, rec)
	must(t, err)
	failed := paths(rec.errors)
	if result.Errors != len(failed) || len(failed) == 0 {
		t.Fatalf("%d errors counted, %d reported", result.Errors, len(failed))
	}
	if slices.Sort(files); !one && !slices.Equal(failed, files) {
		t.Errorf("errors of %q, want of %q", failed, files)
	}
	for _, message := range rec.errors {
		if !strings.Contains(message, "block ") || !strings.Contains(message, want) {
			t.Errorf("got %q, want that it names the block and says %q", message, want)
		}
	}
	must(t, filepath.WalkDir(d.source, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil || entry.IsDir():
			return err
		case slices.Contains(failed, path):
			if !slices.Contains(files, path) {
				t.Errorf("%s failed and needs nothing that is damaged", path)
			}
			wantAbsent(t, target+path)
		default:
			data, err := os.ReadFile(path)
			must(t, err)
			wantFile(t, target+path, data)
		}
		return nil
	}))
}

// TestOtherCopy damages one of two copies of a block: the other one is used.
//
// The same is tried with a repository that was opened before there was another
// copy, as by a reader while somebody else moves objects.
func TestOtherCopy(t *testing.T) {
	d := newDamaged(t)
	older, err := repo.Open(t.Context(), d.store, repo.Options{})
	must(t, err)
	_, err = older.Refresh(t.Context())
	must(t, err)
	f := d.forge(t)
	data, err := os.ReadFile(d.source + "/05")
	must(t, err)
	view, err := d.repo.Index(t.Context(), d.repo.State())
	must(t, err)
	// Store every block of the file again, as a writer does that lost a race.
	var home []pack.Name
	reader := newRestorer(t.Context(), d.repo, d.keys, d.from, Options{}, nil)
	in, err := reader.tree.Resolve(t.Context(), strings.Split(d.source+"/05", "/")[1:])
	must(t, err)
	for e, err := range reader.tree.Content(t.Context(), &in) {
		must(t, err)
		_, payload, err := reader.source.Object(t.Context(), e.Block, object.KindBlock)
		must(t, err)
		home = append(home, view.Lookup(e.Block)[0].Segment.Name)
		sealed, err := f.sealer.Seal(e.Block, object.KindBlock, nil, payload)
		must(t, err)
		must(t, f.session.Add(sealed, d.keys.NewSession(f.session.ID(), object.ClassData)))
	}
	f.dir(1)
	f.commit()
	for _, name := range home {
		os.Remove(d.file(name))
	}
	d.reopen(t)
	for _, r := range []*repo.Repo{older, d.repo} {
		d.repo = r
		target := t.TempDir()
		d.restore(t, d.from, Options{Target: target, Subpath: d.source + "/05"})
		wantFile(t, target+"/05", data)
	}
}

// TestDamagedInPlace has a file in place of one that cannot be restored: it is
// kept, and does not look as if it were that of the snapshot.
func TestDamagedInPlace(t *testing.T) {
	d := newDamaged(t)
	target := t.TempDir()
	d.restore(t, d.from, Options{Target: target})
	large := target + d.source + "/large"
	data, err := os.ReadFile(large)
	must(t, err)
	before, err := os.Stat(large)
	must(t, err)
	for i := 1 << 20; i < 2<<20; i++ {
		data[i] ^= 1
	}
	must(t, os.WriteFile(large, data, 0o644))
	must(t, os.Chtimes(large, before.ModTime(), before.ModTime()))
	for name := range d.segmentsOf(t) {
		must(t, os.Remove(d.file(name)))
	}
	d.reopen(t)
	rec := &record{}
	_, err = Run(t.Context(), d.repo, d.keys, d.from, Options{Target: target}, rec)
	must(t, err)
	if got := paths(rec.errors); len(got) != 1 || got[0] != d.source+"/large" || !strings.Contains(rec.errors[0], "is kept") {
		t.Errorf("got errors %q, want one of the large file, which is kept", rec.errors)
	}
	wantFile(t, large, data)
	after, err := os.Stat(large)
	must(t, err)
	if after.ModTime().Equal(before.ModTime()) {
		t.Error("the file looks as if it were that of the snapshot")
	}
}

// TestDamagedDirectory damages an object of the tree: what is elsewhere is
// restored.
func TestDamagedDirectory(t *testing.T) {
	b := newMemoryBed(t)
	f := b.forge(t)
	f.file(5, "good")
	f.dir(2)
	bad := f.inodes[2]
	bad.Root = f.put(object.KindDir, nil, []byte("not a directory"))
	f.dir(3, tree.Entry{Name: "file", Number: 5, Type: tree.TypeFile})
	f.dir(1, tree.Entry{Name: "bad", Number: 2, Type: tree.TypeDir}, tree.Entry{Name: "good", Number: 3, Type: tree.TypeDir})
	target := t.TempDir()
	rec := &record{}
	_, err := Run(t.Context(), b.repo, b.keys, f.commit(), Options{Target: target}, rec)
	must(t, err)
	if len(rec.errors) != 1 || paths(rec.errors)[0] != "/bad" {
		t.Errorf("got errors %q, want one of /bad", rec.errors)
	}
	wantFile(t, target+"/good/file", []byte("good"))
}

// TestExtentPastBlock restores files that want more of a block than there is.
func TestExtentPastBlock(t *testing.T) {
	b := newMemoryBed(t)
	f := b.forge(t)
	block := f.put(object.KindBlock, nil, []byte("0123456789"))
	file := func(number uint64, offset, length uint64) tree.Entry {
		f.inodes[number] = &tree.Inode{
			Number: number, Type: tree.TypeFile, Mode: 0o644, Links: 1, Size: length, ContentHash: [16]byte{1},
			Extents: []tree.Extent{{Block: block, Offset: offset, Length: length}},
		}
		return tree.Entry{Name: fmt.Sprint(number), Number: number, Type: tree.TypeFile}
	}
	f.dir(1, file(2, 0, 11), file(3, 10, 1), file(4, 3, 4), file(5, 0, 10))
	target := t.TempDir()
	rec := &record{}
	_, err := Run(t.Context(), b.repo, b.keys, f.commit(), Options{Target: target, Verify: true}, rec)
	must(t, err)
	if got := paths(rec.errors); !slices.Equal(got, []string{"/2", "/3"}) {
		t.Errorf("got errors %q, want of /2 and /3", rec.errors)
	}
	wantAbsent(t, target+"/2")
	wantFile(t, target+"/4", []byte("3456"))
	wantFile(t, target+"/5", []byte("0123456789"))
	// In place, a part of a block can only be taken from the repository.
	b.reopen(t)
	must(t, os.WriteFile(target+"/4", []byte("xxxx"), 0o600))
	_, err = Run(t.Context(), b.repo, b.keys, b.snapshot(t, b.repo.State().Snapshots[0].ID), Options{Target: target}, rec)
	must(t, err)
	wantFile(t, target+"/4", []byte("3456"))
}

// TestUnreachable loses the repository when it begins to fetch: the run ends
// soon, and does not report every file.
func TestUnreachable(t *testing.T) {
	st := store.NewMemory()
	b := newBed(t, st)
	source := t.TempDir()
	for i := range 100 {
		writeFile(t, fmt.Sprintf("%s/%d", source, i), treetest.Bytes(uint64(i), 10_000))
	}
	from := b.backup(t, source)
	rec := &record{}
	rec.onTotal = func() {
		if rec.entries == 101 {
			must(t, st.Close())
		}
	}
	result, err := Run(t.Context(), b.repo, b.keys, from, Options{Target: t.TempDir(), Subpath: filepath.Dir(source)}, rec)
	if !errors.Is(err, store.ErrClosed) || !strings.Contains(err.Error(), "the repository cannot be read") {
		t.Errorf("got %v, want that the repository cannot be read", err)
	}
	if result.Errors >= 50 {
		t.Errorf("%d errors before the run ended", result.Errors)
	}
}

// TestVerify changes a file behind the back of a restore.
func TestVerify(t *testing.T) {
	source := t.TempDir()
	data := append(treetest.Bytes(1, 200_000), make([]byte, 1<<20)...)
	writeFile(t, source+"/file", data)
	must(t, os.Truncate(source+"/file", 200_000))
	must(t, os.Truncate(source+"/file", int64(len(data)))) // a hole behind
	b := newMemoryBed(t)
	from := b.backup(t, source)
	s := newRestorer(t.Context(), b.repo, b.keys, from, Options{}, NoProgress{})
	in, err := s.tree.Resolve(t.Context(), strings.Split(source+"/file", "/")[1:])
	must(t, err)
	if len(in.Holes) != 1 {
		t.Fatalf("%d holes, want one", len(in.Holes))
	}
	for name, tt := range map[string]struct {
		edit func(data []byte) []byte
		want string
	}{
		"nothing": {func(d []byte) []byte { return d }, ""},
		"content": {func(d []byte) []byte { d[150_000] ^= 1; return d }, "is not block"},
		"hole":    {func(d []byte) []byte { d[len(d)-1] = 1; return d }, "not empty"},
		"longer":  {func(d []byte) []byte { return append(d, 0) }, "bytes, not"},
		"shorter": {func(d []byte) []byte { return d[:len(d)-1] }, "bytes, not"},
	} {
		path := writeFile(t, t.TempDir()+"/file", tt.edit(slices.Clone(data)))
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		must(t, err)
		err = s.verify(&file{fd: int(f.Fd()), size: in.Size, layout: newLayout(in.Holes)}, &in)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
		must(t, f.Close())
	}
}

// TestVerifyIsDone changes what a restore has written before the file is
// finished: with Verify it notices, and does not leave the file behind.
func TestVerifyIsDone(t *testing.T) {
	source := t.TempDir()
	writeFile(t, source+"/file", treetest.Bytes(1, 10_000))
	b := newMemoryBed(t)
	from := b.backup(t, source)
	for _, verify := range []bool{false, true} {
		target := t.TempDir()
		rec := &record{}
		rec.onBytes = func() { must(t, os.WriteFile(target+"/file", []byte("something else"), 0o600)) }
		result, err := Run(t.Context(), b.repo, b.keys, from, Options{Target: target, Subpath: source, Verify: verify}, rec)
		must(t, err)
		if noticed := result.Errors == 1 && strings.Contains(rec.errors[0], "verify"); noticed != verify {
			t.Errorf("verify %v: %d errors: %q", verify, result.Errors, rec.errors)
		}
		if verify {
			wantAbsent(t, target+"/file")
		}
	}
}
