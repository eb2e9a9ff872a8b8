package restore

import (
	"container/list"
	"errors"
	"fmt"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A dir is a directory below the target, or the target itself.
type dir struct {
	parent *dir // nil for the target
	name   string
	number uint64 // of its inode
	depth  int    // names from the target
	finish finish
	flags  uint32 // inode flags of the snapshot that forbid changes
	made   bool   // it is there and can be entered
	fresh  bool   // this run made it, so what it holds is known
	absent bool   // in a dry run: it is not there
	failed bool   // it could not be made, which is reported

	// Guarded by dirCache.mu.
	fd      int
	users   int
	element *list.Element // nil unless fd is open
}

// finish says what metadata a directory gets in the end.
type finish uint8

const (
	finishNothing  finish = iota // the target of a part of a snapshot, a waypoint that was there
	finishWaypoint               // mode and owner alone
	finishAll
)

// path returns the path of d below the target, with a slash before each name.
func (d *dir) path() string {
	names := make([]string, d.depth)
	length := 0
	for ; d.parent != nil; d = d.parent {
		names[d.depth-1] = d.name
		length += 1 + len(d.name)
	}
	var b strings.Builder
	b.Grow(length)
	for _, name := range names {
		b.WriteByte('/')
		b.WriteString(name)
	}
	return b.String()
}

// maxOpenDirs is how many directories are kept open, besides those in use.
const maxOpenDirs = 128

// A dirCache opens the directories below the target and keeps those that were
// used last. It may be used concurrently.
//
// Descriptors are of O_PATH: they lead further down and need no permission to
// read. A directory is opened from the nearest one above that is open, by names
// that openat2(2) resolves beneath it without following any link, as many at a
// time as fit a path; so neither the depth of a tree nor the length of its
// paths is bounded by descriptors or PATH_MAX.
type dirCache struct {
	limit int
	top   int // descriptor of the target

	mu   sync.Mutex
	open *list.List // of *dir; the last used first
}

func newDirCache(top, limit int) *dirCache {
	return &dirCache{limit: limit, top: top, open: list.New()}
}

// acquire returns a descriptor of d that is open until release.
func (c *dirCache) acquire(d *dir) (int, error) {
	if d.parent == nil {
		return c.top, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.openTo(d); err != nil {
		return -1, err
	}
	d.users++
	c.open.MoveToFront(d.element)
	c.evict()
	return d.fd, nil
}

func (c *dirCache) release(d *dir) {
	if d.parent == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d.users--
}

// with calls fn with a descriptor of d.
func (c *dirCache) with(d *dir, fn func(fd int) error) error {
	fd, err := c.acquire(d)
	if err != nil {
		return err
	}
	defer c.release(d)
	return fn(fd)
}

// openTo opens d and, on the way to it, one directory for each path that is
// full. It needs c.mu.
func (c *dirCache) openTo(d *dir) error {
	var way []*dir // from d up to what is open
	at := d
	for at.parent != nil && at.element == nil {
		way = append(way, at)
		at = at.parent
	}
	fd := c.top
	if at.parent != nil {
		fd = at.fd
	}
	for len(way) > 0 {
		last := len(way) - 1
		path := append(make([]byte, 0, pathMax), way[last].name...)
		for last > 0 && len(path)+1+len(way[last-1].name) < pathMax {
			last--
			path = append(append(path, '/'), way[last].name...)
		}
		next, err := openBeneath(fd, string(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return fmt.Errorf("open directory: %w", err)
		}
		opened := way[last]
		opened.fd, opened.element = next, c.open.PushFront(opened)
		fd, way = next, way[:last]
	}
	return nil
}

// evict closes what was not used for longest. It needs c.mu.
func (c *dirCache) evict() {
	for e := c.open.Back(); e != nil && c.open.Len() > c.limit; {
		d, before := e.Value.(*dir), e.Prev()
		if d.users == 0 {
			c.forget(d)
		}
		e = before
	}
}

func (c *dirCache) forget(d *dir) {
	unix.Close(d.fd) // O_PATH: nothing is lost
	c.open.Remove(d.element)
	d.element = nil
}

// openTop opens the target for reading.
func (c *dirCache) openTop() (int, error) {
	return openBeneath(c.top, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
}

func (c *dirCache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.open.Len() > 0 {
		c.forget(c.open.Back().Value.(*dir))
	}
	unix.Close(c.top)
}

// pathMax is the most bytes of a path that one call takes, its end included.
const pathMax = 4096

// openBeneath opens path, which is below the directory at, and follows no link
// on the way.
func openBeneath(at int, path string, flags int, mode uint32) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Mode:    uint64(mode),
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	fd, err := retryFD(func() (int, error) { return unix.Openat2(at, path, &how) })
	if errors.Is(err, unix.ENOSYS) {
		err = fmt.Errorf("openat2(2), which Linux has since 5.6: %w", err)
	}
	return fd, err
}

// retryFD repeats a call that a signal has interrupted.
func retryFD(call func() (int, error)) (fd int, err error) {
	err = retry(func() error {
		fd, err = call()
		return err
	})
	return fd, err
}

func retry(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
