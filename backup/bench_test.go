package backup

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"bluesky/snapshot"
)

// benchTree returns the tree to back up: that of BLUESKY_BENCH_TREE, or one of
// 5,000 files, 18 MB.
func benchTree(b *testing.B) string {
	if dir := os.Getenv("BLUESKY_BENCH_TREE"); dir != "" {
		return dir
	}
	root := filepath.Join(b.TempDir(), "root")
	generate(b, root, 5000)
	return root
}

// BenchmarkFirstBackup backs up into an empty repository in memory.
func BenchmarkFirstBackup(b *testing.B) {
	root := benchTree(b)
	for b.Loop() {
		b.StopTimer()
		bed := newDefaultBed(b)
		runtime.GC()
		b.StartTimer()
		bed.run(b, paths(root))
	}
}

// BenchmarkUnchanged backs up what the repository has, with its parent.
func BenchmarkUnchanged(b *testing.B) {
	root := benchTree(b)
	bed := newDefaultBed(b)
	parent := bed.snapshot(b, bed.run(b, paths(root)).Snapshot)
	for b.Loop() {
		options := paths(root)
		options.Parent = parent
		bed.run(b, options)
	}
}

// peakHeap runs fn and returns the most bytes of heap in use meanwhile, above
// those before.
func peakHeap(fn func()) uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	before := m.HeapInuse
	var peak atomic.Uint64
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapInuse))
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	fn()
	close(stop)
	<-stopped
	return peak.Load() - min(before, peak.Load())
}

// A file of any length takes the same memory: 1 GiB of it, all of whose chunks
// are known but the first few, so that the bucket of the test stays small.
func TestMemoryOfLongFile(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 1 GiB")
	}
	size := int64(1 << 30)
	if raceEnabled {
		size = 64 << 20
	}
	b := newDefaultBed(t)
	name := filepath.Join(t.TempDir(), "long")
	f, err := os.Create(name)
	must(t, err)
	part := random(1, 16<<20)
	for n := int64(0); n < size; n += int64(len(part)) {
		_, err := f.Write(part)
		must(t, err)
	}
	must(t, f.Close())
	peak := peakHeap(func() { b.run(t, paths(name)) })
	t.Logf("%d MiB of heap for a file of %d MiB", peak>>20, size>>20)
	if peak > 320<<20 {
		t.Errorf("%d MiB of heap for a file of %d MiB", peak>>20, size>>20)
	}
}

// BenchmarkMemoryOfManyFiles reports the heap that 100,000 small files take, of
// which each inode is held until the end.
func BenchmarkMemoryOfManyFiles(b *testing.B) {
	root := filepath.Join(b.TempDir(), "root")
	for i := range 100_000 {
		write(b, filepath.Join(root, fmt.Sprint(i%100), fmt.Sprint(i)), fmt.Sprint(i))
	}
	bed := newDefaultBed(b)
	var parent *snapshot.Snapshot
	for _, what := range []string{"first", "unchanged"} {
		b.Run(what, func(b *testing.B) {
			for b.Loop() {
				options := paths(root)
				options.Parent = parent
				peak := peakHeap(func() { parent = bed.snapshot(b, bed.run(b, options).Snapshot) })
				b.ReportMetric(float64(peak)/100_000, "heap-B/file")
			}
		})
	}
}
