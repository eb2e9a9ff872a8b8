package local

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"
)

// simDisk is an FS in memory that a test can cut the power of. It is as unkind
// as POSIX allows: bytes that were not synced are lost, torn or kept, and of the
// changes to a folder that was not synced any subset took place.
type simDisk struct {
	mu    sync.Mutex
	lacks map[string]bool // calls that this file system does not have
	root  *simDir         // guarded by mu, like all that hangs on it
	calls int             // guarded by mu: calls that change something, so far
	limit int             // guarded by mu: the power goes before this call; -1 never
}

var errPowerCut = errors.New("the power is gone")

func newSimDisk(lacks ...string) *simDisk {
	d := &simDisk{lacks: map[string]bool{}, root: newSimDir(), limit: -1}
	for _, call := range lacks {
		d.lacks[call] = true
	}
	return d
}

type simDir struct {
	now     map[string]any // *simDir or *simInode: what a running system sees
	durable map[string]any // what the last sync wrote
	pending []func(map[string]any)
}

func newSimDir() *simDir { return &simDir{now: map[string]any{}, durable: map[string]any{}} }

func (d *simDir) change(op func(map[string]any)) {
	op(d.now)
	d.pending = append(d.pending, op)
}

type simInode struct {
	now, durable []byte
	modTime      time.Time
}

// call is entered by every call that changes the disk.
func (d *simDisk) call(name string) error {
	if d.lacks[name] {
		return fmt.Errorf("%s: %w", name, errors.ErrUnsupported)
	}
	if d.limit >= 0 && d.calls >= d.limit {
		return errPowerCut
	}
	d.calls++
	return nil
}

// afterPowerCut returns the disk as it may come up again.
func (d *simDisk) afterPowerCut(rng *rand.Rand) *simDisk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &simDisk{lacks: d.lacks, root: survivingDir(d.root, rng, map[any]any{}), limit: -1}
}

func survivingDir(d *simDir, rng *rand.Rand, seen map[any]any) *simDir {
	entries := maps.Clone(d.durable)
	keep := rng.IntN(4) // 0: none of the pending changes, 1: all, else: each by chance
	for _, op := range d.pending {
		if keep == 1 || keep > 1 && rng.IntN(2) == 0 {
			op(entries)
		}
	}
	for name, node := range entries {
		if seen[node] == nil {
			switch node := node.(type) {
			case *simDir:
				seen[node] = survivingDir(node, rng, seen)
			case *simInode:
				data := survivingBytes(node, rng)
				seen[node] = &simInode{now: data, durable: data, modTime: node.modTime}
			}
		}
		entries[name] = seen[node]
	}
	return &simDir{now: entries, durable: maps.Clone(entries)}
}

func survivingBytes(n *simInode, rng *rand.Rand) []byte {
	if slices.Equal(n.now, n.durable) {
		return n.durable
	}
	switch rng.IntN(3) {
	case 0:
		return n.durable
	case 1:
		return n.now[:rng.IntN(len(n.now)+1)]
	}
	return n.now
}

func (d *simDisk) find(name string) (*simDir, error) {
	dir := d.root
	if name == "." {
		return dir, nil
	}
	parent, err := d.find(path.Dir(name))
	if err != nil {
		return nil, err
	}
	switch node := parent.now[path.Base(name)].(type) {
	case *simDir:
		return node, nil
	case nil:
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("open %s: %w", name, syscall.ENOTDIR)
}

func (d *simDisk) OpenDir(name string) (Dir, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	dir, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return &simHandle{disk: d, dir: dir}, nil
}

func (d *simDisk) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("mkdir"); err != nil {
		return err
	}
	parent, err := d.find(path.Dir(name))
	if err != nil {
		return err
	}
	base, dir := path.Base(name), newSimDir()
	if parent.now[base] != nil {
		return fmt.Errorf("mkdir %s: %w", name, fs.ErrExist)
	}
	parent.change(func(m map[string]any) { m[base] = dir })
	return nil
}

func (d *simDisk) Close() error { return nil }

type simHandle struct {
	disk *simDisk
	dir  *simDir
	read []fs.DirEntry // what ReadDir still gives; nil before the first call
	end  bool
}

func (h *simHandle) CreateUnnamed() (File, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.call("create unnamed"); err != nil {
		return nil, err
	}
	return &simFile{h.disk, &simInode{modTime: time.Now()}, ""}, nil
}

func (h *simHandle) LinkUnnamed(f File, name string) error {
	return h.add("link unnamed", name, func() any { return f.(*simFile).inode })
}

func (h *simHandle) Create(name string) (File, error) {
	inode := &simInode{modTime: time.Now()}
	if err := h.add("create", name, func() any { return inode }); err != nil {
		return nil, err
	}
	return &simFile{h.disk, inode, name}, nil
}

func (h *simHandle) Link(oldName, newName string) error {
	return h.add("link", newName, func() any { return h.dir.now[oldName] })
}

// add makes a name that must be free for the node that from returns.
func (h *simHandle) add(call, name string, from func() any) error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.call(call); err != nil {
		return err
	}
	node := from()
	if node == nil {
		return fmt.Errorf("%s to %s: %w", call, name, fs.ErrNotExist)
	}
	if h.dir.now[name] != nil {
		return fmt.Errorf("%s %s: %w", call, name, fs.ErrExist)
	}
	h.dir.change(func(m map[string]any) { m[name] = node })
	return nil
}

func (h *simHandle) RenameNew(oldName, newName string) error {
	return h.rename("rename new", oldName, newName, false)
}

func (h *simHandle) Rename(oldName, newName string) error {
	return h.rename("rename", oldName, newName, true)
}

func (h *simHandle) rename(call, oldName, newName string, replace bool) error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.call(call); err != nil {
		return err
	}
	node := h.dir.now[oldName]
	if node == nil {
		return fmt.Errorf("%s of %s: %w", call, oldName, fs.ErrNotExist)
	}
	if !replace && h.dir.now[newName] != nil {
		return fmt.Errorf("%s to %s: %w", call, newName, fs.ErrExist)
	}
	h.dir.change(func(m map[string]any) {
		delete(m, oldName)
		m[newName] = node
	})
	return nil
}

func (h *simHandle) Remove(name string) error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.call("remove"); err != nil {
		return err
	}
	if h.dir.now[name] == nil {
		return fmt.Errorf("remove %s: %w", name, fs.ErrNotExist)
	}
	h.dir.change(func(m map[string]any) { delete(m, name) })
	return nil
}

func (h *simHandle) Sync() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.call("sync folder"); err != nil {
		return err
	}
	h.dir.durable, h.dir.pending = maps.Clone(h.dir.now), nil
	return nil
}

func (h *simHandle) Open(name string) (File, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	inode, ok := h.dir.now[name].(*simInode)
	if !ok {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return &simFile{h.disk, inode, name}, nil
}

func (h *simHandle) Lstat(name string) (fs.FileInfo, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return h.info(name)
}

func (h *simHandle) info(name string) (fs.FileInfo, error) {
	switch node := h.dir.now[name].(type) {
	case *simDir:
		return simInfo{name: name, mode: fs.ModeDir | dirMode}, nil
	case *simInode:
		return simInfo{name, fileMode, int64(len(node.now)), node.modTime}, nil
	}
	return nil, fmt.Errorf("lstat %s: %w", name, fs.ErrNotExist)
}

func (h *simHandle) ReadDir(n int) ([]fs.DirEntry, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if h.read == nil && !h.end {
		for name := range h.dir.now {
			info, _ := h.info(name)
			h.read = append(h.read, fs.FileInfoToDirEntry(info))
		}
		h.end = true
	}
	if len(h.read) == 0 {
		return nil, io.EOF
	}
	batch := h.read[:min(n, len(h.read))]
	h.read = h.read[len(batch):]
	return batch, nil
}

func (h *simHandle) Close() error { return nil }

type simFile struct {
	disk  *simDisk
	inode *simInode
	name  string
}

func (f *simFile) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.call("write"); err != nil {
		return 0, err
	}
	f.inode.now = append(slices.Clip(f.inode.now), p...)
	return len(p), nil
}

func (f *simFile) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if off >= int64(len(f.inode.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *simFile) Stat() (fs.FileInfo, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	return simInfo{f.name, fileMode, int64(len(f.inode.now)), f.inode.modTime}, nil
}

func (f *simFile) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.call("sync"); err != nil {
		return err
	}
	f.inode.durable = f.inode.now
	return nil
}

func (f *simFile) Close() error { return nil }

type simInfo struct {
	name    string
	mode    fs.FileMode
	size    int64
	modTime time.Time
}

func (i simInfo) Name() string       { return i.name }
func (i simInfo) Size() int64        { return i.size }
func (i simInfo) Mode() fs.FileMode  { return i.mode }
func (i simInfo) ModTime() time.Time { return i.modTime }
func (i simInfo) IsDir() bool        { return i.mode.IsDir() }
func (i simInfo) Sys() any           { return nil }
