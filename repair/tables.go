package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"bluesky/index"
	"bluesky/pack"
	"bluesky/refcount"
	"bluesky/repo"
)

// A Table is one that a clean has left beside the runs, and that is not, or was
// not, as it should be.
type Table struct {
	Ref      repo.TableRef
	Holds    refcount.Type
	Problem  error // what was wrong
	Repaired bool  // it is right now, out of the cache; after a dry run it would be
	Err      error // why it is not repaired; nil if it is
}

// Why a table is not repaired.
var (
	// Marks are the one thing here that nobody can make again: what is dead and
	// what was condemned stands in them alone.
	errMarks = errors.New("nothing else says what is dead: a machine that has it in its cache can repair it, " +
		"or put it back from a copy of the repository; until then nobody can back up or prune, and what reads takes the dead for live")
	errCounts = errors.New("bluesky prune --recount counts anew")
)

// judgeTables reads all tables, and puts those that are wrong and that the
// cache of this machine has.
func (p *repairer) judgeTables(ctx context.Context) error {
	for _, list := range []struct {
		holds refcount.Type
		refs  []repo.TableRef
		err   error
	}{
		{refcount.TypeMarks, p.state.Marks, errMarks},
		{refcount.TypeCounts, p.state.Counts, errCounts},
		{refcount.TypeSpace, p.state.Space, errCounts},
	} {
		for _, ref := range list.refs {
			data, problem, err := p.repo.ReadTable(ctx, list.holds, ref)
			if err != nil {
				return err
			}
			if problem != nil {
				t := Table{Ref: ref, Holds: list.holds, Problem: problem}
				if data, t.Err = p.putTable(ctx, &t); errors.Is(t.Err, errNotCached) {
					t.Err = list.err
				}
				t.Repaired = t.Err == nil
				p.report.Tables = append(p.report.Tables, t)
				if err := context.Cause(ctx); err != nil {
					return err
				}
			}
			if list.holds == refcount.TypeMarks {
				p.marks = append(p.marks, refcount.Table{Ref: ref, Data: data})
				p.dark = p.dark || data == nil
			}
		}
	}
	return nil
}

var errNotCached = errors.New("the cache does not have it")

// putTable repairs a table that the cache has, and returns its bytes.
func (p *repairer) putTable(ctx context.Context, t *Table) ([]byte, error) {
	data, err := p.repo.CachedTable(ctx, t.Holds, t.Ref)
	if err != nil {
		return nil, errNotCached
	}
	if p.options.DryRun {
		return data, nil
	}
	return data, p.repo.RestoreTable(ctx, t.Holds, t.Ref, data)
}

// loadMarks returns what the marks say of the right runs, nil where some cannot
// be read: then nobody knows which segments need not be there.
func (p *repairer) loadMarks() (*refcount.Marks, error) {
	if p.dark {
		return nil, nil
	}
	shapes := refcount.Shapes{}
	for i := range p.right {
		shapes[p.right[i].run.Name] = p.right[i].shape
	}
	return refcount.LoadMarks(p.state.Repository, p.marks, shapes)
}

// compareRows compares a run with what the headers of its segments give, as far
// as these are there. A run of a clean leaves out what was dead; any other has
// all that its segments have.
func (p *repairer) compareRows(ctx context.Context, t *table, b *index.Builder) error {
	run, err := p.repo.FetchRun(ctx, t.run)
	if err != nil {
		return err
	}
	data, _, err := b.Encode(p.state.Repository, t.run.Name)
	if err != nil {
		return err
	}
	again, err := index.Decode(data, p.state.Repository, t.run.Name)
	if err != nil {
		return fmt.Errorf("what the headers give for it: %w", err)
	}
	ordinals := map[pack.Name]int{}
	for i, s := range again.Segments() {
		ordinals[s.Name] = i
	}
	wrong, rows := false, 0
	for i := range t.segments {
		s := &t.segments[i]
		if at, there := ordinals[s.Name]; there && again.Segment(at) != *s {
			wrong = true
			p.report.Damaged = append(p.report.Damaged, index.Failure{Name: s.Name, Err: errDiffers})
		}
	}
	if wrong {
		return nil
	}
	for row := range run.Rows() {
		at, there := ordinals[t.segments[row.Segment].Name]
		if !there {
			continue
		}
		row.Segment = uint32(at)
		wrong = wrong || !slices.Contains(again.Lookup(row.ID), row)
		rows++
	}
	if wrong || !t.run.Cleaned && rows != again.Len() {
		p.report.Wrong = append(p.report.Wrong, Run{Run: t.run, Problem: errOtherRows, Err: errRegistered})
		return nil
	}
	p.report.Partly++
	return nil
}
