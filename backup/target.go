package backup

import (
	"context"
	"sync"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
)

// A target is where the objects of a backup go: a session, or for a dry run
// nowhere.
type target interface {
	ID() object.SessionID
	Claim(id object.ID) bool
	Has(id object.ID) bool
	Add(o object.Sealed, row object.Session) error
	AddRun(ctx context.Context) error
	EndData() error
	Commit(ctx context.Context, s repo.AddSnapshot) error
	Stats() repo.SessionStats
	Close() error
}

func openTarget(ctx context.Context, r *repo.Repo, keys *seal.Keys, options Options) (target, error) {
	if options.DryRun {
		return newDryTarget(ctx, r)
	}
	s, err := r.Begin(ctx, keys.Writer())
	if err != nil {
		return nil, err
	}
	return session{s}, nil
}

// session is a *repo.Session as a target.
type session struct{ *repo.Session }

func (s session) Commit(ctx context.Context, snapshot repo.AddSnapshot) error {
	_, err := s.Session.Commit(ctx, snapshot)
	return err
}

// dryTarget counts what a session would add.
type dryTarget struct {
	known func(id object.ID) bool

	mu    sync.Mutex
	own   map[object.ID]struct{}
	stats repo.SessionStats
}

func newDryTarget(ctx context.Context, r *repo.Repo) (*dryTarget, error) {
	_, view, err := r.Current(ctx)
	if err != nil {
		return nil, err
	}
	return &dryTarget{known: view.Has, own: map[object.ID]struct{}{}}, nil
}

// ID returns the same for every dry run: what is sealed for it is thrown away.
func (d *dryTarget) ID() object.SessionID { return object.SessionID{1} }

func (d *dryTarget) Has(id object.ID) bool { return d.known(id) }

func (d *dryTarget) Claim(id object.ID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, mine := d.own[id]; mine || d.known(id) {
		return false
	}
	d.own[id] = struct{}{}
	return true
}

func (d *dryTarget) Add(o object.Sealed, _ object.Session) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.StoredBytes += uint64(len(o.Bytes))
	d.stats.SealedBytes += uint64(len(o.Bytes))
	return nil
}

func (d *dryTarget) Stats() repo.SessionStats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

func (d *dryTarget) AddRun(context.Context) error                   { return nil }
func (d *dryTarget) EndData() error                                 { return nil }
func (d *dryTarget) Commit(context.Context, repo.AddSnapshot) error { return nil }
func (d *dryTarget) Close() error                                   { return nil }
