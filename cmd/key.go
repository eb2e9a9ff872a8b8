package cmd

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"bluesky/keyring"
	"bluesky/object"
	"bluesky/seal"
)

func newKeyCommand(e *env) *cobra.Command {
	cmd := newGroup("key", "Manage the passwords of the repository")
	cmd.Long = `Manage the passwords of the repository. Each password has a key slot of its own,
which holds the one root secret of the repository; whoever knows one of the
passwords can do everything.`
	cmd.AddCommand(newKeyListCommand(e), newKeyAddCommand(e), newKeyRemoveCommand(e), newKeyPasswdCommand(e))
	return cmd
}

func newKeyListCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the key slots",
		Long: `List the key slots: the one that the given password opens is marked with a star.
User, host and time are what whoever made it said.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.withRing(cmd.Context(), func(ring *keyring.Ring) error {
				list, err := ring.Slots(cmd.Context())
				if err != nil {
					return err
				}
				return e.printKeys(list)
			})
		},
	}
}

// withRing opens the repository with its password, for changing that. The log
// is not read: also where it is damaged, a password may have to go.
func (e *env) withRing(ctx context.Context, do func(*keyring.Ring) error) error {
	o, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	var ring *keyring.Ring
	var password []byte
	if err := o.unlocked(ctx, func(r *keyring.Ring, p []byte) { ring, password = r, p }); err != nil {
		return err
	}
	defer clear(password)
	return do(ring)
}

func shortKey(id seal.SlotID) string { return id.String()[:8] }

// printKeys prints key slots as restic does.
func (e *env) printKeys(list []keyring.Slot) error {
	shapes := make([]keyShape, len(list))
	strange := false
	for i := range list {
		shapes[i] = keyShapeOf(&list[i])
		strange = strange || shapes[i].Note != ""
	}
	if e.json() {
		return e.printJSON(shapes)
	}
	header := []string{" ID", "User", "Host", "Created"}
	if strange {
		header = append(header, "Note")
	}
	t := newTable(header...)
	for i, s := range shapes {
		mark := " "
		if s.Current {
			mark = "*"
		}
		row := []string{mark + shortKey(list[i].ID), quoteKnown(s.User), quoteKnown(s.Host), s.Created}
		if strange {
			row = append(row, s.Note)
		}
		t.row(row...)
	}
	return t.write(e.stdout)
}

// quoteKnown is quote for a name that may not be known.
func quoteKnown(name string) string {
	if name == "" {
		return ""
	}
	return quote(name)
}

// keyShape is a key slot, as key list prints it.
type keyShape struct {
	Current bool   `json:"current"`
	ID      string `json:"id"`
	User    string `json:"userName"`
	Host    string `json:"hostName"`
	Created string `json:"created"`
	Note    string `json:"note,omitempty"` // not restic's: why it is of no use
}

func keyShapeOf(s *keyring.Slot) keyShape {
	shape := keyShape{Current: s.Current, ID: s.ID.String()}
	switch {
	case errors.Is(s.Err, object.ErrVersion):
		shape.Note = "ignored: of a newer bluesky"
	case s.Err != nil:
		shape.Note = "ignored: " + s.Err.Error()
	default:
		shape.User, shape.Host = string(s.Info.User), string(s.Info.Host)
		shape.Created = jsonTime(s.Info.Created).Local().Format(time.DateTime)
	}
	return shape
}
