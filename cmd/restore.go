package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"bluesky/restore"
)

// errNotRestored ends a restore in which some files could not be restored.
var errNotRestored = errors.New("not everything could be restored; the errors above say what")

// restoreFlags are the flags of restore.
type restoreFlags struct {
	options            restore.Options
	includes, excludes *patternFlags
	overwrite          string
	filter             *snapshotFilter
}

func newRestoreCommand(e *env) *cobra.Command {
	var f restoreFlags
	cmd := &cobra.Command{
		Use:   "restore [flags] SNAPSHOT[:PATH] --target DIR",
		Short: "Restore files from a snapshot",
		Long: `Restore the files of a snapshot, named by its id or "latest", below a directory.
With :PATH, what is in that directory of the snapshot lands in the target itself.

Files that are in the target already and have the right content are not fetched
again, so a restore that was interrupted goes on where it ended.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New(`name one snapshot: an id, or "latest"`)
			}
			if f.options.Target == "" {
				return errors.New("say where to restore to, with --target")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.restore(cmd.Context(), &f, args[0]) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.options.Target, "target", "t", "", "`directory` to restore into")
	f.includes = addPatternFlags(flags, "include", "i")
	f.excludes = addPatternFlags(flags, "exclude", "e")
	flags.BoolVar(&f.options.PreserveSpecial, "preserve-special", false, "restore devices, capabilities and setuid bits also of a part of a snapshot")
	flags.StringVar(&f.overwrite, "overwrite", "always", "overwrite files that exist as this `policy` says: always, if-changed, if-newer or never")
	flags.BoolVar(&f.options.DryRun, "dry-run", false, "write nothing, and say what would be done")
	flags.BoolVar(&f.options.Verify, "verify", false, "read every file again after it was written, and compare it")
	f.filter = addSnapshotFilter(flags, e.getenv)
	return cmd
}

// restore runs the command.
func (e *env) restore(ctx context.Context, f *restoreFlags, arg string) error {
	name, subpath, _ := strings.Cut(arg, ":")
	if subpath != "" {
		f.options.Subpath = path.Clean("/" + subpath)
	}
	if err := f.complete(e); err != nil {
		return err
	}
	o, err := e.openToRead(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	s, err := o.snapshot(ctx, name, f.filter)
	if err != nil {
		return err
	}
	e.message("restoring %s to %s", describe(s), quote(f.options.Target))
	p := newRestoreProgress(e)
	result, err := restore.Run(ctx, o.repo, o.keys, *s, f.options, p)
	_, took := p.finish()
	if errors.Is(err, fs.ErrNotExist) && f.options.Subpath != "" {
		return withHint(err, "bluesky ls %s shows what is in it", s.ID.Short())
	}
	if err != nil {
		return err
	}
	if f.options.DryRun { // nothing was written: say what would have been
		result.BytesRestored = min(p.outdated.Load(), result.TotalBytes)
		result.BytesSkipped = result.TotalBytes - result.BytesRestored
	}
	if err := e.printRestore(&result, took, f.options.DryRun); err != nil {
		return err
	}
	if result.Errors > 0 {
		return withHint(errNotRestored, "bluesky check --read-data says what of the repository is damaged, if anything is")
	}
	return nil
}

// complete fills in f.options from the flags.
func (f *restoreFlags) complete(e *env) (err error) {
	if f.options.Overwrite, err = restore.ParseOverwrite(f.overwrite); err != nil {
		return fmt.Errorf("--overwrite: %w", err)
	}
	include, err := f.includes.compile(e.getenv)
	if err != nil {
		return err
	}
	exclude, err := f.excludes.compile(e.getenv)
	if err != nil {
		return err
	}
	switch {
	case len(include) > 0 && len(exclude) > 0:
		return errors.New("--include and --exclude exclude each other")
	case len(include) > 0:
		f.options.Select = func(path string, _ bool) (selected, below bool) {
			return include.Match(path), include.ChildMayMatch(path)
		}
	case len(exclude) > 0:
		f.options.Select = func(path string, _ bool) (selected, below bool) {
			selected = !exclude.Match(path)
			return selected, selected
		}
	}
	return nil
}

// restoreProgress shows what a restore does.
type restoreProgress struct {
	*progress
	env      *env
	outdated atomic.Uint64 // bytes of the files that are missing or have changed
}

var _ restore.Progress = (*restoreProgress)(nil)

func newRestoreProgress(e *env) *restoreProgress {
	return &restoreProgress{progress: e.progress(progressSpec{title: "restore", status: restoreStatus}), env: e}
}

func (p *restoreProgress) Total(entries int, bytes uint64) { p.Expect(uint64(entries), bytes) }
func (p *restoreProgress) Bytes(n int)                     { p.Advance(uint64(n)) }

func (p *restoreProgress) Item(path string, action restore.Action, _ bool, size uint64) {
	p.Done(1)
	if action == restore.Restored || action == restore.Updated {
		p.outdated.Add(size)
	}
	if p.env.settings.Verbose < 1 || action == restore.Unchanged && p.env.settings.Verbose < 2 {
		return
	}
	if p.env.json() {
		_ = p.env.printJSON(restoreItem{"verbose_status", action.String(), path, size}) // the screen keeps the error
		return
	}
	p.env.message("%-9s  %s", action, quote(path))
}

type restoreItem struct {
	MessageType string `json:"message_type"`
	Action      string `json:"action"`
	Item        string `json:"item"`
	Size        uint64 `json:"size"`
}

func (p *restoreProgress) Warning(path string, err error) { p.env.warn("%s: %v", quote(path), err) }
func (p *restoreProgress) Error(path string, err error)   { p.Fail("restore", path, err) }

type restoreSummary struct {
	MessageType    string `json:"message_type"`
	SecondsElapsed uint64 `json:"seconds_elapsed"`
	TotalFiles     uint64 `json:"total_files"`
	FilesRestored  uint64 `json:"files_restored"`
	FilesSkipped   uint64 `json:"files_skipped,omitempty"`
	TotalBytes     uint64 `json:"total_bytes"`
	BytesRestored  uint64 `json:"bytes_restored"`
	BytesSkipped   uint64 `json:"bytes_skipped,omitempty"`
}

func (e *env) printRestore(r *restore.Result, took time.Duration, dry bool) error {
	if e.json() {
		return e.printJSON(restoreSummary{
			MessageType: "summary", SecondsElapsed: seconds(took),
			TotalFiles: uint64(r.TotalEntries), FilesRestored: uint64(r.EntriesRestored), FilesSkipped: uint64(r.EntriesSkipped),
			TotalBytes: r.TotalBytes, BytesRestored: r.BytesRestored, BytesSkipped: r.BytesSkipped,
		})
	}
	if e.settings.Quiet {
		return nil
	}
	word := "restored"
	if dry {
		word = "would restore"
	}
	e.printf("%s %s (%s) in %s", word, plural(uint64(r.EntriesRestored), "file or directory", "files and directories"),
		formatBytes(r.BytesRestored), formatDuration(took))
	if r.EntriesSkipped > 0 {
		e.printf("; %s (%s) were there already or left out", plural(uint64(r.EntriesSkipped), "other", "others"), formatBytes(r.BytesSkipped))
	}
	e.printf("\n")
	return nil
}
