package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
)

// SkipDir, returned by a [WalkFunc] for a directory, leaves out what is below
// it.
var SkipDir = fs.SkipDir

// A WalkFunc is called by [Walk] for an inode under one of its paths. path
// holds the names from the root on, none for the root itself; it is valid only
// during the call, and its names are bytes. A hard link is visited under each
// of its names.
type WalkFunc func(path []string, in *Inode) error

// Walk visits the tree of m depth first from its root: a directory before its
// entries, these in bytewise order of their names. It ends with the first error
// of fn other than [SkipDir].
//
// A tree that is none ends it with an error that wraps [ErrCorrupt]: an entry
// that leads to no inode or to one of another type, a directory with two
// entries, and so any cycle, a path of more than [MaxDepth] names. What fn
// skips is not looked at.
//
// Memory is bounded by depth times [Params.DirMax] entries, or what
// [SortedEntries] takes for each split directory above the current place, by
// what m keeps, and by about a bit for each inode number up to the highest of
// a directory.
func Walk(ctx context.Context, m *Map, fn WalkFunc) error {
	root, err := m.rootInode(ctx)
	if err != nil {
		return err
	}
	w := walker{ctx: ctx, m: m, fn: fn}
	w.dirs.add(RootNumber)
	return w.visit(&root)
}

type walker struct {
	ctx  context.Context
	m    *Map
	fn   WalkFunc
	path []string
	dirs numberSet // directories that an entry has led to
}

func (w *walker) visit(in *Inode) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	err := w.fn(w.path, in)
	if in.Type != TypeDir {
		return err
	}
	if err != nil {
		if errors.Is(err, SkipDir) {
			return nil
		}
		return err
	}
	for e, err := range SortedEntries(w.ctx, w.m.src, w.m.hasher, w.m.params, in.Root) {
		if err != nil {
			return fmt.Errorf("directory %d: %w", in.Number, err)
		}
		if err := w.entry(in, e); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) entry(dir *Inode, e Entry) error {
	if len(w.path) == MaxDepth {
		return corruptf("directory %d: below %d names there are more", dir.Number, MaxDepth)
	}
	in, err := w.m.entryInode(w.ctx, dir, e)
	if err != nil {
		return err
	}
	if in.Type == TypeDir && !w.dirs.add(in.Number) {
		return corruptf("directory %d: the entry %q is the second of directory %d", dir.Number, e.Name, in.Number)
	}
	w.path = append(w.path, e.Name)
	err = w.visit(&in)
	w.path = w.path[:len(w.path)-1]
	return err
}

// rootInode returns the inode of "/".
func (m *Map) rootInode(ctx context.Context) (Inode, error) {
	in, ok, err := m.Get(ctx, RootNumber)
	switch {
	case err != nil:
		return Inode{}, err
	case !ok:
		return Inode{}, corruptf("inode map %s: no inode %d", m.root.Short(), RootNumber)
	case in.Type != TypeDir:
		return Inode{}, corruptf("inode map %s: inode %d is a %s", m.root.Short(), RootNumber, in.Type)
	}
	return in, nil
}

// entryInode returns the inode that an entry of dir leads to.
func (m *Map) entryInode(ctx context.Context, dir *Inode, e Entry) (Inode, error) {
	in, ok, err := m.Get(ctx, e.Number)
	switch {
	case err != nil:
		return Inode{}, err
	case !ok:
		return Inode{}, corruptf("directory %d: the entry %q leads to inode %d, which is not there", dir.Number, e.Name, e.Number)
	case in.Type != e.Type:
		return Inode{}, corruptf("directory %d: the entry %q is of a %s and leads to a %s", dir.Number, e.Name, e.Type, in.Type)
	}
	return in, nil
}

// Entries yields the entries of a directory of m; see [Entries].
func (m *Map) Entries(ctx context.Context, dir *Inode) iter.Seq2[Entry, error] {
	return Entries(ctx, m.src, m.hasher, m.params, dir.Root)
}

// SortedEntries yields the entries of a directory of m; see [SortedEntries].
func (m *Map) SortedEntries(ctx context.Context, dir *Inode) iter.Seq2[Entry, error] {
	return SortedEntries(ctx, m.src, m.hasher, m.params, dir.Root)
}

// Content yields the extents of a file of m; see [Content].
func (m *Map) Content(ctx context.Context, file *Inode) iter.Seq2[Extent, error] {
	return Content(ctx, m.src, m.params, file)
}

// Child returns the inode that the given name leads to in dir, a directory of
// m, and whether there is one.
func (m *Map) Child(ctx context.Context, dir *Inode, name string) (Inode, bool, error) {
	e, ok, err := Lookup(ctx, m.src, m.hasher, m.params, dir.Root, name)
	if err != nil {
		return Inode{}, false, fmt.Errorf("directory %d: %w", dir.Number, err)
	}
	if !ok {
		return Inode{}, false, nil
	}
	in, err := m.entryInode(ctx, dir, e)
	return in, err == nil, err
}

// Resolve returns the inode under a path from the root of m, given as its
// names; no link is followed. The error wraps [fs.ErrNotExist] if there is
// none.
func (m *Map) Resolve(ctx context.Context, path []string) (Inode, error) {
	in, err := m.rootInode(ctx)
	if err != nil {
		return Inode{}, err
	}
	for i, name := range path {
		if in.Type != TypeDir {
			return Inode{}, fmt.Errorf("%q is a %s, not a directory: %w", path[i-1], in.Type, fs.ErrNotExist)
		}
		child, ok, err := m.Child(ctx, &in, name)
		if err != nil {
			return Inode{}, err
		}
		if !ok {
			return Inode{}, fmt.Errorf("no %q: %w", name, fs.ErrNotExist)
		}
		in = child
	}
	return in, nil
}
