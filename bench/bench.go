package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A phase is something that every program does to every tree, in this order.
// To add one is to add it here and its command line to the programs that can
// do it; those that cannot have no row.
type phase struct {
	name    string
	title   string
	stores  bool // it adds to the repository
	needed  bool // what comes later builds on it, so it runs whether measured or not
	changed bool // the tree is its changed version from here on
	restore bool // the target is compared with the tree, and removed
	kept    bool // what is left is restored and compared afterwards, which is not measured
}

var allPhases = []phase{
	{name: "first", title: "first backup", stores: true, needed: true},
	{name: "unchanged", title: "unchanged", stores: true},
	{name: "changed", title: "changed", stores: true, needed: true, changed: true},
	{name: "restore", title: "restore", restore: true},
	{name: "check", title: "check, all data"},
	{name: "keyless", title: "the same without the key"},
	{name: "forget", title: "forget all but the last", stores: true, needed: true},
	{name: "prune", title: "prune", stores: true, kept: true},
}

func phaseNames() []string {
	var names []string
	for _, p := range allPhases {
		names = append(names, p.name)
	}
	return names
}

// choosePhases returns the phases that are named, in their order.
func choosePhases(names string) ([]phase, error) {
	if names == "all" {
		return allPhases, nil
	}
	wanted := strings.Split(names, ",")
	for _, name := range wanted {
		if !slices.Contains(phaseNames(), name) {
			return nil, fmt.Errorf("there is no phase %q; there are %s", name, strings.Join(phaseNames(), ", "))
		}
	}
	return slices.DeleteFunc(slices.Clone(allPhases), func(p phase) bool { return !slices.Contains(wanted, p.name) }), nil
}

// A bench is one comparison.
type bench struct {
	rounds  int
	scratch string
	trees   []tree
	tools   []*tool
	phases  []phase // that are measured
	log     io.Writer
	kept    int // restored trees that stay until the end
}

// all runs everything, tree after tree, and fills in r.
func (b *bench) all(ctx context.Context, r *report) error {
	for i := range b.trees {
		t, err := b.oneTree(ctx, &b.trees[i])
		if err != nil {
			return fmt.Errorf("tree %s: %w", b.trees[i].name, err)
		}
		r.Trees = append(r.Trees, t)
	}
	return nil
}

// oneTree makes a tree and runs all rounds on it. The programs take turns, and
// another one begins each round, so that whatever else the machine does meets
// all of them.
func (b *bench) oneTree(ctx context.Context, t *tree) (treeReport, error) {
	fmt.Fprintf(b.log, "%s: making it\n", t.name)
	folder := filepath.Join(b.scratch, t.name)
	v, err := makeTree(ctx, t, folder)
	if err != nil {
		return treeReport{}, err
	}
	out := treeReport{Name: t.name, Title: t.title, Change: t.change, Files: v.files, Bytes: v.bytes}
	for round := range b.rounds {
		for i := range b.tools {
			o := b.tools[(i+round)%len(b.tools)]
			samples, err := b.oneTool(ctx, o, v, filepath.Join(folder, "run"))
			if err != nil {
				return treeReport{}, fmt.Errorf("round %d: %s: %w", round+1, o.Label, err)
			}
			for _, s := range samples {
				s.Tool, s.Round = o.Label, round+1
				out.Samples = append(out.Samples, s)
			}
		}
	}
	return out, nil
}

// manyFiles is when the files of a tree are too many to remove between two
// measurements: ext4 without a journal does not give out an inode number again
// for a minute or more, and each new file passes by all of those. It made a
// restore of 15,000 files take 4 s of system time instead of 0.4.
const manyFiles = 1000

// oneTool lets a program do everything once, with a repository of its own. What
// it has made is removed, but for a restored tree of many files.
func (b *bench) oneTool(ctx context.Context, o *tool, v *versions, folder string) (samples []sample, err error) {
	defer func() {
		if removeErr := os.RemoveAll(folder); err == nil {
			err = removeErr
		}
	}()
	at := place{repo: filepath.Join(folder, "repo"), source: v.root, target: filepath.Join(folder, "target"), state: filepath.Join(folder, "state")}
	if err := os.MkdirAll(filepath.Join(at.state, "tmp"), 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if backErr := v.setChanged(false); err == nil {
			err = backErr
		}
	}()
	for _, c := range o.init {
		if _, err := o.measure(ctx, c, at); err != nil {
			return nil, err
		}
	}
	if err := readAll(ctx, v.root); err != nil {
		return nil, err
	}
	for _, p := range b.upToLast() {
		s, err := b.onePhase(ctx, o, p, v, at)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.title, err)
		}
		if s != nil {
			fmt.Fprintf(b.log, "%s: %s: %s: %.2f s, %.2f s of processor, %.0f MiB\n", filepath.Base(filepath.Dir(v.root)), o.Label, p.title, s.Wall, s.CPU(), s.PeakMiB)
			samples = append(samples, *s)
		}
	}
	return samples, nil
}

// upToLast returns all phases but those behind the last one that is asked for.
func (b *bench) upToLast() []phase {
	last := b.phases[len(b.phases)-1].name
	return allPhases[:1+slices.IndexFunc(allPhases, func(p phase) bool { return p.name == last })]
}

// onePhase runs one phase. The sample is nil if it is not asked for, or is
// nothing the program can do.
func (b *bench) onePhase(ctx context.Context, o *tool, p phase, v *versions, at place) (*sample, error) {
	asked := slices.ContainsFunc(b.phases, func(q phase) bool { return q.name == p.name })
	c, can := o.commands[p.name]
	if !can || !asked && !p.needed {
		return nil, nil
	}
	if p.changed {
		if err := v.setChanged(true); err != nil {
			return nil, err
		}
	}
	var s *sample
	var err error
	if p.restore {
		s, err = b.restore(ctx, o, c, v, at)
	} else {
		s, err = o.measure(ctx, c, at)
	}
	if err == nil && p.kept {
		_, err = b.restore(ctx, o, o.commands["restore"], v, at)
	}
	if err != nil {
		return nil, err
	}
	if s.RepoFiles, s.RepoBytes, err = count(at.repo); err != nil || !asked {
		return nil, err
	}
	s.Phase = p.name
	return s, nil
}

// restore restores the newest snapshot, and compares it with the tree.
func (b *bench) restore(ctx context.Context, o *tool, c line, v *versions, at place) (*sample, error) {
	defer b.putAway(at.target, v)
	return o.restoreAndCompare(ctx, c, v.root, at)
}

func (o *tool) restoreAndCompare(ctx context.Context, c line, want string, at place) (*sample, error) {
	if err := os.MkdirAll(at.target, 0o700); err != nil {
		return nil, err
	}
	s, err := o.measure(ctx, c, at)
	if err != nil {
		return nil, err
	}
	if err := sameTree(ctx, want, o.restored(at)); err != nil {
		return nil, fmt.Errorf("what was restored is wrong: %w", err)
	}
	return s, nil
}

// putAway removes a restored tree, or moves it to where it stays until the end.
// It is below scratch either way, and removed with it at the latest.
func (b *bench) putAway(target string, v *versions) {
	if v.files < manyFiles {
		os.RemoveAll(target)
		return
	}
	b.kept++
	os.Rename(target, filepath.Join(b.scratch, fmt.Sprint("kept-", b.kept)))
}
