package simdisk

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"bluesky/store/local"
)

// A handle is an open folder of a Disk.
type handle struct {
	disk *Disk
	dir  *dir
	read []fs.DirEntry // what ReadDir still gives; nil before the first call
	end  bool
}

func (h *handle) CreateUnnamed() (local.File, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.call("create unnamed"); err != nil {
		return nil, err
	}
	return &file{h.disk, &inode{modTime: time.Now()}, ""}, nil
}

func (h *handle) LinkUnnamed(f local.File, name string) error {
	return h.add("link unnamed", name, func() any { return f.(*file).inode })
}

func (h *handle) Create(name string) (local.File, error) {
	inode := &inode{modTime: time.Now()}
	if err := h.add("create", name, func() any { return inode }); err != nil {
		return nil, err
	}
	return &file{h.disk, inode, name}, nil
}

func (h *handle) Link(oldName, newName string) error {
	return h.add("link", newName, func() any { return h.dir.now[oldName] })
}

// add makes a name that must be free for the node that from returns.
func (h *handle) add(call, name string, from func() any) error {
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

func (h *handle) RenameNew(oldName, newName string) error {
	return h.rename("rename new", oldName, newName, false)
}

func (h *handle) Rename(oldName, newName string) error {
	return h.rename("rename", oldName, newName, true)
}

func (h *handle) rename(call, oldName, newName string, replace bool) error {
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

func (h *handle) Remove(name string) error {
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

func (h *handle) Sync() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.call("sync folder"); err != nil {
		return err
	}
	h.dir.durable, h.dir.pending = maps.Clone(h.dir.now), nil
	return nil
}

func (h *handle) Open(name string) (local.File, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.look(); err != nil {
		return nil, err
	}
	inode, ok := h.dir.now[name].(*inode)
	if !ok {
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return &file{h.disk, inode, name}, nil
}

func (h *handle) Lstat(name string) (fs.FileInfo, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.look(); err != nil {
		return nil, err
	}
	return h.info(name)
}

func (h *handle) info(name string) (fs.FileInfo, error) {
	switch node := h.dir.now[name].(type) {
	case *dir:
		return info{name: name, mode: fs.ModeDir | 0o700}, nil
	case *inode:
		return info{name, 0o600, int64(len(node.now)), node.modTime}, nil
	}
	return nil, fmt.Errorf("lstat %s: %w", name, fs.ErrNotExist)
}

func (h *handle) ReadDir(n int) ([]fs.DirEntry, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.disk.look(); err != nil {
		return nil, err
	}
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

func (h *handle) Close() error { return nil }

type file struct {
	disk  *Disk
	inode *inode
	name  string
}

func (f *file) Write(p []byte) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.call("write"); err != nil {
		return 0, err
	}
	f.inode.now = append(slices.Clip(f.inode.now), p...)
	return len(p), nil
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.look(); err != nil {
		return 0, err
	}
	if off >= int64(len(f.inode.now)) {
		return 0, io.EOF
	}
	n := copy(p, f.inode.now[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *file) Stat() (fs.FileInfo, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.look(); err != nil {
		return nil, err
	}
	return info{f.name, 0o600, int64(len(f.inode.now)), f.inode.modTime}, nil
}

func (f *file) Sync() error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.call("sync"); err != nil {
		return err
	}
	f.inode.durable = f.inode.now
	return nil
}

func (f *file) Close() error { return nil }

type info struct {
	name    string
	mode    fs.FileMode
	size    int64
	modTime time.Time
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) Mode() fs.FileMode  { return i.mode }
func (i info) ModTime() time.Time { return i.modTime }
func (i info) IsDir() bool        { return i.mode.IsDir() }
func (i info) Sys() any           { return nil }
