package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSameTreeFindsDifferences: each alone, in a tree that is else equal.
func TestSameTreeFindsDifferences(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	at := time.Unix(1_700_000_000, 0)
	makeOne := func(t *testing.T) string {
		root := t.TempDir()
		must(os.MkdirAll(filepath.Join(root, "a/b"), 0o755))
		must(os.WriteFile(filepath.Join(root, "a/b/file"), make([]byte, 300_000), 0o644))
		must(os.Chtimes(filepath.Join(root, "a/b/file"), at, at))
		must(os.Symlink("file", filepath.Join(root, "a/b/link")))
		return root
	}
	tests := []struct {
		name string
		edit func(root string)
		same bool
	}{
		{"nothing", func(string) {}, true},
		{"one more", func(root string) { must(os.WriteFile(root+"/a/new", nil, 0o644)) }, false},
		{"one less", func(root string) { must(os.Remove(root + "/a/b/link")) }, false},
		{"another name", func(root string) { must(os.Rename(root+"/a/b/link", root+"/a/b/lint")) }, false},
		{"another target", func(root string) {
			must(os.Remove(root + "/a/b/link"))
			must(os.Symlink("else", root+"/a/b/link"))
		}, false},
		{"mode", func(root string) { must(os.Chmod(root+"/a/b/file", 0o600)) }, false},
		{"mode of a folder", func(root string) { must(os.Chmod(root+"/a", 0o700)) }, false},
		{"time", func(root string) { must(os.Chtimes(root+"/a/b/file", at, at.Add(time.Nanosecond))) }, false},
		{"size", func(root string) {
			must(os.Truncate(root+"/a/b/file", 300_001))
			must(os.Chtimes(root+"/a/b/file", at, at))
		}, false},
		{"last byte", func(root string) {
			data := make([]byte, 300_000)
			data[299_999] = 1
			must(os.WriteFile(root+"/a/b/file", data, 0o644))
			must(os.Chtimes(root+"/a/b/file", at, at))
		}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, got := makeOne(t), makeOne(t)
			tt.edit(got)
			if err := sameTree(t.Context(), want, got); (err == nil) != tt.same {
				t.Errorf("got %v", err)
			}
		})
	}
}
