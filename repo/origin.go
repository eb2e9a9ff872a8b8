package repo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/refcount"
	"bluesky/store"

	"github.com/RoaringBitmap/roaring/v2"
)

// A cleaner signs runs, and holds no key by which objects can be made. So each
// row of a run of a clean is a copy of one that was visible before it. Who commits
// a clean is held to that by assertClean; who reads one that another program has
// committed looks himself, as far as he still has what was visible: else a cleaner
// could make writers believe that they need not store something.

// An origin is what was registered before a clean, for the runs that it has
// made. It is not part of the state: a checkpoint does not have it.
type origin struct {
	runs  []Run
	marks []TableRef
	depth int // of origins that lead to this one
}

// originsMax is the most cleans in a row that are looked behind. Who sees one
// more at once has not much left of what was there before.
const originsMax = 4

// originOf returns what s has registered.
func originOf(s *State) *origin {
	o := &origin{runs: s.Runs[:len(s.Runs):len(s.Runs)], marks: s.Marks}
	for i := range o.runs {
		if from := o.runs[i].origin; from != nil {
			o.depth = max(o.depth, from.depth+1)
		}
	}
	if o.depth < originsMax {
		return o
	}
	o.runs, o.depth = slices.Clone(o.runs), 0
	for i := range o.runs {
		switch from := o.runs[i].origin; {
		case from == nil:
		case from.depth+1 >= originsMax:
			o.runs[i].origin = nil
		default:
			o.depth = max(o.depth, from.depth+1)
		}
	}
	return o
}

// judgeFetched judges the runs of cleans that this machine has not had before, as
// parts of s. It needs r.mu.
func (r *Repo) judgeFetched(ctx context.Context, s *State, parts []index.Part) {
	for i := range s.Runs {
		run := &s.Runs[i]
		if !r.fetched[run.Name] {
			continue
		}
		at := slices.IndexFunc(parts, func(p index.Part) bool { return p.Run.Name() == run.Name })
		if at < 0 {
			continue // passed over
		}
		r.judge(ctx, run, &parts[at])
		parts[at].Dead = r.withInvented(run.Name, parts[at].Dead)
		delete(r.fetched, run.Name)
	}
}

// keepTables forgets the tables that are no marks of s. It needs r.mu.
func (r *Repo) keepTables(s *State) {
	maps.DeleteFunc(r.tables, func(name refcount.TableName, _ []byte) bool {
		return !slices.ContainsFunc(s.Marks, func(ref TableRef) bool { return ref.Name == name })
	})
}

// judge looks for visible rows in a run of a clean, as part of a newer state, that
// are copies of none which was visible before, and makes them absent from now on.
// It needs r.mu.
func (r *Repo) judge(ctx context.Context, registered *Run, part *index.Part) {
	was, known := r.originals(ctx, registered.origin)
	if !known {
		return
	}
	now := index.New([]index.Part{*part}, nil)
	invented := roaring.New()
	for i := range part.Run.Len() {
		if row := part.Run.Row(i); now.Shows(0, i) && !isCopy(was, &row) {
			invented.AddInt(i)
		}
	}
	if invented.IsEmpty() {
		return
	}
	name := part.Run.Name()
	r.invented[name] = invented
	r.problem(fmt.Errorf("run %s, which a cleaner made for generation %d, shows %d objects that were not there before: "+
		"they are not believed, and the cleaner key may be in wrong hands", name, registered.Generation, invented.GetCardinality()))
	r.problem(r.writeInvented(name, invented))
}

// originals returns what was visible in from, as far as is known: not if a run is
// needed that this machine does not have.
func (r *Repo) originals(ctx context.Context, from *origin) (*index.Index, bool) {
	parts, known := r.originalParts(ctx, nil, from)
	if !known {
		return nil, false
	}
	return index.New(parts, nil), true
}

// originalParts adds the runs of from to parts; in place of one that is not at
// hand, those that it was made from.
func (r *Repo) originalParts(ctx context.Context, parts []index.Part, from *origin) (_ []index.Part, known bool) {
	if from == nil {
		return nil, false
	}
	first := len(parts)
	for i := range from.runs {
		run := &from.runs[i]
		if opened := r.atHand(ctx, run); opened != nil {
			parts = append(parts, index.Part{Run: opened, At: run.Generation, Cleaned: run.Cleaned})
		}
	}
	r.markOriginals(ctx, from, parts[first:])
	for i := range from.runs {
		run := &from.runs[i]
		if slices.ContainsFunc(parts[first:], func(p index.Part) bool { return p.Run.Name() == run.Name }) {
			continue
		}
		if parts, known = r.originalParts(ctx, parts, run.origin); !known {
			return nil, false
		}
	}
	return parts, true
}

// atHand returns a run that is open or in the cache, nil if it is neither.
func (r *Repo) atHand(ctx context.Context, run *Run) *index.Run {
	if opened := r.runs[run.Name]; opened != nil {
		return opened
	}
	cached, err := r.CachedRun(ctx, *run)
	if err != nil {
		return nil
	}
	return cached
}

// markOriginals marks what was absent in parts, the runs of from that are at hand.
// Where the marks are not, what is dead counts as visible, too.
func (r *Repo) markOriginals(ctx context.Context, from *origin, parts []index.Part) {
	marks := r.knownMarks(ctx, from, parts)
	for i := range parts {
		name := parts[i].Run.Name()
		of := marks.Of(name)
		parts[i].Dead, parts[i].Gone = r.withInvented(name, of.DeadRows()), of.GoneSegments()
	}
}

// knownMarks returns the marks of parts, none if they are not at hand.
func (r *Repo) knownMarks(ctx context.Context, from *origin, parts []index.Part) *refcount.Marks {
	shapes := refcount.Shapes{}
	for i := range parts {
		shapes[parts[i].Run.Name()] = refcount.ShapeOf(parts[i].Run)
	}
	nowhere := func(context.Context) ([]byte, error) { return nil, store.ErrNotFound }
	tables := make([]refcount.Table, len(from.marks))
	for i, ref := range from.marks {
		data := r.tables[ref.Name]
		if data == nil {
			var err error
			if data, err = r.readTable(ctx, ref, nowhere); err != nil {
				return new(refcount.Marks)
			}
		}
		tables[i] = refcount.Table{Ref: ref, Data: data}
	}
	marks, err := refcount.LoadMarks(r.config.ID, tables, shapes)
	if err != nil {
		return new(refcount.Marks)
	}
	return marks
}

// withInvented adds the rows of a run that are not believed to those that are
// dead, which may be nil. It needs r.mu.
func (r *Repo) withInvented(name index.RunName, dead *roaring.Bitmap) *roaring.Bitmap {
	invented := r.invented[name]
	switch {
	case invented == nil:
		return dead
	case dead == nil:
		return invented
	}
	return roaring.Or(invented, dead)
}

// The rows of a run that are not believed stand in a file of the state folder,
// 4 bytes each: what they were compared with does not stay for long.

func (r *Repo) inventedPath(name index.RunName) string {
	return filepath.Join(r.options.StateDir, "invented-"+name.String())
}

func (r *Repo) writeInvented(name index.RunName, rows *roaring.Bitmap) error {
	if r.options.StateDir == "" {
		return nil
	}
	var data []byte
	for _, row := range rows.ToArray() {
		data = binary.LittleEndian.AppendUint32(data, row)
	}
	err := os.MkdirAll(r.options.StateDir, 0o700)
	if err == nil {
		err = writePrivate(r.inventedPath(name), data)
	}
	if err != nil {
		return fmt.Errorf("what is not believed of run %s cannot be written down, and will be believed the next time: %w", name, err)
	}
	return nil
}

// readInvented reads what an earlier process did not believe of a run.
func (r *Repo) readInvented(name index.RunName) {
	if r.options.StateDir == "" {
		return
	}
	data, err := os.ReadFile(r.inventedPath(name))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err == nil && len(data)%4 != 0 {
		err = fmt.Errorf("%w: %d bytes", object.ErrCorrupt, len(data))
	}
	if err != nil {
		r.problem(fmt.Errorf("what is not believed of run %s cannot be read, and is believed now: %w", name, err))
		return
	}
	rows := roaring.New()
	for ; len(data) > 0; data = data[4:] {
		rows.Add(binary.LittleEndian.Uint32(data))
	}
	r.invented[name] = rows
	r.problem(fmt.Errorf("%d objects that run %s shows are not believed: they were not there before a cleaner made it", rows.GetCardinality(), name))
}
