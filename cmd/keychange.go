package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bluesky/keyring"
	"bluesky/seal"
)

// Errors of naming a key slot.
var (
	errNoSuchKey = errors.New("there is no such key")
	errManyKeys  = errors.New("several keys begin so")
)

func newKeyAddCommand(e *env) *cobra.Command {
	var f newKeyFlags
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a password",
		Long: `Add a password: after it, both open the repository. The new key slot is read back
from the repository and opened with the new password before this succeeds.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), e, func(ring *keyring.Ring, n keyring.NewSlot) error {
				id, err := ring.Add(cmd.Context(), n)
				if err != nil {
					return fmt.Errorf("the new password may not work, and those before do: %w", err)
				}
				return e.printKeyChange(keyMessage{"key_added", id.String()}, "saved new key with ID %s", shortKey(id))
			})
		},
	}
	f.add(cmd.Flags())
	return cmd
}

func newKeyPasswdCommand(e *env) *cobra.Command {
	var f newKeyFlags
	cmd := &cobra.Command{
		Use:   "passwd",
		Short: "Change the password",
		Long: `Change the password: add a key slot with the new one, read it back and open it,
then remove the slot that the old one opens. Interrupted at any point, it leaves a
password that works: the old one, the new one, or both.

Whoever knew the old password may have copied what it opens: the keys themselves
do not change.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.with(cmd.Context(), e, func(ring *keyring.Ring, n keyring.NewSlot) error {
				change, err := ring.Change(cmd.Context(), n)
				return e.reportChange(change, err)
			})
		},
	}
	f.add(cmd.Flags())
	return cmd
}

// reportChange reports how far a change of the password came.
func (e *env) reportChange(c keyring.Change, err error) error {
	switch {
	case err != nil && c.Added == (seal.SlotID{}):
		return fmt.Errorf("the old password works as before, and the new one may not: %w", err)
	case err != nil && !c.Removed:
		return withHint(fmt.Errorf("the new password works, its key has ID %s; the old one may work too: %w", shortKey(c.Added), err),
			"bluesky key list shows what there is, and bluesky key remove, with the new password, removes the old one")
	case err != nil:
		return fmt.Errorf("the new password works, its key has ID %s, and the key of the old one is gone; but %w", shortKey(c.Added), err)
	}
	for _, id := range c.Others {
		e.warn("the old password opens key %s too; bluesky key remove %s takes it away", shortKey(id), shortKey(id))
	}
	return e.printKeyChange(keyMessage{"key_changed", c.Added.String()}, "saved new key as ID %s", shortKey(c.Added))
}

func newKeyRemoveCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "remove ID",
		Short: "Remove a password",
		Long: `Remove the key slot of that ID, or of the only one that begins with it. The slot
that the given password opens is not removed, and so never the last one; it moves
to a new ID, so that nobody else who removes a key at that moment can take it away.

Whoever knew the password may have copied what it opens: the keys themselves do
not change.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one key to remove, by its ID")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.withRing(cmd.Context(), func(ring *keyring.Ring) error {
				return e.removeKey(cmd.Context(), ring, args[0])
			})
		},
	}
}

func (e *env) removeKey(ctx context.Context, ring *keyring.Ring, name string) error {
	list, err := ring.Slots(ctx)
	if err != nil {
		return err
	}
	id, err := findKey(list, name)
	if err != nil {
		return withHint(fmt.Errorf("key %s: %w", quote(name), err), "bluesky key list shows all")
	}
	left, err := ring.Remove(ctx, id)
	switch {
	case errors.Is(err, keyring.ErrSlotInUse):
		return withHint(fmt.Errorf("key %s is not removed: %w", shortKey(id), err), "give another password to remove it, or change it with bluesky key passwd")
	case errors.Is(err, keyring.ErrLastSlot):
		return withHint(fmt.Errorf("key %s is not removed: %w", shortKey(id), err), "add another with bluesky key add, or change it with bluesky key passwd")
	case err != nil:
		return err
	}
	for _, s := range left {
		if s.ID == id {
			e.warn("key %s is there again; bluesky key remove %[1]s takes it away", shortKey(id))
			continue
		}
		e.warn("the password of the removed key may open key %s too, which was made meanwhile or has the same user, host and time; bluesky key remove %[1]s takes it away",
			shortKey(s.ID))
	}
	return e.printKeyChange(keyMessage{"key_removed", id.String()}, "removed key %s", shortKey(id))
}

// findKey returns the one slot whose id is name or begins with it.
func findKey(list []keyring.Slot, name string) (seal.SlotID, error) {
	var found []seal.SlotID
	for _, s := range list {
		if name != "" && strings.HasPrefix(s.ID.String(), name) {
			found = append(found, s.ID)
		}
	}
	switch len(found) {
	case 0:
		return seal.SlotID{}, errNoSuchKey
	case 1:
		return found[0], nil
	}
	return seal.SlotID{}, errManyKeys
}

// keyMessage is what a change of the keys prints with --json; restic prints
// nothing there.
type keyMessage struct {
	MessageType string `json:"message_type"`
	ID          string `json:"id"`
}

func (e *env) printKeyChange(m keyMessage, format string, args ...any) error {
	if e.json() {
		return e.printJSON(m)
	}
	if !e.settings.Quiet {
		e.printf(format+"\n", args...)
	}
	return nil
}

// newKeyFlags are the flags of commands that make a key slot.
type newKeyFlags struct {
	flags         *pflag.FlagSet
	file, command string
	empty         bool
	host, user    string
}

func (f *newKeyFlags) add(flags *pflag.FlagSet) {
	f.flags = flags
	flags.StringVar(&f.file, "new-password-file", "", "`file` to read the new password from")
	flags.StringVar(&f.command, "new-password-command", "", "`command` that prints the new password")
	flags.BoolVar(&f.empty, "new-insecure-no-password", false, "set an empty password (insecure)")
	flags.StringVar(&f.host, "host", "", "the `host` that key list shows (default: the name of this machine)")
	flags.StringVar(&f.user, "user", "", "the `user` that key list shows (default: the current one)")
}

// source says where the new password comes from. It is never that of the
// settings, which is the old one.
func (f *newKeyFlags) source() (passwordSource, error) {
	for _, name := range []string{"new-password-file", "new-password-command"} {
		if flag := f.flags.Lookup(name); flag.Changed && flag.Value.String() == "" {
			return passwordSource{}, fmt.Errorf("--%s is empty", name)
		}
	}
	var s []passwordSource
	if f.file != "" {
		s = append(s, passwordSource{kind: passwordFile, file: f.file})
	}
	if f.command != "" {
		s = append(s, passwordSource{kind: passwordCommand, command: f.command})
	}
	if f.empty {
		s = append(s, passwordSource{kind: passwordEmpty})
	}
	switch len(s) {
	case 0:
		return passwordSource{}, nil // ask
	case 1:
		return s[0], nil
	}
	return passwordSource{}, errors.New("--new-password-file, --new-password-command and --new-insecure-no-password exclude each other")
}

// with calls do with the open repository and the slot that the flags ask for.
func (f *newKeyFlags) with(ctx context.Context, e *env, do func(*keyring.Ring, keyring.NewSlot) error) error {
	source, err := f.source()
	if err != nil {
		return err
	}
	return e.withRing(ctx, func(ring *keyring.Ring) error {
		n := keyring.NewSlot{Host: f.host, User: f.user, Now: e.now(), Params: e.slot}
		if n.Host == "" {
			if n.Host, err = os.Hostname(); err != nil {
				e.warn("the name of this machine is not known: %v", err)
			}
		}
		if n.User == "" {
			n.User = userName()
		}
		n.Password, err = e.newPassword(ctx, source)
		switch {
		case errors.Is(err, errPasswordEmpty):
			return withHint(fmt.Errorf("new password: %w", errPasswordEmpty), "--new-insecure-no-password allows that")
		case errors.Is(err, errPasswordNone):
			return withHint(errors.New("no new password is given, and there is no terminal to ask for it"),
				"give one with --new-password-file or --new-password-command")
		case err != nil:
			return fmt.Errorf("new password: %w", err)
		}
		defer clear(n.Password)
		return do(ring, n)
	})
}
