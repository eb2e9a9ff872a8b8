package prune

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/store"
	"bluesky/store/fault"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
)

// A counter is a bucket in memory that counts requests and bytes, by folder.
type counter struct {
	*fault.Memory
	mu  sync.Mutex
	ops map[string]*tally // by folder, guarded by mu
}

// A tally counts requests and bytes.
type tally struct {
	Reads, Writes, Lists, Deletes, Stats int
	Read, Written                        int64
}

// requests are all but pages of listings.
func (t *tally) requests() int { return t.Reads + t.Writes + t.Deletes + t.Stats }

func (c *counter) count(key string, add func(*tally)) {
	folder, _, _ := strings.Cut(key, "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.ops[folder]
	if t == nil {
		t = &tally{}
		c.ops[folder] = t
	}
	add(t)
}

func (c *counter) NewRangeReader(ctx context.Context, key string, off, n int64, o *driver.ReaderOptions) (driver.Reader, error) {
	if a, err := c.Memory.Attributes(ctx, key); err == nil {
		if rest := max(a.Size-off, 0); n < 0 || n > rest {
			n = rest
		}
	}
	c.count(key, func(t *tally) { t.Reads++; t.Read += max(n, 0) })
	return c.Memory.NewRangeReader(ctx, key, off, n, o)
}

type countingWriter struct {
	driver.Writer
	counter *counter
	key     string
}

func (w countingWriter) Write(p []byte) (int, error) {
	w.counter.count(w.key, func(t *tally) { t.Written += int64(len(p)) })
	return w.Writer.Write(p)
}

func (c *counter) NewTypedWriter(ctx context.Context, key, kind string, o *driver.WriterOptions) (driver.Writer, error) {
	c.count(key, func(t *tally) { t.Writes++ })
	w, err := c.Memory.NewTypedWriter(ctx, key, kind, o)
	return countingWriter{w, c, key}, err
}

func (c *counter) ListPaged(ctx context.Context, o *driver.ListOptions) (*driver.ListPage, error) {
	c.count(o.Prefix, func(t *tally) { t.Lists++ })
	return c.Memory.ListPaged(ctx, o)
}

func (c *counter) Attributes(ctx context.Context, key string) (*driver.Attributes, error) {
	c.count(key, func(t *tally) { t.Stats++ })
	return c.Memory.Attributes(ctx, key)
}

func (c *counter) Delete(ctx context.Context, key string, o *driver.DeleteOptions) error {
	c.count(key, func(t *tally) { t.Deletes++ })
	return c.Memory.Delete(ctx, key, o)
}

// A proportion is what prunes moved, in the mean, of so many bytes that died.
type proportion struct {
	died, copied  float64
	bytes         float64 // read and written
	requests      float64 // without pages of listings
	lists         float64
	byFolder      map[string]*tally // sums
	prunes        int
	segmentsBytes uint64 // before the last prune
}

// perDead returns bytes moved for each byte that died.
func (p *proportion) perDead() float64 { return p.bytes / p.died }

// A host is one that prunes, with folders of its own.
type host struct {
	*bed
	bucket    *counter
	folders   repo.Options
	snapshots []object.ID
}

// newHost makes a repository of so many times 1,024 files with fifty snapshots,
// each with 20 other files. The host has pruned it now and then.
func newHost(t *testing.T, times int) *host {
	bucket := &counter{Memory: fault.NewMemory(), ops: map[string]*tally{}}
	h := &host{
		bed: newBedIn(t, store.New(blob.NewBucket(bucket), "memory"), 1, 65536), bucket: bucket,
		folders: repo.Options{StateDir: t.TempDir(), CacheDir: t.TempDir()},
	}
	current := h.newTree(times*32, 32)
	for i := range 50 {
		if i > 0 {
			current = churnUniform(h.bed, current, 20)
		}
		h.snapshots = append(h.snapshots, h.backUp(current))
		if i%10 == 9 {
			h.clean(tight)
		}
	}
	return h
}

func (h *host) clean(options Options) *Result {
	h.Helper()
	r, err := repo.Open(h.Context(), h.store, h.folders)
	if err != nil {
		h.Fatal(err)
	}
	p, err := NewPlan(h.Context(), r, options, nil)
	if err != nil {
		h.Fatal(err)
	}
	result, err := p.Apply(h.Context(), cleaner, nil)
	if err != nil {
		h.Fatal(err)
	}
	return result
}

// forgetOldest forgets the oldest snapshots one after the other, each with a
// prune of its own, and returns what the prunes have moved. Tables are made anew
// now and then, so a mean says more than one prune.
func (h *host) forgetOldest(n int, limit Limit) *proportion {
	options := tight
	options.MaxUnused = limit
	p := &proportion{byFolder: map[string]*tally{}, prunes: n}
	for range n {
		h.forget(h.snapshots[0])
		h.snapshots = h.snapshots[1:]
		clear(h.bucket.ops)
		result := h.clean(options)
		p.segmentsBytes = result.Size
		p.died += float64(result.DeadBytes) / float64(n)
		p.copied += float64(result.RepackBytes) / float64(n)
		for folder, t := range h.bucket.ops {
			p.add(folder, t)
		}
	}
	return p
}

func (p *proportion) add(folder string, t *tally) {
	p.bytes += float64(t.Read+t.Written) / float64(p.prunes)
	p.requests += float64(t.requests()) / float64(p.prunes)
	p.lists += float64(t.Lists) / float64(p.prunes)
	sum := p.byFolder[folder]
	if sum == nil {
		sum = &tally{}
		p.byFolder[folder] = sum
	}
	sum.Reads += t.Reads
	sum.Writes += t.Writes
	sum.Lists += t.Lists
	sum.Deletes += t.Deletes
	sum.Stats += t.Stats
	sum.Read += t.Read
	sum.Written += t.Written
}

func (p *proportion) log(t *testing.T, title string) {
	t.Logf("%s: %d KiB of segments; in the mean %.1f KiB died, %.1f KiB copied, %.1f KiB moved (%.1f for each that died) in %.1f requests and %.1f pages of listings",
		title, p.segmentsBytes>>10, p.died/1024, p.copied/1024, p.bytes/1024, p.perDead(), p.requests, p.lists)
	for _, folder := range slices.Sorted(maps.Keys(p.byFolder)) {
		f, n := p.byFolder[folder], float64(p.prunes)
		t.Logf("  %-14s read %8.1f KiB in %5.1f, written %8.1f KiB in %4.1f, deletes %4.1f, stats %4.1f, lists %4.1f", folder,
			float64(f.Read)/1024/n, float64(f.Reads)/n, float64(f.Written)/1024/n, float64(f.Writes)/n, float64(f.Deletes)/n, float64(f.Stats)/n, float64(f.Lists)/n)
	}
}

// fill forgets the oldest snapshots, one after the other, and copies nothing,
// until so much is unused as limit allows.
func (h *host) fill(limit Limit) {
	options := tight
	options.NoRepack = true
	for full := false; !full; {
		h.forget(h.snapshots[0])
		h.snapshots = h.snapshots[1:]
		r := h.clean(options)
		full = r.UnusedLeft >= limit.bytes(r.ObjectBytes-r.DeadBytes)
	}
}

// TestProportion: what a prune moves follows what died, not the repository: where
// it need not copy, and where it has to because as much is unused as may be. Where
// nothing may stay unused it follows the segments in which something died.
func TestProportion(t *testing.T) {
	alone(t)
	small, large := newHost(t, 1), newHost(t, 10)
	play := func(title string, limit Limit) (one, ten *proportion) {
		one, ten = small.forgetOldest(8, limit), large.forgetOldest(8, limit)
		one.log(t, "1×, "+title)
		ten.log(t, "10×, "+title)
		return one, ten
	}
	follows := func(one, ten *proportion) {
		t.Helper()
		if ten.perDead() > 2*one.perDead() || ten.requests > 2*one.requests {
			t.Errorf("ten times the repository makes a prune move %.1f bytes for each that died instead of %.1f, in %.1f requests instead of %.1f",
				ten.perDead(), one.perDead(), ten.requests, one.requests)
		}
	}
	follows(play("5 % may be unused, and less is", Limit{Percent: 5, IsPercent: true}))
	limit := Limit{Percent: 2, IsPercent: true}
	small.fill(limit)
	large.fill(limit)
	one, ten := play("2 % may be unused, and are", limit)
	if one.copied == 0 || ten.copied == 0 {
		t.Error("nothing was copied")
	}
	follows(one, ten)
	play("nothing may be unused", Limit{})
	for _, h := range []*host{small, large} {
		h.folders = repo.Options{StateDir: t.TempDir(), CacheDir: t.TempDir()}
		h.forgetOldest(1, limit).log(t, "the first time on another host")
		h.live()
		h.sound()
	}
}
