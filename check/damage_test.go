package check

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
	"bluesky/tree"
)

// An edit damages the bytes of one file; nil removes it.
type edit func(data []byte) []byte

func flip(at func(data []byte) int) edit {
	return func(data []byte) []byte { data[at(data)] ^= 0x10; return data }
}

func at(n int) func([]byte) int      { return func([]byte) int { return n } }
func fromEnd(n int) func([]byte) int { return func(data []byte) int { return len(data) - n } }
func middle(data []byte) int         { return len(data) / 2 }
func cut(n int) edit                 { return func(data []byte) []byte { return data[:len(data)-n] } }
func half(data []byte) []byte        { return data[:len(data)/2] }
func empty([]byte) []byte            { return []byte{} }
func remove([]byte) []byte           { return nil }
func longer(data []byte) []byte      { return append(data, 0) }
func firstObject(data []byte) int    { return headOf(data).objectAt(0) }
func lastObject(data []byte) int     { h := headOf(data); return h.objectAt(len(h.Objects) - 1) }

type head struct{ *pack.Header }

func headOf(data []byte) head {
	p, err := pack.DecodePrelude(data, int64(len(data)))
	if err != nil {
		panic(err) // a segment of the fixture
	}
	h, err := pack.DecodeHeader(data[:p.HeadSize()], int64(len(data)))
	if err != nil {
		panic(err)
	}
	return head{h}
}

func (h head) objectAt(i int) int { return int(h.Objects[i].Offset) + int(h.Objects[i].Length)/2 }

// What the levels see: default, default with the key, read data, read data with
// the key.
type seen [4]bool

var (
	always   = seen{true, true, true, true}
	never    = seen{}
	byReads  = seen{false, false, true, true}
	byOpens  = seen{false, true, true, true} // or by reading everything
	withKeys = seen{false, true, false, true}
)

// TestDamage damages one file of each kind in every way, and asks that each
// level that can see it does, and names what is damaged.
func TestDamage(t *testing.T) {
	short, long := newFixture(t), newLongFixture(t)
	f := short
	first := func(prefix string) string { return f.names(prefix)[0] }
	data, meta := f.segmentsOf(object.ClassData)[0], f.segmentsOf(object.ClassMeta)[0]
	gen := repo.GenerationKey
	head := uint64(len(long.names("gen/")) - 1)

	tests := []struct {
		name    string
		key     string
		edit    edit
		seen    seen
		subject string // the key if empty
	}{
		{"generation flipped before the checkpoint", gen(5), flip(middle), always, ""},
		{"generation flipped behind the checkpoint", gen(head - 1), flip(middle), always, ""},
		{"generation's signature flipped", gen(5), flip(fromEnd(3)), always, ""},
		{"newest generation flipped", gen(head), flip(middle), always, ""},
		{"generation cut", gen(5), cut(1), always, ""},
		{"generation emptied", gen(5), empty, always, ""},
		{"generation longer", gen(5), longer, always, ""},
		{"generation removed before the checkpoint", gen(5), remove, always, ""},
		{"generation removed behind the checkpoint", gen(head - 1), remove, always, ""},
		{"generation of the checkpoint removed", gen(64), remove, always, ""},

		{"checkpoint flipped", long.names("state/")[0], flip(middle), always, ""},
		{"checkpoint cut", long.names("state/")[0], half, always, ""},
		{"checkpoint removed", long.names("state/")[0], remove, always, ""},

		{"run's prelude flipped", first("idx/"), flip(at(20)), always, ""},
		{"run's segment table flipped", first("idx/"), flip(at(64 + 40)), always, ""},
		{"run's row flipped", first("idx/"), flip(fromEnd(40)), always, ""},
		{"run's trailer flipped", first("idx/"), flip(fromEnd(1)), always, ""},
		{"run cut", first("idx/"), cut(64), always, ""},
		{"run longer", first("idx/"), longer, always, ""},
		{"run emptied", first("idx/"), empty, always, ""},
		{"run removed", first("idx/"), remove, always, ""},

		{"data prelude flipped", data, flip(at(0)), always, ""},
		{"data header flipped", data, flip(at(pack.PreludeSize + 30)), always, ""},
		{"data segment cut", data, cut(1), always, ""},
		{"data segment halved", data, half, always, ""},
		{"data segment emptied", data, empty, always, ""},
		{"data segment longer", data, longer, always, ""},
		{"data segment removed", data, remove, always, ""},
		{"first block flipped", data, flip(firstObject), byReads, ""},
		{"last block flipped", data, flip(lastObject), byReads, ""},
		{"data trailer flipped", data, flip(fromEnd(1)), byReads, ""},

		{"metadata prelude flipped", meta, flip(at(0)), always, ""},
		{"metadata header flipped", meta, flip(at(pack.PreludeSize + 30)), always, ""},
		{"metadata segment halved", meta, half, always, ""},
		{"metadata segment removed", meta, remove, always, ""},
		{"first metadata object flipped", meta, flip(firstObject), byOpens, "*"},
		{"last metadata object flipped", meta, flip(lastObject), byOpens, "*"},
		{"metadata trailer flipped", meta, flip(fromEnd(1)), byReads, ""},

		{"key slot's form flipped", first("keys/"), flip(at(0)), always, ""},
		{"key slot cut", first("keys/"), cut(1), always, ""},
		{"key slot's info flipped", first("keys/"), flip(fromEnd(3)), withKeys, ""},
		{"key slot's salt flipped", first("keys/"), flip(at(10)), never, ""}, // its password alone tells
		{"only key slot removed", first("keys/"), remove, always, "keys/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := short.copy()
			if strings.HasPrefix(tt.key, "gen/") || strings.HasPrefix(tt.key, "state/") {
				d = long.copy()
			}
			d.put(tt.key, tt.edit(d.read(tt.key)))
			for i, l := range levels {
				if tt.seen == always && (i == 1 || i == 2) {
					continue // what the first level sees, all see
				}
				r, err := d.check(t, l)
				if err != nil {
					t.Errorf("%s: %v", l.name, err)
					continue
				}
				if got := !r.OK(); got != tt.seen[i] {
					t.Errorf("%s: damage seen is %v, want %v\n%s", l.name, got, tt.seen[i], describe(r))
				}
				subject := tt.subject
				if subject == "" {
					subject = tt.key
				}
				if tt.seen[i] && subject != "*" && !slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Subject == subject }) {
					t.Errorf("%s: no problem names %s\n%s", l.name, subject, describe(r))
				}
			}
		})
	}
}

// TestHeadRemoved: the newest generation is missed by those who have seen it.
func TestHeadRemoved(t *testing.T) {
	f := newFixture(t)
	state := t.TempDir()
	look := func() Report {
		r, err := repo.Open(t.Context(), f.store(t), repo.Options{StateDir: state})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.Refresh(t.Context()); err != nil && !errors.Is(err, repo.ErrRollback) {
			t.Fatal(err)
		}
		report, err := Run(t.Context(), r, nil, Options{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return report
	}
	if r := look(); !r.OK() || r.Identity {
		t.Fatalf("first use: identity %v\n%s", r.Identity, describe(r))
	}
	if r := look(); !r.OK() || !r.Identity {
		t.Fatalf("before: identity %v\n%s", r.Identity, describe(r))
	}
	gens := f.names("gen/")
	f.put(gens[len(gens)-1], nil)
	r := look()
	if r.OK() || !strings.Contains(describe(r), repo.ErrRollback.Error()) {
		t.Errorf("a rollback was not seen:\n%s", describe(r))
	}
}

// TestForeignAndOrphans: what nobody names is a note.
func TestForeignAndOrphans(t *testing.T) {
	f := newFixture(t)
	name := strings.Repeat("ab", 16)
	for key, prune := range map[string]bool{
		"seg/ab/" + name: true, "idx/" + name: true, "state/" + name: true, "cnt/" + name: true,
		"seg/cd/" + name: false, "seg/" + name: false, "gen/12": false, "notes.txt": false, "keys/x": false,
		"seg/ab/" + name[1:] + "x": false, "state/" + name + "/x": false,
	} {
		t.Run(key, func(t *testing.T) {
			d := f.copy()
			d.put(key, []byte("x"))
			for _, l := range levels {
				r, err := d.check(t, l)
				if err != nil {
					t.Fatal(err)
				}
				if !r.OK() || len(r.Problems) != 1 || r.Problems[0].Severity != Note || r.Problems[0].Subject != key {
					t.Errorf("%s: want one note on %s, got\n%s", l.name, key, describe(r))
				}
				if r.SuggestPrune != prune {
					t.Errorf("%s: suggests prune: %v", l.name, r.SuggestPrune)
				}
			}
		})
	}
}

// TestStrangeSlot: a slot that is right and does not belong to the key is what
// an interrupted init leaves behind.
func TestStrangeSlot(t *testing.T) {
	f := newFixture(t)
	other := makeFixture(t, 2, 0)
	slot := other.names("keys/")[0]
	data := other.read(slot)
	key := "keys/" + strings.Repeat("12", 16)
	f.put(key, data)
	for _, l := range levels {
		r, err := f.check(t, l)
		if err != nil {
			t.Fatal(err)
		}
		if !r.OK() {
			t.Errorf("%s: errors\n%s", l.name, describe(r))
		}
		if want := map[bool]int{true: 1}[l.keyed]; r.Warnings != want {
			t.Errorf("%s: %d warnings, want %d\n%s", l.name, r.Warnings, want, describe(r))
		}
	}
}

// TestAffectedFiles flips a byte in every object in turn and compares the files
// that the check names with those that a walk of all trees finds.
func TestAffectedFiles(t *testing.T) {
	f := newFixture(t)
	users := f.users(t)
	for _, key := range f.names("seg/") {
		h := headOf(f.read(key))
		for i := range h.Objects {
			o := h.Objects[i]
			if i%9 != 0 && o.Kind != object.KindList && o.Kind != object.KindImap {
				continue // enough of the others
			}
			d := f.copy()
			data := d.read(key)
			data[h.objectAt(i)] ^= 1
			d.put(key, data)
			l := levels[3]
			if o.Kind != object.KindBlock && i%2 == 0 {
				l = levels[1]
			}
			r, err := d.check(t, l)
			if err != nil {
				t.Fatal(err)
			}
			if r.Errors == 0 {
				t.Errorf("%s %s: not seen at level %s", o.Kind, o.ID.Short(), l.name)
				continue
			}
			var got []string
			for _, p := range r.Problems {
				got = append(got, p.Files...)
			}
			if want := users.of(o.ID); o.Kind == object.KindBlock || o.Kind == object.KindList {
				slices.Sort(got)
				if !slices.Equal(slices.Compact(got), want) {
					t.Errorf("%s %s: files %q, want %q\n%s", o.Kind, o.ID.Short(), got, want, describe(r))
				}
			} else if o.Kind != object.KindSnapshot && len(got) == 0 {
				t.Errorf("%s %s: no files named\n%s", o.Kind, o.ID.Short(), describe(r))
			}
			if len(snapshotsOf(r)) == 0 {
				t.Errorf("%s %s: no snapshot named\n%s", o.Kind, o.ID.Short(), describe(r))
			}
			if len(r.BrokenSegments) != 1 || r.BrokenSegments[0].Key() != key {
				t.Errorf("%s %s: broken segments %v, want %s", o.Kind, o.ID.Short(), r.BrokenSegments, key)
			}
		}
	}
}

func snapshotsOf(r Report) []object.ID {
	var all []object.ID
	for _, p := range r.Problems {
		all = append(all, p.Snapshots...)
	}
	return all
}

// users are the paths that use each block and list.
type users map[object.ID]map[string]bool

func (u users) of(id object.ID) []string {
	var paths []string
	for path := range u[id] {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	return paths
}

func (f *fixture) users(t *testing.T) users {
	t.Helper()
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u := users{}
	for _, snap := range state.Snapshots {
		source := &noting{seal.NewReader(r, f.keys), nil}
		m := tree.OpenMap(source, f.keys, tree.Params(r.Config().Tree), snap.Root)
		err := tree.Walk(t.Context(), m, func(path []string, in *tree.Inode) error {
			name := "/" + strings.Join(path, "/")
			source.lists = nil
			for e, err := range m.Content(t.Context(), in) {
				if err != nil {
					return err
				}
				source.lists = append(source.lists, e.Block)
			}
			for _, id := range source.lists {
				if u[id] == nil {
					u[id] = map[string]bool{}
				}
				u[id][name] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return u
}

// noting remembers the lists that were read.
type noting struct {
	*seal.Reader
	lists []object.ID
}

func (n *noting) Object(ctx context.Context, id object.ID, kind object.Kind) ([]object.ID, []byte, error) {
	if kind == object.KindList {
		n.lists = append(n.lists, id)
	}
	return n.Reader.Object(ctx, id, kind)
}

// TestKeylessNamesSnapshots: without the key the ids and the snapshots are
// known, and no files.
func TestKeylessNamesSnapshots(t *testing.T) {
	f := newFixture(t)
	key := f.segmentsOf(object.ClassData)[0]
	f.put(key, nil)
	r, err := f.check(t, levels[0])
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Problems) != 1 || len(r.Problems[0].Snapshots) == 0 || len(r.Problems[0].Files) > 0 {
		t.Errorf("want one problem with snapshots and no files, got\n%s", describe(r))
	}
}

// TestUnreadable: a file that cannot be read is never called right.
func TestUnreadable(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	st, err := store.Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	f.fill(t, st)
	// Even root cannot read a link that leads to itself.
	path := filepath.Join(dir, filepath.FromSlash(f.segmentsOf(object.ClassData)[0]))
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, path); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup // reads are repeated with pauses between
	for _, l := range levels {
		all.Go(func() {
			r, err := f.checkIn(t, st, l)
			if err == nil && r.OK() {
				t.Errorf("%s: called right", l.name)
			}
		})
	}
	all.Wait()
}

// TestOtherCopy damages one of two copies of each block of a segment: that is an
// error of the segment, and no file is lost until the other one is damaged too.
func TestOtherCopy(t *testing.T) {
	f := newFixture(t)
	first := f.segmentsOf(object.ClassData)[0]
	second := f.copyBlocks(t, first)
	l := levels[3]
	for _, gone := range []string{first, second} {
		d := f.copy()
		d.put(gone, nil)
		r, err := d.check(t, l)
		if err != nil {
			t.Fatal(err)
		}
		if r.Errors != 1 || len(r.Problems[0].Files) > 0 || len(r.Problems[0].Snapshots) > 0 {
			t.Errorf("%s removed: want one error and no files, got\n%s", gone, describe(r))
		}
	}
	f.put(first, nil)
	f.put(second, nil)
	r, err := f.check(t, l)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return len(p.Files) > 0 }) {
		t.Errorf("both removed: no files are named\n%s", describe(r))
	}
}

// copyBlocks stores the blocks of a segment again, as a writer does that lost a
// race, and returns the key of the segment with the copies.
func (f *fixture) copyBlocks(t *testing.T, key string) string {
	t.Helper()
	before := f.names("seg/")
	st := f.store(t)
	r, err := repo.Open(t.Context(), st, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := r.Begin(t.Context(), f.keys.Writer())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	sealer := f.keys.NewSealer(s.ID(), seal.SealerOptions{})
	for _, o := range headOf(f.read(key)).Objects {
		_, payload, err := seal.NewReader(r, f.keys).Object(t.Context(), o.ID, o.Kind)
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := sealer.Seal(o.ID, o.Kind, nil, payload)
		if err == nil {
			err = s.Add(sealed, f.keys.NewSession(s.ID(), o.Kind.Class()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.AddRun(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.bucket = st
	f.files = f.dump(t)
	added := slices.DeleteFunc(f.names("seg/"), func(key string) bool { return slices.Contains(before, key) })
	if len(added) != 1 {
		t.Fatalf("%d segments were added", len(added))
	}
	return added[0]
}
