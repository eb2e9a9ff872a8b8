package repair

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"

	"golang.org/x/sync/errgroup"
)

// ErrNotFound: no set of segments gives the run.
var ErrNotFound = errors.New("no set of the segments that are there gives it: one of its segments is missing or damaged, " +
	"or which were its own cannot be told any more")

// A piece is a segment that no run names: of a lost run, or of a backup that has
// not registered it.
type piece struct {
	name     pack.Name
	size     int64
	modified time.Time          // as the store says
	weight   uint64             // what it adds to the size of a run, in units of 64 bytes
	sealed   []object.SessionID // sessions that have sealed its objects
	segment  *pack.Segment      // nil where it is read again each time
}

// keptHeaders is about how many bytes of headers are kept in memory: the same
// are tried for one run after the other.
const keptHeaders = 256 << 20

// runUnit is the length of a row of a run; one of its segment table has two.
const (
	runUnit       = 64
	segmentWeight = 2
	emptyRun      = 96 // bytes
)

// fromHeaders finds the segments of lost runs and repairs these.
//
// A run names whole segments, and its size says how many rows and segments
// there are: weights that add up to it are the first sieve. Its session says who
// registered them, which is mostly who sealed them. A session registers all that
// it has uploaded before it goes on; so in the order of the store's times the
// segments of one run stand together. Where these times are lost, as in a copy,
// the sums decide, as far as that is bounded work. Whatever set comes up, the
// hash in the statement says whether it is the one.
func (p *repairer) fromHeaders(ctx context.Context) error {
	pool, err := p.readPool(ctx)
	if err != nil {
		return err
	}
	all := pool
	pool = slices.DeleteFunc(slices.Clone(all), func(c piece) bool { return p.isCondemned(c.name) })
	condemned := slices.DeleteFunc(all, func(c piece) bool { return !p.isCondemned(c.name) })
	p.progress.Phase("find the segments of the lost runs", uint64(len(p.lost)))
	s := &search{p: p, pool: pool, tried: map[[16]byte]bool{}, left: map[*Run]int{}}
	if err := s.findAll(ctx); err != nil {
		return err
	}
	p.report.Unregistered = len(s.pool)
	if len(condemned) > 0 && len(p.lost) > 0 {
		// A run lists what was condemned since as well, as long as it is there.
		s.pool = append(s.pool, condemned...)
		slices.SortFunc(s.pool, byTime)
		if err := s.findAll(ctx); err != nil {
			return err
		}
		p.report.Unregistered = 0
		for i := range s.pool {
			if !p.isCondemned(s.pool[i].name) {
				p.report.Unregistered++
			}
		}
	}
	for _, run := range p.lost {
		run.Err = ErrNotFound
	}
	return nil
}

func byTime(a, b piece) int {
	return cmp.Or(a.modified.Compare(b.modified), bytes.Compare(a.name[:], b.name[:]))
}

// findAll repairs the lost runs that the pool has the segments of.
func (s *search) findAll(ctx context.Context) error {
	p := s.p
	for _, run := range p.lost {
		s.left[run] = min(max(minTries, tryRows*runUnit/int(max(run.Size, runUnit))), maxTries)
	}
	// What one run has found is no candidate for the others any more.
	for before := -1; before != len(p.lost); {
		before = len(p.lost)
		var lost []*Run
		for _, run := range p.lost {
			found, err := s.find(ctx, run)
			if err != nil {
				return err
			}
			if !found {
				lost = append(lost, run)
			}
		}
		p.lost = lost
	}
	return nil
}

// readPool reads the headers of all segments that no right run names.
func (p *repairer) readPool(ctx context.Context) ([]piece, error) {
	var pool []piece
	for name, entry := range p.listed {
		if !p.named[name] {
			pool = append(pool, piece{name: name, size: entry.Size, modified: entry.ModTime})
		}
	}
	slices.SortFunc(pool, byTime)
	p.progress.Phase("read the headers of segments that no run names", uint64(len(pool)))
	failed := make([]error, len(pool))
	room := atomic.Int64{}
	room.Store(keptHeaders)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i := range pool {
		g.Go(func() error {
			defer p.progress.Step(1)
			segment, err := p.read(gctx, &pool[i])
			if err == nil {
				pool[i].describe(segment.Header)
				// A header takes about twice as much in memory as in the segment.
				if room.Add(-2*segment.Header.HeadSize()) >= 0 {
					pool[i].segment = segment
				}
			}
			failed[i] = err
			return nil
		})
	}
	g.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	var whole []piece
	for i, err := range failed {
		if err != nil && p.isCondemned(pool[i].name) {
			continue // deleted meanwhile, or about to be
		}
		if err != nil {
			p.report.Unreadable = append(p.report.Unreadable, index.Failure{Name: pool[i].name, Err: err})
			continue
		}
		whole = append(whole, pool[i])
	}
	slices.SortFunc(p.report.Unreadable, byName)
	p.report.Segments += len(whole)
	return whole, nil
}

// read returns a segment of the pool, without its body.
func (p *repairer) read(ctx context.Context, c *piece) (*pack.Segment, error) {
	if c.segment != nil {
		return c.segment, nil
	}
	segment, err := pack.ReadHeaderUnindexed(ctx, p.repo.Store(), c.name, c.size)
	if err != nil {
		return nil, err
	}
	if segment.Header.Repository != p.state.Repository {
		return nil, fmt.Errorf("segment %s: %w: it belongs to repository %s", c.name, object.ErrCorrupt, segment.Header.Repository)
	}
	return segment, nil
}

func (c *piece) describe(h *pack.Header) {
	c.weight = segmentWeight + uint64(len(h.Objects))
	for i := range h.Sessions {
		c.sealed = append(c.sealed, h.Sessions[i].ID)
	}
}

// How many sets are tried for a run: as many as have so many rows in all, which
// is some ten seconds of work, but a few in any case and not more than enough.
const (
	tryRows  = 1 << 23
	minTries = 64
	maxTries = 2048
)

// A search finds the segments of runs in a pool.
type search struct {
	p     *repairer
	pool  []piece           // in the order of the store's times
	tried map[[16]byte]bool // sets and runs
	left  map[*Run]int      // sets that may still be tried
}

// find repairs one run if it finds its segments, and takes these out of the
// pool.
func (s *search) find(ctx context.Context, run *Run) (bool, error) {
	if run.Size < emptyRun || (run.Size-emptyRun)%runUnit != 0 {
		return false, nil // of no run
	}
	for set := range s.sets((run.Size-emptyRun)/runUnit, run.Session) {
		if !s.fresh(set, run.Name) {
			continue
		}
		if s.left[run]--; s.left[run] < 0 {
			return false, nil
		}
		data, err := s.try(ctx, set, &run.Run)
		if err != nil {
			return false, err
		}
		if data == nil {
			continue
		}
		opened, err := index.Decode(data, s.p.state.Repository, run.Name)
		if err != nil {
			return false, err
		}
		s.take(set)
		return true, s.p.put(ctx, run, FromHeaders, data, opened.Segments())
	}
	return false, context.Cause(ctx)
}

// try returns the bytes of the run if the set gives them, else nil.
func (s *search) try(ctx context.Context, set []int, run *repo.Run) ([]byte, error) {
	var mu sync.Mutex // guards b
	b := &index.Builder{}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for _, at := range set {
		g.Go(func() error {
			segment, err := s.p.read(gctx, &s.pool[at])
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			// Registered-at stays 0: the generation of the statement.
			return b.AddSegment(index.SegmentOf(segment, run.Session), segment.Header)
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	data, hash, err := b.Encode(s.p.state.Repository, run.Name)
	if err != nil || hash != run.Hash {
		return nil, err
	}
	return data, nil
}

// fresh reports whether the set was not tried for the run before.
func (s *search) fresh(set []int, run index.RunName) bool {
	// The names are random, so sets of the same sum of names are the same.
	sum := [16]byte(run)
	for _, at := range set {
		for i, b := range s.pool[at].name {
			sum[i] ^= b
		}
	}
	if s.tried[sum] {
		return false
	}
	s.tried[sum] = true
	return true
}

// take removes the set from the pool.
func (s *search) take(set []int) {
	taken := map[int]bool{}
	for _, at := range set {
		taken[at] = true
	}
	var rest []piece
	for i := range s.pool {
		if !taken[i] {
			rest = append(rest, s.pool[i])
		}
	}
	s.pool = rest
}

// sets yields sets of pieces whose weights add up to weight, the likely ones
// first. Some come twice.
func (s *search) sets(weight uint64, session object.SessionID) iter.Seq[[]int] {
	return func(yield func([]int) bool) {
		own, foreign, all := s.divide(session)
		if !s.windows(own, weight, yield) || !s.windows(all, weight, yield) {
			return
		}
		// A session that has taken over what an interrupted one had uploaded.
		if sum := s.sum(own); sum < weight {
			for _, list := range foreign {
				more := func(set []int) bool { return yield(slices.Concat(own, set)) }
				if !s.windows(list, weight-sum, more) {
					return
				}
			}
		}
		if s.subsets(own, weight, yield) {
			s.subsets(all, weight, yield)
		}
	}
}

// divide returns the pieces that the session has sealed, those of each other
// session, and all. Each is in the order of time.
func (s *search) divide(session object.SessionID) (own []int, foreign [][]int, all []int) {
	at := map[object.SessionID]int{}
	for i := range s.pool {
		all = append(all, i)
		sealed := s.pool[i].sealed
		if slices.Contains(sealed, session) {
			own = append(own, i)
			continue
		}
		n, ok := at[sealed[0]]
		if !ok {
			n = len(foreign)
			at[sealed[0]] = n
			foreign = append(foreign, nil)
		}
		foreign[n] = append(foreign[n], i)
	}
	return own, foreign, all
}

func (s *search) sum(list []int) (n uint64) {
	for _, at := range list {
		n += s.pool[at].weight
	}
	return n
}

// windows yields the parts of list, without gaps, that have the weight.
func (s *search) windows(list []int, weight uint64, yield func([]int) bool) bool {
	sum, start := uint64(0), 0
	for end := 0; ; end++ {
		for sum > weight {
			sum -= s.pool[list[start]].weight
			start++
		}
		if sum == weight && !yield(list[start:end]) {
			return false
		}
		if end == len(list) {
			return true
		}
		sum += s.pool[list[end]].weight
	}
}
