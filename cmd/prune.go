package cmd

import (
	"context"
	"crypto"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bluesky/prune"
	"bluesky/repo"
	"bluesky/store"
)

func newPruneCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "prune",
		Aliases: []string{"gc", "compact"},
		Short:   "Delete data that no snapshot refers to",
		Long: `Delete what no snapshot needs any more, and pack together what is left. No
password is needed, and none is read: prune signs with the cleaner key that init
has written, which decrypts nothing. It may run while backups run, and may be
interrupted and run again. Only snapshots that were forgotten free space.

A segment goes when nothing in it is needed. Of one that is used in part, what is
needed is copied first, while more than --max-unused would stay unused.

Exit codes: 0 done, 1 not done or damage found, 10 no repository, 130 interrupted.
docs/operations.md says how to run it from cron, and with which rights.`,
		Args: noArgs,
	}
	f := addPruneFlags(cmd.Flags())
	cmd.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "delete nothing, and say what would be done")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return runPrune(cmd.Context(), e, f.options())
	}
	return cmd
}

// pruneFlags are the flags that say how to prune. The zero value of all but
// maxUnused is their default.
type pruneFlags struct {
	maxUnused limitValue
	maxRepack sizeValue
	maxRead   sizeValue
	duration  spanValue
	repack    repackValue
	grace     spanValue
	instant   bool
	massive   bool
	recount   bool
	dryRun    bool
}

// addPruneFlags defines the flags of prune, those of restic under its names.
func addPruneFlags(flags *pflag.FlagSet) *pruneFlags {
	f := &pruneFlags{repack: "auto"}
	_ = f.maxUnused.Set("5%")
	flags.Var(&f.maxUnused, "max-unused", "tolerate this `limit` of unused data: a size such as 500M, a percentage, or the word 'unlimited'")
	flags.Var(&f.maxRepack, "max-repack-size", "copy at most this `size` of data that is needed (default: no limit)")
	flags.Var(&f.maxRead, "max-read", "read at most this `size` for copying (default: no limit)")
	flags.Var(&f.duration, "max-duration", "stop copying after this `duration`, such as 30m or 6h; what is deleted is deleted all the same (default: no limit)")
	flags.Var(&f.repack, "repack", "`when` to copy what is needed out of segments that are used in part: auto or never; never suits cold storage")
	flags.Var(&f.grace, "grace", "keep what is no longer used for this `duration` before deleting it, such as 12h or 7d (default: none)")
	flags.BoolVar(&f.instant, "instant", false, "do not wait 7 days for files that nothing names and for sessions that have gone silent; a backup that runs meanwhile may start again")
	flags.BoolVar(&f.massive, "allow-mass-delete", false, "go on if more than half of what is live would be deleted")
	flags.BoolVar(&f.recount, "recount", false, "count all references anew, from all headers of metadata, instead of those since the last prune; mends what bluesky check finds wrong with the counts")
	return f
}

// givenPruneFlag returns the name of a flag of prune that was given, "" if none was.
func givenPruneFlag(flags *pflag.FlagSet) (name string) {
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	addPruneFlags(own)
	flags.Visit(func(flag *pflag.Flag) {
		if own.Lookup(flag.Name) != nil {
			name = flag.Name
		}
	})
	return name
}

// repackValue is the value of --repack.
type repackValue string

func (v *repackValue) Set(text string) error {
	if text != "auto" && text != "never" {
		return errors.New("want auto or never")
	}
	*v = repackValue(text)
	return nil
}

func (v *repackValue) String() string { return string(*v) }

func (v *repackValue) Type() string { return "when" }

// pruneOptions are the options of a prune, and whether it only says what it
// would do.
type pruneOptions struct {
	prune.Options
	dryRun bool
}

// options returns what the flags say. As in restic, a limit of 0 is no copying
// at all.
func (f *pruneFlags) options() pruneOptions {
	none := f.repack == "never" || f.maxRepack.none() || f.maxRead.none() || f.duration.given && f.duration.Duration == 0
	return pruneOptions{
		Options: prune.Options{
			MaxUnused: f.maxUnused.Limit, MaxRepack: f.maxRepack.bytes, MaxRead: f.maxRead.bytes, MaxDuration: f.duration.Duration,
			NoRepack: none, Grace: f.grace.Duration, Instant: f.instant, AllowMassDelete: f.massive, Recount: f.recount,
		},
		dryRun: f.dryRun,
	}
}

// runPrune prunes the repository with its cleaner key.
func runPrune(ctx context.Context, e *env, options pruneOptions) error {
	o, key, err := e.openCleaner(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	if key == nil {
		return o.noCleanerKey()
	}
	return o.prune(ctx, key.Signer(), options)
}

// prune prunes the repository, signed by its cleaner or its admin.
func (o *opened) prune(ctx context.Context, cleaner crypto.Signer, options pruneOptions) error {
	options.Now, options.Folder = o.env.now, o.env.spillDir()
	p := &pruneProgress{env: o.env}
	defer p.end()
	plan, err := prune.NewPlan(ctx, o.repo, options.Options, p)
	if err != nil {
		return pruneError(err)
	}
	report := &pruneReport{Result: prune.Result{Stats: plan.Stats}, dryRun: options.dryRun}
	if options.dryRun {
		report.condemned = len(o.repo.State().Condemned)
	} else {
		result, applyErr := plan.Apply(ctx, cleaner, p)
		if result == nil {
			return pruneError(applyErr)
		}
		report.Result, err = *result, applyErr
	}
	p.end()
	report.kept = plan.Kept
	if lookErr := report.look(ctx, o, options); lookErr != nil && err == nil {
		o.env.warn("what waits to be deleted is not known: %v", lookErr)
	}
	report.nothing = err == nil && plan.Empty() && report.Deleted == 0 && report.condemned == 0
	if printErr := o.env.printPrune(report); printErr != nil {
		return printErr
	}
	return pruneError(err)
}

// spillDir returns the folder for what does not fit into memory, "" if there is
// none.
func (e *env) spillDir() string {
	if dir := e.getenv("TMPDIR"); dir != "" {
		return dir
	}
	return e.cacheDir()
}

// pruneError adds the next step to an error of pruning.
func pruneError(err error) error {
	switch {
	case errors.Is(err, context.Canceled):
		return err // what was cut short is not damaged
	case errors.Is(err, store.ErrPermission):
		return withHint(err, "who prunes needs the right to list, read, create and delete files in the repository; docs/operations.md has the list")
	case errors.Is(err, prune.ErrMassDelete):
		return withHint(err, "bluesky undo-forget lists what was forgotten, and brings it back; if that is what was meant, give --allow-mass-delete")
	case errors.Is(err, repo.ErrConflict):
		return withHint(err, "run it again; nothing is lost, and what was copied will be deleted by a later prune")
	case errors.Is(err, prune.ErrDamaged):
		return withHint(err, "%s; nothing that is needed was deleted", hintCheck)
	}
	return err
}

// pruneProgress shows one phase of a prune after the other.
type pruneProgress struct {
	env   *env
	phase *progress // nil before the first
	bytes bool      // its units are bytes
}

var _ prune.Progress = (*pruneProgress)(nil)

// pruneUnit returns what the units of a phase of a prune are: one, and many. None
// are bytes.
func pruneUnit(phase string) (one, many string) {
	switch phase {
	case "copy live objects":
		return "", ""
	case "count new references":
		return "run", "runs"
	case "read the headers of metadata segments", "find what refers to objects that are missing":
		return "segment", "segments"
	case "find what nothing refers to":
		return "object", "objects"
	case "look for what no generation names", "delete what is condemned":
		return "file", "files"
	}
	return "step", "steps"
}

func (p *pruneProgress) Phase(name string, total uint64) {
	p.end()
	one, many := pruneUnit(name)
	p.bytes = one == ""
	p.phase = p.env.progress(progressSpec{title: name, one: one, many: many, countless: p.bytes})
	if p.bytes {
		p.phase.Expect(0, total)
	} else {
		p.phase.Expect(total, 0)
	}
}

func (p *pruneProgress) Add(n uint64) {
	if p.bytes {
		p.phase.Advance(n)
	} else {
		p.phase.Done(n)
	}
}

func (p *pruneProgress) end() {
	if p.phase != nil {
		p.phase.finish()
	}
}
