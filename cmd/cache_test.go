package cmd

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bluesky/restore/treetest"
)

// While commands run, somebody deletes their cache, and puts garbage into the
// place of its files: nothing of that matters to any of them.
func TestCacheUnderFire(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	m := newMachine(t)
	src := m.mkdir("src")
	for i := range 20 {
		m.write(fmt.Sprintf("src/%d/file", i), treetest.Bytes(uint64(i), 2000))
	}
	cache := filepath.Join(m.home, ".cache", "bluesky")
	m.must("backup", "-q", "src")

	stop := make(chan struct{})
	var vandals sync.WaitGroup
	deeds := 0
	vandals.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				deeds += spoil(random, cache)
				time.Sleep(time.Millisecond) // leaves the processor to the others
			}
		}
	})
	defer func() {
		close(stop)
		vandals.Wait()
		t.Logf("%d files and folders of the cache spoilt", deeds)
	}()
	const rounds = 5
	for i := range rounds {
		m.write(fmt.Sprintf("src/new%d", i), treetest.Bytes(uint64(100+i), 3000))
		m.must("backup", "-q", "src")
		m.must("restore", "-q", "latest:"+src, "-t", fmt.Sprint("out", i))
		treetest.Compare(t, src, m.path(fmt.Sprint("out", i)))
	}
	m.mustCheck()
}

// spoil does something to the cache, and returns to how many of its files.
func spoil(random *rand.Rand, cache string) int {
	if random.IntN(4) == 0 {
		os.RemoveAll(cache)
		return 1
	}
	n := 0
	filepath.WalkDir(cache, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return nil // gone, or being made
		}
		n++
		switch random.IntN(4) {
		case 0:
			os.Remove(path)
		case 1:
			os.Remove(path)
			os.Mkdir(path, 0o700)
		default: // whole, since a mapped file that is cut short ends who reads it
			data, err := os.ReadFile(path)
			if err == nil && len(data) > 0 {
				data[random.IntN(len(data))] ^= 1
				os.WriteFile(path+".x", data, 0o600)
				os.Rename(path+".x", path)
			}
		}
		return nil
	})
	return n
}

// A machine that never backs up keeps no more in its cache than what is in the
// repository, and nothing that a dead process has left.
func TestCacheOfMachinesThatDoNotBackUp(t *testing.T) {
	t.Parallel()
	m := newSmallSegments(t)
	for _, args := range [][]string{{"prune", "-q"}, {"restore", "-q", "latest", "-t", "out"}, {"snapshots", "-q"}} {
		other := *m
		other.home = m.mkdir(args[0])
		if err := os.CopyFS(other.home, os.DirFS(m.home)); err != nil { // with the cleaner key
			t.Fatal(err)
		}
		for i := range 3 {
			m.write("src/file", fmt.Append(nil, args, i))
			m.must("backup", "-q", "src")
			m.must("forget", "-q", "--keep-last", "1")
			m.must("prune", "-q", "--max-unused", "0")
			other.must(args...)
		}
		cache := filepath.Join(other.home, ".cache/bluesky", m.open().Config().ID.String())
		other.write(args[0]+"/.cache/bluesky/"+filepath.Base(cache)+"/tmp-1", []byte("half a run"))
		other.must(args...)
		eachFile(t, cache, func(path string, _ fs.FileInfo) {
			name := strings.TrimPrefix(filepath.Base(path), "table-")
			for _, folder := range []string{"idx", "cnt"} {
				if _, err := os.Stat(filepath.Join(m.repo, folder, name)); err == nil {
					return
				}
			}
			t.Errorf("%s: %s is left over", args[0], path)
		})
	}
}
