package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"

	"github.com/spf13/cobra"

	"bluesky/keyring"
	"bluesky/repo"
	"bluesky/store"
)

func newInitCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "init",
		Short: "Make a new repository",
		Long: `Make a new repository, with a password that every command asks for which reads
or writes file data. Without the password nothing can be restored, ever: keep a
copy where a fire does not reach both.

It also writes a cleaner key into your configuration folder, which can clean
this repository and decrypts nothing.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			a, err := e.access()
			if err != nil {
				return err
			}
			location, err := a.repository()
			if err != nil {
				return err
			}
			password, err := e.newPassword(cmd.Context(), a.password)
			if err != nil {
				return err
			}
			defer clear(password)
			config, err := e.createRepository(cmd.Context(), location, password)
			if err != nil {
				return err
			}
			return e.printInitialized(location, config)
		},
	}
}

// createRepository makes a repository in a folder, which it creates if it is
// missing.
func (e *env) createRepository(ctx context.Context, location string, password []byte) (_ repo.Config, err error) {
	st, err := store.Create(ctx, location)
	if err != nil {
		return repo.Config{}, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	host, err := os.Hostname()
	if err != nil {
		e.warn("the name of this machine is not known: %v", err)
	}
	config, err := keyring.Create(ctx, st, keyring.Options{
		Password: password, Host: host, User: userName(),
		ConfigDir: e.dirs.config, Slot: e.slot, Now: e.now(),
	})
	if err != nil {
		return repo.Config{}, fmt.Errorf("%s: %w", quote(st.Location()), err)
	}
	if e.dirs.config == "" {
		e.warn("neither XDG_CONFIG_HOME nor HOME is set: no cleaner key was written")
	}
	return config, nil
}

// userName returns the name of the user, "" if there is none.
func userName() string {
	u, err := user.Current()
	if err != nil {
		return ""
	}
	return u.Username
}

func (e *env) printInitialized(location string, config repo.Config) error {
	if e.json() {
		return e.printJSON(initializedMessage{"initialized", config.ID.String(), location})
	}
	if e.settings.Quiet {
		return nil
	}
	e.printf("created bluesky repository %s at %s\n", config.ID.String()[:10], quote(location))
	if e.dirs.config != "" {
		e.printf("the key for cleaning it is in %s\n", quote(repo.CleanerKeyPath(e.dirs.config, config.ID)))
	}
	e.printf("\nKeep the password safe. Without it, nothing in the repository can be read, ever.\n")
	return nil
}

type initializedMessage struct {
	MessageType string `json:"message_type"`
	ID          string `json:"id"`
	Repository  string `json:"repository"`
}
