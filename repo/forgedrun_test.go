package repo

import (
	"errors"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
)

// TestForgedRun registers runs that a writer has signed and that do not
// describe what is stored: their objects are corrupt, whatever their bytes.
func TestForgedRun(t *testing.T) {
	tests := []struct {
		name       string
		repository object.RepositoryID // of the segment
		edit       func(*pack.Header)  // before its rows are made
		want       error
	}{
		{"an honest one", testConfig().ID, func(*pack.Header) {}, nil},
		{"a segment of another repository", object.RepositoryID{0xcd}, func(h *pack.Header) { h.Repository = testConfig().ID }, object.ErrCorrupt},
		{"a row of another sum", testConfig().ID, func(h *pack.Header) { h.Objects[0].Sum[0] ^= 1 }, object.ErrCorrupt},
		{"a row of another id", testConfig().ID, func(h *pack.Header) { h.Objects[0].ID[0] ^= 1 }, object.ErrCorrupt},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, f := newRepo(t)
			o, row := sealed(begin(t, r), 1, object.KindBlock)
			b := pack.NewBuilder(tt.repository, object.ClassData, 1<<16)
			if err := b.Add(o, row); err != nil {
				t.Fatal(err)
			}
			segment, err := b.Finish(pack.Name{1})
			if err != nil {
				t.Fatal(err)
			}
			f.Objects.Set(segment.Name.Key(), segment.Bytes)
			header, err := pack.DecodeHeader(segment.Bytes[:segment.Header.HeadSize()], int64(len(segment.Bytes)))
			if err != nil {
				t.Fatal(err)
			}
			tt.edit(header)
			f.register(t, r, segment, header)
			client := open(t, f.open(t), Options{})
			refresh(t, client)
			if _, _, err := client.Sealed(t.Context(), header.Objects[0].ID); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// register adds a run of one segment, whose rows are those of header.
func (f *faulty) register(t testing.TB, r *Repo, segment *pack.Segment, header *pack.Header) {
	t.Helper()
	var rows index.Builder
	if err := rows.AddSegment(index.SegmentOf(segment, object.SessionID{1}), header); err != nil {
		t.Fatal(err)
	}
	name := index.RunName{1}
	data, hash, err := rows.Encode(r.config.ID, name)
	if err != nil {
		t.Fatal(err)
	}
	f.Objects.Set(name.Key(), data)
	l := &log{t, refresh(t, r)}
	f.Objects.Set(GenerationKey(l.state.Generation+1), l.encode(writer, nil,
		statement(t, writer, 1, 1, OpAddRun, &AddRun{Name: name, Size: uint64(len(data)), Hash: hash})))
}
