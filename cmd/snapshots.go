package cmd

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"bluesky/object"
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
	return snapshotTable(list, nil, compact).write(e.stdout)
}

// snapshotTable shows snapshots and, unless reasons is nil, why each is kept.
func snapshotTable(list []snapshot.Snapshot, reasons [][]string, compact bool) *table {
	header := []string{"ID", "Time", "Host", "Tags", "Paths", "Size"}
	const atReasons = 4 // their column
	if reasons != nil {
		header = slices.Insert(header, atReasons, "Reasons")
	}
	t := newTable(header...)
	for i, s := range list {
		r := &s.Record
		first := []string{s.ID.Short(), formatTime(r.Time.Time().Local()), quote(r.Host), joinTags(r.Tags), "", formatBytes(r.Counts.TotalBytesProcessed)}
		paths := make([]string, len(r.Paths))
		for j, path := range r.Paths {
			paths[j] = quote(path)
		}
		var why []string
		if reasons != nil {
			why = reasons[i]
		}
		if compact {
			paths = []string{firstPath(r.Paths) + more(len(r.Paths)-1)}
			why = []string{strings.Join(why, ", ")}
		}
		for line := range max(1, len(paths), len(why)) {
			cells := make([]string, len(first))
			if line == 0 {
				copy(cells, first)
			}
			cells[4] = nth(paths, line)
			if reasons != nil {
				cells = slices.Insert(cells, atReasons, nth(why, line))
			}
			t.row(cells...)
		}
	}
	t.footer = plural(uint64(len(list)), "snapshot", "snapshots")
	var pinned []object.ID
	for i := range list {
		if list[i].Pinned {
			pinned = append(pinned, list[i].ID)
		}
	}
	if len(pinned) > 0 {
		t.footer += "; pinned: " + fewIDs(pinned)
	}
	return t
}

// fewIDs names the first of ids.
func fewIDs(ids []object.ID) string {
	few := ids[:min(10, len(ids))]
	return shortIDs(few) + more(len(ids)-len(few))
}

// nth returns the n-th of list, "" behind its end.
func nth(list []string, n int) string {
	if n < len(list) {
		return list[n]
	}
	return ""
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
