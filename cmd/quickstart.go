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
	"time"

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
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return errors.New("name one directory to back up")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.quickstart(cmd.Context(), args[0]) },
	}
}

func (e *env) quickstart(ctx context.Context, dir string) error {
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is no directory", quote(dir))
	}
	dir, err := filepath.EvalSymlinks(dir) // of a link, only the link is backed up
	if err != nil {
		return err
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
	o, err := e.openKeyed(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	f.excludes.patterns = o.own(dir)
	if err := f.complete(e, []string{dir}); err != nil {
		return err
	}
	err = o.backup(ctx, &f)
	if err != nil && !errors.Is(err, errIncomplete) || e.json() || e.settings.Quiet {
		return err
	}
	if listErr := o.printNewest(ctx, &f); listErr != nil {
		return listErr
	}
	e.printNextSteps(&f)
	return err
}

// own returns patterns for the folders below dir that bluesky itself fills: the
// repository, and the cache.
func (o *opened) own(dir string) []string {
	var patterns []string
	for _, folder := range []string{o.store.Location(), o.env.cacheDir()} {
		if real, err := filepath.EvalSymlinks(folder); err == nil && below(real, absolute(dir)) {
			patterns = append(patterns, escapePattern(real))
		}
	}
	return patterns
}

func absolute(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	return abs
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
	removeStrayPasswords(filepath.Dir(file), e.now())
	if complete(location) {
		return nil
	}
	password, err := e.defaultPassword(ctx, file)
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
	e.notedDefault.Do(func() {}) // the next lines say where it is
	if e.json() {
		return e.printJSON(initializedMessage{"initialized", config.ID.String(), location})
	}
	if e.settings.Quiet {
		return nil
	}
	e.printf("created bluesky repository %s at %s\n", config.ID.String()[:10], quote(location))
	e.printf("its password is in %s\n\n", quote(file))
	e.printf("Without this password nothing can be restored, ever, and it is now only on this\n")
	e.printf("machine. Write it down, or copy the file to a place that survives the machine:\n\n")
	e.printf("    cat %s\n", shellWord(file))
	return nil
}

// complete reports whether the folder holds a repository whose init ended.
func complete(location string) bool {
	_, err := os.Stat(filepath.Join(location, repo.GenerationKey(0)))
	return err == nil
}

// defaultPassword returns the password in file, which it makes if there is
// none: 125 random bits in 25 letters and digits that are hard to confuse.
func (e *env) defaultPassword(ctx context.Context, file string) ([]byte, error) {
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		if err := writePasswordFile(file, newPasswordText()); err != nil {
			return nil, fmt.Errorf("password file: %w", err)
		}
	}
	return e.password(ctx, passwordSource{kind: passwordFile, file: file})
}

// writePasswordFile makes file, for its owner alone, unless it exists. It is
// whole and durable before it has its name: a repository whose password was
// lost in a crash would be lost with it.
func writePasswordFile(file, password string) error {
	dir := filepath.Dir(file)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, strayPassword+"*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.WriteString(password + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// strayPassword begins the name of a password file until it is whole.
const strayPassword = ".default-password-"

// strayAge is how long such a file was left alone before it counts as abandoned.
const strayAge = 24 * time.Hour

// removeStrayPasswords removes from dir what a quickstart that was killed has left.
// No repository has a password that stands there alone: it has its name first. What
// stays, the next quickstart removes.
func removeStrayPasswords(dir string, now time.Time) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() && strings.HasPrefix(entry.Name(), strayPassword) && now.Sub(info.ModTime()) > strayAge {
			_ = os.Remove(filepath.Join(dir, entry.Name()))
		}
	}
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
func (o *opened) printNewest(ctx context.Context, f *backupFlags) error {
	if err := o.refresh(ctx); err != nil {
		return err
	}
	list, err := o.snapshots(ctx, &snapshotFilter{hosts: []string{f.options.Host}, paths: f.options.Paths})
	if err != nil {
		return err
	}
	return o.env.printSnapshots(lastOfEach(list, 1), false)
}

// programName returns how the program is called again: by its name, but where
// `go run` has built it into a folder that is gone when it ends.
func programName(executable string) string {
	if strings.Contains(executable, "/go-build") {
		return "go run ."
	}
	return "bluesky"
}

// printNextSteps says what to do with what is there now.
func (e *env) printNextSteps(f *backupFlags) {
	bluesky := programName(e.program)
	s := &e.settings
	for _, given := range []struct{ key, flag, value string }{ // flags have to be given again
		{"repository", "-r", s.Repository}, {"repository_file", "--repository-file", s.RepositoryFile},
		{"password_file", "-p", s.PasswordFile}, {"password_command", "--password-command", s.PasswordCommand},
	} {
		if s.from[given.key].layer == layerFlag {
			bluesky += " " + given.flag + " " + shellWord(given.value)
		}
	}
	again := bluesky + " backup"
	for _, pattern := range f.options.Excludes {
		again += " --exclude " + shellWord(pattern)
	}
	e.printf("\nNext:\n")
	for _, step := range [][2]string{
		{"what is in the snapshot:", bluesky + " ls latest"},
		{"get everything back, beside the original:", bluesky + " restore latest --target /tmp/restored"},
		{"make the next snapshot; only changes are stored:", again + " " + shellWord(f.options.Paths[0])},
		{"see that all is well with the repository:", bluesky + " check"},
	} {
		e.printf("  %s\n      %s\n", step[0], step[1])
	}
}
