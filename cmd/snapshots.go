package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bluesky/snapshot"
)

func newSnapshotsCommand(e *env) *cobra.Command {
	var latest int
	var compact bool
	cmd := &cobra.Command{
		Use:   "snapshots [flags] [SNAPSHOT ...]",
		Short: "List snapshots",
		Long: `List the snapshots of the repository, oldest first: all of them, or those that
are named by id or "latest".`,
	}
	filter := addSnapshotFilter(cmd.Flags(), e.getenv)
	cmd.Flags().IntVar(&latest, "latest", 0, "only show the last `n` snapshots for each host and paths")
	cmd.Flags().BoolVarP(&compact, "compact", "c", false, "print one line for each snapshot")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		o, err := e.openKeyed(cmd.Context())
		if err != nil {
			return err
		}
		defer o.close()
		list, err := o.named(cmd.Context(), args, filter)
		if err != nil {
			return err
		}
		return e.printSnapshots(lastOfEach(list, latest), compact)
	}
	return cmd
}

// named returns the snapshots that args name, or all that the filter chooses.
func (o *opened) named(ctx context.Context, args []string, filter *snapshotFilter) ([]snapshot.Snapshot, error) {
	if len(args) == 0 {
		return o.snapshots(ctx, filter)
	}
	var list []snapshot.Snapshot
	for _, arg := range args {
		s, err := o.snapshot(ctx, arg, filter)
		if err != nil {
			return nil, err
		}
		list = append(list, *s)
	}
	return list, nil
}

// describe says in a line which snapshot s is.
func describe(s *snapshot.Snapshot) string {
	r := &s.Record
	paths := make([]string, len(r.Paths))
	for i, path := range r.Paths {
		paths[i] = quote(path)
	}
	return fmt.Sprintf("snapshot %s of %s at %s by %s@%s", s.ID.Short(), strings.Join(paths, ", "),
		formatTime(r.Time.Time().Local()), quote(r.User), quote(r.Host))
}

// lastOfEach keeps the newest n snapshots of each host and paths; 0 keeps all.
func lastOfEach(list []snapshot.Snapshot, n int) []snapshot.Snapshot {
	if n <= 0 {
		return list
	}
	seen := map[string]int{}
	var kept []snapshot.Snapshot
	for _, s := range slices.Backward(list) {
		group := s.Record.Host + "\x00" + strings.Join(s.Record.Paths, "\x00")
		if seen[group]++; seen[group] <= n {
			kept = append(kept, s)
		}
	}
	slices.Reverse(kept)
	return kept
}

func (e *env) printSnapshots(list []snapshot.Snapshot, compact bool) error {
	if e.json() {
		shapes := make([]snapshotShape, len(list))
		for i := range list {
			shapes[i] = snapshotShapeOf(&list[i])
		}
		return e.printJSON(shapes)
	}
	t := newTable("ID", "Time", "Host", "Tags", "Paths", "Size")
	for _, s := range list {
		r := &s.Record
		row := func(path string) []string {
			return []string{s.ID.Short(), formatTime(r.Time.Time().Local()), quote(r.Host), joinTags(r.Tags), path, formatBytes(r.Counts.TotalBytesProcessed)}
		}
		if compact {
			t.row(row(fmt.Sprintf("%s%s", firstPath(r.Paths), more(len(r.Paths)-1)))...)
			continue
		}
		t.row(row(firstPath(r.Paths))...)
		for _, path := range r.Paths[min(1, len(r.Paths)):] {
			t.row("", "", "", "", quote(path), "")
		}
	}
	t.footer = plural(uint64(len(list)), "snapshot", "snapshots")
	return t.write(e.stdout)
}

func firstPath(paths []string) string {
	if len(paths) == 0 {
		return ""
	}
	return quote(paths[0])
}

func more(n int) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(" and %d more", n)
}
