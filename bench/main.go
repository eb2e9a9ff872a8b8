// Command bench compares bluesky with other backup programs: how long they
// take, how much processor and memory, and how much they store.
//
//	go run ./bench -n 3 -out report.md
//
// It makes trees of files, the same ones each time, and lets each program that
// it finds make a first backup, one of the unchanged and one of a changed tree,
// restore that and check what it has stored. What was restored is compared with
// what was backed up; a difference ends the run, since a wrong restore has no
// speed. bench/README.md says what is measured, and how.
//
// All files are below one folder, which is removed in the end; no program sees
// the home folder of who calls.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// A config is what the flags say.
type config struct {
	rounds  int
	history int
	scale   float64
	trees   string
	tools   string
	phases  string
	scratch string
	goroot  string
	out     string
	raw     string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c config
	flag.IntVar(&c.rounds, "n", 3, "`rounds`: how often each program does everything")
	flag.IntVar(&c.history, "history", 0, "instead of all else, play so many `rounds` of backup, forget and prune, and report what prunes rewrite")
	flag.Float64Var(&c.scale, "scale", 1, "make trees of this `part` of their size, for a try")
	flag.StringVar(&c.trees, "trees", "all", "`names` of trees, of: "+strings.Join(treeNames(), ","))
	flag.StringVar(&c.tools, "tools", "bluesky,restic,kopia,borg", "`programs`, as name or name=path; one name may stand there with several paths")
	flag.StringVar(&c.phases, "phases", "all", "`names` of what is measured, of: "+strings.Join(phaseNames(), ","))
	flag.StringVar(&c.scratch, "dir", "", "`folder` to work in (default: a new temporary one); what is made in it is removed")
	flag.StringVar(&c.goroot, "toolchain", "", "`folder` that the toolchain tree is a copy of (default: GOROOT)")
	flag.StringVar(&c.out, "out", "", "`file` for the report in Markdown (default: standard output)")
	flag.StringVar(&c.raw, "json", "", "`file` for all samples as JSON")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: %q is no flag\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(ctx, &c, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run makes a whole comparison. The report goes to stdout unless c names a
// file, what happens meanwhile to log.
func run(ctx context.Context, c *config, stdout, log io.Writer) (err error) {
	if c.rounds < 1 || c.scale <= 0 || c.scale > 1 {
		return fmt.Errorf("%d rounds at scale %g: want at least 1, and a scale above 0 and up to 1", c.rounds, c.scale)
	}
	scratch, err := os.MkdirTemp(c.scratch, "bluesky-bench-")
	if err != nil {
		return err
	}
	defer func() {
		if removeErr := os.RemoveAll(scratch); err == nil {
			err = removeErr
		}
	}()
	if c.history > 0 {
		return runHistory(ctx, c, scratch, stdout, log)
	}
	b := bench{rounds: c.rounds, scratch: scratch, log: log}
	if b.phases, err = choosePhases(c.phases); err != nil {
		return err
	}
	if b.trees, err = chooseTrees(c.trees, c.scale, c.goroot); err != nil {
		return err
	}
	if b.tools, err = findTools(ctx, c.tools, scratch, log); err != nil {
		return err
	}
	r := report{Rounds: c.rounds, Scale: c.scale, Machine: lookAtMachine(scratch), Tools: b.tools, Phases: b.phases}
	allErr := b.all(ctx, &r)
	if len(r.Trees) == 0 {
		return allErr
	}
	return errors.Join(allErr, c.write(stdout, r.markdown(), &r)) // trees that are done count, whatever came later
}

func runHistory(ctx context.Context, c *config, scratch string, stdout, log io.Writer) error {
	tools, err := findTools(ctx, c.tools, scratch, log)
	if err != nil {
		return err
	}
	h, m := newHistory(c, tools, log), lookAtMachine(scratch)
	list, err := h.all(ctx, scratch)
	if err != nil {
		return err
	}
	return c.write(stdout, historyReport(h, &m, list), list)
}

// write writes the report, and raw samples, to where c says.
func (c *config) write(stdout io.Writer, report []byte, raw any) error {
	if c.raw != "" {
		if err := writeJSON(c.raw, raw); err != nil {
			return err
		}
	}
	if c.out == "" {
		_, err := stdout.Write(report)
		return err
	}
	return os.WriteFile(c.out, report, 0o644)
}
