// Package repair makes the index again from segment headers. No key is needed.
//
// A run of the index is a pure function of the headers of its segments, and a
// signed statement in the log has its name, size and hash. So a run that is
// missing or damaged comes back bit by bit: under its own name, without a new
// generation, and without trust in who repairs, since nothing but what the
// statement describes is ever put. Whoever has the run in the cache of his
// machine has it from there.
//
// What a lost run does not tell any more is which segments it held. Those that
// no other run names are looked through for a set whose headers give the size
// and hash of the statement; see search.go.
//
// A run one of whose segments is lost as well, header and all, cannot be made
// again: its bytes hold hashes of what is gone. Version 1 of the format has no
// statement that would take its place. Nor can one that a clean has registered:
// it knows which objects were live, and when each segment was registered first,
// which no header tells. A cache or a copy of the repository has it.
//
// The tables that cleans leave, see tables.go, come from a cache or a copy too.
// Nothing that is repaired makes visible what was not: what is dead or condemned
// is said by the log and by marks, which nobody makes up.
package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"bluesky/index"
	"bluesky/pack"
	"bluesky/refcount"
	"bluesky/repo"
	"bluesky/store"

	"golang.org/x/sync/errgroup"
)

// Options say what to do.
type Options struct {
	// All makes all runs again from the headers of all segments, those that are
	// right too, and compares: caches are not used. Else only segments that no
	// run names are looked at, and only where a run is wrong.
	All bool
	// DryRun puts nothing.
	DryRun bool
}

// Progress is told what a repair does. Its methods may be called concurrently
// and must return soon.
type Progress interface {
	// Phase is called when a part of the repair begins, with the number of steps
	// that it has.
	Phase(name string, steps uint64)
	// Step is called when steps of the phase are done.
	Step(n uint64)
}

// NoProgress is a Progress that tells nobody.
type NoProgress struct{}

func (NoProgress) Phase(string, uint64) {}
func (NoProgress) Step(uint64)          {}

// A Source is where the bytes of a run came from.
type Source string

// The sources.
const (
	FromCache   Source = "cache"
	FromHeaders Source = "headers"
)

// A Run is one that is not, or was not, as it should be.
type Run struct {
	repo.Run
	Problem  error  // what was wrong
	Source   Source // of its bytes; "" where they are not to be had
	Segments int    // that it names; known where there is a source
	Repaired bool   // it is right now; after a dry run it would be
	Err      error  // why it is not repaired; nil if it is
}

// A Report says what a repair found and did.
type Report struct {
	Runs     int // registered
	Equal    int // made again, with Options.All, and the same to the bit
	Segments int // whose headers were read; each counts once
	// Partly is how many runs were compared row by row: those that cleans have
	// registered, or of which they have condemned a segment.
	Partly int
	Wrong  []Run   // in log order
	Tables []Table // that are missing or damaged
	// Unreadable are segments that no run names, now that all is done, and whose
	// headers cannot be read.
	Unreadable []index.Failure
	// Damaged are segments that runs name and whose headers cannot be read, or are
	// not those that were registered; looked for with Options.All only.
	Damaged []index.Failure
	// Unregistered is how many segments no run names, now that all is done; those
	// that cannot be read are not among them. Zero where none was looked at.
	Unregistered int
}

// Repaired returns how many runs were made right.
func (r *Report) Repaired() (n int) {
	for i := range r.Wrong {
		if r.Wrong[i].Repaired {
			n++
		}
	}
	return n
}

// OK reports whether all runs and tables are right now, and all headers that
// were compared with the runs.
func (r *Report) OK() bool {
	return r.Repaired() == len(r.Wrong) && len(r.Damaged) == 0 &&
		!slices.ContainsFunc(r.Tables, func(t Table) bool { return !t.Repaired })
}

// readers is how many files are read at once.
const readers = 8

// Index makes the runs of r again that are missing or damaged.
//
// Each is put on its own, and the put is its commit point: an interrupted repair
// has repaired some runs, and the next one does the rest. It may run beside
// backups and beside itself. A run that cannot be repaired is in the report, and
// keeps none of the others. The error says that the repair has not come to its
// end.
//
// Memory is that of [readers] runs, of a description of each segment, and at most
// [keptHeaders] of headers.
func Index(ctx context.Context, r *repo.Repo, options Options, progress Progress) (Report, error) {
	if progress == nil {
		progress = NoProgress{}
	}
	state, err := r.Refresh(ctx)
	if err != nil {
		return Report{}, err
	}
	if state.ReadOnly() {
		return Report{}, repo.ErrReadOnly // whether a run is still wanted is not known
	}
	p := &repairer{repo: r, options: options, progress: progress}
	err = p.run(ctx, state)
	return p.report, err
}

// A repairer is one run of a repair.
type repairer struct {
	repo     *repo.Repo
	options  Options
	progress Progress
	state    *repo.State
	report   Report

	right  []table                   // of runs that are right
	marks  []refcount.Table          // that are right
	dark   bool                      // some marks are not
	named  map[pack.Name]bool        // segments of these, and of those that were repaired
	lost   []*Run                    // whose bytes have not been found yet
	listed map[pack.Name]store.Entry // all segments of the bucket, condemned ones too
}

// A table is the segment table of a run.
type table struct {
	run      repo.Run
	segments []index.Segment
	shape    refcount.Shape
}

func (p *repairer) run(ctx context.Context, state *repo.State) error {
	if err := p.judgeNewest(ctx, state); err != nil {
		return err
	}
	if err := p.judgeTables(ctx); err != nil {
		return err
	}
	if err := p.fromCache(ctx); err != nil {
		return err
	}
	if len(p.lost) == 0 && !p.options.All {
		return nil
	}
	if err := p.list(ctx); err != nil {
		return err
	}
	if err := p.fromHeaders(ctx); err != nil {
		return err
	}
	if p.options.All {
		return p.compare(ctx)
	}
	return nil
}

// maxReloads is how often the runs of a newer state are read, where one is wrong.
const maxReloads = 3

// judgeNewest judges the runs of state; where one is wrong, of the newest state:
// a cleaner that merges runs deletes those that it has merged (R9).
func (p *repairer) judgeNewest(ctx context.Context, state *repo.State) error {
	for reload := 0; ; reload++ {
		p.state, p.report, p.right, p.lost, p.named = state, Report{}, nil, nil, map[pack.Name]bool{}
		if err := p.judge(ctx); err != nil || len(p.report.Wrong) == 0 || reload == maxReloads {
			return err
		}
		newest, err := p.repo.Refresh(ctx)
		if err != nil || newest == state {
			return err
		}
		state = newest
	}
}

// judge reads all runs and parts the right ones from the wrong ones.
func (p *repairer) judge(ctx context.Context) error {
	runs := p.state.Runs
	p.report.Runs = len(runs)
	p.progress.Phase("read the runs of the index", uint64(len(runs)))
	wrong, tables := make([]*Run, len(runs)), make([]table, len(runs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, run := range runs {
		g.Go(func() error {
			defer p.progress.Step(1)
			data, problem, err := p.repo.RunBytes(gctx, run)
			if err != nil {
				return err
			}
			if problem != nil {
				wrong[i] = &Run{Run: run, Problem: problem}
				return nil
			}
			opened, err := index.Decode(data, p.state.Repository, run.Name)
			if err != nil {
				wrong[i] = &Run{Run: run, Problem: err, Err: errRegistered}
				return nil
			}
			tables[i] = table{run, opened.Segments(), refcount.ShapeOf(opened)}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i := range runs {
		if wrong[i] != nil {
			p.report.Wrong = append(p.report.Wrong, *wrong[i])
			continue
		}
		p.right = append(p.right, tables[i])
		p.name(tables[i].segments)
	}
	for i := range p.report.Wrong {
		if run := &p.report.Wrong[i]; run.Err == nil {
			p.lost = append(p.lost, run)
		}
	}
	return nil
}

// errRegistered: a run that this program cannot read is the one that was signed.
var errRegistered = errors.New("it is as it was registered")

// name notes that the segments stand in a run that is right.
func (p *repairer) name(segments []index.Segment) {
	for i := range segments {
		p.named[segments[i].Name] = true
	}
}

// errCleaned: what a clean knew, headers do not tell.
var errCleaned = errors.New("a clean has registered it, so headers do not tell what was in it; " +
	"a machine that has it in its cache can repair it, or put it back from a copy of the repository")

// fromCache puts those of the lost runs that the cache of this machine has. With
// Options.All only those that come from nowhere else.
func (p *repairer) fromCache(ctx context.Context) error {
	var lost []*Run
	for _, run := range p.lost {
		if p.options.All && !run.Cleaned {
			lost = append(lost, run)
			continue
		}
		cached, err := p.repo.CachedRun(ctx, run.Run)
		if err != nil && run.Cleaned {
			run.Err = errCleaned
			continue
		}
		if err != nil {
			lost = append(lost, run)
			continue
		}
		if err := p.put(ctx, run, FromCache, cached.Bytes(), cached.Segments()); err != nil {
			return err
		}
	}
	p.lost = lost
	return nil
}

// put repairs a run whose bytes were found. The error is that of ctx.
func (p *repairer) put(ctx context.Context, run *Run, source Source, data []byte, segments []index.Segment) error {
	run.Source, run.Segments = source, len(segments)
	p.name(segments)
	if !p.options.DryRun {
		run.Err = p.repo.RestoreRun(ctx, run.Run, data)
	}
	run.Repaired = run.Err == nil
	return context.Cause(ctx)
}

// list lists the segments of the bucket.
func (p *repairer) list(ctx context.Context) error {
	p.listed = map[pack.Name]store.Entry{}
	for entry, err := range p.repo.Store().List(ctx, "seg/") {
		if err != nil {
			return fmt.Errorf("list the segments: %w", err)
		}
		if name, err := pack.ParseKey(entry.Key); err == nil {
			p.listed[name] = entry
		}
	}
	return nil
}

// isCondemned reports whether a segment waits to be deleted: only a run that
// lists it still needs it, to be what it was.
func (p *repairer) isCondemned(name pack.Name) bool {
	_, ok := p.state.Condemned[repo.SegmentName(name)]
	return ok
}

// compare makes every run again that was right from the beginning, and compares.
func (p *repairer) compare(ctx context.Context) error {
	marks, err := p.loadMarks()
	if err != nil || marks == nil {
		return err // reported
	}
	p.progress.Phase("compare the index with all segment headers", uint64(len(p.right)))
	for i := range p.right {
		if err := p.compareRun(ctx, &p.right[i], marks); err != nil {
			return err
		}
		p.progress.Step(1)
	}
	slices.SortFunc(p.report.Damaged, byName)
	slices.SortStableFunc(p.report.Wrong, func(a, b Run) int { return cmp.Compare(a.Generation, b.Generation) })
	return nil
}

func (p *repairer) compareRun(ctx context.Context, t *table, marks *refcount.Marks) error {
	var list []index.Stored
	for i, s := range t.segments {
		if p.isCondemned(s.Name) || marks.Of(t.run.Name).Gone(uint32(i)) {
			continue // it need not be there
		}
		stored := index.Stored{Name: s.Name, Size: s.Size, RegisteredAt: s.RegisteredAt, Session: s.Session}
		if entry, ok := p.listed[s.Name]; ok {
			stored.Size = entry.Size
		}
		list = append(list, stored)
	}
	b, failed, err := index.FromHeaders(ctx, p.repo.Store(), p.state.Repository, list, readers)
	if err != nil {
		return err
	}
	p.report.Segments += len(list) - len(failed)
	p.report.Damaged = append(p.report.Damaged, failed...)
	if len(failed) > 0 {
		return nil
	}
	if t.run.Cleaned || len(list) < len(t.segments) {
		return p.compareRows(ctx, t, b)
	}
	data, hash, err := b.Encode(p.state.Repository, t.run.Name)
	if err != nil {
		return err
	}
	if hash == t.run.Hash {
		p.report.Equal++
		return nil
	}
	again, err := index.Decode(data, p.state.Repository, t.run.Name)
	if err != nil {
		return fmt.Errorf("what the headers give for it: %w", err)
	}
	differs := false
	for i, s := range again.Segments() {
		if s != t.segments[i] {
			differs = true
			p.report.Damaged = append(p.report.Damaged, index.Failure{Name: s.Name, Err: errDiffers})
		}
	}
	if !differs {
		p.report.Wrong = append(p.report.Wrong, Run{Run: t.run, Problem: errOtherRows, Err: errRegistered})
	}
	return nil
}

// errDiffers: what a header says of itself is not what was signed.
var errDiffers = errors.New("its header or trailer is not the one that was registered")

// errOtherRows: whoever has signed the run has not made it of the headers.
var errOtherRows = errors.New("its rows are not those of the headers of its segments")

func byName(a, b index.Failure) int { return slices.Compare(a.Name[:], b.Name[:]) }
