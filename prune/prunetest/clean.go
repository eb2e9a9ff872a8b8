package prunetest

import (
	"bytes"
	"errors"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/refcount"
	"bluesky/repo"
	"bluesky/store"
)

// A cleaning is one clean in the making.
type cleaning struct {
	*World
	base    *repo.State
	runs    []*index.Run
	view    *index.Index
	op      repo.Clean
	after   repo.State // what will be visible, as far as counting asks
	dead    map[object.ID]bool
	change  *refcount.MarksChange
	headers Headers
	made    []*index.Run // for op.Runs
	edit    func(*Truth) // before tables are made of it; nil for none
}

func (w *World) newCleaning() *cleaning {
	w.T.Helper()
	c := &cleaning{World: w, dead: map[object.ID]bool{}, headers: Headers{W: w}}
	c.base, c.runs, c.view = w.View()
	c.after = *c.base
	c.op.Fold, c.op.Pending = c.base.Fold, c.base.Pending
	marks, err := w.Repo.Marks(w.T.Context(), c.base)
	w.must(err)
	c.change = marks.Change()
	return c
}

// Lie appends a clean that does nothing but to replace the tables by such as a
// broken cleaner would write. Mark may mark what it likes, edit change the counts
// that it takes for true; both may be nil.
func (w *World) Lie(mark func(*refcount.MarksChange), edit func(*Truth)) {
	w.T.Helper()
	c := w.newCleaning()
	c.edit = edit
	if mark != nil {
		mark(c.change)
	}
	c.commit()
}

// View returns the newest state with its runs and its index.
func (w *World) View() (*repo.State, []*index.Run, *index.Index) {
	w.T.Helper()
	s, x, err := w.Repo.Current(w.T.Context())
	w.must(err)
	runs := make([]*index.Run, len(s.Runs))
	for i := range runs {
		runs[i] = w.Repo.OpenRun(s.Runs[i].Name)
	}
	return s, runs, x
}

// Clean appends a clean of random extent: it may collect, expire, kill, merge
// runs, move what is live out of a segment, and delete, and it counts up to the
// newest generation or less.
func (w *World) Clean() {
	w.T.Helper()
	c := w.newCleaning()
	c.op.Fold = c.base.Generation
	if w.Rand.IntN(4) == 0 {
		c.op.Fold -= min(uint64(w.Rand.IntN(3)), c.base.Generation-c.base.Fold)
	}
	c.after.Fold = c.op.Fold
	c.collect()
	c.kill()
	c.condemnDead()
	if w.Rand.IntN(2) == 0 {
		c.rewrite()
	}
	c.commit()
	w.delete()
}

func (c *cleaning) commit() {
	c.T.Helper()
	c.tables()
	op, err := repo.NewOp(repo.OpClean, &c.op)
	c.must(err)
	c.append(c.Cleaner, op)
}

// counted reports whether part i is counted after the clean.
func (c *cleaning) counted(i int) bool {
	return c.base.Runs[i].Cleaned || c.base.Runs[i].Generation <= c.op.Fold
}

// collect takes some of the forgotten snapshots, and says which sessions go on.
func (c *cleaning) collect() {
	c.after.Forgotten = nil
	for _, f := range c.base.Forgotten {
		if f.Generation <= c.op.Fold && c.Rand.IntN(3) > 0 {
			c.op.Collected = append(c.op.Collected, f.ID)
		} else {
			c.after.Forgotten = append(c.after.Forgotten, f)
		}
	}
	slices.SortFunc(c.op.Collected, object.ID.Compare)
	c.op.Pending = c.base.Unfinished()
}

// killable reports whether rows of a segment may die.
func (c *cleaning) killable(part int, s *index.Segment) bool {
	return c.counted(part) && !c.base.IsUnfinished(s.Session)
}

// kill marks rows dead whose ids nothing refers to, most of them, and what only
// they refer to.
func (c *cleaning) kill() {
	truth := c.Tell(&c.after, c.runs, c.view, c.base.Generation)
	var queue []object.ID
	for id := range truth.Copies {
		if truth.Count[id] == 0 {
			queue = append(queue, id)
		}
	}
	slices.SortFunc(queue, object.ID.Compare)
	for len(queue) > 0 {
		id := queue[0]
		queue = queue[1:]
		mortal := c.Rand.IntN(5) > 0
		for _, at := range truth.Copies[id] {
			mortal = mortal && c.killable(at.Part, ptr(c.view.At(at.Part, at.Row).Segment))
		}
		if !mortal {
			continue
		}
		c.dead[id] = true
		for _, at := range truth.Copies[id] {
			c.must(c.change.MarkDead(c.runs[at.Part].Name(), uint32(at.Row)))
		}
		home := c.view.At(truth.Copies[id][0].Part, truth.Copies[id][0].Row)
		for _, ref := range c.headers.refs(home.Segment, home.Row) {
			if truth.Count[ref]--; truth.Count[ref] == 0 {
				queue = append(queue, ref)
			}
		}
	}
}

func ptr[T any](v T) *T { return &v }

// shows reports whether a row is visible after what was marked so far.
func (c *cleaning) shows(part, row int) bool {
	name := c.runs[part].Name()
	return c.view.Shows(part, row) && !c.change.Dead(name, uint32(row)) && !c.change.Gone(name, c.runs[part].Row(row).Segment)
}

// condemn takes a segment away.
func (c *cleaning) condemn(part, ordinal int) {
	c.must(c.change.MarkGone(c.runs[part].Name(), uint32(ordinal)))
	c.op.Condemned = append(c.op.Condemned, repo.SegmentName(c.runs[part].Segment(ordinal).Name))
}

// condemnDead condemns most of the segments without a visible row.
func (c *cleaning) condemnDead() {
	for i, run := range c.runs {
		left := make([]int, run.SegmentCount())
		for n := range run.Len() {
			if c.shows(i, n) {
				left[run.Row(n).Segment]++
			}
		}
		for n := range left {
			if s := c.view.Segment(i, n); c.view.ShowsSegment(i, n) && left[n] == 0 && c.killable(i, &s) && c.Rand.IntN(4) > 0 {
				c.condemn(i, n)
			}
		}
	}
}

// rewrite merges some counted runs into one, out of which dead rows are left, and
// moves what is live in some of their segments into new ones.
func (c *cleaning) rewrite() {
	b := &index.Builder{}
	var merged []int
	for i := range c.runs {
		if c.counted(i) && c.Rand.IntN(2) == 0 {
			merged = append(merged, i)
		}
	}
	for _, i := range merged {
		for n := range c.runs[i].SegmentCount() {
			s := c.view.Segment(i, n)
			switch {
			case !c.view.ShowsSegment(i, n) || c.change.Gone(c.runs[i].Name(), uint32(n)):
			case c.killable(i, &s) && c.Rand.IntN(3) == 0:
				c.move(b, i, n)
			default:
				c.keep(b, i, n, s)
			}
		}
		c.op.Condemned = append(c.op.Condemned, repo.RunName(c.runs[i].Name()))
	}
	if len(merged) == 0 {
		return
	}
	var name index.RunName
	copy(name[:], c.randomName())
	data, _, err := b.Encode(c.base.Repository, name)
	c.must(err)
	run, err := index.Decode(data, c.base.Repository, name)
	c.must(err)
	c.must(c.Repo.PutNamed(c.T.Context(), repo.RunName(name), data))
	c.op.Runs = append(c.op.Runs, repo.AddRun{Name: name, Size: uint64(len(data)), Hash: run.Hash()})
	c.made = append(c.made, run)
}

// keep takes over a segment with its visible rows.
func (c *cleaning) keep(b *index.Builder, part, ordinal int, s index.Segment) {
	at, err := b.Keep(c.base.Repository, s)
	c.must(err)
	for i := range c.runs[part].Len() {
		if row := c.runs[part].Row(i); int(row.Segment) == ordinal && c.shows(part, i) {
			b.KeepRow(row, at)
		}
	}
}

// move copies what is visible in a segment into a new one, and condemns it.
func (c *cleaning) move(b *index.Builder, part, ordinal int) {
	old := c.view.Segment(part, ordinal)
	h := c.headers.Of(old)
	out := pack.NewBuilder(c.base.Repository, old.Class, 1<<20)
	for i := range c.runs[part].Len() {
		row := c.runs[part].Row(i)
		if int(row.Segment) != ordinal || !c.shows(part, i) {
			continue
		}
		at, ok := h.Locate(row.ID, row.Offset)
		if !ok {
			c.T.Fatalf("segment %s: no object %s", old.Name, row.ID)
		}
		o, session, err := h.Read(c.T.Context(), c.Store, at)
		c.must(err)
		c.must(out.Add(o, session))
	}
	if out.Len() == 0 {
		c.condemnMerged(old.Name)
		return
	}
	var name pack.Name
	copy(name[:], c.randomName())
	made, err := out.Finish(name)
	c.must(err)
	c.must(c.Repo.PutNamed(c.T.Context(), repo.SegmentName(name), made.Bytes))
	c.must(b.AddSegment(index.SegmentOf(made, old.Session), made.Header))
	c.condemnMerged(old.Name)
}

// condemnMerged condemns a segment whose run goes too, so that no mark says so.
func (c *cleaning) condemnMerged(name pack.Name) {
	c.op.Condemned = append(c.op.Condemned, repo.SegmentName(name))
}

func (c *cleaning) randomName() []byte {
	id := c.id()
	return id[:16]
}

// tables writes marks, counts and space map of what the clean leaves.
func (c *cleaning) tables() {
	slices.SortFunc(c.op.Condemned, repo.Name.Compare)
	slices.SortFunc(c.op.Runs, func(a, b repo.AddRun) int { return bytes.Compare(a.Name[:], b.Name[:]) })
	gone := map[repo.Name]bool{}
	for _, name := range c.op.Condemned {
		gone[name] = true
	}
	stays := func(name index.RunName) bool { return !gone[repo.RunName(name)] }
	marks := c.change.Marks()
	var parts []index.Part
	var runs []*index.Run
	c.after.Runs = nil
	for i, run := range c.runs {
		if stays(run.Name()) {
			m := marks.Of(run.Name())
			parts = append(parts, index.Part{Run: run, At: c.base.Runs[i].Generation, Cleaned: c.base.Runs[i].Cleaned, Dead: m.DeadRows(), Gone: m.GoneSegments()})
			runs, c.after.Runs = append(runs, run), append(c.after.Runs, c.base.Runs[i])
		}
	}
	for i, run := range c.made {
		at := c.base.Generation + 1
		parts = append(parts, index.Part{Run: run, At: at, Cleaned: true})
		runs, c.after.Runs = append(runs, run), append(c.after.Runs, repo.Run{AddRun: c.op.Runs[i], Generation: at, Cleaned: true})
	}
	hidden := func(name pack.Name) bool { return gone[repo.SegmentName(name)] }
	view := index.New(parts, hidden)
	truth := c.Tell(&c.after, runs, view, c.op.Fold)
	if c.edit != nil {
		c.edit(truth)
	}

	counts, err := refcount.LoadCounts(c.base.Repository, nil, nil)
	c.must(err)
	for i, list := range truth.Runs {
		if list != nil {
			c.must(counts.AddRun(runs[i].Name(), list))
		}
	}
	space, err := refcount.OpenSpace(c.T.Context(), c.Store, c.base.Repository, nil)
	c.must(err)
	usage := space.Change()
	for _, s := range truth.Segments {
		c.must(usage.Put(refcount.Usage{
			Key: refcount.Key{RegisteredAt: s.RegisteredAt, Name: s.Name}, Size: uint32(s.Size),
			Body: uint32(s.Size) - pack.PreludeSize - s.HeaderLength - pack.TrailerSize, Live: truth.Live[s.Name], Class: s.Class,
		}))
	}
	c.replace(&c.op.Marks, c.base.Marks, c.change.Base(c.tableName(), stays))
	var data bytes.Buffer
	ref, err := counts.WriteBase(&data, c.tableName())
	c.must(err)
	c.replace(&c.op.Counts, c.base.Counts, refcount.Table{Ref: ref, Data: data.Bytes()})
	table, err := usage.Base(c.T.Context(), c.tableName())
	c.must(err)
	c.replace(&c.op.Space, c.base.Space, table)
	slices.SortFunc(c.op.Condemned, repo.Name.Compare)
}

func (c *cleaning) tableName() (n refcount.TableName) {
	copy(n[:], c.randomName())
	return n
}

// replace puts a table in the place of those before it.
func (c *cleaning) replace(list *[]repo.TableRef, before []repo.TableRef, table refcount.Table) {
	c.must(c.Repo.PutNamed(c.T.Context(), repo.TableName(table.Ref.Name), table.Data))
	*list = []repo.TableRef{table.Ref}
	for _, ref := range before {
		c.op.Condemned = append(c.op.Condemned, repo.TableName(ref.Name))
	}
}

// delete deletes some of what is condemned, and records most of it.
func (w *World) delete() {
	w.T.Helper()
	var names []repo.Name
	for name := range w.State().Condemned {
		names = append(names, name)
	}
	slices.SortFunc(names, repo.Name.Compare)
	var recorded []repo.Name
	for _, name := range names {
		if w.Rand.IntN(2) == 0 {
			if err := w.Store.Delete(w.T.Context(), name.Key()); !errors.Is(err, store.ErrNotFound) {
				w.must(err)
			}
			if w.Rand.IntN(3) > 0 {
				recorded = append(recorded, name)
			}
		}
	}
	if len(recorded) > 0 {
		op, err := repo.NewOp(repo.OpDeleted, &repo.Deleted{Names: recorded})
		w.must(err)
		w.append(w.Cleaner, op)
	}
}
