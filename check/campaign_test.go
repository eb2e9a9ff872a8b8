package check

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/store"
)

// A campaign puts a rich repository through one damage after the other, and
// holds check and restore to what they promise:
//
//   - the lowest level that the promise names, and each above it, says that the
//     repository is damaged and names the file of the bucket; a level that
//     cannot see it says OK;
//   - with the key, the paths that check names are those that a restore of all
//     snapshots cannot bring back;
//   - a restore gives the bytes and metadata that were backed up, or an error
//     that names the path;
//   - nothing panics, and no case allocates much more than a sound repository
//     needs.
//
// The bucket is one in memory, of which each case changes a few files and puts
// them back.
type campaign struct {
	t       testing.TB
	f       *rich
	store   *store.Store
	needed  map[object.ID]bool // objects that the default with the key opens
	sound   uint64             // bytes allocated by a case without damage
	all     bool               // levels that cannot but agree are asked too
	cases   int
	slowest time.Duration
	largest uint64 // bytes allocated by one case
}

func newCampaign(t testing.TB, f *rich) *campaign {
	t.Helper()
	c := &campaign{t: t, f: f, store: store.NewMemory(), needed: f.needed()}
	f.fill(t, c.store)
	begun := time.Now()
	t.Cleanup(func() {
		c.store.Close()
		size := 0
		for _, data := range f.files {
			size += len(data)
		}
		t.Logf("%d cases on %d files of %d bytes in %.1f s; slowest %v, largest %d KiB allocated, %d KiB without damage",
			c.cases, len(f.files), size, time.Since(begun).Seconds(), c.slowest.Round(time.Millisecond), c.largest>>10, c.sound>>10)
	})
	c.all = true
	c.run(damage{name: "nothing"})
	c.run(damage{name: "nothing"}) // now without what is made once
	if c.sound = c.largest; t.Failed() {
		t.FailNow()
	}
	c.all = os.Getenv("BLUESKY_SOAK") != ""
	return c
}

// A damage is one case.
type damage struct {
	name    string
	changes map[string][]byte // files of the bucket; nil removes
	// sees is what each of levels says: that something is wrong.
	sees seen
	// refused: the repository cannot even be opened.
	refused bool
	// subject is a file that a level which sees the damage names, "" for the
	// only one of changes.
	subject string
	// mute: a level that sees nothing wrong may have a warning or a note.
	mute bool
	// lost are snapshots that are not there any more, and cannot be missed.
	lost []object.ID
}

// with runs fn while the bucket is damaged.
func (c *campaign) with(changes map[string][]byte, fn func()) {
	ctx := c.t.Context()
	set := func(key string, data []byte) {
		var err error
		if data == nil {
			if err = c.store.Delete(ctx, key); errors.Is(err, store.ErrNotFound) {
				err = nil
			}
		} else {
			err = c.store.Put(ctx, key, data)
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
	for key, data := range changes {
		set(key, data)
	}
	defer func() {
		for key := range changes {
			set(key, c.f.files[key])
		}
	}()
	fn()
}

// run puts the repository through d.
func (c *campaign) run(d damage) {
	c.t.Helper()
	c.cases++
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	begun := time.Now()
	c.with(d.changes, func() { c.judge(&d) })
	c.slowest = max(c.slowest, time.Since(begun))
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	c.largest = max(c.largest, allocated)
	if c.sound > 0 && allocated > 4*c.sound+(16<<20) {
		c.t.Errorf("%s: %d KiB allocated, %d KiB without damage", d.name, allocated>>10, c.sound>>10)
	}
}

func (c *campaign) judge(d *damage) {
	c.t.Helper()
	var last Report
	for i, l := range levels {
		if !c.all && (d.sees == always && (i == 1 || i == 2) || d.sees == byReads && i == 0) {
			continue // each level sees what the one below it does
		}
		r, err := c.check(l)
		c.judgeReport(d, i, r, err)
		last = r
	}
	f := *c.f
	f.want = maps.Clone(f.want)
	for _, id := range d.lost {
		delete(f.want, id)
	}
	out := f.restoreAll(c.t, c.store, repo.Options{})
	for _, text := range out.wrong {
		c.t.Errorf("%s: restore: %s", d.name, text)
	}
	if len(d.changes) == 0 && !out.whole {
		c.t.Errorf("%s: not restored: %v, %v, %v", d.name, out.err, out.refused, out.failed)
	}
	if d.refused != isIdentity(out.err) {
		c.t.Errorf("%s: opening for a restore gave %v", d.name, out.err)
	}
	if out.err != nil && !d.refused && !d.changesLog() {
		c.t.Errorf("%s: nothing can be restored: %v", d.name, out.err)
	}
	c.compareFiles(d, &last, &out)
}

// changesLog reports whether a generation is damaged, which may stop all
// readers.
func (d *damage) changesLog() bool {
	for key := range d.changes {
		if kindOf(key) == "gen" {
			return true
		}
	}
	return false
}

// isIdentity: it is an error of who the repository is.
func isIdentity(err error) bool {
	return err != nil && (strings.Contains(err.Error(), repo.ConfigKey) || strings.Contains(err.Error(), "generation 0:") ||
		strings.Contains(err.Error(), repo.GenerationKey(0)))
}

func (c *campaign) check(l level) (Report, error) {
	c.t.Helper()
	r, err := repo.Open(c.t.Context(), c.store, repo.Options{})
	if err != nil {
		return Report{}, err
	}
	keys := c.f.keys
	if !l.keyed {
		keys = nil
	}
	return Run(c.t.Context(), r, keys, Options{ReadData: l.readData, MaxFiles: 1 << 20, MaxProblems: 1 << 20}, nil)
}

func (c *campaign) judgeReport(d *damage, level int, r Report, err error) {
	c.t.Helper()
	name := levels[level].name
	if d.refused {
		if !isIdentity(err) {
			c.t.Errorf("%s: %s: got %v, want that the repository cannot be opened\n%s", d.name, name, err, describe(r))
		}
		return
	}
	if err != nil {
		c.t.Errorf("%s: %s: %v", d.name, name, err)
		return
	}
	if r.OK() == d.sees[level] {
		c.t.Errorf("%s: %s: damage seen is %v, want %v\n%s", d.name, name, !r.OK(), d.sees[level], describe(r))
		return
	}
	if !d.sees[level] {
		if len(r.Problems) > 0 && !d.mute {
			c.t.Errorf("%s: %s: it is right, and there are\n%s", d.name, name, describe(r))
		}
		return
	}
	subject := d.subject
	if subject == "" {
		for key := range d.changes {
			subject = key
		}
	}
	if !named(r, subject) {
		c.t.Errorf("%s: %s: no problem names %s\n%s", d.name, name, subject, describe(r))
	}
}

// named reports whether r says of a file of the bucket that it is damaged.
func named(r Report, key string) bool {
	return slices.ContainsFunc(r.Problems, func(p Problem) bool { return p.Subject == key && p.Severity == Error }) ||
		slices.ContainsFunc(r.BrokenSegments, func(n pack.Name) bool { return n.Key() == key })
}

// compareFiles: the paths that check names, with the key, are those that could
// not be restored.
func (c *campaign) compareFiles(d *damage, r *Report, out *restored) {
	c.t.Helper()
	if out.err != nil {
		return
	}
	names := map[string]bool{}
	for _, p := range r.Problems {
		for _, path := range p.Files {
			names[path] = true
		}
	}
	covered := func(path string) bool {
		if names[path] {
			return true
		}
		for dir := path; ; {
			if names[strings.TrimSuffix(dir, "/")+"/"] {
				return true
			}
			if dir == "/" {
				return false
			}
			dir = dir[:max(1, strings.LastIndexByte(dir, '/'))]
		}
	}
	for path := range out.failed {
		if !covered(path) {
			c.t.Errorf("%s: %s cannot be restored, and check does not name it\n%s", d.name, path, describe(*r))
		}
	}
	for id, err := range out.refused {
		if !slices.ContainsFunc(r.Problems, func(p Problem) bool { return slices.Contains(p.Snapshots, id) }) {
			c.t.Errorf("%s: snapshot %s cannot be restored (%v), and check does not name it\n%s", d.name, id.Short(), err, describe(*r))
		}
	}
	if len(out.refused) > 0 {
		return // nobody knows which of its files could be had
	}
	for path := range names {
		ok := out.failed[path] || out.failed[strings.TrimSuffix(path, "/")] || path == "/" && out.failed["/"]
		for failed := range out.failed {
			ok = ok || strings.HasSuffix(path, "/") && strings.HasPrefix(failed, path) ||
				strings.HasPrefix(path, strings.TrimSuffix(failed, "/")+"/")
		}
		if !ok {
			c.t.Errorf("%s: check names %s, which is restored (failed: %v)\n%s", d.name, path, slices.Sorted(maps.Keys(out.failed)), describe(*r))
		}
	}
}

// promise returns which levels see a change of the byte at offset at of the
// file key: those that verify what covers it.
func (c *campaign) promise(key string, at int) seen {
	data := c.f.files[key]
	switch kindOf(key) {
	case "gen", "state", "idx":
		return always
	case "seg":
		h := headOf(data)
		if at < int(h.HeadSize()) {
			return always
		}
		for i := range h.Objects {
			o := &h.Objects[i]
			if at >= int(o.Offset) && at < int(o.Offset)+int(o.Length) && o.Kind.Class() == object.ClassMeta && c.needed[o.ID] {
				return byOpens
			}
		}
		return byReads
	}
	c.t.Fatalf("no promise for %s", key)
	return never
}

// kindOf returns the folder of a file of the bucket, or its name if it is in none.
func kindOf(key string) string {
	folder, _, _ := strings.Cut(key, "/")
	return folder
}

// flip changes bits of one byte of a file.
func (c *campaign) flip(key string, at int, bits byte) {
	c.t.Helper()
	data := bytes.Clone(c.f.files[key])
	data[at] ^= bits
	d := damage{name: fmt.Sprintf("%s, byte %d ^ %#02x", key, at, bits), changes: map[string][]byte{key: data}}
	switch {
	case key == repo.ConfigKey || key == repo.GenerationKey(0):
		d.refused = true
	case kindOf(key) == "keys":
		c.runSlot(d)
		return
	default:
		d.sees = c.promise(key, at)
	}
	c.run(d)
}
