package cmd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bluesky/check"
	"bluesky/object"
	"bluesky/repo"
)

// errDamaged ends a check that has found damage.
var errDamaged = errors.New("the repository is damaged; the errors above say where")

func newCheckCommand(e *env) *cobra.Command {
	var options check.Options
	var subset string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the repository for damage",
		Long: `Check the repository: the log and its signatures, the index against the segments,
the graph of references, and that everything is there with the right size. With
a password configured, the metadata of all snapshots is read as well; without
one, none is asked for.

With --read-data every byte is read: compared with its checksums without a
password, decrypted with one. With --read-data-subset a part of the segments is:
n/t is the n-th of t parts, which are all segments together, so that one part a
day comes round in t days; a percentage or a size is chosen at random. The last
line says how far the check went.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if flag := cmd.Flags().Lookup("read-data-subset"); flag.Changed {
				if options.ReadData {
					return errors.New("--read-data and --read-data-subset exclude each other")
				}
				if options.Subset, err = check.ParseSubset(subset); err != nil {
					return fmt.Errorf("--read-data-subset: %w", err)
				}
			}
			return e.check(cmd.Context(), options)
		},
	}
	cmd.Flags().BoolVar(&options.ReadData, "read-data", false, "read and verify all data")
	cmd.Flags().StringVar(&subset, "read-data-subset", "", "read and verify a `part` of the data: n/t, x%, or a size such as 500M")
	return cmd
}

// check runs the command.
func (e *env) check(ctx context.Context, options check.Options) error {
	o, err := e.openUnread(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	options.Folder = e.spillDir()
	p := &checkProgress{env: e}
	report, err := check.Run(ctx, o.repo, o.keys, options, p)
	p.end()
	if err == nil && report.OK() {
		err = o.refresh(ctx) // so that this machine remembers what it has seen
	}
	if printErr := e.printCheck(&report, err == nil); printErr != nil {
		return printErr
	}
	switch {
	case err != nil:
		return withHint(err, "the check did not come to its end: nothing is known to be right")
	case !report.OK() && slices.ContainsFunc(report.Problems, ofRollback):
		return withHint(errDamaged, "put the newest files of gen/ back from another copy of the repository; %s", hintRollback)
	case !report.OK() && slices.ContainsFunc(report.Problems, ofLog):
		return withHint(errDamaged, "put damaged files of gen/ back from another copy of the repository; if nobody of this repository has written the newest of them, bluesky repair log passes over it")
	case !report.OK() && report.SuggestRepairIndex:
		return withHint(errDamaged, "bluesky repair index makes lost runs of the index again, from segments that are whole; then check again")
	case !report.OK() && report.SuggestRecount && len(report.BrokenSegments) == 0:
		return withHint(errDamaged, "bluesky prune --recount counts anew what the cleaner has counted; then check again")
	case !report.OK():
		return withHint(errDamaged, "what is not affected can still be restored; put damaged files back from another copy of the repository, if there is one")
	}
	return nil
}

// checkProgress shows one phase of a check after the other.
type checkProgress struct {
	env   *env
	phase *progress // nil before the first
	bytes bool      // its steps are bytes
}

var _ check.Progress = (*checkProgress)(nil)

// checkUnit returns what the steps of a phase of a check are: one, and many.
// Those of phases that are not listed are bytes.
func checkUnit(phase string) (one, many string, listed bool) {
	switch phase {
	case "read the log":
		return "generation", "generations", true
	case "list the bucket":
		return "file", "files", true
	case "read the tables of cleaners":
		return "table", "tables", true
	case "read the runs of the index":
		return "run", "runs", true
	case "compare segment headers with the index":
		return "segment", "segments", true
	case "find the home of each object", "count all references":
		return "part", "parts", true
	case "check the trees of the snapshots", "find the files that are affected":
		return "snapshot", "snapshots", true
	}
	return "", "", false
}

func (p *checkProgress) Phase(name string, steps uint64) {
	p.end()
	one, many, listed := checkUnit(name)
	p.bytes = !listed
	p.phase = p.env.progress(progressSpec{title: name, one: one, many: many, countless: p.bytes || steps == 0})
	if p.bytes {
		p.phase.Expect(0, steps)
	} else {
		p.phase.Expect(steps, 0)
	}
}

func (p *checkProgress) Step(n uint64) {
	if p.bytes {
		p.phase.Advance(n)
	} else {
		p.phase.Done(n)
	}
}

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
		return e.printJSON(checkSummaryOf(r, finished))
	}
	if !finished {
		return nil
	}
	if !e.settings.Quiet {
		e.printf("%s, %s, %s, %s, %s; %s read\n",
			plural(r.Generations, "generation", "generations"), plural(r.Snapshots, "snapshot", "snapshots"),
			plural(r.Runs, "run", "runs"), plural(r.Segments, "segment", "segments"),
			plural(r.Objects, "object", "objects"), formatBytes(r.BytesRead))
		for _, unseen := range r.Unseen {
			e.printf("not seen: %s\n", printable(unseen))
		}
	}
	if r.OK() {
		e.printf("OK, checked: %s\n", r.Level)
	} else {
		e.printf("%s found at the level: %s\n", plural(uint64(r.Errors), "error", "errors"), r.Level)
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
		fmt.Fprintf(e.stderr, "    in snapshots %s%s\n", shortIDs(p.Snapshots), more(p.MoreSnapshots))
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
	SuggestRecount     bool     `json:"suggest_recount"`  // not restic's
	Level              string   `json:"level"`            // not restic's
	Unseen             []string `json:"unseen,omitempty"` // not restic's
	Warnings           int      `json:"num_warnings"`     // not restic's
}

// checkSummaryOf makes the summary of a check. As in restic, one that did not
// come to its end has found an error at least.
func checkSummaryOf(r *check.Report, finished bool) checkSummary {
	s := checkSummary{
		MessageType: "summary", NumErrors: r.Errors, Warnings: r.Warnings,
		SuggestRepairIndex: r.SuggestRepairIndex, SuggestPrune: r.SuggestPrune, SuggestRecount: r.SuggestRecount,
		Level: r.Level, Unseen: r.Unseen,
	}
	if !finished {
		s.NumErrors, s.Level, s.Unseen = max(s.NumErrors, 1), "not finished", nil
	}
	for _, name := range r.BrokenSegments {
		s.BrokenPacks = append(s.BrokenPacks, name.String())
	}
	return s
}

// ofRollback reports whether p is that the log is older than it was.
func ofRollback(p check.Problem) bool {
	return ofLog(p) && strings.Contains(p.Text, repo.ErrRollback.Error())
}

// ofLog reports whether p is an error of the log.
func ofLog(p check.Problem) bool {
	return p.Severity == check.Error && strings.HasPrefix(p.Subject, "gen/")
}
