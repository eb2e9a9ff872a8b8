package cmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"bluesky/object"
	"bluesky/snapshot"
)

func newPinCommand(e *env) *cobra.Command {
	return e.pinCommand(true, &cobra.Command{
		Use:   "pin [flags] SNAPSHOT ...",
		Short: "Keep snapshots from being forgotten",
		Long: `Keep snapshots from being forgotten, by any policy and by id, until they are
unpinned. A snapshot is named by id, or "latest".`,
	})
}

func newUnpinCommand(e *env) *cobra.Command {
	return e.pinCommand(false, &cobra.Command{
		Use:   "unpin [flags] SNAPSHOT ...",
		Short: "Allow pinned snapshots to be forgotten",
		Long:  `Take back what bluesky pin did. A snapshot is named by id, or "latest".`,
	})
}

func (e *env) pinCommand(pinned bool, cmd *cobra.Command) *cobra.Command {
	filter := addSnapshotFilter(cmd.Flags(), e.getenv)
	cmd.Args = atLeastOneSnapshot
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
		var ids []object.ID
		for i := range list {
			if list[i].Pinned != pinned {
				ids = append(ids, list[i].ID)
			}
			list[i].Pinned = pinned
		}
		if _, err := o.repo.PinSnapshots(cmd.Context(), o.keys.Admin(), ids, pinned); err != nil {
			return err
		}
		return e.printChanged(list, map[bool]string{true: "pinned", false: "unpinned"}[pinned])
	}
	return cmd
}

func atLeastOneSnapshot(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return errors.New("name at least one snapshot")
	}
	return nil
}

// printChanged tells which snapshots something was done with.
func (e *env) printChanged(list []snapshot.Snapshot, what string) error {
	if e.json() {
		return e.printSnapshots(list, false)
	}
	if !e.settings.Quiet {
		for i := range list {
			e.printf("%s %s\n", what, describe(&list[i]))
		}
	}
	return nil
}

func newUndoForgetCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "undo-forget [SNAPSHOT ...]",
		Short: "Bring forgotten snapshots back",
		Long: `Bring back forgotten snapshots, named by id, that are not collected yet. Without
a name, list those that can be brought back.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := e.openKeyed(cmd.Context())
			if err != nil {
				return err
			}
			defer o.close()
			return o.undoForget(cmd.Context(), args)
		},
	}
}

// undoForget brings back the forgotten snapshots that names mean, or lists all
// that are forgotten.
func (o *opened) undoForget(ctx context.Context, names []string) error {
	forgotten, err := snapshot.Forgotten(ctx, o.repo, o.keys, o.state)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		o.env.warn("%v", err)
	}
	if len(names) == 0 {
		return o.env.printSnapshots(forgotten, false)
	}
	var list []snapshot.Snapshot
	var ids []object.ID
	for _, name := range names {
		s, err := snapshot.Find(forgotten, name)
		if err != nil {
			return withHint(err, "bluesky undo-forget without a name lists what can be brought back")
		}
		list, ids = append(list, *s), append(ids, s.ID)
	}
	if _, err := o.repo.UndoForget(ctx, o.keys.Admin(), ids); err != nil {
		return err
	}
	return o.env.printChanged(list, "brought back")
}
