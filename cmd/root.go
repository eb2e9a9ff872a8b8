package cmd

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// commands returns all commands of bluesky.
func commands(e *env) []*cobra.Command {
	return []*cobra.Command{
		newInitCommand(e),
		newBackupCommand(e),
		newSnapshotsCommand(e),
		newLsCommand(e),
		newRestoreCommand(e),
		newForgetCommand(e),
		newUndoForgetCommand(e),
		newPinCommand(e),
		newUnpinCommand(e),
		newCheckCommand(e),
		newCatCommand(e),
		newKeyCommand(e),
		newPruneCommand(e),
		newPolicyCommand(e),
		newRepairCommand(e),
		newQuickstartCommand(e),
		newVersionCommand(e),
	}
}

// newRootCommand builds the tree of these commands, which work with e.
func newRootCommand(e *env, all ...*cobra.Command) *cobra.Command {
	root := newGroup("bluesky", "Back up directory trees, and restore them")
	root.Long = `bluesky backs up directory trees into a repository, which is a folder, and
restores them. What it stores is deduplicated and encrypted.

For a first try, "bluesky quickstart DIR" makes a repository and backs up DIR.

Exit codes: 0 done, 1 not done or damage found, 3 a snapshot was made and some
files could not be read, 10 no repository, 12 wrong password, 130 interrupted.`
	root.SilenceErrors = true // run reports them
	root.SilenceUsage = true
	root.DisableAutoGenTag = true
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return e.prepare(cmd) }
	root.SetFlagErrorFunc(usageError)
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	addGlobalFlags(root.PersistentFlags())
	root.AddCommand(all...)
	finishTree(root)
	return root
}

// finishTree sets what is the same for all commands.
func finishTree(root *cobra.Command) {
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" || cmd.Name() == "completion" {
			withoutSettings(cmd)
		}
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		if check := cmd.Args; check != nil {
			cmd.Args = func(cmd *cobra.Command, args []string) error {
				return usageError(cmd, check(cmd, args))
			}
		}
		for _, child := range cmd.Commands() {
			walk(child)
		}
	}
	walk(root)
}

// newGroup returns a command that only holds others, such as "key". Alone it
// prints its help.
func newGroup(use, short string) *cobra.Command {
	return &cobra.Command{
		Use:         use,
		Short:       short,
		Annotations: map[string]string{annotationNoSettings: "itself"},

		SuggestionsMinimumDistance: 2, // letters that may be wrong
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			err := fmt.Errorf("unknown command %q for %q", args[0], cmd.CommandPath())
			if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
				return withHint(err, "did you mean %s?", strings.Join(near, " or "))
			}
			return err
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}

// usageError adds where to read about the flags and arguments of cmd.
func usageError(cmd *cobra.Command, err error) error {
	if _, hinted := errors.AsType[*exitError](err); err == nil || hinted {
		return err
	}
	return withHint(err, "run %s --help", cmd.CommandPath())
}

// noArgs is the Args of commands that take none.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("%s takes no arguments, not %q", cmd.CommandPath(), args[0])
}

// annotationNoSettings marks commands that work without settings, and so with a
// config file that is broken: "itself", or "tree" with all its subcommands.
const annotationNoSettings = "no-settings"

func withoutSettings(cmd *cobra.Command) *cobra.Command {
	if cmd.Annotations == nil {
		cmd.Annotations = make(map[string]string)
	}
	cmd.Annotations[annotationNoSettings] = "tree"
	return cmd
}

func worksWithoutSettings(cmd *cobra.Command) bool {
	switch cmd.Name() {
	case cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return true
	}
	if cmd.Annotations[annotationNoSettings] != "" {
		return true
	}
	for ; cmd != nil; cmd = cmd.Parent() {
		if cmd.Annotations[annotationNoSettings] == "tree" {
			return true
		}
	}
	return false
}

// prepare fills e.settings before cmd runs.
func (e *env) prepare(cmd *cobra.Command) error {
	s := flagSettings(cmd.Flags())
	if !worksWithoutSettings(cmd) {
		var err error
		if s, err = loadSettings(cmd.Flags(), e.getenv, e.dirs); err != nil {
			return err
		}
	}
	e.settings = s
	e.noteInterrupts(cmd.Context())
	return nil
}
