package check

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"bluesky/tree"
)

// links are the inodes of one snapshot and how its directories name them: each
// inode is named, by entries of its own type, a directory by exactly one, and
// all directories stand below the root. They take 16 bytes for each number
// where these are dense.
type links struct {
	c       *checker
	subject string
	next    uint64 // no inode has this number or a higher one

	last    *tree.Map // the map that the links are of, nil for none
	pages   map[uint64]*[pageSize]link
	touched []uint64 // numbers to look at once more
	damaged bool     // some directory could not be read
}

const pageSize = 512

type link struct {
	parent uint64 // the last directory that named it
	names  uint32
	inode  tree.Type // 0 if there is no such inode
	entry  tree.Type // of the entries that name it
}

func newLinks(c *checker) *links {
	return &links{c: c, pages: map[uint64]*[pageSize]link{}}
}

// forget begins anew.
func (l *links) forget() {
	l.last, l.damaged, l.touched = nil, false, nil
	clear(l.pages)
}

func (l *links) at(number uint64) *link {
	page := l.pages[number/pageSize]
	if page == nil {
		page = new([pageSize]link)
		l.pages[number/pageSize] = page
	}
	return &page[number%pageSize]
}

func (l *links) problem(format string, args ...any) {
	l.c.book.add(Error, l.subject, fmt.Sprintf(format, args...))
}

// advance makes the links those of the map m, and checks what has changed.
func (l *links) advance(ctx context.Context, m *tree.Map) error {
	var renamed []tree.Inode // directories whose entries are to be read
	for d, err := range l.changes(ctx, m) {
		if err != nil {
			return err
		}
		if err := l.remove(ctx, d); err != nil {
			return err
		}
		if d.New == nil {
			continue
		}
		l.c.counts.inodes++
		if err := l.inode(ctx, m, d); err != nil {
			return err
		}
		if d.New.Type == tree.TypeDir && !sameEntries(d.Old, d.New) {
			renamed = append(renamed, tree.Inode{Number: d.New.Number, Type: tree.TypeDir, Root: d.New.Root})
		}
	}
	for i := range renamed {
		for e, err := range m.Entries(ctx, &renamed[i]) {
			if err = l.endOf(err); err != nil {
				return fmt.Errorf("directory %d: %w", renamed[i].Number, err)
			}
			if e.Number != 0 {
				l.name(renamed[i].Number, e)
			}
		}
	}
	if l.damaged {
		l.forget()
		return nil
	}
	l.last = m
	l.verify()
	return nil
}

// endOf returns the errors that end the check of a tree: an object that is lost
// does not, it only leaves a gap.
func (l *links) endOf(err error) error {
	if lost := new(lostError); errors.As(err, &lost) {
		l.damaged = true
		return nil
	}
	return err
}

// changes yields what differs from the map before, everything if there is none.
func (l *links) changes(ctx context.Context, m *tree.Map) iter.Seq2[tree.Delta, error] {
	if l.last != nil {
		return tree.Diff(ctx, l.last, m)
	}
	return func(yield func(tree.Delta, error) bool) {
		for in, err := range m.All(ctx) {
			if !yield(tree.Delta{Number: in.Number, New: &in}, err) {
				return
			}
		}
	}
}

func sameEntries(old, new *tree.Inode) bool {
	return old != nil && new != nil && old.Type == tree.TypeDir && new.Type == tree.TypeDir && old.Root == new.Root
}

// remove takes back what the old inode of d has named.
func (l *links) remove(ctx context.Context, d tree.Delta) error {
	if d.New == nil {
		l.at(d.Number).inode = 0
		l.touched = append(l.touched, d.Number)
	}
	if d.Old == nil || d.Old.Type != tree.TypeDir || sameEntries(d.Old, d.New) {
		return nil
	}
	for e, err := range l.last.Entries(ctx, d.Old) {
		if err != nil {
			return err
		}
		l.at(e.Number).names--
		l.touched = append(l.touched, e.Number)
	}
	return nil
}

// inode takes in the new inode of d.
func (l *links) inode(ctx context.Context, m *tree.Map, d tree.Delta) error {
	in := d.New
	if at := l.at(in.Number); at.inode != in.Type {
		at.inode = in.Type
		l.touched = append(l.touched, in.Number)
	}
	if in.Number >= l.next {
		l.problem("inode %d is not below %d, the next number of the snapshot", in.Number, l.next)
	}
	for i := range in.Xattrs {
		if n, ok := l.c.lengths.of(in.Xattrs[i].Block); ok && n > tree.MaxXattr {
			l.problem("inode %d: the value of attribute %q has %d bytes", in.Number, in.Xattrs[i].Name, n)
		}
	}
	return l.content(ctx, m, in)
}

// content checks the lists of a file, and where blocks were opened, that they
// have the bytes that the file takes from them.
func (l *links) content(ctx context.Context, m *tree.Map, in *tree.Inode) error {
	for e, err := range m.Content(ctx, in) {
		if lost := new(lostError); errors.As(err, &lost) {
			return nil // the tree can be read on
		}
		if err != nil {
			return fmt.Errorf("inode %d: %w", in.Number, err)
		}
		n, ok := l.c.lengths.of(e.Block)
		if ok && (e.Offset > n || e.Length > n-e.Offset || !in.Root.IsZero() && e.Length != n) {
			l.problem("inode %d takes %d bytes at %d of block %s, which has %d", in.Number, e.Length, e.Offset, e.Block.Short(), n)
		}
	}
	return nil
}

// name takes in an entry of a directory.
func (l *links) name(directory uint64, e tree.Entry) {
	at := l.at(e.Number)
	if at.names > 0 && at.entry != e.Type {
		l.problem("inode %d is named as a %s and as a %s", e.Number, at.entry, e.Type)
	}
	at.names++
	at.entry, at.parent = e.Type, directory
	l.touched = append(l.touched, e.Number)
}

// verify checks all that was touched.
func (l *links) verify() {
	slices.Sort(l.touched)
	for _, number := range slices.Compact(l.touched) {
		if text := l.judge(number); text != "" {
			l.problem("inode %d %s", number, text)
		}
	}
	l.touched = l.touched[:0]
	if root := l.at(tree.RootNumber); root.inode != tree.TypeDir {
		l.problem("inode %d, the root, is not a directory", tree.RootNumber)
	}
}

// judge returns what is wrong with one inode, "" if nothing is.
func (l *links) judge(number uint64) string {
	// That an entry names the root is what no directory decodes to.
	at := l.at(number)
	switch {
	case at.inode == 0 && at.names > 0:
		return fmt.Sprintf("is not there, and directory %d names it", at.parent)
	case at.inode == 0 || number == tree.RootNumber:
		return ""
	case at.names == 0:
		return "is in no directory"
	case at.inode != at.entry:
		return fmt.Sprintf("is a %s, and directory %d names it as a %s", at.inode, at.parent, at.entry)
	case at.inode == tree.TypeDir && at.names > 1:
		return fmt.Sprintf("is a directory with %d names", at.names)
	case at.inode == tree.TypeDir && !l.rooted(number):
		return fmt.Sprintf("is a directory that is not below the root, or deeper than %d names", tree.MaxDepth)
	}
	return ""
}

// rooted reports whether the parents of a directory lead to the root.
func (l *links) rooted(number uint64) bool {
	for range tree.MaxDepth {
		if number == tree.RootNumber {
			return true
		}
		number = l.at(number).parent
		if number == 0 {
			return false
		}
	}
	return number == tree.RootNumber
}
