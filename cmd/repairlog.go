package cmd

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/store"
)

func newRepairLogCommand(e *env) *cobra.Command {
	newer := false
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Pass over garbage at the end of the log",
		Long: `Make every reader pass over the newest generation of the log, if it is garbage:
a file that nobody of this repository has signed as the next one. Whoever can
create files in the repository can put one there, and it stops everybody. It
stays where it is, and a generation behind it says so; that takes the password.

A generation that was whole once and is damaged looks the same, and what it
recorded, a snapshot perhaps, is lost with it. Where there is a copy of the
repository, look there first and put the file back.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.repairLog(cmd.Context(), newer) },
	}
	cmd.Flags().BoolVar(&newer, "newer-is-garbage", false, "also pass over what says that it is of a newer bluesky; none may have written to the repository")
	return cmd
}

// repairLog runs the command.
func (e *env) repairLog(ctx context.Context, newer bool) error {
	o, err := e.connect(ctx) // the log cannot be read yet
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.unlock(ctx); err != nil {
		return err
	}
	garbage, err := o.repo.Void(ctx, o.keys.Admin(), newer)
	switch {
	case errors.Is(err, object.ErrVersion):
		return withHint(err, "upgrade bluesky; where no newer one has ever written to the repository, it is garbage, and --newer-is-garbage passes over it")
	case errors.Is(err, repo.ErrRollback):
		return withHint(err, "put that generation back from a copy of the repository; --accept-rollback gives up what it recorded")
	case errors.Is(err, object.ErrCorrupt), errors.Is(err, store.ErrTooLarge):
		return withHint(err, "only one generation can be passed over, and none of more than 4 MiB; delete the files of gen/ that nobody of this repository has written, from the last one downward, and nothing else")
	case err != nil:
		return err
	case e.json():
		return e.printJSON(repairedLog{"log", garbage})
	case e.settings.Quiet:
	case garbage == 0:
		e.printf("the log ends with a valid generation: nothing was changed\n")
	default:
		e.printf("generation %d is garbage, and is passed over from now on\n", garbage)
	}
	return nil
}

// repairedLog is the message of repair log.
type repairedLog struct {
	MessageType string `json:"message_type"`
	Garbage     uint64 `json:"garbage_generation,omitempty"` // that is passed over now
}
