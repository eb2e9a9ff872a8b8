package check

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"

	"bluesky/index"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
)

// A listing is what the bucket says that it holds.
type listing struct {
	segments map[pack.Name]int64 // sizes
	runs     map[index.RunName]int64
	others   map[string]struct{} // keys of checkpoints and tables
	slots    []seal.SlotID
}

// list reads the names of everything in the bucket. It comes after the log, so
// what the log names is there, unless it is lost or the listing lags behind.
func (c *checker) list(ctx context.Context) error {
	c.progress.Phase("list the bucket", 0)
	c.listed = listing{
		segments: map[pack.Name]int64{}, runs: map[index.RunName]int64{}, others: map[string]struct{}{},
	}
	foreign := newSummary(c.book, "not a file of bluesky")
	for entry, err := range c.store.List(ctx, "") {
		if err != nil {
			return fmt.Errorf("list the bucket: %w", err)
		}
		if !c.listed.add(entry) {
			foreign.add(entry.Key)
		}
	}
	foreign.close()
	return nil
}

// add reports whether the entry has a name that the format gives.
func (l *listing) add(entry store.Entry) bool {
	folder, rest, _ := strings.Cut(entry.Key, "/")
	switch folder {
	case repo.ConfigKey:
		return rest == ""
	case "gen":
		_, ok := repo.ParseGenerationKey(entry.Key)
		return ok
	case "seg":
		name, err := pack.ParseKey(entry.Key)
		if err == nil {
			l.segments[name] = entry.Size
		}
		return err == nil
	case "idx":
		name, err := index.ParseKey(entry.Key)
		if err == nil {
			l.runs[name] = entry.Size
		}
		return err == nil
	}
	id, ok := parseName(rest)
	switch {
	case !ok:
		return false
	case folder == "keys":
		l.slots = append(l.slots, seal.SlotID(id))
		return true
	case folder == "state" || folder == "cnt":
		l.others[entry.Key] = struct{}{}
		return true
	}
	return false
}

// parseName reads 32 lower-case hex digits.
func parseName(s string) (name [16]byte, ok bool) {
	if len(s) != 2*len(name) || strings.ToLower(s) != s {
		return name, false
	}
	_, err := hex.Decode(name[:], []byte(s))
	return name, err == nil
}

func slotKey(id seal.SlotID) string { return "keys/" + id.String() }

// sizeOf returns the size of a file that is listed with size, or not listed: a
// listing may lag behind, and then the file itself says.
func (c *checker) sizeOf(ctx context.Context, key string, size int64, listed bool, want int64) (int64, error) {
	if listed && size == want {
		return size, nil
	}
	entry, err := c.store.Stat(ctx, key)
	return entry.Size, err
}

// findOrphans notes what neither the state nor the newest one names: files of
// backups that did not get as far as a generation, or of those that are running,
// and what is there again after it was deleted. What is condemned may be there or
// not.
func (c *checker) findOrphans(ctx context.Context) error {
	for _, s := range c.segments {
		delete(c.listed.segments, s.Name)
	}
	for name := range c.state.Names() {
		c.listed.forget(name)
	}
	for _, ref := range c.checkpoints { // the newest one alone is in the state
		delete(c.listed.others, ref.Name.Key())
	}
	if !c.listed.empty() {
		c.forgetNewer(ctx)
	}
	const left = "names it: a backup that was interrupted, or is running, has left it"
	segments := newSummary(c.book, "no run "+left)
	again := newSummary(c.book, "it was deleted, and is there again: something that came late has put it")
	gone := c.goneSegments()
	for name := range c.listed.segments {
		switch {
		case gone[name]:
			again.add(name.Key())
		case !c.lostRun:
			segments.add(name.Key())
		}
	}
	runs := newSummary(c.book, "no generation "+left)
	for name := range c.listed.runs {
		runs.add(name.Key())
	}
	others := newSummary(c.book, "no generation names it: a writer or cleaner that was interrupted, or is running, has left it")
	for key := range c.listed.others {
		others.add(key)
	}
	for _, s := range []*summary{segments, again, runs, others} {
		if s.n > 0 {
			c.book.suggestPrune()
		}
		s.close()
	}
	return nil
}

// forgetNewer takes what the newest state names out of the listing. If that cannot
// be read, this is noted, too.
func (c *checker) forgetNewer(ctx context.Context) {
	segments, names, err := c.knownSince(ctx)
	if err != nil {
		return
	}
	for name := range segments {
		delete(c.listed.segments, name)
	}
	for name := range names {
		c.listed.forget(name)
	}
}

// forget takes a file out of the listing.
func (l *listing) forget(name repo.Name) {
	switch name.Folder {
	case repo.FolderSegments:
		delete(l.segments, pack.Name(name.ID))
	case repo.FolderRuns:
		delete(l.runs, index.RunName(name.ID))
	default:
		delete(l.others, name.Key())
	}
}

func (l *listing) empty() bool { return len(l.segments)+len(l.runs)+len(l.others) == 0 }

// A summary is one note about many files.
type summary struct {
	book  *book
	text  string
	first string // bytewise
	n     int
}

func newSummary(b *book, text string) *summary { return &summary{book: b, text: text} }

func (s *summary) add(key string) {
	if s.n == 0 || key < s.first {
		s.first = key
	}
	s.n++
}

func (s *summary) close() {
	if s.n == 0 {
		return
	}
	text := s.text
	if s.n > 1 {
		text += fmt.Sprintf(" (and %d more)", s.n-1)
	}
	s.book.add(Note, s.first, text)
}
