package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// digest is a hash of all names, modes and contents below root.
func digest(t *testing.T, root string) string {
	t.Helper()
	h := sha256.New()
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%q %v\n", below, e.Type())
		if e.Type().IsRegular() {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(h, "%x\n", sha256.Sum256(data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func mustChange(t *testing.T, v *versions, changed bool) {
	t.Helper()
	if err := v.setChanged(changed); err != nil {
		t.Fatal(err)
	}
}

// goroot makes a small stand-in for a toolchain.
func goroot(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "go")
	for i := range 300 {
		path := filepath.Join(root, fmt.Sprint(i%7), fmt.Sprintf("%d.go", i))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.Repeat(fmt.Sprintln("package", i), i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("0/0.go", filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	return root
}

// TestTreesAreTheSameEachTime: both versions of each tree, made twice, and
// after changing there and back.
func TestTreesAreTheSameEachTime(t *testing.T) {
	trees, err := chooseTrees("all", 1.0/400, goroot(t))
	if err != nil {
		t.Fatal(err)
	}
	trees[0] = allTrees(0.5, goroot(t))[0]
	for i := range trees {
		tr := &trees[i]
		t.Run(tr.name, func(t *testing.T) {
			var was [2]string
			for range 2 {
				v, err := makeTree(t.Context(), tr, filepath.Join(t.TempDir(), tr.name))
				if err != nil {
					t.Fatal(err)
				}
				first := digest(t, v.root)
				mustChange(t, v, true)
				second := digest(t, v.root)
				mustChange(t, v, false)
				if got := digest(t, v.root); got != first {
					t.Errorf("after there and back it is %s, and was %s", got, first)
				}
				if first == second {
					t.Error("the changed version is the same")
				}
				if was != [2]string{} && was != [2]string{first, second} {
					t.Errorf("the second time it is %s and %s, and was %s", first, second, was)
				}
				was = [2]string{first, second}
			}
		})
	}
}

// TestUnchangedFilesKeepTheirInodes: otherwise every program would read them
// again.
func TestUnchangedFilesKeepTheirInodes(t *testing.T) {
	v, err := makeTree(t.Context(), &allTrees(0.01, "")[1], filepath.Join(t.TempDir(), "small"))
	if err != nil {
		t.Fatal(err)
	}
	before := inodes(t, v.root)
	mustChange(t, v, true)
	after := inodes(t, v.root)
	same := 0
	for path, st := range before {
		if after[path] == st {
			same++
		}
	}
	// Of 1,000 files 10 are edited, 5 are new, 5 gone and 5 renamed.
	if len(before) != 1000 || len(after) != 1000 || same != 980 {
		t.Errorf("of %d files %d are the same among %d, want 980 of 1000", len(before), same, len(after))
	}
}

type inodeAndTime struct {
	inode       uint64
	mtime, size int64
}

func inodes(t *testing.T, root string) map[string]inodeAndTime {
	t.Helper()
	paths, err := regularFiles(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]inodeAndTime{}
	for _, path := range paths {
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatal(err)
		}
		found[path] = inodeAndTime{st.Ino, st.Mtim.Nano(), st.Size}
	}
	return found
}

// TestProseCompressesLikeText: neither like zeros nor like noise.
func TestProseCompressesLikeText(t *testing.T) {
	g := newGenerator("test")
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	ratio := func(noise bool, size int) float64 {
		data := make([]byte, size)
		g.fill(data, noise)
		return float64(size) / float64(len(encoder.EncodeAll(data, nil)))
	}
	for _, size := range []int{4 << 10, 1 << 20} {
		if got := ratio(false, size); got < 1.5 || got > 4 {
			t.Errorf("prose of %d bytes compresses %.2f times, want 1.5 to 4", size, got)
		}
	}
	if got := ratio(true, 1<<20); got > 1.001 {
		t.Errorf("noise compresses %.3f times", got)
	}
}

// TestImageHasItsParts: about as much prose, noise and holes as it says.
func TestImageHasItsParts(t *testing.T) {
	f := imageFile{size: 128 << 20, text: 0.4, random: 0.3}
	root := filepath.Join(t.TempDir(), "image", "source")
	if err := f.build(t.Context(), newGenerator("image"), root); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(root, imageName), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != f.size {
		t.Errorf("%d bytes, want %d", st.Size, f.size)
	}
	if holes := 1 - float64(st.Blocks*512)/float64(st.Size); holes < 0.15 || holes > 0.45 {
		t.Errorf("%.0f %% are holes, want about 30 %%", 100*holes)
	}
}

// TestInsertedBytesPushTheRestOn: the changed version of the random file is the
// first one but for 1,000 bytes, where nothing is overwritten.
func TestInsertedBytesPushTheRestOn(t *testing.T) {
	folder := t.TempDir()
	f := imageFile{size: 32 << 20, random: 1}
	var data [2][]byte
	for i, insert := range []int{0, 1000} {
		path := filepath.Join(folder, fmt.Sprint(i))
		if err := f.write(t.Context(), newGenerator("random"), path, insert); err != nil {
			t.Fatal(err)
		}
		var err error
		if data[i], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	at := 0
	for data[0][at] == data[1][at] {
		at++
	}
	if len(data[1]) != len(data[0])+1000 || string(data[0][at:]) != string(data[1][at+1000:]) {
		t.Errorf("from byte %d on they differ in more than 1,000 bytes between", at)
	}
	if at < len(data[0])/2 || at > len(data[0])*3/4 {
		t.Errorf("the bytes stand at %d of %d", at, len(data[0]))
	}
}
