package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"bluesky/restore/treetest"

	"golang.org/x/sys/unix"
)

// TestInPlace restores over files that differ in several ways. The result is
// always the snapshot; what is written is little.
func TestInPlace(t *testing.T) {
	source := filepath.Join(t.TempDir(), "source")
	data := treetest.Bytes(1, 4<<20)
	must(t, os.Chmod(writeFile(t, source+"/file", data), 0o640))
	b := newMemoryBed(t)
	from := b.backup(t, source)
	changed := bytes.Clone(data)
	changed[2<<20] ^= 1
	tests := []struct {
		name   string
		there  []byte
		action Action
		most   uint64 // bytes written
	}{
		{"equal", data, Unchanged, 0},
		{"a changed byte", changed, Updated, 1 << 20},
		{"longer", append(bytes.Clone(data), "more"...), Updated, 0},
		{"shorter", data[:3<<20], Updated, 2 << 20},
		{"empty", nil, Updated, 4 << 20},
		{"zeros", make([]byte, 4<<20), Updated, 4 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			target := t.TempDir()
			file := writeFile(t, target+"/file", tt.there)
			must(t, os.Chmod(file, 0o4777))
			must(t, unix.Setxattr(file, "user.stale", []byte("1"), 0))
			before := inodeOf(t, file)
			result, rec := b.restore(t, from, Options{Target: target, Subpath: source, Verify: true})
			treetest.Compare(t, source, target)
			if inodeOf(t, file) != before {
				t.Error("the file was replaced, not changed")
			}
			if rec.items["/file"] != tt.action || result.BytesRestored > tt.most {
				t.Errorf("%s, %d bytes written; want %s, at most %d", rec.items["/file"], result.BytesRestored, tt.action, tt.most)
			}
			if result.BytesRestored+result.BytesSkipped != result.TotalBytes || rec.bytes != rec.total {
				t.Errorf("bytes do not add up: %+v, %d of %d", result, rec.bytes, rec.total)
			}
		})
	}
}

func inodeOf(t *testing.T, path string) uint64 {
	t.Helper()
	info, err := os.Lstat(path)
	must(t, err)
	return info.Sys().(*syscall.Stat_t).Ino
}

// TestHolesInPlace restores a sparse file over one that is not.
func TestHolesInPlace(t *testing.T) {
	source := t.TempDir()
	f, err := os.Create(source + "/sparse")
	must(t, err)
	for _, at := range []int64{0, 1 << 20, 3 << 20} {
		_, err := f.WriteAt(treetest.Bytes(uint64(at), 70<<10), at)
		must(t, err)
	}
	must(t, f.Truncate(5<<20))
	must(t, f.Close())
	b := newMemoryBed(t)
	from := b.backup(t, source)
	target := t.TempDir()
	writeFile(t, target+"/sparse", treetest.Bytes(9, 6<<20))
	b.restore(t, from, Options{Target: target, Subpath: source, Verify: true})
	treetest.Compare(t, source, target)
	_, rec := b.restore(t, from, Options{Target: target, Subpath: source, Verify: true})
	if rec.items["/sparse"] != Unchanged {
		t.Errorf("a second time it is %s, want unchanged", rec.items["/sparse"])
	}
	treetest.Compare(t, source, target)
}

// TestHardLinkInTarget: the file in place has another name, which keeps its
// content while the blocks that are right are copied.
func TestHardLinkInTarget(t *testing.T) {
	source := t.TempDir()
	data := treetest.Bytes(1, 2<<20)
	writeFile(t, source+"/file", data)
	b := newMemoryBed(t)
	from := b.backup(t, source)
	target := t.TempDir()
	changed := bytes.Clone(data)
	changed[0] ^= 1
	writeFile(t, target+"/file", changed)
	must(t, os.Link(target+"/file", target+"/other"))
	result, _ := b.restore(t, from, Options{Target: target, Subpath: source})
	wantFile(t, target+"/file", data)
	wantFile(t, target+"/other", changed)
	if result.BytesRestored == 0 || result.BytesRestored > 1<<20 {
		t.Errorf("%d bytes fetched, want one block", result.BytesRestored)
	}
}

// TestOverwrite: the four policies, for a file that is older, newer, and equal
// in size and time though not in content.
func TestOverwrite(t *testing.T) {
	source := t.TempDir()
	now := time.Now().Truncate(time.Second)
	for _, name := range []string{"absent", "older", "newer", "same time"} {
		must(t, os.Chtimes(writeFile(t, source+"/"+name, []byte("snapshot")), now, now))
	}
	b := newMemoryBed(t)
	from := b.backup(t, source)
	tests := []struct {
		overwrite Overwrite
		want      string // of absent, older, newer, same time
	}{
		{OverwriteAlways, "snapshot snapshot snapshot snapshot"},
		{OverwriteIfChanged, "snapshot snapshot snapshot existing"},
		{OverwriteIfNewer, "snapshot snapshot existing existing"},
		{OverwriteNever, "snapshot existing existing existing"},
	}
	for _, tt := range tests {
		t.Run(tt.overwrite.String(), func(t *testing.T) {
			parsed, err := ParseOverwrite(tt.overwrite.String())
			must(t, err)
			for _, dry := range []bool{true, false} {
				target := t.TempDir()
				for name, at := range map[string]time.Time{"older": now.Add(-time.Hour), "newer": now.Add(time.Hour), "same time": now} {
					must(t, os.Chtimes(writeFile(t, target+"/"+name, []byte("existing")), at, at))
				}
				b.restore(t, from, Options{Target: target, Subpath: source, Overwrite: parsed, DryRun: dry})
				got := ""
				for _, name := range []string{"absent", "older", "newer", "same time"} {
					data, _ := os.ReadFile(target + "/" + name)
					got += " " + string(data)
				}
				want := " " + tt.want
				if dry {
					want = "  existing existing existing"
				}
				if got != want {
					t.Errorf("dry run %t: got%s, want%s", dry, got, want)
				}
			}
		})
	}
	if _, err := ParseOverwrite("sometimes"); err == nil {
		t.Error("an unknown policy is accepted")
	}
}

// TestSkippedLink: the first name of a file is left alone, so the second must
// not become a link to what stands there.
func TestSkippedLink(t *testing.T) {
	source := t.TempDir()
	writeFile(t, source+"/a", []byte("snapshot"))
	must(t, os.Link(source+"/a", source+"/b"))
	must(t, os.Link(source+"/a", source+"/c"))
	b := newMemoryBed(t)
	from := b.backup(t, source)
	target := t.TempDir()
	writeFile(t, target+"/a", []byte("mine"))
	b.restore(t, from, Options{Target: target, Subpath: source, Overwrite: OverwriteNever})
	wantFile(t, target+"/a", []byte("mine"))
	wantFile(t, target+"/b", []byte("snapshot"))
	if inodeOf(t, target+"/b") != inodeOf(t, target+"/c") {
		t.Error("b and c are no links to each other")
	}
}

// TestInTheWay has entries of all types stand where each other type belongs.
func TestInTheWay(t *testing.T) {
	make := map[string]func(path string) error{
		"file":            func(p string) error { return os.WriteFile(p, []byte("file"), 0o644) },
		"link":            func(p string) error { return os.Symlink("nowhere", p) },
		"other link":      func(p string) error { return os.Symlink("elsewhere", p) },
		"fifo":            func(p string) error { return unix.Mkfifo(p, 0o600) },
		"socket":          func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o600, 0) },
		"directory":       func(p string) error { return os.Mkdir(p, 0o755) },
		"full directory":  func(p string) error { return errors.Join(os.Mkdir(p, 0o755), os.WriteFile(p+"/x", nil, 0o644)) },
		"closed dir":      func(p string) error { return os.Mkdir(p, 0) },
		"unreadable file": func(p string) error { return os.WriteFile(p, []byte("file"), 0) },
	}
	source := t.TempDir()
	for kind, fn := range make {
		must(t, fn(source+"/"+kind))
	}
	b := newMemoryBed(t)
	from := b.backup(t, source)
	for there, fn := range make {
		t.Run(there, func(t *testing.T) {
			target := t.TempDir()
			var full []string
			for kind := range make {
				must(t, fn(target+"/"+kind))
				if there == "full directory" && kind != "full directory" && kind != "directory" && kind != "closed dir" {
					full = append(full, "/"+kind)
				}
			}
			rec := &record{}
			_, err := Run(t.Context(), b.repo, b.keys, from, Options{Target: target, Subpath: source}, rec)
			must(t, err)
			if slices.Sort(full); !slices.Equal(paths(rec.errors), full) {
				t.Errorf("got errors %q, want of %q", rec.errors, full)
			}
			for _, message := range rec.errors {
				if !bytes.Contains([]byte(message), []byte("a directory stands here that is not empty")) {
					t.Errorf("got %q", message)
				}
			}
			if full == nil && there != "full directory" {
				treetest.Compare(t, source, target)
			}
		})
	}
}

// TestResume cancels a restore again and again until it gets through. No file
// that has its final time is incomplete, and no content is written twice to
// speak of.
func TestResume(t *testing.T) {
	source := t.TempDir()
	for i := range 40 {
		path := writeFile(t, fmt.Sprintf("%s/d%d/file %d", source, i%7, i), treetest.Bytes(uint64(i), 50_000+i*2000))
		must(t, os.Chtimes(path, time.Unix(1e9, 1), time.Unix(1e9, 1)))
	}
	must(t, os.Link(source+"/d0/file 0", source+"/d1/link"))
	b := newMemoryBed(t)
	from := b.backup(t, source)
	target := t.TempDir()
	var written uint64
	for run := 1; ; run++ {
		ctx, cancel := context.WithCancel(t.Context())
		rec := &record{}
		rec.onBytes = func() {
			if rec.bytes > uint64(run)*400_000 {
				cancel()
			}
		}
		result, err := Run(ctx, b.repo, b.keys, from, Options{Target: target, Subpath: source}, rec)
		cancel()
		written += result.BytesRestored
		if err == nil {
			if run < 4 {
				t.Errorf("only %d runs, want some that are canceled", run)
			}
			if written > result.TotalBytes*2 {
				t.Errorf("%d bytes written for %d", written, result.TotalBytes)
			}
			break
		}
		if !errors.Is(err, context.Canceled) || result.Errors != 0 {
			t.Fatalf("run %d: %v, errors %q", run, err, rec.errors)
		}
		wantNoFalseFiles(t, source, target)
	}
	treetest.Compare(t, source, target)
}

// wantNoFalseFiles wants each file below target that has the time of that of
// the source to have its content too.
func wantNoFalseFiles(t *testing.T, source, target string) {
	t.Helper()
	list, err := filepath.Glob(target + "/*/*")
	must(t, err)
	for _, path := range list {
		info, err := os.Stat(path)
		must(t, err)
		if info.ModTime().Unix() == 1e9 {
			want, err := os.ReadFile(source + path[len(target):])
			must(t, err)
			wantFile(t, path, want)
		} else if info.Mode().IsRegular() && info.Mode() != 0o600 {
			t.Errorf("%s is not finished and has mode %v", path, info.Mode())
		}
	}
}
