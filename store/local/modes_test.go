//go:build unix

package local_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	. "bluesky/store/local"
)

func TestModes(t *testing.T) {
	for _, umask := range []int{0, 0o277} {
		t.Run(fmt.Sprintf("umask %04o", umask), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "parent", "repository")
			old := syscall.Umask(umask)
			defer syscall.Umask(old)
			if err := Create(dir); err != nil {
				t.Fatal(err)
			}
			b := open(t, dir)
			put(t, b, "seg/ab/1", "x")
			if err := upload(b, "seg/ab/2", []byte("x"), false); err != nil {
				t.Fatal(err)
			}
			for path, want := range map[string]fs.FileMode{
				"..": DirMode, ".": DirMode, "seg": DirMode, "seg/ab": DirMode, "seg/ab/1": FileMode, "seg/ab/2": FileMode,
			} {
				info, err := os.Lstat(filepath.Join(dir, path))
				if err != nil {
					t.Fatal(err)
				}
				if got := info.Mode().Perm(); got != want {
					t.Errorf("%s: got mode %04o, want %04o", path, got, want)
				}
			}
		})
	}
}
