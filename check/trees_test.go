package check

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/tree"
)

// A sink seals into a session, whatever it is given.
type sink struct {
	keys    *seal.Keys
	session *repo.Session
	sealer  *seal.Sealer
}

func (s sink) Put(_ context.Context, kind object.Kind, refs []object.ID, payload []byte) (object.ID, error) {
	id := s.keys.ID(kind, refs, payload)
	if !s.session.Claim(id) {
		return id, nil
	}
	sealed, err := s.sealer.Seal(id, kind, refs, payload)
	if err != nil {
		return id, err
	}
	return id, s.session.Add(sealed, s.keys.NewSession(s.session.ID(), kind.Class()))
}

// files are the inodes of a snapshot by number, and the entries of those that
// are directories.
type files map[uint64]*file

type file struct {
	tree.Inode
	entries []tree.Entry
	data    string
}

func (f files) dir(number uint64, entries ...tree.Entry) {
	in := tree.Inode{Type: tree.TypeDir, Mode: 0o755}
	if number == tree.RootNumber {
		in.Marks = tree.MarkWaypoint
	}
	f[number] = &file{Inode: in, entries: entries}
}

func (f files) file(number uint64, data string) {
	f[number] = &file{Inode: tree.Inode{Type: tree.TypeFile, Links: 1, Size: uint64(len(data))}, data: data}
}

func entry(name string, number uint64, typ tree.Type) tree.Entry {
	return tree.Entry{Name: name, Number: number, Type: typ}
}

// goodTree returns "/a/", "/a/c/", "/a/b" and "/f".
func goodTree() files {
	f := files{}
	f.dir(1, entry("a", 2, tree.TypeDir), entry("f", 3, tree.TypeFile))
	f.dir(2, entry("b", 4, tree.TypeFile), entry("c", 5, tree.TypeDir))
	f.file(3, "three")
	f.file(4, "four")
	f.dir(5)
	return f
}

// add commits a snapshot of the tree in a session of its own. lie may change
// the record and the entry of the log.
func (f files) add(t *testing.T, r *repo.Repo, keys *seal.Keys, lie func(*tree.Snapshot, *repo.AddSnapshot)) {
	t.Helper()
	ctx := t.Context()
	session, err := r.Begin(ctx, keys.Writer())
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	s := sink{keys, session, keys.NewSealer(session.ID(), seal.SealerOptions{})}
	params := tree.Params(r.Config().Tree)
	m := tree.NewMapBuilder(s, keys, params)
	for number := range uint64(100) {
		in := f[number]
		if in == nil {
			continue
		}
		in.Number = number
		if in.Type == tree.TypeDir {
			if in.Root, err = tree.BuildDir(ctx, s, keys, params, in.entries); err != nil {
				t.Fatal(err)
			}
		}
		if in.data != "" {
			block, err := s.Put(ctx, object.KindBlock, nil, []byte(in.data))
			if err != nil {
				t.Fatal(err)
			}
			in.Extents = []tree.Extent{{Block: block, Length: in.Size}}
		}
		if err := m.Add(ctx, &in.Inode); err != nil {
			t.Fatal(err)
		}
	}
	root, err := m.Finish(ctx)
	if err != nil {
		t.Fatal(err)
	}
	record := tree.Snapshot{Root: root, Session: session.ID(), Next: 100, Host: "h", Paths: []string{"/a"}}
	add := repo.AddSnapshot{Root: root}
	if lie != nil {
		lie(&record, &add)
	}
	refs, payload, err := tree.EncodeSnapshot(&record)
	if err != nil {
		t.Fatal(err)
	}
	if add.ID, err = s.Put(ctx, object.KindSnapshot, refs, payload); err != nil {
		t.Fatal(err)
	}
	if add.Summary == nil || string(add.Summary) == otherHost {
		if add.Summary != nil {
			record.Host = otherHost
		}
		plain, err := tree.EncodeSummary(&record)
		if err != nil {
			t.Fatal(err)
		}
		if add.Summary, err = keys.SealSummary(rand.NewChaCha8([32]byte{}), session.ID(), add.ID, plain); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := session.Commit(ctx, add); err != nil {
		t.Fatal(err)
	}
}

// otherHost in the place of a summary asks for one that is sealed as it should
// be and names this host, which the object does not.
const otherHost = "another host"

// TestTrees commits trees that no backup makes, and asks for the rule that
// each breaks: alone, and as what a good snapshot of the same series became.
func TestTrees(t *testing.T) {
	tests := []struct {
		name string
		edit func(f files)
		want string // "" for no problem
		data bool   // seen only where blocks are opened
	}{
		{"good", func(files) {}, "", false},
		{"moved", func(f files) { // "/c/", "/c/a/", "/c/a/b" and "/c/f"
			f.dir(1, entry("c", 5, tree.TypeDir))
			f.dir(2, entry("b", 4, tree.TypeFile))
			f.dir(5, entry("a", 2, tree.TypeDir), entry("f", 3, tree.TypeFile))
		}, "", false},
		{"removed", func(f files) { f.dir(1); delete(f, 2); delete(f, 3); delete(f, 4); delete(f, 5) }, "", false},
		{"hard link", func(f files) { f.dir(5, entry("z", 3, tree.TypeFile)) }, "", false},
		{"another type under the same number", func(f files) { f.dir(1, f[1].entries[0], entry("f", 3, tree.TypeDir)); f.dir(3) }, "", false},
		{"entry leads nowhere", func(f files) { delete(f, 4) }, "inode 4 is not there", false},
		{"inode without a name", func(f files) { f.dir(1, f[1].entries[0]) }, "inode 3 is in no directory", false},
		{"directory without a name", func(f files) { f.dir(2, f[2].entries[0]) }, "inode 5 is in no directory", false},
		{"directory with two names", func(f files) { f.dir(1, append(f[1].entries, entry("g", 5, tree.TypeDir))...) }, "inode 5 is a directory with 2 names", false},
		{"wrong type", func(f files) { f.dir(1, f[1].entries[0], entry("f", 3, tree.TypeSymlink)) }, "inode 3 is a file", false},
		{"two types", func(f files) { f.dir(5, entry("z", 3, tree.TypeSymlink)) }, "inode 3 is named as a", false},
		{"a ring beside the root", func(f files) {
			f.dir(1, f[1].entries[1])
			f.dir(5, entry("a", 2, tree.TypeDir))
		}, "not below the root", false},
		{"no root", func(f files) { delete(f, 1) }, "inode 1, the root, is not a directory", false},
		{"block too short", func(f files) { f[3].Size += 3 }, "which has 5", true},
	}
	for _, tt := range tests {
		for _, second := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, second %v", tt.name, second), func(t *testing.T) {
				f := newEmpty(t)
				defer f.bucket.Close()
				st := f.bucket
				f.create(t, rand.NewChaCha8([32]byte{9}))
				r, err := f.open(t)
				if err != nil {
					t.Fatal(err)
				}
				if second {
					goodTree().add(t, r, f.keys, nil)
				}
				bad := goodTree()
				tt.edit(bad)
				bad.add(t, r, f.keys, nil)
				for _, l := range levels {
					report, err := f.checkIn(t, st, l)
					if err != nil {
						t.Fatal(err)
					}
					sees := tt.want != "" && l.keyed && (l.readData || !tt.data)
					if report.OK() == sees || sees && !strings.Contains(describe(report), tt.want) {
						t.Errorf("%s: want %q: %v, got\n%s", l.name, tt.want, sees, describe(report))
					}
				}
			})
		}
	}
}

// TestSnapshotsThatLie commits snapshots whose log entry and object disagree.
func TestSnapshotsThatLie(t *testing.T) {
	tests := []struct {
		name    string
		lie     func(*tree.Snapshot, *repo.AddSnapshot)
		want    string
		keyless bool // seen without the key too
	}{
		{"another root", func(s *tree.Snapshot, a *repo.AddSnapshot) { a.Root = s.Root; s.Root = otherRoot }, "another inode map than the log says", true},
		{"another session", func(s *tree.Snapshot, _ *repo.AddSnapshot) { s.Session = object.SessionID{1} }, "disagree", false},
		{"a summary of something else", func(_ *tree.Snapshot, a *repo.AddSnapshot) { a.Summary = []byte("summary") }, "its summary in the log: ", false},
		{"a summary of another record", func(_ *tree.Snapshot, a *repo.AddSnapshot) { a.Summary = []byte(otherHost) }, "its summary in the log is not that", false},
		{"numbers above the next", func(s *tree.Snapshot, _ *repo.AddSnapshot) { s.Next = 3 }, "the next number", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newEmpty(t)
			defer f.bucket.Close()
			st := f.bucket
			f.create(t, rand.NewChaCha8([32]byte{9}))
			r, err := f.open(t)
			if err != nil {
				t.Fatal(err)
			}
			small := files{}
			small.dir(1)
			small.add(t, r, f.keys, func(s *tree.Snapshot, _ *repo.AddSnapshot) { otherRoot = s.Root })
			goodTree().add(t, r, f.keys, tt.lie)
			for _, l := range levels {
				report, err := f.checkIn(t, st, l)
				if err != nil {
					t.Fatal(err)
				}
				sees := l.keyed || tt.keyless
				if report.OK() == sees || sees && !strings.Contains(describe(report), tt.want) {
					t.Errorf("%s: want %q: %v, got\n%s", l.name, tt.want, sees, describe(report))
				}
			}
		})
	}
}

var otherRoot object.ID // of a small tree that is there

// TestForeignKey: a key of another repository is refused.
func TestForeignKey(t *testing.T) {
	f := newFixture(t)
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := seal.NewKeys([32]byte{1}, object.RepositoryID{2}, seal.PaddingPadme)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), r, keys, Options{}, nil); err == nil {
		t.Error("a foreign key was taken")
	}
}

// TestManySnapshots backs a tree up that changes at random, and asks that what
// is looked at of each snapshot, its difference to the one before, adds up.
func TestManySnapshots(t *testing.T) {
	f := newEmpty(t)
	defer f.bucket.Close()
	f.create(t, rand.NewChaCha8([32]byte{5}))
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	name := func() string {
		return filepath.Join(f.tree, string(rune('a'+random.IntN(4))), string(rune('a'+random.IntN(9))))
	}
	for range 12 {
		for range 6 {
			path, other := name(), name()
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			os.MkdirAll(filepath.Dir(other), 0o700)
			// Some of these fail, when the names do not fit; that is all right.
			switch random.IntN(6) {
			case 0:
				os.RemoveAll(path)
			case 1:
				os.Rename(path, other)
			case 2:
				os.Link(path, other)
			case 3:
				os.MkdirAll(filepath.Join(path, "d"), 0o700)
			case 4:
				os.Symlink(other, path)
			default:
				os.WriteFile(path, []byte(fmt.Sprint(random.Uint64())), 0o600)
			}
		}
		f.backup(t)
	}
	for _, l := range levels {
		r, err := f.checkIn(t, f.bucket, l)
		if err != nil || !r.OK() {
			t.Errorf("%s: %v\n%s", l.name, err, describe(r))
		}
	}
}
