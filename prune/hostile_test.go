package prune

import (
	"crypto"
	"encoding/binary"
	"errors"
	"maps"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
)

// statement returns an op that the writer signs. docs/format.md, "Statement".
func (b *bed) statement(session object.SessionID, sequence uint64, typ repo.OpType, body any) repo.Op {
	b.Helper()
	s := repo.Statement{Repository: object.RepositoryID{0xab}, Session: session, Signer: pub(writerKey), Sequence: sequence, Body: b.encode(body)}
	m := []byte(object.Label("statement"))
	m = append(append(append(m, s.Repository[:]...), s.Session[:]...), s.Signer[:]...)
	m = binary.LittleEndian.AppendUint64(m, s.Sequence)
	m = binary.LittleEndian.AppendUint16(m, uint16(typ))
	m = binary.LittleEndian.AppendUint16(m, 1)
	m = binary.LittleEndian.AppendUint64(m, uint64(len(s.Body)))
	signature, err := writerKey.Sign(nil, append(m, s.Body...), crypto.Hash(0))
	if err != nil {
		b.Fatal(err)
	}
	copy(s.Signature[:], signature)
	return repo.Op{Type: typ, Version: 1, Body: b.encode(&s)}
}

func (b *bed) encode(record any) []byte {
	b.Helper()
	data, err := object.EncodeCBOR(record)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// append adds a generation that the writer signs, whatever it says.
func (b *bed) append(ops ...repo.Op) {
	b.Helper()
	state := b.open().State()
	g := repo.Generation{
		Version: 1, Number: state.Generation + 1, Previous: state.Hash,
		Author: pub(writerKey), Checkpoint: state.Checkpoint, Floor: state.Floor, Ops: ops,
	}
	id, body := object.RepositoryID{0xab}, b.encode(&g)
	m := append([]byte(object.Label("generation signature")), id[:]...)
	m = binary.LittleEndian.AppendUint64(m, uint64(len(body)))
	signature, err := writerKey.Sign(nil, append(m, body...), crypto.Hash(0))
	if err != nil {
		b.Fatal(err)
	}
	copy(g.Signature[:], signature)
	if err := b.store.PutNew(b.Context(), repo.GenerationKey(g.Number), b.encode(&g)); err != nil {
		b.Fatal(err)
	}
}

// foist registers a run in a session that ends at once.
func (b *bed) foist(rows *index.Builder) {
	b.Helper()
	name := index.RunName{0xbb, byte(b.fresh())}
	data, hash, err := rows.Encode(object.RepositoryID{0xab}, name)
	if err == nil {
		err = b.store.PutNew(b.Context(), name.Key(), data)
	}
	if err != nil {
		b.Fatal(err)
	}
	session := object.SessionID{0x5e, byte(b.fresh())}
	b.append(b.statement(session, 1, repo.OpAddRun, &repo.AddRun{Name: name, Size: uint64(len(data)), Hash: hash}),
		repo.Op{Type: repo.OpSessionEnd, Version: 1, Body: b.encode(&repo.SessionEnd{Session: session})})
}

// segmentsInUse returns the visible segments and their headers.
func (b *bed) segmentsInUse() map[pack.Name]*pack.Header {
	b.Helper()
	r := b.open()
	view, err := r.Index(b.Context(), r.State())
	if err != nil {
		b.Fatal(err)
	}
	all := map[pack.Name]*pack.Header{}
	for s := range view.Segments() {
		if all[s.Name], err = pack.ReadHeader(b.Context(), b.store, s.Ref()); err != nil {
			b.Fatal(err)
		}
	}
	return all
}

// A writer that breaks the rules may stop a cleaner, and takes away nothing of
// what others have stored.
func TestHostileWriter(t *testing.T) {
	forge := func(o object.Sealed) func(b *bed, edit func(*pack.Header)) {
		return func(b *bed, edit func(*pack.Header)) {
			builder := pack.NewBuilder(object.RepositoryID{0xab}, o.Kind.Class(), 1<<16)
			o.Session = object.SessionID{0x5e}
			if err := builder.Add(o, object.Session{ID: o.Session, Class: o.Kind.Class(), Type: object.SessionDerived}); err != nil {
				b.Fatal(err)
			}
			segment, err := builder.Finish(pack.Name{0x66})
			if err == nil {
				err = b.store.PutNew(b.Context(), segment.Name.Key(), segment.Bytes)
			}
			if err != nil {
				b.Fatal(err)
			}
			header := *segment.Header
			header.Objects = append([]pack.Object(nil), header.Objects...)
			described := index.SegmentOf(segment, o.Session)
			edit(&header)
			rows := &index.Builder{}
			if err := rows.AddSegment(described, &header); err != nil {
				b.Fatal(err)
			}
			b.foist(rows)
		}
	}
	for name, act := range map[string]func(b *bed){
		"registers the segments of others": func(b *bed) {
			r := b.open()
			view, err := r.Index(b.Context(), r.State())
			if err != nil {
				b.Fatal(err)
			}
			headers := b.segmentsInUse()
			rows := &index.Builder{}
			for s := range view.Segments() {
				s.RegisteredAt = 0
				if err := rows.AddSegment(s, headers[s.Name]); err != nil {
					b.Fatal(err)
				}
			}
			b.foist(rows)
		},
		"registers the segments of others without their rows": func(b *bed) {
			r := b.open()
			view, err := r.Index(b.Context(), r.State())
			if err != nil {
				b.Fatal(err)
			}
			rows := &index.Builder{}
			for s := range view.Segments() {
				s.RegisteredAt = 0
				if _, err := rows.Keep(object.RepositoryID{0xab}, s); err != nil {
					b.Fatal(err)
				}
			}
			b.foist(rows)
		},
		"refers to nothing": func(b *bed) {
			forge(object.Sealed{ID: object.ID{1}, Kind: object.KindDir, Refs: []object.ID{{2}}, Bytes: make([]byte, 100)})(b, func(*pack.Header) {})
		},
		"has a row that its header lacks": func(b *bed) {
			forge(object.Sealed{ID: object.ID{1}, Kind: object.KindDir, Bytes: make([]byte, 100)})(b, func(h *pack.Header) { h.Objects[0].ID[3]++ })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBed(t, 1)
			current := b.newTree(6, 6)
			first := b.backUp(current)
			for range 3 {
				current = b.change(current, 4)
				b.backUp(current)
			}
			act(b)
			b.forget(first)
			want := b.live()
			_, files := b.stored("")
			plan, err := NewPlan(t.Context(), b.open(), tight, nil)
			if err == nil {
				_, err = plan.Apply(t.Context(), cleaner, nil)
			}
			if _, left := b.stored(""); !errors.Is(err, ErrDamaged) || left != files {
				t.Errorf("%d of %d files are left; %v", left, files, err)
			}
			if got := b.live(); !maps.Equal(got, want) {
				t.Errorf("%d objects are live, were %d", len(got), len(want))
			}
		})
	}
}
