package repo

import (
	"slices"
	"strings"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/refcount"
)

// An inventor holds the cleaner's key, and commits cleans as it likes.
type inventor struct {
	*testing.T
	f    *faulty
	next byte
}

// clean merges all runs into one, whose rows edit may change, and deletes the old
// ones. Dead are to be marked in the new run.
func (v *inventor) clean(edit func(rows []index.Row) []index.Row, dead ...object.ID) index.RunName {
	v.Helper()
	r := open(v, v.f.open(v), Options{})
	s := refresh(v, r)
	view, err := r.Index(v.Context(), s)
	if err != nil {
		v.Fatal(err)
	}
	b, ordinals := index.Builder{}, map[string]uint32{}
	for seg := range view.Segments() {
		if ordinals[seg.Name.String()], err = b.Keep(s.Repository, seg); err != nil {
			v.Fatal(err)
		}
	}
	var rows []index.Row
	for l := range view.Rows() {
		l.Row.Segment = ordinals[l.Segment.Name.String()]
		rows = append(rows, l.Row)
	}
	for _, row := range edit(rows) {
		b.KeepRow(row, row.Segment)
	}
	v.next++
	name := index.RunName{0xbb, v.next}
	data, hash, err := b.Encode(s.Repository, name)
	if err != nil {
		v.Fatal(err)
	}
	v.f.Objects.Set(name.Key(), data)
	clean := Clean{Fold: s.Generation, Pending: s.Unfinished(), Counts: s.Counts, Runs: []AddRun{{Name: name, Size: uint64(len(data)), Hash: hash}}}
	for _, run := range s.Runs {
		clean.Condemned = append(clean.Condemned, RunName(run.Name))
	}
	for _, ref := range s.Marks {
		clean.Condemned = append(clean.Condemned, TableName(ref.Name))
	}
	if len(dead) > 0 {
		clean.Marks = []TableRef{v.marks(data, name, dead)}
	}
	slices.SortFunc(clean.Condemned, Name.Compare)
	l := &log{v, s}
	v.f.Objects.Set(GenerationKey(s.Generation+1), l.encode(cleaner, nil, plainOp(v, OpClean, &clean)))
	for _, condemned := range clean.Condemned {
		v.f.Objects.Remove(condemned.Key())
	}
	return name
}

// marks stores a table that marks the rows of ids dead.
func (v *inventor) marks(data []byte, name index.RunName, ids []object.ID) TableRef {
	v.Helper()
	run, err := index.Decode(data, testConfig().ID, name)
	if err != nil {
		v.Fatal(err)
	}
	marks, err := refcount.LoadMarks(testConfig().ID, nil, refcount.Shapes{name: refcount.ShapeOf(run)})
	if err != nil {
		v.Fatal(err)
	}
	change := marks.Change()
	for i := range run.Len() {
		if slices.Contains(ids, run.Row(i).ID) {
			if err := change.MarkDead(name, uint32(i)); err != nil {
				v.Fatal(err)
			}
		}
	}
	table := change.Base(refcount.TableName{0xbb, v.next}, nil)
	v.f.Objects.Set(table.Ref.Name.Key(), table.Data)
	return table.Ref
}

// TestInventedRows: a cleaner registers a run with rows of which there were no
// originals. A client that has what was there before believes none of them, stores
// such objects itself, and says so, also in the next process; one that has not
// cannot tell.
func TestInventedRows(t *testing.T) {
	was := func(rows []index.Row) []index.Row { return rows }
	first := func(edit func(*index.Row)) func([]index.Row) []index.Row {
		return func(rows []index.Row) []index.Row { edit(&rows[0]); return rows }
	}
	unseen := object.ID{0xee}
	tests := []struct {
		name string
		edit func([]index.Row) []index.Row
		want int // rows that are not believed
	}{
		{"an honest merge", was, 0},
		{"fewer rows", func(rows []index.Row) []index.Row { return rows[1:] }, 0},
		{"an id that was not there", func(rows []index.Row) []index.Row {
			row := rows[0]
			row.ID = unseen
			return append(rows, row)
		}, 1},
		{"an id of another sum", first(func(r *index.Row) { r.Sum[0] ^= 1 }), 1},
		{"an id of another length", first(func(r *index.Row) { r.Length-- }), 1},
		{"all", func(rows []index.Row) []index.Row {
			for i := range rows {
				rows[i].ID[0] ^= 0x80
			}
			return rows
		}, 6},
	}
	for _, cached := range []bool{true, false} {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				_, f := newRepo(t)
				options := Options{StateDir: t.TempDir()}
				if cached {
					options.CacheDir = t.TempDir()
				}
				client := open(t, f.open(t), options)
				backUp(t, client, 1)
				before := backUp(t, client, 2)
				if _, err := client.Index(t.Context(), before); err != nil {
					t.Fatal(err)
				}
				v := inventor{T: t, f: f}
				run := v.clean(tt.edit)
				wantDoubted(t, client, run, tt.want)
				if cached {
					wantDoubted(t, open(t, f.open(t), options), run, tt.want)
				}
				// As an honest merge of that has no more to hide, who was there still knows.
				run = v.clean(was)
				wantDoubted(t, client, run, tt.want)
				wantDoubted(t, open(t, f.open(t), Options{}), run, 0)
				if tt.want > 0 {
					s := begin(t, client)
					row := client.OpenRun(run)
					for i := range row.Len() {
						if id := row.Row(i).ID; !client.view.index.Has(id) && !s.Claim(id) {
							t.Errorf("object %s is believed to be there", id.Short())
						}
					}
				}
			})
		}
	}
}

// wantDoubted checks how many rows of a run r does not believe.
func wantDoubted(t *testing.T, r *Repo, name index.RunName, want int) {
	t.Helper()
	problems := len(r.Problems())
	_, view, err := r.Current(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := r.OpenRun(name)
	if got := run.Len() - view.Len(); got != want {
		t.Errorf("%d of %d rows are not believed, want %d", got, run.Len(), want)
	}
	said := r.Problems()[problems:]
	if (len(said) > 0) != (want > 0) || want > 0 && !strings.Contains(said[0].Error(), "not believed") {
		t.Errorf("problems %v", said)
	}
}

// TestResurrectedRow: a row that was marked dead comes back by a clean. The object
// may be anywhere, or nowhere, so nobody who knows believes it.
func TestResurrectedRow(t *testing.T) {
	for _, cached := range []bool{true, false} {
		_, f := newRepo(t)
		options := Options{StateDir: t.TempDir()}
		if cached {
			options.CacheDir = t.TempDir()
		}
		client := open(t, f.open(t), options)
		dead := backUp(t, client, 1).Snapshots[0].ID
		v := inventor{T: t, f: f}
		var kept index.Row
		v.clean(func(rows []index.Row) []index.Row {
			kept = rows[slices.IndexFunc(rows, func(r index.Row) bool { return r.ID == dead })]
			return rows
		}, dead)
		wantDead := func(what string) {
			t.Helper()
			_, view, err := client.Current(t.Context())
			if err != nil || view.Has(dead) {
				t.Fatalf("%s: %v; a dead object is visible", what, err)
			}
		}
		wantDead("marked")
		if len(client.Problems()) > 0 {
			t.Errorf("problems %v", client.Problems())
		}
		run := v.clean(func(rows []index.Row) []index.Row { return append(rows, kept) })
		wantDead("resurrected")
		if len(client.Problems()) != 1 {
			t.Errorf("problems %v", client.Problems())
		}
		if _, view, err := open(t, f.open(t), Options{}).Current(t.Context()); err != nil || !view.Has(dead) {
			t.Errorf("%v; this shows nothing: run %s does not bring the row back", err, run)
		}
	}
}

// TestOriginsAreBounded: however many cleans come in a row, few states of before
// are kept.
func TestOriginsAreBounded(t *testing.T) {
	_, f := newRepo(t)
	client := open(t, f.open(t), Options{})
	backUp(t, client, 1)
	v := inventor{T: t, f: f}
	for range 3 * originsMax {
		v.clean(func(rows []index.Row) []index.Row { return rows })
	}
	depth := 0
	for run := refresh(t, client).Runs[0]; run.origin != nil; run = run.origin.runs[0] {
		depth++
	}
	if depth != originsMax {
		t.Errorf("%d", depth)
	}
	for range 3 {
		v.clean(func(rows []index.Row) []index.Row { return rows })
		if _, _, err := client.Current(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
