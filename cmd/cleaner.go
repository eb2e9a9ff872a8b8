package cmd

import (
	"context"
	"errors"
	"io/fs"

	"bluesky/repo"
)

// openCleaner opens the repository with the cleaner key that this machine has of
// it, and without a password. The key is nil where there is none; the repository
// is connected then, and no more.
func (e *env) openCleaner(ctx context.Context) (*opened, *repo.CleanerKey, error) {
	o, err := e.connect(ctx)
	if err != nil {
		return nil, nil, err
	}
	key, err := o.cleanerKey()
	if err != nil || key == nil {
		return o, nil, o.finish(err)
	}
	return o, key, o.finish(o.refresh(ctx))
}

// cleanerKey reads the cleaner key of the repository, nil if there is none, and
// confirms with it that this is the repository that it is for.
func (o *opened) cleanerKey() (*repo.CleanerKey, error) {
	config := o.env.dirs.config
	if config == "" {
		return nil, nil
	}
	key, err := repo.ReadCleanerKey(repo.CleanerKeyPath(config, o.repo.Identity().Repository))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &key, o.repo.Pin(key.Identity)
}
