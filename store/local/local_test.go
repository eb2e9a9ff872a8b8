package local_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	. "bluesky/store/local"
	"bluesky/store/local/simdisk"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/gcerrors"
)

func open(t testing.TB, dir string) *blob.Bucket {
	t.Helper()
	drv, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := blob.NewBucket(drv)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

func put(t testing.TB, b *blob.Bucket, key, data string) {
	t.Helper()
	if err := upload(b, key, []byte(data), true); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func TestAttributesOfWhatIsNoObject(t *testing.T) {
	b := open(t, t.TempDir())
	put(t, b, "some/key", "x")
	for _, key := range []string{"missing", "some", "some/", "some/missing", "some/key/below", "missing/key", ".tmp-x"} {
		_, err := b.Attributes(t.Context(), key)
		if code := gcerrors.Code(err); code != gcerrors.NotFound || !strings.Contains(err.Error(), key) {
			t.Errorf("attributes of %q: got %v, want NotFound that names it", key, err)
		}
		_, err = b.NewReader(t.Context(), key, nil)
		if code := gcerrors.Code(err); code != gcerrors.NotFound {
			t.Errorf("read of %q: got %v, want NotFound", key, err)
		}
		if code := gcerrors.Code(b.Delete(t.Context(), key)); code != gcerrors.NotFound {
			t.Errorf("delete of %q: got code %v, want NotFound", key, code)
		}
	}
	attrs, err := b.Attributes(t.Context(), "some/key")
	if err != nil {
		t.Fatal(err)
	}
	if attrs.Size != 1 || time.Since(attrs.ModTime).Abs() > time.Minute {
		t.Errorf("got size %d, time %v", attrs.Size, attrs.ModTime)
	}
}

func TestMetadataIsRefused(t *testing.T) {
	b := open(t, t.TempDir())
	err := b.WriteAll(t.Context(), "key", nil, &blob.WriterOptions{Metadata: map[string]string{"a": "b"}})
	if gcerrors.Code(err) != gcerrors.Unimplemented {
		t.Errorf("got %v, want Unimplemented", err)
	}
}

func TestCreateLeavesAFolderAsItIs(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Create(dir); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("got mode %v, error %v, want 0755", info.Mode(), err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Create(file); err == nil || !strings.Contains(err.Error(), "not a folder") {
		t.Errorf("create over a file: got %v", err)
	}
	if _, err := Open(file); err == nil {
		t.Error("a file was opened as a folder")
	}
}

// Only the object's own file is ever in the folder: no sidecar, no stray.
func TestOneFilePerObject(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "seg/ab/1", "x")
	for range 2 {
		if err := upload(b, "seg/ab/2", []byte("y"), false); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		got = append(got, strings.TrimPrefix(path, dir))
		return err
	})
	want := []string{"", "/seg", "/seg/ab", "/seg/ab/1", "/seg/ab/2"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, error %v, want %q", got, err, want)
	}
}

func TestLinksAreNotFollowed(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": outside, "file": filepath.Join(outside, "secret")} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b := open(t, dir)
	for _, key := range []string{"link/secret", "file"} {
		if data, err := b.ReadAll(t.Context(), key); err == nil {
			t.Errorf("read of %s through a link gave %q", key, data)
		}
	}
	if err := upload(b, "link/new", []byte("x"), true); err == nil {
		t.Error("a write through a link succeeded")
	}
	if err := upload(b, "file", []byte("x"), false); err != nil {
		t.Errorf("overwriting a link: %v", err)
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 {
		t.Errorf("got %v, error %v outside the folder, want one file", entries, err)
	}
	if data, err := os.ReadFile(filepath.Join(outside, "secret")); err != nil || string(data) != "secret" {
		t.Errorf("the file outside is %q, error %v", data, err)
	}
	_, _, err = b.ListPage(t.Context(), blob.FirstPageToken, 10, nil)
	if err == nil || !strings.Contains(err.Error(), `"link"`) {
		t.Errorf("list of a folder with a link: got %v, want an error that names it", err)
	}
}

func TestListErrorsAreErrors(t *testing.T) {
	f := simdisk.NewRefuser(simdisk.New())
	b := blob.NewBucket(New(f, time.Now))
	for i := range 5 {
		put(t, b, fmt.Sprintf("seg/%d/1", i), "x")
	}
	list := func(refused int) ([]*blob.ListObject, error) {
		f.Refuse(refused, syscall.EIO, false)
		objects, _, err := b.ListPage(t.Context(), blob.FirstPageToken, 100, nil)
		return objects, err
	}
	if objects, err := list(-1); err != nil || len(objects) != 5 {
		t.Fatalf("got %d objects, error %v", len(objects), err)
	}
	for n := range f.Calls() {
		objects, err := list(n)
		if !errors.Is(err, syscall.EIO) || objects != nil {
			t.Errorf("call %d (%s) refused: got %d objects, error %v", n, f.Hit(), len(objects), err)
		}
	}
}

func TestForeignFilesAreNoObjects(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	put(t, b, "seg/1", "x")
	for _, name := range []string{".tmp-x", "README", "lost+found", "%zz", "%2f", "%61"} {
		if err := os.WriteFile(filepath.Join(dir, "seg", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := contents(t, b); len(got) != 1 || got["seg/1"] != "x" {
		t.Errorf("got %q, want only seg/1", got)
	}
}

// All ways to cut a listing into pages give the same keys, in order, whether
// one Bucket gives all pages or each page comes from a new one.
func TestPages(t *testing.T) {
	disk := simdisk.New()
	b := blob.NewBucket(New(disk, time.Now))
	var want []string
	for _, key := range []string{"a", "b-c", "b/a/x", "b/a/y", "b/b", "b0", "c/d/e/f", "c/d/e/g", "c/d0", "d/%/", "d/.tmp-x", "z/A", "z/a"} {
		put(t, b, key, key)
		want = append(want, key)
	}
	slices.Sort(want)
	for _, prefix := range []string{"", "b", "b/", "b/a", "c/d/e/", "x/y", "a/b", "d/", "z"} {
		below := slices.DeleteFunc(slices.Clone(want), func(k string) bool { return !strings.HasPrefix(k, prefix) })
		for size := 1; size <= len(want)+1; size++ {
			for _, fresh := range []bool{false, true} {
				if got := listInPages(t, disk, prefix, size, fresh); !slices.Equal(got, below) {
					t.Errorf("prefix %q, pages of %d, fresh %v: got %q, want %q", prefix, size, fresh, got, below)
				}
			}
		}
	}
}

func listInPages(t *testing.T, fsys FS, prefix string, size int, fresh bool) []string {
	t.Helper()
	var got []string
	opts := &driver.ListOptions{Prefix: prefix, PageSize: size}
	b := New(fsys, time.Now)
	for {
		page, err := b.ListPaged(t.Context(), opts)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Objects) > size {
			t.Fatalf("a page of %d has %d objects", size, len(page.Objects))
		}
		for _, o := range page.Objects {
			got = append(got, o.Key)
		}
		if len(page.NextPageToken) == 0 {
			return got
		}
		opts.PageToken = page.NextPageToken
		if fresh {
			b = New(fsys, time.Now)
		}
	}
}

// What is deleted between two pages is left out; the rest is listed.
func TestListWhileDeleting(t *testing.T) {
	disk := simdisk.New()
	drv := New(disk, time.Now)
	b := blob.NewBucket(drv)
	for _, key := range []string{"a/1", "a/2", "a/3", "a/4", "b/1", "c/1"} {
		put(t, b, key, "x")
	}
	first, err := drv.ListPaged(t.Context(), &driver.ListOptions{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Delete(t.Context(), "a/3"); err != nil {
		t.Fatal(err)
	}
	disk.Forget("b")
	rest, err := drv.ListPaged(t.Context(), &driver.ListOptions{PageToken: first.NextPageToken})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, o := range append(first.Objects, rest.Objects...) {
		got = append(got, o.Key)
	}
	if want := []string{"a/1", "a/2", "a/4", "c/1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	disk.Forget("a")
	if rest, err = drv.ListPaged(t.Context(), &driver.ListOptions{PageToken: first.NextPageToken}); err != nil || len(rest.Objects) != 1 {
		t.Errorf("without the folder of the token: got %d objects, error %v, want one", len(rest.Objects), err)
	}
}

// A listing in pages reads each folder once, and abandoned ones take no more
// than their share of memory.
func TestPagesDoNotRepeatTheWalk(t *testing.T) {
	disk := simdisk.New()
	dir, err := disk.OpenDir(".")
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	for i := range n {
		if _, err := dir.Create(fmt.Sprintf("%04d", i)); err != nil {
			t.Fatal(err)
		}
	}
	f := simdisk.NewRefuser(disk)
	if got := len(listInPages(t, f, "", 10, false)); got != n {
		t.Fatalf("got %d keys, want %d", got, n)
	}
	// One lstat for each object, one open and close for each page, one walk.
	if limit := n + 2*n/10 + 20; f.Calls() > limit {
		t.Errorf("%d pages took %d calls, want at most %d", n/10, f.Calls(), limit)
	}
	b := New(f, time.Now)
	for i := range 10 * MaxWalks {
		if _, err := b.ListPaged(t.Context(), &driver.ListOptions{PageSize: i + 1}); err != nil {
			t.Fatal(err)
		}
	}
	if got := Walks(b); got != MaxWalks {
		t.Errorf("%d abandoned walks are kept, want %d", got, MaxWalks)
	}
}

func TestDescriptorsAreClosed(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts the entries of /proc/self/fd")
	}
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := open(t, t.TempDir())
	put(t, b, "seg/1", "x")
	before := count()
	for i := range 20 {
		put(t, b, fmt.Sprintf("seg/a%d", i), "x")
		_ = upload(b, "seg/1", nil, true)
		_ = b.Upload(ctx, "seg/2", bytes.NewReader(nil), &blob.WriterOptions{ContentType: ContentType})
		_, _ = b.ReadAll(t.Context(), "seg/1")
		_, _ = b.ReadAll(t.Context(), "seg/missing")
		_, _ = b.ReadAll(t.Context(), "seg")
		_, _ = b.Attributes(t.Context(), "seg/1")
		_, _, _ = b.ListPage(t.Context(), blob.FirstPageToken, 1, nil)
		_ = b.Delete(t.Context(), "seg/missing")
	}
	if after := count(); after != before {
		t.Errorf("got %d descriptors after 20 rounds, %d before", after, before)
	}
}

func FuzzElements(f *testing.F) {
	for _, e := range []string{"", ".", "..", "plain-0.9_", ".tmp-x", ".tmp", "UPPER", "%", "%2f", "☺", "a b", "\x00\xff"} {
		f.Add(e)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.Contains(s, "/") {
			if e, ok := DecodeElement(s); ok {
				t.Fatalf("%q decodes to %q", s, e)
			}
			return
		}
		name := EncodeElement(s)
		if name == "." || name == ".." || strings.HasPrefix(name, TempPrefix) || strings.ContainsAny(name, "/\\\x00") {
			t.Fatalf("%q has the unsafe name %q", s, name)
		}
		if got, ok := DecodeElement(name); !ok || got != s {
			t.Fatalf("%q: name %q decodes to %q, %v", s, name, got, ok)
		}
		if e, ok := DecodeElement(s); ok && EncodeElement(e) != s {
			t.Fatalf("name %q decodes to %q, which has another name", s, e)
		}
	})
}
