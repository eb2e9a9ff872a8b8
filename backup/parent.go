package backup

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/tree"
)

// A parent is the snapshot that unchanged files are taken from.
type parent struct {
	id     object.ID
	record tree.Snapshot
	source tree.Source
	inodes *tree.Map
}

// start returns when the backup of p began.
func (p *parent) start() object.Time { return p.record.Counts.BackupStart }

// A parentReader reads the objects of the parent snapshot. If one is visible no
// more, or the snapshot is not live any more, it was removed while the backup
// relied on it. What is visible and lost is damage: a backup that began again
// would rely on it all the same.
type parentReader struct{ *seal.Reader }

func (r parentReader) Object(ctx context.Context, id object.ID, kind object.Kind) ([]object.ID, []byte, error) {
	refs, payload, err := r.Reader.Object(ctx, id, kind)
	if errors.Is(err, repo.ErrNotFound) || errors.Is(err, repo.ErrForgotten) {
		err = fmt.Errorf("%w: parent snapshot: %w", repo.ErrObjectGone, err)
	}
	return refs, payload, err
}

func openParent(r *repo.Repo, keys *seal.Keys, options Options) (*parent, error) {
	if options.Parent == nil {
		return nil, nil
	}
	source := parentReader{seal.NewReader(r.Of(options.Parent.ID), keys)}
	return &parent{
		id: options.Parent.ID, record: options.Parent.Record, source: source,
		inodes: tree.OpenMap(source, keys, tree.Params(r.Config().Tree), options.Parent.Root),
	}, nil
}

// changes are the inodes that differ from the parent's, or all without one.
// They stay in memory until the map is made of them: 24 bytes each, and what an
// InodeBuffer takes.
type changes struct {
	mu      sync.Mutex
	inodes  tree.InodeBuffer
	list    []changed
	refused error // of an inode that no snapshot can hold
}

type changed struct {
	number uint64
	inode  tree.BufferedInode
	gone   bool // there is none any more
}

func (c *changes) set(in *tree.Inode) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, err := c.inodes.Add(in)
	if err != nil && c.refused == nil {
		c.refused = err
	}
	c.list = append(c.list, changed{number: in.Number, inode: at})
}

func (c *changes) remove(number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, changed{number: number, gone: true})
}

// sorted yields the changes in the order of their numbers.
func (c *changes) sorted() iter.Seq2[tree.Change, error] {
	// A file with several names may be given up under one and stored under the
	// next; then its inode is what counts. Two inodes of one number are a mistake
	// that tree refuses.
	slices.SortFunc(c.list, func(a, b changed) int {
		if a.gone != b.gone && a.number == b.number {
			if a.gone {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.number, b.number)
	})
	c.list = slices.CompactFunc(c.list, func(later, earlier changed) bool {
		return later.number == earlier.number && later.gone
	})
	return func(yield func(tree.Change, error) bool) {
		if c.refused != nil {
			yield(tree.Change{}, c.refused)
			return
		}
		for _, change := range c.list {
			if !yield(c.load(change)) {
				return
			}
		}
	}
}

func (c *changes) load(change changed) (tree.Change, error) {
	if change.gone {
		return tree.Change{Number: change.number}, nil
	}
	in, err := c.inodes.Get(change.inode)
	return tree.Change{Number: change.number, Inode: &in}, err
}

// finishMap stores the inode map and returns its root.
func (b *backup) finishMap(ctx context.Context) (object.ID, error) {
	if b.parent != nil {
		if err := b.removeGone(ctx); err != nil {
			return object.ID{}, err
		}
		return tree.Update(ctx, b.parent.inodes, b.sink, b.changes.sorted())
	}
	m := tree.NewMapBuilder(b.sink, b.keys, b.params)
	for change, err := range b.changes.sorted() {
		if err != nil {
			return object.ID{}, err
		}
		if change.Inode == nil {
			continue
		}
		if err := m.Add(ctx, change.Inode); err != nil {
			return object.ID{}, err
		}
	}
	return m.Finish(ctx)
}

// removeGone removes the inodes of the parent that no name of this snapshot
// has: those of the entries that are no more, and of all below them.
func (b *backup) removeGone(ctx context.Context) error {
	removed := bitset{}
	for len(b.gone) > 0 {
		last := len(b.gone) - 1
		e := b.gone[last]
		b.gone = b.gone[:last]
		if removed.has(e.Number) {
			continue
		}
		removed.set(e.Number)
		if !b.used.has(e.Number) {
			b.changes.remove(e.Number)
		}
		if e.Type != tree.TypeDir {
			continue
		}
		if err := b.addGoneBelow(ctx, e.Number); err != nil {
			return err
		}
	}
	return nil
}

// addGoneBelow adds the entries of a directory of the parent to those gone.
// One that this snapshot has taken over, under another name, is among the used
// numbers and stays.
func (b *backup) addGoneBelow(ctx context.Context, number uint64) error {
	in, ok, err := b.parent.inodes.Get(ctx, number)
	if err != nil {
		return err
	}
	if !ok || in.Type != tree.TypeDir {
		return errors.New("the parent snapshot names a directory that it does not have; run bluesky check, and back up with --force")
	}
	entries, err := tree.ReadDir(ctx, b.parent.source, b.keys, b.params, in.Root)
	b.gone = append(b.gone, entries...)
	return err
}

// A bitset is a set of inode numbers, which are dense where they come from an
// honest snapshot and cost no more than a map's entry each where not.
type bitset struct{ words map[uint64]uint64 }

func (s *bitset) has(n uint64) bool { return s.words[n/64]&(1<<(n%64)) != 0 }

func (s *bitset) set(n uint64) {
	if s.words == nil {
		s.words = map[uint64]uint64{}
	}
	s.words[n/64] |= 1 << (n % 64)
}
