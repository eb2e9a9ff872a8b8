package cmd

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"bluesky/restore/treetest"
)

// A first backup that is killed when most of it is uploaded: the next one
// neither uploads nor reads that again.
func TestKilledBackupResumes(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	const files, length = 60, 3 << 20
	for i := range files {
		m.write(fmt.Sprintf("src/%02d", i), treetest.Bytes(uint64(i), length))
	}
	// Files of the last moment are read again, whoever reads them.
	past := time.Now().Add(-time.Hour)
	eachFile(t, m.path("src"), func(path string, _ fs.FileInfo) {
		if err := os.Chtimes(path, past, past); err != nil {
			t.Fatal(err)
		}
	})
	time.Sleep(50 * time.Millisecond) // the ctimes are of the present, and have to pass

	segments := filepath.Join(m.repo, "seg")
	for try := 1; !m.killAt(segments, files*length*8/10, "backup", "-q", "src"); try++ {
		if try == 10 {
			t.Fatal("no backup was killed before it ended")
		}
		fresh := newMachine(t)
		m.repo, m.home = fresh.repo, fresh.home
		segments = filepath.Join(m.repo, "seg")
	}
	there := size(t, segments)

	summary := m.must("backup", "--json", "src")
	var last backupSummary
	lines := strings.Split(strings.TrimSpace(summary), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil {
		t.Fatal(err)
	}
	added := size(t, segments) - there
	read := files*length - int64(last.BytesResumed)
	t.Logf("%d MiB were there, %d more came; %d of %d files (%d MiB) were not read again", there>>20, added>>20, last.FilesResumed, files, last.BytesResumed>>20)
	// The kill costs the open segment, two on their way, and what four workers
	// have in hand; then the 20 % that were not there.
	const lost = files*length*2/10 + 3*(16<<20) + 4*length
	if added > lost || read > lost || last.UploadResumed == 0 {
		t.Errorf("%d bytes were uploaded and %d read, want at most %d", added, read, lost)
	}
	m.mustCheck()
	m.must("restore", "-q", "latest:"+m.path("src"), "-t", "out")
	if out, err := exec.Command("diff", "-r", m.path("src"), m.path("out")).CombinedOutput(); err != nil {
		t.Errorf("the restored tree differs: %s", out)
	}
	if left, _ := filepath.Glob(filepath.Join(m.home, ".local/state/bluesky/*/*/*")); len(left) != 0 {
		t.Errorf("local files are left: %v", left)
	}
}

// killAt runs bluesky and kills it when the files below dir take size bytes. It
// returns false if the process has ended before.
func (m *machine) killAt(dir string, size int64, args ...string) bool {
	m.t.Helper()
	c := m.command(m.t.Context(), args...)
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- c.Wait() }()
	for uploaded(dir) < size {
		select {
		case err := <-ended:
			if err != nil {
				m.t.Fatalf("the backup has failed: %v", err)
			}
			return false
		case <-time.After(time.Millisecond):
		}
	}
	_ = c.Process.Kill() // it may have ended
	<-ended
	return c.ProcessState.Sys().(syscall.WaitStatus).Signaled()
}

// uploaded returns the sum of the sizes of what is below dir and does not
// vanish meanwhile.
func uploaded(dir string) (sum int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
