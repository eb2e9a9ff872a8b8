package cmd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"bluesky/repo"
)

// openCleaner opens the repository with its cleaner key, and without a
// password. The key is nil where this machine has none; the repository is
// connected then, and no more.
func (e *env) openCleaner(ctx context.Context) (*opened, *repo.CleanerKey, error) {
	a, err := e.keylessAccess()
	if err != nil {
		return nil, nil, err
	}
	o, err := e.connectTo(ctx, a)
	if err != nil {
		return nil, nil, err
	}
	key, err := o.cleanerKey()
	if err != nil || key == nil {
		return o, nil, o.finish(err)
	}
	return o, key, o.finish(o.refresh(ctx))
}

// cleanerKey reads the cleaner key of the repository, and confirms with it that
// this is the repository that it is for. It is nil if nobody named a file, and
// there is none in the configuration folder.
func (o *opened) cleanerKey() (*repo.CleanerKey, error) {
	path, named := o.cleanerKeyPath()
	if path == "" {
		return nil, nil
	}
	key, err := repo.ReadCleanerKey(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !named:
		return nil, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, o.noCleanerKey()
	case err != nil:
		return nil, withHint(fmt.Errorf("cleaner key: %w", err), "%s", o.hintCleanerKey())
	}
	if err := o.repo.Pin(key.Identity); err != nil {
		return nil, withHint(fmt.Errorf("%s is not the cleaner key of the repository at %s: %w", quote(path), quote(o.store.Location()), err), "%s", o.hintCleanerKey())
	}
	return &key, nil
}

// cleanerKeyPath returns where the cleaner key has to be, "" if nobody can tell,
// and whether somebody has named the place.
func (o *opened) cleanerKeyPath() (path string, named bool) {
	if path := o.env.settings.CleanerKey; path != "" {
		return path, true
	}
	if o.env.dirs.config == "" {
		return "", false
	}
	return repo.CleanerKeyPath(o.env.dirs.config, o.repo.Identity().Repository), false
}

// noCleanerKey is the error of a machine that does not have the cleaner key.
func (o *opened) noCleanerKey() error {
	path, _ := o.cleanerKeyPath()
	if path == "" {
		return withHint(errors.New("there is no place for the cleaner key of this repository: neither XDG_CONFIG_HOME nor HOME is set"), "%s", o.hintCleanerKey())
	}
	return withHint(fmt.Errorf("the cleaner key of this repository is not there: %s", quote(path)), "%s", o.hintCleanerKey())
}

// hintCleanerKey says which file to copy, from where to where.
func (o *opened) hintCleanerKey() string {
	from := repo.CleanerKeyPath("~/.config/bluesky", o.repo.Identity().Repository)
	path, _ := o.cleanerKeyPath()
	if path == "" {
		return fmt.Sprintf("copy %s from the home of the user who ran bluesky init to a file here, with mode 0600, and name that with --cleaner-key or BLUESKY_CLEANER_KEY", from)
	}
	return fmt.Sprintf("copy %s from the home of the user who ran bluesky init to %s here, with mode 0600", from, quote(path))
}
