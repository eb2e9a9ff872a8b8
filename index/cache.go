package index

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// A Cache keeps the runs of one repository as files of a directory that may be
// deleted, emptied or filled up at any time: what the cache cannot do is done
// without it. Several processes may share the directory. A nil *Cache keeps
// nothing. It is safe for concurrent use.
//
// Files are not synced: each is verified whenever it is opened, and one that a
// power cut has damaged is fetched again.
type Cache struct {
	dir string

	mu      sync.Mutex
	problem error // guarded by mu
}

// tempPrefix begins the names of files that are being written.
const tempPrefix = "tmp-"

// OpenCache returns the cache in dir, which it creates, readable by this user
// alone, if it is missing.
func OpenCache(dir string) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the index cache: %w", err)
	}
	return &Cache{dir: dir}, nil
}

// Run returns the run that want describes, from the cache if it has it, else
// from fetch, which must return its bytes and leave them to the caller. What
// is fetched is verified against want, then kept. A file that is not what want
// describes is replaced.
//
// A cache that cannot be read or written is no error, and the run stays in
// memory then; see [Cache.Problem]. The error is that of fetch, or wraps
// [ErrCorrupt] or [ErrVersion] if the stored run is not the registered one.
func (c *Cache) Run(ctx context.Context, want Meta, fetch func(context.Context) ([]byte, error)) (*Run, error) {
	if c != nil {
		if r, err := OpenFile(c.path(want.Name), want); err == nil {
			return r, nil
		}
	}
	data, err := fetch(ctx)
	if err != nil {
		return nil, fmt.Errorf("fetch it: %w", err)
	}
	r, err := Load(data, want)
	if err != nil || c == nil {
		return r, err
	}
	if err := c.store(want.Name.String(), data); err != nil {
		c.note(err)
		return r, nil
	}
	if mapped, err := OpenFile(c.path(want.Name), want); err == nil {
		return mapped, nil
	}
	return r, nil // somebody deleted the file already
}

// BlobName returns the name of the file that keeps the blob of that random name.
func BlobName(name [16]byte) string { return blobPrefix + hex.EncodeToString(name[:]) }

const blobPrefix = "table-"

// Blob returns bytes that are stored beside the runs, from the cache if it has
// some that right accepts, else from fetch, which are kept then. The caller
// owns the result. A cache that cannot be read or written is no error.
func (c *Cache) Blob(ctx context.Context, name [16]byte, right func([]byte) bool, fetch func(context.Context) ([]byte, error)) ([]byte, error) {
	if c != nil {
		data, err := os.ReadFile(filepath.Join(c.dir, BlobName(name)))
		if err == nil && right(data) {
			return data, nil
		}
	}
	data, err := fetch(ctx)
	if err == nil && c != nil && right(data) {
		c.note(c.store(BlobName(name), data))
	}
	return data, err
}

// Problem returns the first error that kept a run from being written to the
// cache, nil if there was none. Everything works without the cache, but slower
// and in more memory, so a person may want to know.
func (c *Cache) Problem() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.problem
}

func (c *Cache) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// A missing file is one that Prune, or whoever deletes the cache, took away.
	if err != nil && c.problem == nil && !errors.Is(err, fs.ErrNotExist) {
		c.problem = err
	}
}

func (c *Cache) path(name RunName) string { return filepath.Join(c.dir, name.String()) }

// store puts data into the cache: readers see the whole file or none.
func (c *Cache) store(name string, data []byte) (err error) {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return fmt.Errorf("keep %s in the cache: %w", name, err)
	}
	f, err := os.CreateTemp(c.dir, tempPrefix) // mode 0600
	if err != nil {
		return fmt.Errorf("keep %s in the cache: %w", name, err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name()) // what is left of it the next Prune removes
		}
	}()
	_, err = f.Write(data)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(c.dir, name))
	}
	if err != nil {
		return fmt.Errorf("keep %s in the cache: %w", name, err)
	}
	return nil
}

// Prune removes the files, of runs by their names and of blobs by their
// [BlobName], that keep does not want, and what writers that died have left. A run that is being written meanwhile, here or by
// another process, may stay in that one's memory instead. Runs in use stay
// usable. Other files in the directory are left alone.
func (c *Cache) Prune(keep func(name string) bool) error {
	if c == nil {
		return nil
	}
	entries, err := os.ReadDir(c.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("prune the index cache: %w", err)
	}
	var failed error
	for _, entry := range entries {
		name := entry.Name()
		_, err := ParseRunName(name)
		kept := err == nil || strings.HasPrefix(name, blobPrefix)
		if kept && keep(name) || !kept && !strings.HasPrefix(name, tempPrefix) {
			continue
		}
		err = os.Remove(filepath.Join(c.dir, entry.Name()))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && failed == nil {
			failed = fmt.Errorf("prune the index cache: %w", err)
		}
	}
	return failed
}
