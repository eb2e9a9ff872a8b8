package check

import (
	"crypto"
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
)

// sign signs g as its author. docs/format.md, "Envelope".
func (f *fixture) sign(t testing.TB, g *repo.Generation, author ed25519.PrivateKey) {
	t.Helper()
	body := mustEncode(t, g)
	id := f.keys.Repository()
	message := append([]byte(object.Label("generation signature")), id[:]...)
	message = binary.LittleEndian.AppendUint64(message, uint64(len(body)))
	signature, err := author.Sign(nil, append(message, body...), crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	copy(g.Signature[:], signature)
}

func mustEncode(t testing.TB, record any) []byte {
	t.Helper()
	data, err := object.EncodeCBOR(record)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// statement returns an op that the writer signs. docs/format.md, "Statement".
func (f *fixture) statement(t testing.TB, sequence uint64, typ repo.OpType, body any) repo.Op {
	t.Helper()
	s := repo.Statement{
		Repository: f.keys.Repository(), Session: forgedSession, Signer: repo.PublicKey(f.keys.Writer()[32:]),
		Sequence: sequence, Body: mustEncode(t, body),
	}
	b := []byte(object.Label("statement"))
	b = append(append(append(b, s.Repository[:]...), s.Session[:]...), s.Signer[:]...)
	b = binary.LittleEndian.AppendUint64(b, s.Sequence)
	b = binary.LittleEndian.AppendUint16(b, uint16(typ))
	b = binary.LittleEndian.AppendUint16(b, 1)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(s.Body)))
	signature, err := f.keys.Writer().Sign(nil, append(b, s.Body...), crypto.Hash(0))
	if err != nil {
		t.Fatal(err)
	}
	copy(s.Signature[:], signature)
	return repo.Op{Type: typ, Version: 1, Body: mustEncode(t, &s)}
}

var forgedSession = object.SessionID{0x5e}

// append adds a generation with ops to the log.
func (f *fixture) append(t testing.TB, ops ...repo.Op) {
	t.Helper()
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g := repo.Generation{
		Version: 1, Number: state.Generation + 1, Previous: state.Hash,
		Author: repo.PublicKey(f.keys.Writer()[32:]), Checkpoint: state.Checkpoint, Floor: state.Floor, Ops: ops,
	}
	f.sign(t, &g, f.keys.Writer())
	f.put(repo.GenerationKey(g.Number), mustEncode(t, &g))
}

// A forgery is one run with one segment that a writer's program signs and should not.
type forgery struct {
	name    string
	objects []object.Sealed
	header  func(*pack.Header)   // before the rows of the run are made
	segment func(*index.Segment) // the row of the segment
	want    string
}

// TestForgedRuns registers runs that are signed, and that do not describe what
// is stored or break the graph. Every level sees it.
func TestForgedRuns(t *testing.T) {
	sealed := func(id byte, kind object.Kind, refs ...object.ID) object.Sealed {
		return object.Sealed{ID: object.ID{id, 1, 2}, Kind: kind, Session: forgedSession, Refs: refs, Bytes: make([]byte, 100)}
	}
	block, dir := []object.Sealed{sealed(1, object.KindBlock)}, sealed(2, object.KindDir)
	for _, tt := range []forgery{
		{"nothing wrong", block, nil, nil, ""},
		{"a row of another sum", block, func(h *pack.Header) { h.Objects[0].Sum[3] ^= 1 }, nil, "disagree"},
		{"a row of another id", block, func(h *pack.Header) { h.Objects[0].ID[3] ^= 1 }, nil, "disagree"},
		{"a row too few", append(block, sealed(3, object.KindBlock)), func(h *pack.Header) { h.Objects = h.Objects[:1] }, nil, "1 rows for segment"},
		{"a segment of another session", block, nil, func(s *index.Segment) { s.Session[0]++ }, "is of session"},
		{"a segment that claims to be older", block, nil, func(s *index.Segment) { s.RegisteredAt = 1 }, "claims to be of generation 1"},
		{"a header of another hash", block, nil, func(s *index.Segment) { s.HeaderHash[0]++ }, "header differs from its hash"},
		{"a ref to nothing", []object.Sealed{sealed(2, object.KindDir, object.ID{9})}, nil, nil, "refers to it, and no run has it"},
		{"a ref to another kind", []object.Sealed{dir, sealed(4, object.KindList, dir.ID)}, nil, nil, "refers to 02010200, a dir"},
		{"a list of nothing", []object.Sealed{sealed(4, object.KindList)}, nil, nil, "a list, has 0 refs"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			tt.register(t, f)
			f.seesEverywhere(t, tt.want)
		})
	}
}

// seesEverywhere asks all levels for an error with the given text, "" for none.
// What does not decrypt is of no interest here.
func (f *fixture) seesEverywhere(t *testing.T, want string) {
	t.Helper()
	for _, l := range levels[:3] {
		r, err := f.check(t, l)
		if err != nil {
			t.Fatal(err)
		}
		found := slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Severity == Error && strings.Contains(p.Text, want) })
		if want == "" && !r.OK() || want != "" && !found {
			t.Errorf("%s: want %q, got\n%s", l.name, want, describe(r))
		}
	}
}

func (tt *forgery) register(t *testing.T, f *fixture) {
	t.Helper()
	class := tt.objects[0].Kind.Class()
	b := pack.NewBuilder(f.keys.Repository(), class, 1<<16)
	for _, o := range tt.objects {
		if err := b.Add(o, f.keys.NewSession(forgedSession, class)); err != nil {
			t.Fatal(err)
		}
	}
	s, err := b.Finish(pack.Name{0xf0})
	if err != nil {
		t.Fatal(err)
	}
	f.put(s.Name.Key(), slices.Clone(s.Bytes))
	row, header := index.SegmentOf(s, forgedSession), headOf(s.Bytes).Header
	if tt.header != nil {
		tt.header(header)
	}
	if tt.segment != nil {
		tt.segment(&row)
	}
	var rows index.Builder
	if err := rows.AddSegment(row, header); err != nil {
		t.Fatal(err)
	}
	name := index.RunName{0xf1}
	data, hash, err := rows.Encode(f.keys.Repository(), name)
	if err != nil {
		t.Fatal(err)
	}
	f.put(name.Key(), data)
	f.append(t, f.statement(t, 1, repo.OpAddRun, &repo.AddRun{Name: name, Size: uint64(len(data)), Hash: hash}))
}

// TestForgedSnapshots adds snapshots to the log whose object or root is not
// there, or is something else.
func TestForgedSnapshots(t *testing.T) {
	f := newFixture(t)
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	good, snapshotObject := state.Snapshots[0], object.ID{5, 1, 2}
	visible := forgery{objects: []object.Sealed{{
		ID: snapshotObject, Kind: object.KindSnapshot, Session: forgedSession,
		Refs: []object.ID{good.Root}, Bytes: make([]byte, 100),
	}}}
	for _, tt := range []struct {
		name     string
		id, root object.ID
		want     string
	}{
		{"no object", object.ID{1}, good.Root, "its object 01000000 is gone: no run has it"},
		{"an object that is none", good.Root, good.Root, "is a imap"},
		{"no root", snapshotObject, object.ID{2}, "its inode map 02000000 is gone: no run has it"},
		{"another root than the object's", snapshotObject, good.ID, "another inode map than the log says"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			visible.register(t, f)
			f.append(t, f.statement(t, 2, repo.OpAddSnapshot, &repo.AddSnapshot{ID: tt.id, Root: tt.root}))
			f.seesEverywhere(t, tt.want)
		})
	}
}
