// Package simdisk is a file system in memory whose power a test can cut, and a
// file system in front of any that refuses one call: for tests of what stands on
// package local.
package simdisk

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"syscall"
	"time"

	"bluesky/store/local"
)

// A Disk is a [local.FS] in memory. It is as unkind as POSIX allows: at a power
// cut bytes that were not synced are lost, torn or kept, and of the changes to a
// folder that was not synced any subset took place.
type Disk struct {
	mu    sync.Mutex
	lacks map[string]bool // calls that this file system does not have
	root  *dir            // guarded by mu, like all that hangs on it
	calls int             // guarded by mu: calls that change something, so far
	limit int             // guarded by mu: the power goes before this call; -1 never
	dark  bool            // guarded by mu: it has gone
}

var _ local.FS = (*Disk)(nil)

// ErrPowerCut is what every call ends with after a power cut. It is no use to
// try again.
var ErrPowerCut = fmt.Errorf("the power is gone: %w", syscall.EIO)

// New returns an empty Disk whose file system lacks the given calls, by the
// names that [Refuser.Hit] has for them.
func New(lacks ...string) *Disk {
	d := &Disk{lacks: map[string]bool{}, root: newDir(), limit: -1}
	for _, call := range lacks {
		d.lacks[call] = true
	}
	return d
}

// CutAt lets the power go before the nth call that changes the disk, counted
// from 0 at its making.
func (d *Disk) CutAt(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.limit = n
}

// Calls returns how many calls have changed the disk.
func (d *Disk) Calls() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.calls
}

// Forget removes a folder and all in it, as somebody else may.
func (d *Disk) Forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if parent, err := d.find(path.Dir(name)); err == nil {
		parent.change(func(m map[string]any) { delete(m, path.Base(name)) })
	}
}

type dir struct {
	now     map[string]any // *dir or *inode: what a running system sees
	durable map[string]any // what the last sync wrote
	pending []func(map[string]any)
}

func newDir() *dir { return &dir{now: map[string]any{}, durable: map[string]any{}} }

func (d *dir) change(op func(map[string]any)) {
	op(d.now)
	d.pending = append(d.pending, op)
}

type inode struct {
	now, durable []byte
	modTime      time.Time
}

// call is entered by every call that changes the disk. It needs d.mu.
func (d *Disk) call(name string) error {
	if d.lacks[name] {
		return fmt.Errorf("%s: %w", name, errors.ErrUnsupported)
	}
	if d.limit >= 0 && d.calls >= d.limit {
		d.dark = true
		return ErrPowerCut
	}
	d.calls++
	return nil
}

// look is entered by every call that only reads. It needs d.mu.
func (d *Disk) look() error {
	if d.dark {
		return ErrPowerCut
	}
	return nil
}

// AfterPowerCut returns the disk as it may come up again.
func (d *Disk) AfterPowerCut(rng *rand.Rand) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	return &Disk{lacks: d.lacks, root: survivingDir(d.root, rng, map[any]any{}), limit: -1}
}

// survivingDir returns what is left of d. It needs d.mu of the disk; seen holds
// what is left of nodes that have several names.
func survivingDir(d *dir, rng *rand.Rand, seen map[any]any) *dir {
	entries := maps.Clone(d.durable)
	keep := rng.IntN(4) // 0: none of the pending changes, 1: all, else: each by chance
	for _, op := range d.pending {
		if keep == 1 || keep > 1 && rng.IntN(2) == 0 {
			op(entries)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(entries)) { // so that a seed says all
		node := entries[name]
		if seen[node] == nil {
			switch node := node.(type) {
			case *dir:
				seen[node] = survivingDir(node, rng, seen)
			case *inode:
				data := survivingBytes(node, rng)
				seen[node] = &inode{now: data, durable: data, modTime: node.modTime}
			}
		}
		entries[name] = seen[node]
	}
	return &dir{now: entries, durable: maps.Clone(entries)}
}

func survivingBytes(n *inode, rng *rand.Rand) []byte {
	if slices.Equal(n.now, n.durable) {
		return n.durable
	}
	whole := rng.IntN(len(n.now) + 1)
	switch rng.IntN(4) {
	case 0:
		return n.durable
	case 1:
		return n.now[:whole]
	case 2: // the length came through, and not all bytes
		return append(slices.Clone(n.now[:whole]), make([]byte, len(n.now)-whole)...)
	}
	return n.now
}

// find returns the folder of the given name. It needs d.mu.
func (d *Disk) find(name string) (*dir, error) {
	if name == "." {
		return d.root, nil
	}
	parent, err := d.find(path.Dir(name))
	if err != nil {
		return nil, err
	}
	switch node := parent.now[path.Base(name)].(type) {
	case *dir:
		return node, nil
	case nil:
		return nil, fmt.Errorf("open %s: %w", name, fs.ErrNotExist)
	}
	return nil, fmt.Errorf("open %s: %w", name, syscall.ENOTDIR)
}

// OpenDir implements local.FS.
func (d *Disk) OpenDir(name string) (local.Dir, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.look(); err != nil {
		return nil, err
	}
	dir, err := d.find(name)
	if err != nil {
		return nil, err
	}
	return &handle{disk: d, dir: dir}, nil
}

// Mkdir implements local.FS.
func (d *Disk) Mkdir(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.call("mkdir"); err != nil {
		return err
	}
	parent, err := d.find(path.Dir(name))
	if err != nil {
		return err
	}
	base, dir := path.Base(name), newDir()
	if parent.now[base] != nil {
		return fmt.Errorf("mkdir %s: %w", name, fs.ErrExist)
	}
	parent.change(func(m map[string]any) { m[base] = dir })
	return nil
}

// Close implements local.FS; the Disk stays as it is.
func (d *Disk) Close() error { return nil }
