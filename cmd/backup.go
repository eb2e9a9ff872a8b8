package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bluesky/backup"
	"bluesky/filter"
	"bluesky/snapshot"
	"bluesky/tree"
)

// backupFlags are the flags of backup.
type backupFlags struct {
	options  backup.Options
	excludes *patternFlags
	tags     tagLists
	parent   string
	force    bool
	time     string
}

func newBackupCommand(e *env) *cobra.Command {
	var f backupFlags
	cmd := &cobra.Command{
		Use:   "backup [flags] FILE/DIR ...",
		Short: "Make a snapshot of files and directories",
		Long: `Make a snapshot of files and directories.

Files that did not change since the last snapshot of the same host and paths,
by their size, times and inode number, are not read again. Files that cannot be
read are reported and left out; the exit code is then 3.

After an interruption run the same command again: it goes on where it was.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("nothing to back up: name at least one file or directory")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.backup(cmd.Context(), &f, args) },
	}
	flags := cmd.Flags()
	f.excludes = addPatternFlags(flags, "exclude", "e")
	flags.StringVar(&f.parent, "parent", "", "take unchanged files from this `snapshot` (default: the newest of the same host and paths)")
	flags.BoolVarP(&f.force, "force", "f", false, "read all files again, whatever the parent snapshot says")
	flags.BoolVarP(&f.options.OneFileSystem, "one-file-system", "x", false, "stay on the file systems of the given files and directories")
	flags.BoolVarP(&f.options.DryRun, "dry-run", "n", false, "read everything, store nothing, and say what would be done")
	flags.Var(&f.tags, "tag", "give the snapshot the tags of this `tag[,tag,...]`; may be given more than once")
	flags.StringVarP(&f.options.Host, "host", "H", e.getenv("BLUESKY_HOST"), "set the `host` of the snapshot (default: $BLUESKY_HOST, then the name of this machine)")
	flags.StringVar(&f.time, "time", "", "set the `time` of the snapshot, such as \"2026-11-08 09:30:00\" (default: now)")
	flags.StringVar(&f.options.Description, "description", "", "add a `text` to the snapshot")
	flags.StringVar(&f.options.Series, "series", "", "make the snapshot part of the series of this `name` (default: one for each host and paths)")
	flags.BoolVar(&f.options.WithATime, "with-atime", false, "record the access time of files")
	flags.BoolVar(&f.options.IgnoreCTime, "ignore-ctime", false, "a changed ctime alone is no change of a file")
	flags.BoolVar(&f.options.IgnoreInode, "ignore-inode", false, "a changed inode number alone is no change of a file")
	flags.BoolVar(&f.options.NoVerify, "no-extra-verify", false, "do not open what was encrypted again before it is uploaded; this misses errors of memory and processor")
	flags.Lookup("host").DefValue = ""
	return cmd
}

// backup runs the command.
func (e *env) backup(ctx context.Context, f *backupFlags, args []string) error {
	if err := f.complete(e, args); err != nil {
		return err
	}
	o, err := e.openKeyed(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	return o.backup(ctx, f)
}

// backup makes a backup with the options of f, which are complete.
func (o *opened) backup(ctx context.Context, f *backupFlags) (err error) {
	e := o.env
	if f.options.Parent, err = f.findParent(ctx, o); err != nil {
		return err
	}
	if f.options.Compression, err = e.settings.compression(); err != nil {
		return err
	}
	o.warnOfItself(&f.options)
	if f.options.Parent != nil {
		e.message("using parent snapshot %s", f.options.Parent.ID.Short())
	}
	p := newBackupProgress(e)
	result, err := backup.Run(ctx, o.repo, o.keys, f.options, p)
	p.finish()
	if err != nil {
		return err
	}
	if err := e.printBackup(&result, f.options.DryRun); err != nil {
		return err
	}
	if result.Errors > 0 {
		return errIncomplete
	}
	return nil
}

// complete fills in f.options from the flags and the world.
func (f *backupFlags) complete(e *env, args []string) error {
	o := &f.options
	var err error
	if o.Paths, err = sources(args); err != nil {
		return err
	}
	for _, list := range f.tags {
		o.Tags = append(o.Tags, slices.DeleteFunc(list, func(tag string) bool { return tag == "" })...)
	}
	if o.Host == "" {
		host, err := os.Hostname()
		if err != nil {
			return withHint(fmt.Errorf("the name of this machine is not known: %w", err), "give one with --host")
		}
		o.Host = host
	}
	if f.time != "" {
		at, err := time.ParseInLocation(time.DateTime, f.time, time.Local)
		if err != nil {
			return withHint(fmt.Errorf("--time %s is no time", quote(f.time)), `write it like "2026-11-08 09:30:00"`)
		}
		o.Time = at
	}
	o.Force = f.force
	if f.force && f.parent != "" {
		return errors.New("--force and --parent exclude each other")
	}
	set, err := f.excludes.compile(e.getenv)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(o.Paths, func(path string) bool { return !set.Match(path) }) {
		return errors.New("all that was asked for is excluded")
	}
	o.Excludes, o.Select = f.excludes.patterns, selectBy(set)
	o.User, o.UID, o.GID = userName(), uint32(os.Getuid()), uint32(os.Getgid())
	o.Program = "bluesky " + version
	o.Now = e.now
	return nil
}

// warnOfItself warns of a backup that holds its own repository, which grows by
// its own size each time.
func (o *opened) warnOfItself(b *backup.Options) {
	location := o.store.Location()
	inside := func(source string) bool { return location == source || below(location, source) }
	if !slices.ContainsFunc(b.Paths, inside) {
		return
	}
	if b.Select == nil || b.Select(location, &backup.Info{Type: tree.TypeDir}) {
		o.env.warn("the repository is among what is backed up; --exclude %s leaves it out", shellWord(escapePattern(location)))
	}
}

// sources returns the absolute paths of what is to be backed up, sorted. Those
// that are missing are reported by the backup itself, unless all are.
func sources(args []string) ([]string, error) {
	var paths []string
	missing := 0
	for _, arg := range args {
		if arg == "" { // a script's unset variable; Abs would take the working directory
			return nil, errors.New("the name of what is to be backed up is empty")
		}
		path, err := filepath.Abs(arg)
		if err != nil {
			return nil, err
		}
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			missing++
		}
		paths = append(paths, path)
	}
	switch {
	case missing == len(args) && missing == 1:
		return nil, fmt.Errorf("%s does not exist", quote(args[0]))
	case missing == len(args):
		return nil, fmt.Errorf("none of the %d files and directories exists", missing)
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

// selectBy returns the Select of a backup that excludes what set matches.
func selectBy(set filter.Set) func(string, *backup.Info) bool {
	if len(set) == 0 {
		return nil
	}
	return func(path string, _ *backup.Info) bool { return !set.Match(path) }
}

// findParent returns the snapshot that unchanged files are taken from, nil for
// none.
func (f *backupFlags) findParent(ctx context.Context, o *opened) (*snapshot.Snapshot, error) {
	if f.force {
		return nil, nil
	}
	if f.parent != "" {
		return o.snapshot(ctx, f.parent, &snapshotFilter{hosts: []string{f.options.Host}})
	}
	list, err := o.snapshots(ctx, &snapshotFilter{})
	if err != nil {
		return nil, err
	}
	return snapshot.Latest(list, f.options.Host, f.options.Paths), nil
}

// printBackup prints what a backup did.
func (e *env) printBackup(r *backup.Result, dry bool) error {
	c := &r.Counts
	if e.json() {
		return e.printJSON(backupSummary{
			MessageType: "summary", DryRun: dry, summaryCounts: countsOf(c),
			FilesResumed: r.Resumed.Files, BytesResumed: r.Resumed.Bytes, UploadResumed: r.Resumed.Uploaded,
			TotalDuration: r.Duration.Seconds(), SnapshotID: idOrEmpty(r.Snapshot),
		})
	}
	if e.settings.Quiet {
		return nil
	}
	added := "Added to the repository"
	if dry {
		added = "Would add to the repository"
	}
	e.printf("\nFiles:       %5d new, %5d changed, %5d unmodified\n", c.FilesNew, c.FilesChanged, c.FilesUnmodified)
	e.printf("Dirs:        %5d new, %5d changed, %5d unmodified\n", c.DirsNew, c.DirsChanged, c.DirsUnmodified)
	if r.Resumed != (backup.Resumed{}) {
		e.printf("Resumed:     %5d files (%s) not read and %s not uploaded again\n",
			r.Resumed.Files, formatBytes(r.Resumed.Bytes), formatBytes(r.Resumed.Uploaded))
	}
	e.printf("%s: %s (%s stored)\n\n", added, formatBytes(c.DataAdded), formatBytes(r.Added))
	e.printf("processed %s, %s in %s\n", plural(c.TotalFilesProcessed, "file", "files"),
		formatBytes(c.TotalBytesProcessed), formatDuration(r.Duration))
	if !r.Snapshot.IsZero() {
		e.printf("snapshot %s saved\n", r.Snapshot.Short())
	}
	return nil
}

// joinTags returns tags as the table of snapshots shows them.
func joinTags(tags []string) string {
	quoted := make([]string, len(tags))
	for i, tag := range tags {
		quoted[i] = quote(tag)
	}
	return strings.Join(quoted, ",")
}
