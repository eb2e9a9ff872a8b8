package backup

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// visitSources visits what was asked for below "/", whose inode is a waypoint
// unless it was asked for itself.
func (b *backup) visitSources(ctx context.Context) error {
	root := &dir{number: tree.RootNumber, plan: planSources(b.options.Paths)}
	root.inode = tree.Inode{Number: tree.RootNumber, Type: tree.TypeDir, Mode: 0o755, Marks: tree.MarkWaypoint}
	open := openWaypoint
	if root.plan.asked() {
		open = openDir
	}
	fd, err := open(unix.AT_FDCWD, "/")
	if err != nil {
		return fmt.Errorf("open /: %w", err)
	}
	b.open.add(root, fd)
	root.pending.Store(1)
	if err := b.openBefore(ctx, root, tree.Entry{Number: tree.RootNumber, Type: tree.TypeDir}); err != nil {
		return err
	}
	if root.plan.asked() {
		err = b.visitRoot(ctx, root)
	} else {
		err = b.visitWaypoint(ctx, root)
	}
	if err != nil {
		return err
	}
	return b.release(ctx, root)
}

// visitRoot visits "/" when that was asked for.
func (b *backup) visitRoot(ctx context.Context, root *dir) error {
	var st unix.Stat_t
	if err := unix.Fstat(root.fd, &st); err != nil {
		return fmt.Errorf("stat /: %w", err)
	}
	root.device = uint64(st.Dev)
	if err := b.describeDir(ctx, root, &st); err != nil {
		return err
	}
	return b.visitEntries(ctx, root)
}

// visitWaypoint visits the sources below a directory that is only on the way
// to them.
func (b *backup) visitWaypoint(ctx context.Context, d *dir) error {
	for _, name := range d.plan.names() {
		visit := b.enterWaypoint
		if d.plan.children[name].asked() {
			visit = b.visit
		}
		if err := visit(ctx, d, name); err != nil {
			return err
		}
	}
	b.noteGone(d)
	return nil
}

// enterWaypoint visits the sources below the entry name of d, a directory that
// is only on the way to them. If there is none, that is reported.
func (b *backup) enterWaypoint(ctx context.Context, d *dir, name string) error {
	fd, err := openWaypoint(d.fd, name)
	if err != nil {
		b.fail(d.join(name), err)
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		b.fail(d.join(name), err)
		return nil
	}
	before := d.before[name]
	sub := b.addDir(d, name, fd, before)
	sub.inode = tree.Inode{
		Number: sub.number, Type: tree.TypeDir, Mode: uint32(st.Mode) & 0o7777,
		UID: st.Uid, GID: st.Gid, User: b.owners.user(st.Uid), Group: b.owners.group(st.Gid),
		Marks: tree.MarkWaypoint,
	}
	if err := b.openBefore(ctx, sub, before); err != nil {
		return err
	}
	if err := b.visitWaypoint(ctx, sub); err != nil {
		return err
	}
	return b.release(ctx, sub)
}

// A sourcePlan is the tree of the paths that were asked for. A nil one is empty.
type sourcePlan struct {
	source   bool // asked for itself; what is below goes without saying
	children map[string]*sourcePlan
}

func planSources(paths []string) *sourcePlan {
	root := &sourcePlan{}
	for _, p := range paths {
		at := root
		for _, name := range strings.FieldsFunc(p, func(r rune) bool { return r == '/' }) {
			if at.children == nil {
				at.children = map[string]*sourcePlan{}
			}
			if at.children[name] == nil {
				at.children[name] = &sourcePlan{}
			}
			at = at.children[name]
		}
		at.source = true
	}
	return root
}

// checkPaths returns an error unless all paths are absolute and clean.
func checkPaths(paths []string) error {
	for _, p := range paths {
		if !filepath.IsAbs(p) || filepath.Clean(p) != p {
			return fmt.Errorf("%q is not an absolute path in its shortest form", p)
		}
	}
	return nil
}

func (p *sourcePlan) asked() bool { return p != nil && p.source }

// below returns the plan of the directory name.
func (p *sourcePlan) below(name string) *sourcePlan {
	if p == nil {
		return nil
	}
	return p.children[name]
}

func (p *sourcePlan) names() []string {
	if p == nil {
		return nil
	}
	var names []string
	for name := range p.children {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
