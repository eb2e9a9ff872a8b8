package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// versions are a tree and its changed version. What differs is in a second
// folder, and the two change places by renaming: files that do not change keep
// inode numbers and times, and all can be taken back for the next program.
type versions struct {
	root  string
	other string // what the version that is not in root has instead

	swaps   []swap
	changed bool

	files int // of the first version
	bytes int64
}

// A swap is two paths that change places; what is at one of them may be
// nothing.
type swap struct{ a, b string }

// setChanged makes root the changed version, or the first one again.
func (v *versions) setChanged(changed bool) error {
	if changed == v.changed {
		return nil
	}
	order := slices.Clone(v.swaps)
	if !changed {
		slices.Reverse(order)
	}
	for _, s := range order {
		if err := s.apply(); err != nil {
			return err
		}
	}
	v.changed = changed
	return nil
}

func (s swap) apply() error {
	_, errA := os.Lstat(s.a)
	_, errB := os.Lstat(s.b)
	switch {
	case errA == nil && errB == nil:
		return unix.Renameat2(unix.AT_FDCWD, s.a, unix.AT_FDCWD, s.b, unix.RENAME_EXCHANGE)
	case errA == nil && errors.Is(errB, fs.ErrNotExist):
		return os.Rename(s.a, s.b)
	case errB == nil && errors.Is(errA, fs.ErrNotExist):
		return os.Rename(s.b, s.a)
	}
	return errors.Join(errA, errB)
}

// stash returns a new path in other, for the other version of something.
func (v *versions) stash() (string, error) {
	return filepath.Join(v.other, fmt.Sprint(len(v.swaps))), os.MkdirAll(v.other, 0o700)
}

// alterFiles makes the changed version of a tree of many files, as
// changeOfFiles says it.
func alterFiles(ctx context.Context, g *generator, v *versions) error {
	files, err := regularFiles(ctx, v.root)
	if err != nil {
		return err
	}
	if len(files) < 4 {
		return fmt.Errorf("%d files are too few to change some", len(files))
	}
	g.random.Shuffle(len(files), func(i, j int) { files[i], files[j] = files[j], files[i] })
	all := len(files)
	take := func(perMille int) (some []string) {
		n := max(1, all*perMille/1000)
		some, files = files[:n], files[n:]
		return some
	}
	edited, added, removed, renamed := take(10), take(5), take(5), take(5)
	for _, path := range edited {
		if err := g.edit(v, path); err != nil {
			return err
		}
	}
	for _, path := range added { // a new file beside each
		to, err := v.stash()
		if err != nil {
			return err
		}
		if err := g.smallFile(to); err != nil {
			return err
		}
		v.swaps = append(v.swaps, swap{path + ".new", to})
	}
	for _, path := range removed {
		to, err := v.stash()
		if err != nil {
			return err
		}
		v.swaps = append(v.swaps, swap{path, to})
	}
	for _, path := range renamed {
		v.swaps = append(v.swaps, swap{path, path + ".renamed"})
	}
	return nil
}

// edit makes the other version of a file: with 100 bytes more in the middle.
func (g *generator) edit(v *versions, path string) error {
	was, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	more := make([]byte, 100)
	g.prose.fill(more)
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	to, err := v.stash()
	if err != nil {
		return err
	}
	v.swaps = append(v.swaps, swap{path, to})
	return os.WriteFile(to, slices.Concat(was[:len(was)/2], more, was[len(was)/2:]), info.Mode().Perm())
}

// regularFiles returns the paths of the regular files below root, sorted.
func regularFiles(ctx context.Context, root string) (paths []string, err error) {
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			paths = append(paths, path)
		}
		return errors.Join(err, ctx.Err())
	})
	return paths, err
}
