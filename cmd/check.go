package cmd

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"bluesky/check"
	"bluesky/object"
)

// errDamaged ends a check that has found damage.
var errDamaged = errors.New("the repository is damaged; the errors above say where")

func newCheckCommand(e *env) *cobra.Command {
	var options check.Options
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the repository for damage",
		Long: `Check the repository: the log and its signatures, the index against the segments,
the graph of references, and that everything is there with the right size. With
a password configured, the metadata of all snapshots is read as well; without
one, none is asked for.

With --read-data every byte is read: compared with its checksums without a
password, decrypted with one. The last line says how far the check went.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.check(cmd.Context(), options) },
	}
	cmd.Flags().BoolVar(&options.ReadData, "read-data", false, "read and verify all data")
	return cmd
}

// check runs the command.
func (e *env) check(ctx context.Context, options check.Options) error {
	o, err := e.openEither(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	p := &checkProgress{env: e}
	report, err := check.Run(ctx, o.repo, o.keys, options, p)
	p.end()
	if printErr := e.printCheck(&report, err == nil); printErr != nil {
		return printErr
	}
	switch {
	case err != nil:
		return err
	case !report.OK():
		return errDamaged
	}
	return nil
}

// checkProgress shows one phase of a check after the other.
type checkProgress struct {
	env   *env
	phase *progress // nil before the first
}

var _ check.Progress = (*checkProgress)(nil)

func (p *checkProgress) Phase(name string, steps uint64) {
	p.end()
	p.phase = p.env.progress(progressSpec{title: name, one: "step", many: "steps"})
	p.phase.Expect(steps, 0)
}

func (p *checkProgress) Step(n uint64)         { p.phase.update(func(c *counts) { c.itemsDone += n }) }
func (p *checkProgress) Problem(check.Problem) {}

func (p *checkProgress) end() {
	if p.phase != nil {
		p.phase.finish()
	}
}

// printCheck prints what a check found. What it did not come to the end of is
// not called right.
func (e *env) printCheck(r *check.Report, finished bool) error {
	for i := range r.Problems {
		e.printProblem(&r.Problems[i])
	}
	if r.Omitted > 0 {
		e.warn("%d more problems are not listed", r.Omitted)
	}
	if e.json() {
		return e.printJSON(checkSummaryOf(r))
	}
	if !finished {
		return nil
	}
	if !e.settings.Quiet {
		e.printf("%d generations, %d snapshots, %d runs, %d segments, %d objects; %s read\n",
			r.Generations, r.Snapshots, r.Runs, r.Segments, r.Objects, formatBytes(r.BytesRead))
		for _, unseen := range r.Unseen {
			e.printf("not seen: %s\n", printable(unseen))
		}
	}
	if r.OK() {
		e.printf("OK, checked: %s\n", r.Level)
	} else {
		e.printf("%s found, checked: %s\n", plural(uint64(r.Errors), "error", "errors"), r.Level)
	}
	return nil
}

func (e *env) printProblem(p *check.Problem) {
	if p.Severity == check.Note && (e.json() || e.settings.Verbose < 1) {
		return
	}
	text := fmt.Sprintf("%s: %s", quote(p.Subject), p.Text)
	if e.json() {
		message := checkError{MessageType: "error", Message: text, Severity: p.Severity.String(), Files: p.Files}
		for _, id := range p.Snapshots {
			message.Snapshots = append(message.Snapshots, id.String())
		}
		_ = e.writeJSON(e.stderr, message) // strings always marshal
		return
	}
	fmt.Fprintf(e.stderr, "%s: %s\n", p.Severity, printable(text))
	for _, file := range p.Files {
		fmt.Fprintf(e.stderr, "    affects %s\n", quote(file))
	}
	if p.MoreFiles > 0 {
		fmt.Fprintf(e.stderr, "    and %s\n", plural(uint64(p.MoreFiles), "more file", "more files"))
	}
	if len(p.Snapshots) > 0 {
		fmt.Fprintf(e.stderr, "    in %s %s%s\n", "snapshots", shortIDs(p.Snapshots), more(p.MoreSnapshots))
	}
}

func shortIDs(ids []object.ID) string {
	short := make([]string, len(ids))
	for i, id := range ids {
		short[i] = id.Short()
	}
	return strings.Join(short, ", ")
}

type checkError struct {
	MessageType string   `json:"message_type"`
	Message     string   `json:"message"`
	Severity    string   `json:"severity"`            // not restic's
	Files       []string `json:"files,omitempty"`     // not restic's
	Snapshots   []string `json:"snapshots,omitempty"` // not restic's
}

type checkSummary struct {
	MessageType        string   `json:"message_type"`
	NumErrors          int      `json:"num_errors"`
	BrokenPacks        []string `json:"broken_packs"`
	SuggestRepairIndex bool     `json:"suggest_repair_index"`
	SuggestPrune       bool     `json:"suggest_prune"`
	Level              string   `json:"level"`            // not restic's
	Unseen             []string `json:"unseen,omitempty"` // not restic's
	Warnings           int      `json:"num_warnings"`     // not restic's
}

func checkSummaryOf(r *check.Report) checkSummary {
	s := checkSummary{
		MessageType: "summary", NumErrors: r.Errors, Warnings: r.Warnings,
		SuggestRepairIndex: r.SuggestRepairIndex, SuggestPrune: r.SuggestPrune,
		Level: r.Level, Unseen: r.Unseen,
	}
	for _, name := range r.BrokenSegments {
		s.BrokenPacks = append(s.BrokenPacks, name.String())
	}
	return s
}
