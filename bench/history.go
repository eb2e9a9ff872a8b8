package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// A history shows what it costs to keep a repository small: rounds of a backup
// of a tree in which a part has changed, of forgetting the snapshot before, and of
// a prune that leaves 5 % unused. All programs meet the same tree in each round.
type history struct {
	rounds int
	files  int
	change int // files that are replaced in each round
	tools  []*tool
	log    io.Writer
}

const (
	historyFile   = 256 << 10 // bytes of a file in the mean, which do not compress
	historyFolder = 64        // files in a folder
	historyChurn  = 0.02
)

// A pattern says which files change in a round.
type pattern struct {
	name  string
	files func(g *generator, all, n int) []int
}

var patterns = []pattern{
	{"uniform", func(g *generator, all, n int) []int { return g.random.Perm(all)[:n] }},
	{"clustered", func(g *generator, all, n int) []int {
		start, list := g.random.IntN(all), make([]int, n)
		for i := range list {
			list[i] = (start + i) % all
		}
		return list
	}},
}

// historyTools returns the programs that a history can be played with: those of
// which it is known in which folder their packs are.
func historyTools(tools []*tool) []*tool {
	return slices.DeleteFunc(slices.Clone(tools), func(t *tool) bool { return t.packs == "" })
}

func newHistory(c *config, tools []*tool, log io.Writer) *history {
	files := max(historyFolder, int(math.Round(2048*c.scale)))
	return &history{
		rounds: c.history, files: files, change: max(1, int(math.Round(float64(files)*historyChurn))),
		tools: historyTools(tools), log: log,
	}
}

// A pruned is what the prunes of one program came to.
type pruned struct {
	Pattern, Tool string
	LiveBytes     int64 // of the tree
	DiedBytes     int64 // of the files that were replaced, in all rounds
	Rewritten     int64 // bytes of packs that prunes have made
	Others        int64 // and of other files
	Space         int64 // sum over the rounds of the size of the repository
	Rounds        int
	Samples       []sample // of prunes
}

func (h *history) all(ctx context.Context, scratch string) ([]*pruned, error) {
	if len(h.tools) == 0 {
		return nil, errors.New("a history is played with bluesky and restic, and neither is there")
	}
	var list []*pruned
	for _, p := range patterns {
		folder := filepath.Join(scratch, p.name)
		done, err := h.play(ctx, p, folder)
		if err == nil {
			err = os.RemoveAll(folder)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		list = append(list, done...)
	}
	return list, nil
}

// play plays the rounds of one pattern, and compares what is restored in the
// end.
func (h *history) play(ctx context.Context, p pattern, folder string) ([]*pruned, error) {
	g := newGenerator("history " + p.name)
	source := filepath.Join(folder, "source")
	var live int64
	for i := range h.files {
		if err := writeHistoryFile(g, source, i); err != nil {
			return nil, err
		}
		live += historySize(i)
	}
	places, list := make([]place, len(h.tools)), make([]*pruned, len(h.tools))
	for i, t := range h.tools {
		below := filepath.Join(folder, fmt.Sprint(i))
		places[i] = place{repo: filepath.Join(below, "repo"), source: source, target: filepath.Join(below, "target"), state: filepath.Join(below, "state")}
		list[i] = &pruned{Pattern: p.name, Tool: t.Label, LiveBytes: live, Rounds: h.rounds}
		if err := t.begin(ctx, places[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", t.Label, err)
		}
	}
	for round := range h.rounds {
		var died int64
		for _, i := range p.files(g, h.files, h.change) {
			if err := writeHistoryFile(g, source, i); err != nil {
				return nil, err
			}
			died += historySize(i)
		}
		for i, t := range h.tools {
			if err := list[i].round(ctx, t, places[i], died); err != nil {
				return nil, fmt.Errorf("round %d: %s: %w", round+1, t.Label, err)
			}
			fmt.Fprintf(h.log, "%s: round %d: %s: rewritten %d of %d, others %d\n", p.name, round+1, t.Label, list[i].Rewritten, list[i].DiedBytes, list[i].Others)
		}
	}
	for i, t := range h.tools {
		if _, err := t.restoreAndCompare(ctx, t.commands["restore"], source, places[i]); err != nil {
			return nil, fmt.Errorf("%s: %w", t.Label, err)
		}
	}
	return list, nil
}

// begin makes a repository and the first backup in it.
func (o *tool) begin(ctx context.Context, at place) error {
	if err := os.MkdirAll(filepath.Join(at.state, "tmp"), 0o700); err != nil {
		return err
	}
	for _, c := range append(slices.Clone(o.init), o.commands["first"]) {
		if _, err := o.measure(ctx, c, at); err != nil {
			return err
		}
	}
	return nil
}

// historySize returns the size of a file, which it keeps: half of the mean to
// one and a half times of it.
func historySize(i int) int64 { return historyFile/2 + int64(i)*7919%historyFile }

func writeHistoryFile(g *generator, root string, i int) error {
	folder := filepath.Join(root, fmt.Sprintf("%03d", i/historyFolder))
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	data := make([]byte, historySize(i))
	g.fill(data, true)
	return os.WriteFile(filepath.Join(folder, fmt.Sprintf("%05d", i)), data, 0o644)
}

// round makes a backup of the changed tree, forgets the one before, and prunes.
func (d *pruned) round(ctx context.Context, t *tool, at place, died int64) error {
	for _, name := range []string{"changed", "forget"} {
		if _, err := t.measure(ctx, t.commands[name], at); err != nil {
			return err
		}
	}
	before, err := sizes(at.repo)
	if err != nil {
		return err
	}
	s, err := t.measure(ctx, t.commands["prune"], at)
	if err != nil {
		return err
	}
	after, err := sizes(at.repo)
	if err != nil {
		return err
	}
	for path, size := range after {
		d.Space += size
		if was, there := before[path]; there && was == size {
			continue
		}
		if inside, err := filepath.Match(t.packs, path); err != nil {
			return err
		} else if inside {
			d.Rewritten += size
		} else {
			d.Others += size
		}
	}
	d.DiedBytes += died
	d.Samples = append(d.Samples, *s)
	return nil
}

// sizes returns the sizes of the regular files below folder by their paths in
// it.
func sizes(folder string) (map[string]int64, error) {
	found := map[string]int64{}
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		below, err := filepath.Rel(folder, path)
		found[below] = info.Size()
		return err
	})
	return found, err
}

// historyReport returns the report as a document.
func historyReport(h *history, m *machine, list []*pruned) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# What prunes rewrite\n\n%d processors (%s), %s, %s.\n\n", m.Processors, m.Model, m.Kernel, m.FileSystem)
	fmt.Fprintf(&b, "%d files of %d KiB in the mean that do not compress, %d in a folder. In each of %d rounds %d files were replaced, all over the tree or neighbours; ",
		h.files, historyFile>>10, historyFolder, h.rounds, h.change)
	b.WriteString("then came a backup, a forget of the snapshot before, and a prune that may leave 5 % unused. " +
		"*stored / live*: the repository after a prune, over the tree, in the mean. *rewritten / died*: packs that prunes have made, over the files that were replaced. " +
		"The last snapshot of each was restored, and compared with the tree.\n\n")
	b.WriteString("| | | stored / live | rewritten MiB | rewritten / died | other files MiB | read MiB | written MiB | CPU s |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, d := range list {
		var read, written int64
		var cpu float64
		for i := range d.Samples {
			read, written, cpu = read+d.Samples[i].Read, written+d.Samples[i].Written, cpu+d.Samples[i].CPU()
		}
		const mib = 1 << 20
		fmt.Fprintf(&b, "| %s | %s | %.3f | %.0f | %.2f | %.1f | %.0f | %.0f | %.1f |\n", d.Pattern, d.Tool,
			float64(d.Space)/float64(d.Rounds)/float64(d.LiveBytes), float64(d.Rewritten)/mib, float64(d.Rewritten)/float64(d.DiedBytes),
			float64(d.Others)/mib, float64(read)/mib, float64(written)/mib, cpu)
	}
	return b.Bytes()
}
