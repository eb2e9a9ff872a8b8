package prune

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/refcount"
	"bluesky/repo"
)

// An assembly is a clean with what it registers, made durable.
type assembly struct {
	*Plan
	copier *copier
	clean  repo.Clean

	removed map[int]bool       // parts whose runs go
	run     *index.Run         // that comes; nil for none
	made    map[pack.Name]bool // the segments of copies in it
	counts  *refcount.Counts
}

// assemble uploads the run and the tables of a clean that does what p says, as
// far as its objects were copied.
func (p *Plan) assemble(ctx context.Context, c *copier) (*assembly, error) {
	a := &assembly{Plan: p, copier: c, made: map[pack.Name]bool{}, counts: p.dying.counts.Layer()}
	p.settleVictims(c)
	a.removed = p.merges()
	if err := a.makeRun(ctx); err != nil {
		return nil, err
	}
	if err := a.recount(); err != nil {
		return nil, err
	}
	a.clean.Fold = p.state.Generation
	a.clean.Collected, a.clean.Times = p.collected, p.oldestTimes()
	for _, id := range p.state.Unfinished() { // ascending
		if p.expired[id] {
			a.clean.Expired = append(a.clean.Expired, id)
		} else {
			a.clean.Pending = append(a.clean.Pending, id)
		}
	}
	var err error
	if a.clean.Marks, err = a.putMarks(ctx); err != nil {
		return nil, err
	}
	if a.clean.Counts, err = a.putCounts(ctx); err != nil {
		return nil, err
	}
	if a.clean.Space, err = a.putSpace(ctx); err != nil {
		return nil, err
	}
	a.name()
	return a, nil
}

// settleVictims lets go the victims of which an object was not copied.
func (p *Plan) settleVictims(c *copier) {
	p.letGo(func(s *segment) bool {
		return slices.ContainsFunc(s.copies, func(at place) bool {
			l := p.view.At(at.part, at.row)
			copied, ok := c.where[l.Row.ID]
			return !ok || copied.output.header.Objects[copied.object].Sum != l.Row.Sum
		})
	})
}

// stays reports whether a row is visible afterwards, in its own segment.
func (a *assembly) stays(at place, row *index.Row) bool {
	return a.view.Shows(at.part, at.row) && !a.dies(at) && !a.victimAt(at.part, row.Segment)
}

// makeRun makes the run of the segments of copies and of all runs that are
// merged, and uploads it.
func (a *assembly) makeRun(ctx context.Context) error {
	b := &index.Builder{}
	for _, out := range a.copier.outputs {
		if a.useful(out) {
			out.segment.RegisteredAt = a.state.Generation + 1
			if err := b.AddSegment(out.segment, out.header); err != nil {
				return err
			}
			a.made[out.segment.Name] = true
		}
	}
	for part := range a.runs {
		if a.removed[part] {
			if err := a.merge(b, part); err != nil {
				return err
			}
		}
	}
	if b.Segments() == 0 {
		return nil
	}
	name, err := index.NewRunName(a.repo.Random())
	if err != nil {
		return err
	}
	data, hash, err := b.Encode(a.repo.Config().ID, name)
	if err != nil {
		return err
	}
	if err := a.repo.PutNamed(ctx, repo.RunName(name), data); err != nil {
		return err
	}
	a.copier.Written += uint64(len(data))
	a.clean.Runs = []repo.AddRun{{Name: name, Size: uint64(len(data)), Hash: hash}}
	a.run, err = index.Decode(data, a.repo.Config().ID, name)
	return err
}

// useful reports whether some copy in out takes the place of an object that a
// victim holds.
func (a *assembly) useful(out *output) bool {
	return slices.ContainsFunc(out.header.Objects, func(o pack.Object) bool { return a.original(o.ID) != nil })
}

// original returns the copy of a living object that goes with a victim, nil if
// there is none.
func (a *assembly) original(id object.ID) *index.Location {
	copies := a.remaining(id)
	for i := range copies {
		if a.victimAt(copies[i].Part, copies[i].Row.Segment) {
			return &copies[i]
		}
	}
	return nil
}

// merge adds what stays of a run, its segments as they are registered.
func (a *assembly) merge(b *index.Builder, part int) error {
	ordinals := map[uint32]uint32{}
	for i := range a.runs[part].SegmentCount() {
		if !a.view.ShowsSegment(part, i) || a.victimAt(part, uint32(i)) {
			continue
		}
		ordinal, err := b.Keep(a.repo.Config().ID, a.segmentAt(part, uint32(i)))
		if err != nil {
			return err
		}
		ordinals[uint32(i)] = ordinal
	}
	for row := range a.runs[part].Len() {
		if r := a.runs[part].Row(row); a.stays(place{part, row}, &r) {
			b.KeepRow(r, ordinals[r.Segment])
		}
	}
	return nil
}

// recount gives the rows of the new run their counts, and forgets those of the
// runs that go.
func (a *assembly) recount() error {
	for part := range a.removed {
		if err := a.counts.DropRun(a.runs[part].Name()); err != nil {
			return err
		}
	}
	if a.run == nil {
		return nil
	}
	counts := make([]uint32, a.run.Len())
	for i := range counts {
		row := a.run.Row(i)
		copies := a.remaining(row.ID)
		if len(copies) == 0 || !a.isHome(i, &row, copies) {
			continue
		}
		var err error
		home := &copies[0]
		if counts[i], err = a.dying.counts.Get(a.runs[home.Part].Name(), uint32(home.Place)); err != nil {
			return damaged(err)
		}
	}
	return a.counts.AddRun(a.run.Name(), counts)
}

// isHome reports whether row i of the new run is where the count of its object
// will stand: a copy of its home, which goes with a victim, or its home itself.
func (a *assembly) isHome(i int, row *index.Row, copies []index.Location) bool {
	segment := a.run.Segment(int(row.Segment))
	home := &copies[0]
	if a.made[segment.Name] {
		return a.victimAt(home.Part, home.Row.Segment)
	}
	return home.Segment.Name == segment.Name && home.Row.Offset == row.Offset
}

// putMarks uploads a table of what this clean marks, and returns the list.
func (a *assembly) putMarks(ctx context.Context) ([]repo.TableRef, error) {
	shapes := refcount.Shapes{}
	for _, run := range a.runs {
		shapes[run.Name()] = refcount.ShapeOf(run)
	}
	if a.run != nil {
		shapes[a.run.Name()] = refcount.ShapeOf(a.run)
	}
	tables, err := a.tables(ctx, a.state.Marks)
	if err != nil {
		return nil, err
	}
	marks, err := refcount.LoadMarks(a.repo.Config().ID, tables, shapes)
	if err != nil {
		return nil, err
	}
	change := marks.Change()
	if err := a.mark(change); err != nil {
		return nil, err
	}
	if change.Empty() {
		return a.state.Marks, nil
	}
	keep := a.keeps()
	name, err := refcount.NewTableName(a.repo.Random())
	if err != nil {
		return nil, err
	}
	table := change.Delta(name, keep)
	list := append(slices.Clone(a.state.Marks), table.Ref)
	if refcount.NeedsBase(a.state.Marks, table.Ref.Size) {
		table = change.Base(name, keep)
		list = []repo.TableRef{table.Ref}
	}
	return list, a.putTable(ctx, table)
}

// keeps returns which runs are registered afterwards.
func (a *assembly) keeps() func(index.RunName) bool {
	gone := map[index.RunName]bool{}
	for part := range a.removed {
		gone[a.runs[part].Name()] = true
	}
	return func(run index.RunName) bool { return !gone[run] }
}

func (a *assembly) putTable(ctx context.Context, t refcount.Table) error {
	a.copier.Written += uint64(len(t.Data))
	return a.repo.PutNamed(ctx, repo.TableName(t.Ref.Name), t.Data)
}

func (a *assembly) mark(change *refcount.MarksChange) error {
	for part, rows := range a.rows {
		if a.removed[part] {
			continue
		}
		for it := rows.Iterator(); it.HasNext(); {
			if err := change.MarkDead(a.runs[part].Name(), it.Next()); err != nil {
				return err
			}
		}
	}
	for _, s := range a.victims {
		if a.removed[s.part] {
			continue
		}
		if err := change.MarkGone(a.runs[s.part].Name(), s.ordinal); err != nil {
			return err
		}
	}
	return a.markCopies(change)
}

// markCopies marks those of the new run that nobody needs: their object died
// meanwhile, or stays where it was.
func (a *assembly) markCopies(change *refcount.MarksChange) error {
	if a.run == nil {
		return nil
	}
	for i := range a.run.Len() {
		row := a.run.Row(i)
		if a.made[a.run.Segment(int(row.Segment)).Name] && a.original(row.ID) == nil {
			if err := change.MarkDead(a.run.Name(), uint32(i)); err != nil {
				return err
			}
		}
	}
	return nil
}

// putCounts uploads a table of the counts that have changed, and returns the
// list.
func (a *assembly) putCounts(ctx context.Context) ([]repo.TableRef, error) {
	if !a.counts.Changed() && !a.anew {
		return a.state.Counts, nil
	}
	name, err := refcount.NewTableName(a.repo.Random())
	if err != nil {
		return nil, err
	}
	var table refcount.Table
	if !a.anew {
		table = a.counts.Delta(name)
	}
	list := append(slices.Clone(a.state.Counts), table.Ref)
	if a.anew || refcount.NeedsBase(a.state.Counts, table.Ref.Size) {
		var data bytes.Buffer
		ref, err := a.counts.WriteBase(&data, name)
		if err != nil {
			return nil, err
		}
		table, list = refcount.Table{Ref: ref, Data: data.Bytes()}, []repo.TableRef{ref}
	}
	return list, a.putTable(ctx, table)
}

// putSpace uploads a table of what becomes of the segments, and returns the
// list.
func (a *assembly) putSpace(ctx context.Context) ([]repo.TableRef, error) {
	if len(a.usage) == 0 && len(a.victims) == 0 && !a.anew {
		return a.state.Space, nil
	}
	change, err := a.spaceChange(ctx)
	if err != nil {
		return nil, err
	}
	name, err := refcount.NewTableName(a.repo.Random())
	if err != nil {
		return nil, err
	}
	if len(a.state.Space) > 0 && !a.anew {
		table, err := change.Delta(ctx, name)
		if err != nil {
			return nil, damaged(err)
		}
		if !refcount.NeedsBase(a.state.Space, table.Ref.Size) {
			return append(slices.Clone(a.state.Space), table.Ref), a.putTable(ctx, table)
		}
	}
	table, err := change.Base(ctx, name)
	if err != nil {
		return nil, damaged(err)
	}
	return []repo.TableRef{table.Ref}, a.putTable(ctx, table)
}

func (a *assembly) spaceChange(ctx context.Context) (*refcount.SpaceChange, error) {
	change := a.space.Change()
	gone := map[refcount.Key]bool{}
	keys := make([]refcount.Key, 0, len(a.victims))
	for _, s := range a.victims {
		gone[s.usage.Key] = true
		keys = append(keys, s.usage.Key)
	}
	for key, u := range a.usage {
		if gone[key] {
			continue
		}
		if err := change.Put(u); err != nil {
			return nil, err
		}
	}
	there, err := a.space.Get(ctx, keys)
	if err != nil {
		return nil, damaged(err)
	}
	for key := range there {
		change.Remove(key)
	}
	for _, out := range a.copier.outputs {
		if !a.made[out.segment.Name] {
			continue
		}
		var live uint64
		for i := range out.header.Objects {
			if o := &out.header.Objects[i]; a.original(o.ID) != nil {
				live += uint64(o.Length)
			}
		}
		if err := change.Put(usageOf(&out.segment, live)); err != nil {
			return nil, err
		}
	}
	return change, nil
}

// name condemns what goes.
func (a *assembly) name() {
	names := slices.Clone(a.orphans)
	for _, s := range a.victims {
		names = append(names, segmentName(s.Name))
	}
	for part := range a.removed {
		names = append(names, repo.RunName(a.runs[part].Name()))
	}
	stays := map[repo.TableRef]bool{}
	for _, ref := range slices.Concat(a.clean.Marks, a.clean.Counts, a.clean.Space) {
		stays[ref] = true
	}
	for _, ref := range slices.Concat(a.state.Marks, a.state.Counts, a.state.Space) {
		if !stays[ref] {
			names = append(names, repo.TableName(ref.Name))
		}
	}
	slices.SortFunc(names, repo.Name.Compare)
	a.clean.Condemned = slices.Compact(names)
}

// op returns the clean as an op.
func (a *assembly) op() (repo.Op, error) {
	op, err := repo.NewOp(repo.OpClean, &a.clean)
	if err != nil {
		return op, fmt.Errorf("clean: %w", err)
	}
	return op, nil
}
