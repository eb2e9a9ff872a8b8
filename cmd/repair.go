package cmd

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"bluesky/index"
	"bluesky/repair"
)

// errNotRepaired ends a repair after which something is still wrong.
var errNotRepaired = errors.New("not everything could be repaired; the errors above say what")

func newRepairCommand(e *env) *cobra.Command {
	cmd := newGroup("repair", "Repair the repository")
	cmd.AddCommand(newRepairIndexCommand(e), newRepairLogCommand(e))
	return cmd
}

func newRepairIndexCommand(e *env) *cobra.Command {
	var options repair.Options
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Make lost parts of the index again",
		Long: `Make the runs of the index again that are missing or damaged, from the headers of
the segments or from this machine's cache. No password is needed. What is put
back is what the log has signed, to the bit; nothing else is written, and nothing
is deleted. It may run while backups run, and may be interrupted and run again.

With --read-all-packs the headers of all segments are read, every run is made
again, and compared with what is there.

A run one of whose segments is lost too cannot be made again. Put that segment
back from a copy of the repository, then run this again.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.repairIndex(cmd.Context(), options) },
	}
	cmd.Flags().BoolVarP(&options.DryRun, "dry-run", "n", false, "only say what would be repaired")
	cmd.Flags().BoolVar(&options.All, "read-all-packs", false, "read the headers of all segments, and compare the whole index with them")
	return cmd
}

// repairIndex runs the command.
func (e *env) repairIndex(ctx context.Context, options repair.Options) error {
	o, err := e.connect(ctx) // the repair reads the log itself
	if err != nil {
		return err
	}
	defer o.close()
	p := &repairProgress{env: e}
	report, err := repair.Index(ctx, o.repo, options, p)
	p.end()
	if printErr := e.printRepair(&report, options, err == nil, o.repo.Verified()); printErr != nil {
		return printErr
	}
	switch {
	case err != nil:
		return err
	case !report.OK():
		return withHint(errNotRepaired, "put missing or damaged segments back from a copy of the repository, or its whole idx and cnt folders, and run it again; bluesky check says what is affected")
	}
	return nil
}

// repairProgress shows one phase of a repair after the other.
type repairProgress struct {
	env   *env
	phase *progress // nil before the first
}

var _ repair.Progress = (*repairProgress)(nil)

func (p *repairProgress) Phase(name string, steps uint64) {
	p.end()
	p.phase = p.env.progress(progressSpec{title: name, one: "file", many: "files"})
	p.phase.Expect(steps, 0)
}

func (p *repairProgress) Step(n uint64) { p.phase.Done(n) }

func (p *repairProgress) end() {
	if p.phase != nil {
		p.phase.finish()
	}
}

// printRepair prints what a repair has found and done. One that did not come to
// its end has no summary.
func (e *env) printRepair(r *repair.Report, options repair.Options, finished, verified bool) error {
	for i := range r.Wrong {
		e.printRepairedRun(&r.Wrong[i], options.DryRun)
	}
	for i := range r.Tables {
		e.printRepairedTable(&r.Tables[i], options.DryRun)
	}
	for _, f := range r.Damaged {
		e.printDamagedSegment("error", &f)
	}
	for _, f := range r.Unreadable {
		e.printDamagedSegment("warning", &f)
	}
	switch {
	case !finished:
		return nil
	case e.json():
		return e.printJSON(repairSummary{
			MessageType: "summary", DryRun: options.DryRun, Runs: r.Runs, Wrong: len(r.Wrong), Repaired: r.Repaired(),
			HeadersRead: r.Segments, Equal: r.Equal, Partly: r.Partly, DamagedSegments: len(r.Damaged), IdentityVerified: verified,
		})
	case e.settings.Quiet:
		return nil
	}
	if !verified {
		e.printf("identity not verified: this machine has not seen the repository before\n")
	}
	if options.All {
		e.printf("%s made again from %s: the same as stored\n", of(r.Equal, r.Runs-len(r.Wrong), "run", "runs"), plural(uint64(r.Segments), "segment header", "segment headers"))
		if r.Partly > 0 {
			e.printf("%s that a clean has changed: the same as far as segments are there\n", plural(uint64(r.Partly), "run", "runs"))
		}
	}
	did := "repaired"
	if options.DryRun {
		did = "would be repaired"
	}
	if len(r.Wrong) == 0 {
		e.printf("%s: none is missing or damaged\n", plural(uint64(r.Runs), "run", "runs"))
		return nil
	}
	e.printf("%s missing or damaged, %d %s\n", of(len(r.Wrong), r.Runs, "run", "runs"), r.Repaired(), did)
	return nil
}

// of returns "3 of 5 runs".
func of(n, all int, one, many string) string {
	return fmt.Sprintf("%d of %s", n, plural(uint64(all), one, many))
}

func (e *env) printRepairedRun(r *repair.Run, dry bool) {
	if e.json() {
		m := repairedRun{
			MessageType: "run", ID: r.Name.String(), Generation: r.Generation, Problem: r.Problem.Error(),
			Repaired: r.Repaired, Source: string(r.Source), Segments: r.Segments,
		}
		if r.Err != nil {
			m.Error = r.Err.Error()
		}
		_ = e.printJSON(m) // strings always marshal
		return
	}
	if !r.Repaired {
		fmt.Fprintf(e.stderr, "error: %s: %s; not repaired: %s\n", r.Name.Key(), printable(r.Problem.Error()), printable(r.Err.Error()))
		return
	}
	if e.settings.Quiet {
		return
	}
	did := "made again"
	if dry {
		did = "could be made again"
	}
	from := "the cache of this machine"
	if r.Source == repair.FromHeaders {
		from = plural(uint64(r.Segments), "segment header", "segment headers")
	}
	e.printf("%s: %s; %s from %s\n", r.Name.Key(), printable(r.Problem.Error()), did, from)
}

func (e *env) printRepairedTable(t *repair.Table, dry bool) {
	switch {
	case e.json():
		m := repairedTable{
			MessageType: "table", ID: t.Ref.Name.String(), Holds: t.Holds.String(), Problem: t.Problem.Error(), Repaired: t.Repaired,
		}
		if t.Err != nil {
			m.Error = t.Err.Error()
		}
		_ = e.printJSON(m) // strings always marshal
	case !t.Repaired:
		fmt.Fprintf(e.stderr, "error: %s (%s): %s; not repaired: %s\n", t.Ref.Name.Key(), t.Holds, printable(t.Problem.Error()), printable(t.Err.Error()))
	case e.settings.Quiet:
	case dry:
		e.printf("%s (%s): %s; could be put back from the cache of this machine\n", t.Ref.Name.Key(), t.Holds, printable(t.Problem.Error()))
	default:
		e.printf("%s (%s): %s; put back from the cache of this machine\n", t.Ref.Name.Key(), t.Holds, printable(t.Problem.Error()))
	}
}

func (e *env) printDamagedSegment(severity string, f *index.Failure) {
	text := fmt.Sprintf("%s: %v", f.Name.Key(), f.Err)
	if severity == "warning" {
		e.warn("%s", text)
		return
	}
	e.printError("%s", text)
}

// repairedRun is a run that was missing or damaged.
type repairedRun struct {
	MessageType string `json:"message_type"`
	ID          string `json:"id"`
	Generation  uint64 `json:"generation"` // that registered it
	Problem     string `json:"problem"`
	Repaired    bool   `json:"repaired"` // or would be
	Source      string `json:"source,omitempty"`
	Segments    int    `json:"segments,omitempty"`
	Error       string `json:"error,omitempty"`
}

// repairedTable is a table that was missing or damaged.
type repairedTable struct {
	MessageType string `json:"message_type"`
	ID          string `json:"id"`
	Holds       string `json:"holds"`
	Problem     string `json:"problem"`
	Repaired    bool   `json:"repaired"` // or would be
	Error       string `json:"error,omitempty"`
}

// repairSummary is the last message of repair index.
type repairSummary struct {
	MessageType      string `json:"message_type"`
	DryRun           bool   `json:"dry_run,omitempty"`
	Runs             int    `json:"runs"`
	Wrong            int    `json:"runs_wrong"`
	Repaired         int    `json:"runs_repaired"`
	HeadersRead      int    `json:"headers_read"`
	Equal            int    `json:"runs_equal,omitempty"`
	Partly           int    `json:"runs_partly_compared,omitempty"`
	DamagedSegments  int    `json:"damaged_segments,omitempty"`
	IdentityVerified bool   `json:"identity_verified"`
}
