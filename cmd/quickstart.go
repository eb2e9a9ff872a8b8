package cmd

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bluesky/backup"
	"bluesky/repo"
)

func newQuickstartCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "quickstart DIR",
		Short: "Make a first backup of a directory, with everything it needs",
		Long: `Make a first backup of a directory, with everything it needs: where no repository
is configured, this makes one in your data folder, with a strong password in a
file that only you can read. Then it backs up the directory, lists the snapshot,
and says what to do next. Run again, it makes the next backup.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return e.quickstart(cmd.Context(), args[0]) },
	}
}

func (e *env) quickstart(ctx context.Context, dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is no directory", quote(dir))
	}
	a, err := e.access()
	if err != nil && !e.nothingConfigured() {
		return err
	}
	if err != nil || a.isDefault {
		if err := e.makeDefault(ctx); err != nil {
			return err
		}
	}
	f := backupFlags{excludes: &patternFlags{name: "exclude"}, options: backup.Options{Host: e.getenv("BLUESKY_HOST")}}
	err = e.backup(ctx, &f, []string{dir})
	if err != nil && !errors.Is(err, errIncomplete) {
		return err
	}
	if listErr := e.printNewest(ctx, &f); listErr != nil {
		return listErr
	}
	if !e.json() && !e.settings.Quiet {
		e.printNextSteps(dir)
	}
	return err
}

// nothingConfigured reports whether nobody has named a repository.
func (e *env) nothingConfigured() bool {
	key, err := e.settings.choose("repository", "repository_file")
	return err == nil && key == ""
}

// makeDefault makes the default repository and its password file, unless they
// are there. A repository that an interrupted quickstart has begun is finished.
func (e *env) makeDefault(ctx context.Context) error {
	location, file := e.dirs.defaultRepository(), e.dirs.defaultPasswordFile()
	if location == "" || file == "" {
		return withHint(errors.New("neither HOME nor XDG_DATA_HOME and XDG_CONFIG_HOME say where a repository may go"), "name one with -r, and run bluesky init")
	}
	if complete(location) {
		return nil
	}
	password, err := e.defaultPassword(file)
	if err != nil {
		return err
	}
	defer clear(password)
	config, err := e.createRepository(ctx, location, password)
	if errors.Is(err, repo.ErrRepositoryExists) {
		return nil
	}
	if err != nil {
		return err
	}
	if e.json() || e.settings.Quiet {
		return nil
	}
	e.printf("created bluesky repository %s at %s\n", config.ID.String()[:10], quote(location))
	e.printf("its password is in %s\n\n", quote(file))
	e.printf("Without this password nothing can be restored, ever, and it is now only on this\n")
	e.printf("machine. Write it down, or copy the file to a place that survives the machine:\n\n")
	e.printf("    cat %s\n\n", quote(file))
	return nil
}

// complete reports whether the folder holds a repository whose init ended.
func complete(location string) bool {
	_, err := os.Stat(filepath.Join(location, repo.GenerationKey(0)))
	return err == nil
}

// defaultPassword returns the password in file, which it makes if there is
// none: 125 random bits in 25 letters and digits that are hard to confuse.
func (e *env) defaultPassword(file string) ([]byte, error) {
	if _, err := os.Lstat(file); err == nil {
		return e.password(context.Background(), passwordSource{kind: passwordFile, file: file})
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	password := newPasswordText()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.WriteString(password + "\n")
	err = errors.Join(err, f.Sync(), f.Close())
	return []byte(password), err
}

// passwordAlphabet is Crockford's base 32: no I, L, O or U.
const passwordAlphabet = "0123456789abcdefghjkmnpqrstvwxyz"

func newPasswordText() string {
	random := make([]byte, 16)
	_, _ = rand.Read(random) // never fails
	text := base32.NewEncoding(passwordAlphabet).WithPadding(base32.NoPadding).EncodeToString(random)[:25]
	groups := make([]string, 0, 5)
	for len(text) > 0 {
		groups = append(groups, text[:5])
		text = text[5:]
	}
	return strings.Join(groups, "-")
}

// printNewest lists the snapshot that was just made, as snapshots does.
func (e *env) printNewest(ctx context.Context, f *backupFlags) error {
	o, err := e.openKeyed(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	list, err := o.snapshots(ctx, &snapshotFilter{hosts: []string{f.options.Host}, paths: f.options.Paths})
	if err != nil {
		return err
	}
	if !e.settings.Quiet {
		return e.printSnapshots(lastOfEach(list, 1), false)
	}
	return nil
}

func (e *env) printNextSteps(dir string) {
	e.printf("\nNext:\n")
	e.printf("    bluesky ls latest                              what is in the snapshot\n")
	e.printf("    bluesky restore latest --target /tmp/restored  get everything back, beside the original\n")
	e.printf("    bluesky backup %-30s  make the next snapshot; only changes are stored\n", quote(dir))
}
