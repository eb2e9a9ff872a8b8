package local

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"
)

// strayAge is how long a temporary file was left alone before it counts as
// abandoned. No safety hangs on it: a writer whose file is taken away fails.
const strayAge = 24 * time.Hour

// A folder is what a Bucket knows of a folder that it writes to.
type folder struct {
	path string

	mu     sync.Mutex
	ready  bool  // guarded by mu: it exists, its name is durable, strays are swept
	failed error // guarded by mu: the first failed sync; no write is trusted after it
}

func (b *Bucket) folder(path string) *folder {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.folders[path]
	if f == nil {
		f = &folder{path: path}
		b.folders[path] = f
	}
	return f
}

// openForWrite opens a folder for writing to it and makes it and its parents
// where they are missing. The first call for each folder syncs the names that
// lead to it, even if they existed: whoever made them may have crashed before.
func (b *Bucket) openForWrite(path string) (*folder, Dir, error) {
	f := b.folder(path)
	if err := b.prepare(f); err != nil {
		return nil, nil, err
	}
	dir, err := b.fs.OpenDir(path)
	if errors.Is(err, fs.ErrNotExist) { // removed by someone since
		f.forget()
		if err := b.prepare(f); err != nil {
			return nil, nil, err
		}
		dir, err = b.fs.OpenDir(path)
	}
	if err != nil {
		return nil, nil, err
	}
	return f, dir, nil
}

func (f *folder) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ready = false
}

// prepare makes f ready. It holds f.mu while it prepares the folder above, and
// never the other way round.
func (b *Bucket) prepare(f *folder) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed != nil {
		return fmt.Errorf("folder %s: nothing more is written after a failed sync: %w", f.path, f.failed)
	}
	if f.ready {
		return nil
	}
	if f.path != "." {
		if err := b.makeFolder(f.path); err != nil {
			return err
		}
	}
	b.sweep(f.path)
	f.ready = true
	return nil
}

// makeFolder makes the folder at name if it is missing, and its name durable.
func (b *Bucket) makeFolder(name string) error {
	parent, dir, err := b.openForWrite(path.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close() // its Sync counted
	if err := b.fs.Mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return parent.sync(dir)
}

// sync makes the names in f, open as dir, durable. A failure is final for the
// folder: a second sync could succeed without what the first one lost.
func (f *folder) sync(dir Dir) error {
	err := dir.Sync()
	if err == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failed == nil {
		f.failed = err
	}
	return fmt.Errorf("sync of folder %s: %w: %w", f.path, ErrNotDurable, err)
}

// sweep removes abandoned temporary files. It does what it can: strays are
// invisible, so one that stays harms nobody.
func (b *Bucket) sweep(path string) {
	dir, err := b.fs.OpenDir(path)
	if err != nil {
		return
	}
	defer dir.Close() // only names were removed, and they may come back
	for {
		entries, err := dir.ReadDir(1024)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), tempPrefix) {
				b.removeStray(dir, e.Name())
			}
		}
		if err != nil { // io.EOF, or one that the write will meet as well
			return
		}
	}
}

func (b *Bucket) removeStray(dir Dir, name string) {
	info, err := dir.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || b.now().Sub(info.ModTime()) < strayAge {
		return
	}
	_ = dir.Remove(name) // best effort: see sweep
}
