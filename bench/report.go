package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// A report is everything that was found.
type report struct {
	Rounds  int
	Scale   float64
	Machine machine
	Tools   []*tool `json:"-"`
	Phases  []phase `json:"-"`
	Trees   []treeReport
}

type treeReport struct {
	Name, Title, Change string
	Files               int
	Bytes               int64
	Samples             []sample
}

func writeJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// markdown returns the report as a document.
func (r *report) markdown() []byte {
	var b bytes.Buffer
	labels := mapped(r.Tools, func(t *tool) string { return t.Label })
	m := &r.Machine
	fmt.Fprintf(&b, "# %s\n\n", strings.Join(labels, ", "))
	fmt.Fprintf(&b, "%d processors (%s), %.0f GiB of memory, %s, %s; %s.\n", m.Processors, m.Model, m.MemoryGiB, m.Kernel, m.FileSystem, m.Go)
	fmt.Fprintf(&b, "Medians of %d rounds in which the programs took turns, and the least and the most. ", r.Rounds)
	fmt.Fprintf(&b, "× is how many times as much as the first program. ")
	fmt.Fprintf(&b, "*wall* is until the program ended, *on disk* until all it had written was there. ")
	fmt.Fprintf(&b, "The trees were in the page cache. Peaks below %.0f MiB cannot be seen. ", r.floor())
	fmt.Fprintf(&b, "Each restored tree was compared with what was backed up.\n")
	if r.Scale != 1 {
		fmt.Fprintf(&b, "\n**A try at scale %g: the figures say nothing about speed.**\n", r.Scale)
	}
	for i := range r.Trees {
		r.table(&b, &r.Trees[i], labels)
	}
	r.commands(&b)
	return b.Bytes()
}

// floor returns the least peak that could be seen everywhere.
func (r *report) floor() (most float64) {
	for i := range r.Trees {
		for _, s := range r.Trees[i].Samples {
			most = max(most, s.FloorMiB)
		}
	}
	return most
}

// table writes what was found of one tree.
func (r *report) table(b *bytes.Buffer, t *treeReport, labels []string) {
	fmt.Fprintf(b, "\n## %s\n\n%s (%d files, %.0f MiB).\nChanged: %s.\n\n", t.Name, t.Title, t.Files, float64(t.Bytes)/(1<<20), t.Change)
	b.WriteString("| | | wall s | × | on disk s | × | CPU s | × | peak MiB | × | read MiB | × | written MiB | × | repository MiB | × | files |\n")
	b.WriteString("|---|---|" + strings.Repeat("--:|", 2*len(columns)+1) + "\n")
	for _, p := range r.Phases {
		rows := 0
		for _, label := range labels {
			rows += t.row(b, p, label, labels[0], rows == 0)
		}
		if rows == 1 && len(labels) > 1 {
			b.WriteString("| | *none of the others does this* |" + strings.Repeat(" |", 2*len(columns)+1) + "\n")
		}
	}
}

// columns are what a row has of a sample, and with how many decimals.
var columns = []struct {
	value    func(*sample) float64
	decimals int
	stored   bool // of interest where something is stored
}{
	{value: func(s *sample) float64 { return s.Wall }, decimals: 2},
	{value: func(s *sample) float64 { return s.Wall + s.Sync }, decimals: 2},
	{value: (*sample).CPU, decimals: 2},
	{value: func(s *sample) float64 { return s.PeakMiB }},
	{value: func(s *sample) float64 { return float64(s.Read) / (1 << 20) }, decimals: 1},
	{value: func(s *sample) float64 { return float64(s.Written) / (1 << 20) }, decimals: 1},
	{value: func(s *sample) float64 { return float64(s.RepoBytes) / (1 << 20) }, decimals: 1, stored: true},
}

// row writes the row of one program and returns 1, or 0 if it has none.
func (t *treeReport) row(b *bytes.Buffer, p phase, label, base string, titled bool) int {
	samples, first := t.of(p.name, label), t.of(p.name, base)
	if len(samples) == 0 {
		return 0
	}
	title := ""
	if titled {
		title = p.title
	}
	fmt.Fprintf(b, "| %s | %s |", title, label)
	for _, c := range columns {
		if c.stored && !p.stores {
			b.WriteString(" | |")
			continue
		}
		s := spreadOf(mapped(samples, func(s sample) float64 { return c.value(&s) }))
		fmt.Fprintf(b, " %s |", s.text(c.decimals))
		ratio := ""
		if of := spreadOf(mapped(first, func(s sample) float64 { return c.value(&s) })); len(first) > 0 && of.median > 0 {
			ratio = fmt.Sprintf("%.2f", s.median/of.median)
		}
		fmt.Fprintf(b, " %s |", ratio)
	}
	files := ""
	if p.stores {
		files = fmt.Sprintf("%.0f", spreadOf(mapped(samples, func(s sample) float64 { return float64(s.RepoFiles) })).median)
	}
	fmt.Fprintf(b, " %s |\n", files)
	return 1
}

// of returns the samples of one phase and program.
func (t *treeReport) of(phase, label string) []sample {
	return slices.DeleteFunc(slices.Clone(t.Samples), func(s sample) bool { return s.Phase != phase || s.Tool != label })
}

// commands writes how each program was called.
func (r *report) commands(b *bytes.Buffer) {
	b.WriteString("\n## Command lines\n\nPasswords and places are in the environment where the program has variables for them.\n\n```\n")
	for _, t := range r.Tools {
		fmt.Fprintf(b, "# %s\n", t.Label)
		for _, c := range t.init {
			fmt.Fprintf(b, "%s %s\n", t.kind, c.args)
		}
		last := ""
		for _, p := range allPhases {
			c, ok := t.commands[p.name]
			if c.before != "" {
				fmt.Fprintf(b, "%s %s\n", t.kind, c.before)
			}
			if ok && c.args != last {
				fmt.Fprintf(b, "%s %s\n", t.kind, c.args)
				last = c.args
			}
		}
	}
	b.WriteString("```\n")
}

// A spread is what the rounds gave.
type spread struct{ median, least, most float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	slices.Sort(values)
	n := len(values)
	return spread{(values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]}
}

// text returns the median, and the least and the most if they differ as shown.
func (s spread) text(decimals int) string {
	show := func(v float64) string { return fmt.Sprintf("%.*f", decimals, v) }
	if show(s.least) == show(s.most) {
		return show(s.median)
	}
	return fmt.Sprintf("%s (%s–%s)", show(s.median), show(s.least), show(s.most))
}
