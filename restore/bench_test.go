package restore

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"bluesky/repo"
	"bluesky/restore/treetest"
)

// BenchmarkRestore restores from a folder, with the segments and chunks of a
// new repository: 5,000 files of 6 KiB in the mean and one of 256 MiB.
func BenchmarkRestore(b *testing.B) {
	source := filepath.Join(b.TempDir(), "source")
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 5000 {
		writeFile(b, fmt.Sprintf("%s/%d/%d", source, i%100, i), treetest.Bytes(uint64(i), random.IntN(12<<10)))
	}
	writeFile(b, source+"/large", treetest.Bytes(1<<15, 256<<20))
	benchmark(b, source)
}

// BenchmarkSmallFiles restores 73,000 files of 100 bytes, to see what each
// takes.
func BenchmarkSmallFiles(b *testing.B) {
	source := filepath.Join(b.TempDir(), "source")
	for i := range 73_000 {
		writeFile(b, fmt.Sprintf("%s/%d/%d", source, i%1000, i), treetest.Bytes(uint64(i), 100))
	}
	benchmark(b, source)
}

func benchmark(b *testing.B, source string) {
	bed, _ := newFolderBed(b, func(c *repo.Config) {
		was := repo.DefaultConfig(c.ID, c.Created)
		c.Segment, c.Chunker = was.Segment, was.Chunker
	})
	from := bed.backup(b, source)
	var elapsed time.Duration
	entries := 0
	for b.Loop() {
		b.StopTimer()
		bed.reopen(b)
		target := filepath.Join(b.TempDir(), "target")
		runtime.GC()
		stop := watchHeap()
		b.StartTimer()
		start := time.Now()
		result, err := Run(b.Context(), bed.repo, bed.keys, from, Options{Target: target}, nil)
		if err != nil || result.Errors > 0 {
			b.Fatal(result, err)
		}
		b.StopTimer()
		elapsed, entries = elapsed+time.Since(start), entries+result.TotalEntries
		b.SetBytes(int64(result.TotalBytes))
		b.ReportMetric(float64(entries)/elapsed.Seconds(), "entries/s")
		b.ReportMetric(float64(stop())/(1<<20), "heap-MiB")
		must(b, os.RemoveAll(target))
		b.StartTimer()
	}
}

// watchHeap begins to look at the heap, and returns a function that ends that
// and returns the most bytes that were live or not yet collected.
func watchHeap() func() uint64 {
	var most atomic.Uint64
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most.Store(max(most.Load(), m.HeapInuse))
			select {
			case <-done:
				return
			case <-tick.C:
			}
		}
	}()
	return func() uint64 {
		close(done)
		<-ended
		return most.Load()
	}
}
