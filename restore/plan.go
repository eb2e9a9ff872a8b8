package restore

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"bluesky/object"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// A use is a place in a file where a part of a block belongs.
type use struct {
	file   *file
	id     object.ID
	at     uint64 // offset in the content of the file
	from   uint32 // offset in the block
	length uint32
	whole  bool  // the block has no more than that
	next   int32 // the next use of the same block, -1 if there is none
}

// windowUses is how many uses are gathered before they are fetched. It bounds
// the memory of a plan: a use, its share of a file, and its block take about
// 400 bytes.
const windowUses = 1 << 15

// A window gathers uses. It may be used concurrently.
type window struct {
	limit int

	mu   sync.Mutex
	uses []use // guarded by mu
}

func (w *window) add(u use) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.uses = append(w.uses, u)
}

func (w *window) full() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.uses) >= w.limit
}

func (w *window) take() []use {
	w.mu.Lock()
	defer w.mu.Unlock()
	uses := w.uses
	w.uses = nil
	return uses
}

// want adds the use that an extent is of f.
func (s *restorer) want(f *file, in *tree.Inode, e tree.Extent, at uint64) {
	f.pending.Add(1)
	s.window.add(use{
		file: f, id: e.Block, at: at, from: uint32(e.Offset), length: uint32(e.Length),
		whole: !in.Root.IsZero(),
	})
}

// planFile gathers what the file in needs. What stands in its place is used as
// far as it can be, else removed.
func (s *restorer) planFile(d *dir, name string, in *tree.Inode, st *unix.Stat_t, l *link) error {
	f := &file{
		dir: d, name: name, number: in.Number, size: in.Size, layout: newLayout(in.Holes),
		early: in.Flags & (tree.FlagNoCOW | tree.FlagCompressed), link: l, fd: -1,
	}
	f.pending.Store(1)
	if st != nil && !isRegular(st) {
		if err := s.dirs.with(d, func(at int) error { return s.remove(at, name, st) }); err != nil {
			f.setErr(err)
			s.done(f)
			return nil
		}
		st = nil
	}
	if st != nil || in.ContentLength() == 0 || len(in.Inline) > 0 {
		copied := *in
		s.jobs.run(func() { s.startFile(f, &copied, st) })
		return nil
	}
	return s.planContent(f, in)
}

// planContent gathers the blocks of a file that is not there. A file of many
// blocks fills window after window.
func (s *restorer) planContent(f *file, in *tree.Inode) error {
	defer s.done(f)
	at := uint64(0)
	for e, err := range s.tree.Content(s.ctx, in) {
		if err != nil {
			f.setErr(fmt.Errorf("read the list of its blocks: %w", err))
			return nil
		}
		s.want(f, in, e, at)
		at += e.Length
		if s.window.full() {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// startFile is the part of planning a file that touches it.
func (s *restorer) startFile(f *file, in *tree.Inode, st *unix.Stat_t) {
	defer s.done(f)
	if s.ctx.Err() != nil {
		return
	}
	var err error
	switch {
	case st != nil:
		err = s.reuse(f, in)
	case len(in.Inline) > 0:
		if err = s.write(f, 0, in.Inline); err == nil {
			s.wrote(len(in.Inline))
		}
	}
	if err != nil {
		f.setErr(err)
	}
}

// flush fetches what was gathered and writes it.
func (s *restorer) flush() error {
	s.jobs.wait()
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	if uses := s.window.take(); len(uses) > 0 {
		if err := s.fetch(uses); err != nil {
			return err
		}
	}
	return context.Cause(s.ctx)
}

// A link is a file with several names. The first that is restored becomes the
// file, the others are linked to it when all files are there.
type link struct {
	dir  *dir
	name string

	mu     sync.Mutex
	failed bool // guarded by mu
}

// newLink returns the link of a file with several names, nil if it has one.
func (s *restorer) newLink(d *dir, name string, in *tree.Inode) *link {
	if in.Links < 2 {
		return nil
	}
	l := &link{dir: d, name: name}
	s.links[in.Number] = l
	return l
}

// fail notes that the file is not there. A nil link does nothing.
func (l *link) fail() {
	if l != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.failed = true
	}
}

func (l *link) bad() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// An alias is another name of a file.
type alias struct {
	dir  *dir
	name string
	link *link
}

// makeAliases makes the hard links.
func (s *restorer) makeAliases() {
	for _, a := range s.aliases {
		if s.ctx.Err() != nil {
			return
		}
		path := a.dir.path() + "/" + a.name
		if a.link.bad() {
			s.fail(path, fmt.Errorf("the file that it is a link to, %q, was not restored", a.link.dir.path()+"/"+a.link.name))
			continue
		}
		action, err := s.makeAlias(a)
		if err != nil {
			s.fail(path, err)
			continue
		}
		s.item(path, action, false, 0)
	}
}

func (s *restorer) makeAlias(a alias) (action Action, err error) {
	err = s.dirs.with(a.link.dir, func(from int) error {
		return s.dirs.with(a.dir, func(to int) error {
			file, err := lstatAt(from, a.link.name)
			if err != nil {
				return err
			}
			if file == nil {
				return errors.New("the file that it is a link to is gone")
			}
			there, err := lstatAt(to, a.name)
			if err != nil {
				return err
			}
			if there != nil {
				if identityOf(there) == identityOf(file) {
					action = Unchanged
					return nil
				}
				if err := s.remove(to, a.name, there); err != nil {
					return err
				}
				action = Updated
			}
			if err := unix.Linkat(from, a.link.name, to, a.name, 0); err != nil {
				return fmt.Errorf("hard link to %q: %w", a.link.dir.path()+"/"+a.link.name, err)
			}
			return nil
		})
	})
	return action, err
}
