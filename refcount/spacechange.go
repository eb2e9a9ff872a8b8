package refcount

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// A SpaceChange collects what becomes of the segments of a space map. It is not
// safe for concurrent use.
type SpaceChange struct {
	old *Space
	new map[Key]Usage
}

// Change begins a change of s, which stays as it is.
func (s *Space) Change() *SpaceChange { return &SpaceChange{s, map[Key]Usage{}} }

// Put adds a segment, or takes the place of what is said of it. What can be of no
// segment is an error.
func (c *SpaceChange) Put(u Usage) error {
	if err := u.check(); err != nil {
		return fmt.Errorf("space map: %w", err)
	}
	c.new[u.Key] = u
	return nil
}

// Remove takes a segment away.
func (c *SpaceChange) Remove(k Key) { c.new[k] = Usage{Key: k} }

// Delta returns the table of that name with the change, to stand behind those of
// the list that was opened, which must not be empty. It reads the pages of the segments that change.
// A removed segment that is not there is an error, which wraps [ErrCorrupt]; others are as those of
// [Space.Candidates].
func (c *SpaceChange) Delta(ctx context.Context, name TableName) (Table, error) {
	if c.old.empty {
		return Table{}, fmt.Errorf("space map: table %s: a delta needs a base before it", name)
	}
	old, err := c.old.Get(ctx, slices.Collect(maps.Keys(c.new)))
	if err != nil {
		return Table{}, err
	}
	d := spaceDelta{totals: c.old.totals}
	for key, u := range c.new {
		was, there := old[key]
		if u.removed() && !there {
			return Table{}, corruptf("space map: remove segment %s: it is not there", key.Name)
		}
		if there && u == was {
			continue
		}
		if there {
			d.totals[was.Class-1].add(&was, -1)
		}
		if !u.removed() {
			d.totals[u.Class-1].add(&u, 1)
		}
		d.rows = append(d.rows, u)
	}
	slices.SortFunc(d.rows, compareUsages)
	return d.encode(c.old.repository, name), nil
}

func compareUsages(a, b Usage) int { return a.Compare(b.Key) }

// Base returns the table of that name with all segments, to take the place of
// the whole list. It reads the whole map, and takes about 150 bytes of memory
// for each segment. Errors are as those of [SpaceChange.Delta].
func (c *SpaceChange) Base(ctx context.Context, name TableName) (Table, error) {
	return c.base(ctx, name, fanOut)
}

func (c *SpaceChange) base(ctx context.Context, name TableName, fanOut int64) (Table, error) {
	left := maps.Clone(c.new)
	// No more than the table and its deltas hold.
	rows := make([]Usage, 0, int(c.old.tree.levels[0].entries)+len(c.old.changed))
	for u, err := range c.old.All(ctx) {
		if err != nil {
			return Table{}, err
		}
		if now, ok := left[u.Key]; ok {
			delete(left, u.Key)
			u = now
		}
		if !u.removed() {
			rows = append(rows, u)
		}
	}
	added := slices.SortedFunc(maps.Values(left), compareUsages)
	for i := range added {
		if added[i].removed() {
			return Table{}, corruptf("space map: remove segment %s: it is not there", added[i].Name)
		}
	}
	if len(added) > 0 {
		rows = mergeUsages(rows, added)
	}
	return encodeSpaceBase(c.old.repository, name, fanOut, rows), nil
}
