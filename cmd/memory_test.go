package cmd

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bluesky/restore/treetest"
)

// A million small files are backed up, checked and restored with a memory limit
// of 512 MiB. The resident memory stays within that, the runs of the index that
// are mapped, and spare, for what the limit of Go does not count: the
// program itself, above all.
func TestSoakMemory(t *testing.T) {
	soak(t)
	const (
		files = 1_000_000
		limit = 512 << 20
		spare = 48 << 20
	)
	m := newMachine(t)
	m.env = append(m.env, fmt.Sprintf("GOMEMLIMIT=%d", limit))
	random := newRandom(t)
	manyFiles(m, random, files, func(int) bool { return true })

	measure := func(what string, args ...string) {
		t.Helper()
		c := m.command(t.Context(), args...)
		var stderr strings.Builder
		c.Stderr = &stderr
		if err := c.Run(); err != nil {
			t.Fatalf("%s: %v: %s", what, err, &stderr)
		}
		usage := c.ProcessState.SysUsage().(*syscall.Rusage)
		mapped := size(t, filepath.Join(m.home, ".cache"))
		resident := usage.Maxrss << 10
		t.Logf("%-28s %4d MiB resident at most, runs %3d MiB; %v of CPU",
			what, resident>>20, mapped>>20, c.ProcessState.UserTime()+c.ProcessState.SystemTime())
		if resident > limit+mapped+spare {
			t.Errorf("%s takes %d MiB of memory, want at most %d", what, resident>>20, (limit+mapped+spare)>>20)
		}
	}
	measure("backup", "backup", "-q", "src")
	measure("backup, nothing changed", "backup", "-q", "src")
	manyFiles(m, random, files, func(i int) bool { return i%10 == 0 })
	measure("backup, each tenth changed", "backup", "-q", "src")
	measure("check", "check", "-q")
	measure("check --read-data", "check", "-q", "--read-data")
	args := []string{"restore", "-q", "latest:" + m.path("src"), "-t", m.path("out")}
	measure("restore", args...)
	measure("restore again", args...)
	treetest.CompareContent(t, m.path("src"), m.path("out"))
}

// manyFiles writes those of n files that chosen names: most with up to 64 bytes,
// each tenth with up to 4 KiB, 20 in a folder.
func manyFiles(m *machine, random *rand.Rand, n int, chosen func(int) bool) {
	m.t.Helper()
	data := make([]byte, 4<<10)
	content := rand.NewChaCha8([32]byte{byte(random.Uint64())})
	for i := range n {
		dir := m.path(fmt.Sprintf("src/%04d/%02d", i/1000, i/20%50))
		if i%20 == 0 {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				m.t.Fatal(err)
			}
		}
		if !chosen(i) {
			continue
		}
		length := random.IntN(65)
		if random.IntN(10) == 0 {
			length = random.IntN(len(data) + 1)
		}
		content.Read(data[:length]) // never fails
		if err := os.WriteFile(fmt.Sprintf("%s/file %07d", dir, i), data[:length], fs.FileMode(0o644)); err != nil {
			m.t.Fatal(err)
		}
	}
}
