package cmd

import (
	"context"

	"github.com/spf13/cobra"
)

func newRepairLogCommand(e *env) *cobra.Command {
	return &cobra.Command{
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
		RunE: func(cmd *cobra.Command, _ []string) error { return e.repairLog(cmd.Context()) },
	}
}

// repairLog runs the command.
func (e *env) repairLog(ctx context.Context) error {
	o, err := e.connect(ctx) // the log cannot be read yet
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.unlock(ctx); err != nil {
		return err
	}
	garbage, err := o.repo.Void(ctx, o.keys.Admin())
	if err != nil {
		return err
	}
	switch {
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
