package store_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"bluesky/store"
	"bluesky/store/storetest"
)

func TestFolder(t *testing.T) {
	storetest.Run(t, func(t *testing.T) *store.Store { return create(t, fastDir(t)) })
}

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) *store.Store { return store.NewMemory() })
}

// fastDir is in memory where it can be: thousands of syncs take a busy disk
// many seconds, and what they add, durability, is not seen here. Package local
// tests that, and runs on the disk.
func fastDir(t *testing.T) string {
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

func create(t testing.TB, dir string) *store.Store {
	t.Helper()
	s, err := store.Create(context.Background(), filepath.Join(dir, "repository"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func benchmarkPut(b *testing.B, size int) {
	s := create(b, b.TempDir())
	data := bytes.Repeat([]byte("16 bytes of data"), size/16)
	b.SetBytes(int64(size))
	for i := 0; b.Loop(); i++ {
		key := fmt.Sprintf("seg/%02x/%032x", i%4, i)
		if err := s.PutNew(b.Context(), key, data); err != nil {
			b.Fatal(err)
		}
		if i%64 == 63 { // keep the disk from filling
			b.StopTimer()
			for j := i - 63; j <= i; j++ {
				if err := s.Delete(b.Context(), fmt.Sprintf("seg/%02x/%032x", j%4, j)); err != nil {
					b.Fatal(err)
				}
			}
			b.StartTimer()
		}
	}
}

func BenchmarkPut16MiB(b *testing.B) { benchmarkPut(b, 16<<20) }
func BenchmarkPut4KiB(b *testing.B)  { benchmarkPut(b, 4<<10) }

func BenchmarkDelete(b *testing.B) {
	s := create(b, b.TempDir())
	for i := 0; b.Loop(); i++ {
		b.StopTimer()
		key := fmt.Sprintf("seg/ab/%032x", i)
		if err := s.PutNew(b.Context(), key, make([]byte, 4<<10)); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := s.Delete(b.Context(), key); err != nil {
			b.Fatal(err)
		}
	}
}

// fill makes 20,000 empty objects as segments lie, in 256 folders, or as
// generations do, in one. It writes past the store, which would sync each.
func fill(b *testing.B, dir string, key func(i int) string) int {
	const n = 20000
	for i := range n {
		path := filepath.Join(dir, "repository", key(i))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	return n
}

func segmentKey(i int) string    { return fmt.Sprintf("seg/%02x/%032x", i%256, i) }
func generationKey(i int) string { return fmt.Sprintf("gen/%016x", i) }

func benchmarkList(b *testing.B, prefix string, key func(i int) string) {
	dir := b.TempDir()
	s := create(b, dir)
	want := fill(b, dir, key)
	for b.Loop() {
		n := 0
		for _, err := range s.List(b.Context(), prefix) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != want {
			b.Fatalf("got %d entries, want %d", n, want)
		}
	}
}

func BenchmarkList20000In256Folders(b *testing.B) { benchmarkList(b, "seg/", segmentKey) }
func BenchmarkList20000InOneFolder(b *testing.B)  { benchmarkList(b, "gen/", generationKey) }

// BenchmarkWalk20000 is what a listing is measured against: the same folders
// and sizes by the standard library.
func BenchmarkWalk20000(b *testing.B) {
	dir := b.TempDir()
	create(b, dir)
	want := fill(b, dir, segmentKey)
	for b.Loop() {
		n := 0
		err := filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
			if err == nil && info.Mode().IsRegular() {
				n++
			}
			return err
		})
		if err != nil || n != want {
			b.Fatalf("got %d files, error %v, want %d", n, err, want)
		}
	}
}

func BenchmarkGetRange1MiB(b *testing.B) {
	s := create(b, b.TempDir())
	if err := s.PutNew(b.Context(), "seg/ab/1", make([]byte, 16<<20)); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1 << 20)
	for i := int64(0); b.Loop(); i++ {
		if _, err := s.GetRange(b.Context(), "seg/ab/1", i%15<<20, 1<<20); err != nil {
			b.Fatal(err)
		}
	}
}
