package restore

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"bluesky/object"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// resolve returns the inode that Subpath leads to.
func (s *restorer) resolve() (*tree.Inode, error) {
	subpath := path.Clean("/" + s.options.Subpath)
	names, err := tree.SplitPath(subpath)
	if err != nil {
		return nil, err
	}
	in, err := s.tree.Resolve(s.ctx, names)
	if err != nil {
		return nil, fmt.Errorf("%q in the snapshot: %w", subpath, err)
	}
	return &in, nil
}

// walk goes through what is below start, depth first, in bytewise order of
// names: every entry has its turn, so one that cannot be read takes no others
// with it. top is the target.
func (s *restorer) walk(top *dir, start *tree.Inode) error {
	s.seen[start.Number] = struct{}{}
	if start.Type != tree.TypeDir {
		return s.visitFile(top, path.Base(s.options.Subpath), start)
	}
	whole := start.Number == tree.RootNumber
	if whole && !start.Waypoint() && !top.absent {
		top.number, top.finish = start.Number, finishAll // "/" itself was backed up
		s.made = append(s.made, top)
	}
	return s.visitEntries(top, start)
}

// visitEntries visits what is in the directory in, which is restored as d.
func (s *restorer) visitEntries(d *dir, in *tree.Inode) error {
	for e, err := range s.tree.SortedEntries(s.ctx, in) {
		if ended := context.Cause(s.ctx); ended != nil {
			return ended
		}
		if err != nil {
			s.fail(orRoot(d.path()), fmt.Errorf("read the entries of the directory: %w", err))
			return nil
		}
		if d.depth == tree.MaxDepth {
			s.fail(d.path(), fmt.Errorf("below %d names there are more: %w", tree.MaxDepth, object.ErrCorrupt))
			return nil
		}
		if err := s.visit(d, e); err != nil {
			return err
		}
	}
	return nil
}

// visit restores an entry, or sees to it that it will be. An error of the entry
// alone is reported; one that is returned ends the run.
func (s *restorer) visit(d *dir, e tree.Entry) error {
	isDir := e.Type == tree.TypeDir
	selected, below := true, true
	if s.options.Select != nil {
		selected, below = s.options.Select(d.path()+"/"+e.Name, isDir)
	}
	if !selected && !(isDir && below) {
		return nil
	}
	name := strings.Clone(e.Name) // it would keep all names of its directory
	in, err := s.inode(e)
	if err != nil {
		s.fail(d.path()+"/"+name, err)
		return nil
	}
	if !isDir {
		return s.visitFile(d, name, in)
	}
	return s.visitDir(d, name, in, selected, below)
}

// inode returns the inode of an entry. Package tree has checked the name of an
// entry that it has decoded, and is asked again: what is made is called so.
func (s *restorer) inode(e tree.Entry) (*tree.Inode, error) {
	if err := tree.CheckName(e.Name); err != nil {
		return nil, fmt.Errorf("%w: %w", object.ErrCorrupt, err)
	}
	in, ok, err := s.tree.Get(s.ctx, e.Number)
	switch {
	case err != nil:
		return nil, fmt.Errorf("read inode %d: %w", e.Number, err)
	case !ok:
		return nil, fmt.Errorf("inode %d, which the entry leads to, is not there: %w", e.Number, object.ErrCorrupt)
	case in.Type != e.Type:
		return nil, fmt.Errorf("the entry is of a %s and inode %d is a %s: %w", e.Type, e.Number, in.Type, object.ErrCorrupt)
	}
	return &in, nil
}

func (s *restorer) visitDir(above *dir, name string, in *tree.Inode, selected, below bool) error {
	if _, again := s.seen[in.Number]; again {
		s.fail(above.path()+"/"+name, fmt.Errorf("the entry is the second of directory %d: %w", in.Number, object.ErrCorrupt))
		return nil
	}
	s.seen[in.Number] = struct{}{}
	d := &dir{
		parent: above, name: name, number: in.Number, depth: above.depth + 1,
		finish: finishAll, flags: in.Flags & guards,
	}
	if in.Waypoint() {
		d.finish = finishWaypoint
	}
	if selected && !s.ensure(d) {
		return nil
	}
	if !below {
		return nil
	}
	return s.visitEntries(d, in)
}

// visitFile restores what is no directory, or sees to it.
func (s *restorer) visitFile(d *dir, name string, in *tree.Inode) error {
	if !s.ensure(d) {
		return nil
	}
	if in.Type == tree.TypeCharDevice || in.Type == tree.TypeBlockDevice {
		if !s.special {
			s.found(0)
			s.warn(d.path()+"/"+name, fmt.Errorf("the %s is left out: %w", in.Type, errSpecial))
			s.item(d.path()+"/"+name, Skipped, false, 0)
			return nil
		}
	}
	st, err := s.lstat(d, name)
	if err != nil {
		s.found(0)
		s.fail(d.path()+"/"+name, err)
		return nil
	}
	first := s.links[in.Number]
	size := in.ContentLength()
	if first != nil {
		size = 0
	}
	s.found(size)
	switch {
	case s.leaves(in, st):
		s.kept(size)
		s.item(d.path()+"/"+name, Skipped, false, in.Size)
	case s.options.DryRun:
		s.newLink(d, name, in)
		s.kept(size)
		s.item(d.path()+"/"+name, dryAction(in, st), false, in.Size)
	case first != nil:
		s.aliases = append(s.aliases, alias{d, name, first})
	default:
		return s.restoreFile(d, name, in, st, s.newLink(d, name, in))
	}
	return nil
}

// leaves reports whether what stands in place of in is left as it is.
func (s *restorer) leaves(in *tree.Inode, st *unix.Stat_t) bool {
	if st == nil {
		return false
	}
	switch s.options.Overwrite {
	case OverwriteNever:
		return true
	case OverwriteIfNewer:
		return !mtimeOf(st).Before(in.MTime)
	}
	return false
}

func dryAction(in *tree.Inode, st *unix.Stat_t) Action {
	switch {
	case st == nil:
		return Restored
	case isRegular(st) && in.Type == tree.TypeFile && uint64(st.Size) == in.Size && mtimeOf(st) == in.MTime:
		return Unchanged
	}
	return Updated
}

func mtimeOf(st *unix.Stat_t) object.Time {
	return object.Time{Sec: int64(st.Mtim.Sec), Nsec: uint32(st.Mtim.Nsec)}
}

// restoreFile restores what is no directory under its first name.
func (s *restorer) restoreFile(d *dir, name string, in *tree.Inode, st *unix.Stat_t, l *link) error {
	if in.Type == tree.TypeFile {
		return s.planFile(d, name, in, st, l)
	}
	copied := *in
	s.jobs.run(func() { s.makeSpecial(d, name, &copied, st, l) })
	return nil
}

var errSpecial = errors.New("such things are restored by root from a whole snapshot, or when asked for (--preserve-special)")

// orRoot is path, or "/" if it is empty.
func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}
