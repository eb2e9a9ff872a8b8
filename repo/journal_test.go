package repo

import (
	"bytes"
	"os"
	"testing"
	"time"

	"bluesky/journal"
	"bluesky/object"
	"bluesky/pack"
)

// A hostile or foreign journal makes nobody register anything, and stays
// with who may still want it.
func TestForeignJournals(t *testing.T) {
	w := newWreck(t, 1)
	u, format := w.upload(t, 0)
	tests := []struct {
		name   string
		format func(journal.Format) journal.Format
		kept   bool
	}{
		{"another signer", func(journal.Format) journal.Format {
			return journalFormat(testConfig().ID, w.session, signatures{stranger, pub(stranger)})
		}, true},
		{"a signature of another key", func(f journal.Format) journal.Format {
			f.Tagger = signatures{stranger, pub(stranger)}
			return f
		}, false},
		{"another repository", func(journal.Format) journal.Format {
			return journalFormat(object.RepositoryID{1}, w.session, signatures{writer, pub(writer)})
		}, true},
		{"another session", func(journal.Format) journal.Format {
			return journalFormat(testConfig().ID, object.SessionID{1}, signatures{writer, pub(writer)})
		}, true},
		{"no journal", func(f journal.Format) journal.Format { f.Magic[0]++; return f }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := w.copy(t)
			c.writeJournal(t, tt.format(format), u)
			r := c.client(t)
			s := begin(t, r)
			if got := s.Stats().AdoptedSegments; got != 0 {
				t.Errorf("adopted %d", got)
			}
			if _, err := s.Commit(t.Context(), putTree(t, s, 99)); err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if kept := len(journals(t, r)) == 1; kept != tt.kept {
				t.Errorf("the journal is kept: %v", kept)
			}
			if !tt.kept {
				return
			}
			at := time.Now().Add(-journalAge - time.Hour)
			if err := os.Chtimes(c.journal(t), at, at); err != nil {
				t.Fatal(err)
			}
			c.next(t)
		})
	}
}

// upload returns record i of the journal, and its format.
func (w *wreck) upload(t testing.TB, i int) (upload, journal.Format) {
	t.Helper()
	format := journalFormat(testConfig().ID, w.session, signatures{writer, pub(writer)})
	f, err := journal.Open(w.journal(t), format, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a := &abandoned{file: f}
	a.read(time.Now())
	if len(a.uploads) != len(w.segment) || a.uploads[i].Name != w.segment[i] {
		t.Fatalf("%d uploads, want %d", len(a.uploads), len(w.segment))
	}
	return a.uploads[i], format
}

// writeJournal replaces the journal by one of the given records.
func (w *wreck) writeJournal(t testing.TB, format journal.Format, uploads ...upload) {
	t.Helper()
	truncate(t, w.journal(t), 0)
	f, err := journal.Open(w.journal(t), format, false)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	j := &sessionJournal{own: f}
	for _, u := range uploads {
		if err := j.record(u); err != nil {
			t.Fatal(err)
		}
	}
}

// Records that contradict the bucket, each other, or the log.
func TestStrangeRecords(t *testing.T) {
	w := newWreck(t, 1)
	data, format := w.upload(t, 0)
	meta, _ := w.upload(t, 1)
	edit := func(fn func(u *upload)) []upload {
		u := data
		fn(&u)
		return []upload{u, meta}
	}
	tests := map[string]struct {
		uploads []upload
		adopted uint64
	}{
		"as they are":             {[]upload{data, meta}, 2},
		"in another order":        {[]upload{meta, data}, 2},
		"twice":                   {[]upload{data, meta, data, meta}, 2},
		"without the data":        {[]upload{meta}, 0},
		"another class":           {edit(func(u *upload) { u.Class = object.ClassMeta }), 0},
		"no class":                {edit(func(u *upload) { u.Class = 77 }), 0},
		"another size":            {edit(func(u *upload) { u.Size++ }), 0},
		"a negative size":         {edit(func(u *upload) { u.Size = 1 << 63 }), 0},
		"a header past the end":   {edit(func(u *upload) { u.HeaderLength = 1<<32 - 1 }), 0},
		"no header":               {edit(func(u *upload) { u.HeaderLength = 0 }), 0},
		"another header hash":     {edit(func(u *upload) { u.HeaderHash[0]++ }), 0},
		"another name":            {edit(func(u *upload) { u.Name[0]++ }), 0},
		"the name of the other":   {edit(func(u *upload) { u.Name = meta.Name }), 0},
		"of a generation to come": {edit(func(u *upload) { u.Known = 1000 }), 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c := w.copy(t)
			c.writeJournal(t, format, tt.uploads...)
			if stats, _ := c.next(t); stats.AdoptedSegments != tt.adopted {
				t.Errorf("adopted %d, want %d", stats.AdoptedSegments, tt.adopted)
			}
		})
	}
}

// A run that fails leaves its uploads to the next; one that has left nothing
// leaves no journal.
func TestJournalStays(t *testing.T) {
	for name, tt := range map[string]struct {
		run  func(t *testing.T, s *Session)
		left int
	}{
		"nothing uploaded": {func(*testing.T, *Session) {}, 0},
		"uploaded": {func(t *testing.T, s *Session) {
			put(t, s, 1, object.KindBlock)
			flush(t, s, s.data)
		}, 1},
		"registered": {func(t *testing.T, s *Session) {
			put(t, s, 1, object.KindBlock)
			if err := s.AddRun(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, 1},
		"committed": {func(t *testing.T, s *Session) {
			if _, err := s.Commit(t.Context(), putTree(t, s, 1)); err != nil {
				t.Fatal(err)
			}
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			_, f := newRepo(t)
			w := &wreck{f: f, state: t.TempDir()}
			r := w.client(t)
			s := begin(t, r)
			tt.run(t, s)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if got := journals(t, r); len(got) != tt.left {
				t.Errorf("journals %v, want %d", got, tt.left)
			}
			w.next(t)
		})
	}
}

// A full disk of this machine is no reason to stop.
func TestUnwritableJournal(t *testing.T) {
	_, f := newRepo(t)
	r := open(t, f.open(t), Options{StateDir: t.TempDir()})
	s := begin(t, r)
	if err := s.journal.own.Close(); err != nil { // as good as a full disk
		t.Fatal(err)
	}
	for i := range uint64(3) {
		put(t, s, i, object.KindBlock)
		flush(t, s, s.data)
	}
	if _, err := s.Commit(t.Context(), putTree(t, s, 9)); err != nil {
		t.Fatal(err)
	}
	if got := r.Problems(); len(got) != 1 {
		t.Errorf("problems %v, want one", got)
	}
}

// What decodes as an upload encodes to the same bytes.
func FuzzUpload(f *testing.F) {
	for _, u := range []upload{{}, {pack.Name{1}, object.ClassMeta, 1 << 24, 4000, object.Hash{2}, object.Hash{3}, 77}} {
		data, err := object.EncodeCBOR(&u)
		if err != nil || len(data) > uploadMax {
			f.Fatalf("%d bytes: %v", len(data), err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var u upload
		if object.DecodeCBOR(data, &u) != nil {
			return
		}
		again, err := object.EncodeCBOR(&u)
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("%x encodes to %x: %v", data, again, err)
		}
	})
}
