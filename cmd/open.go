package cmd

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"bluesky/keyring"
	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/store"
	"bluesky/tree"
)

// An opened is a repository that a command works with.
type opened struct {
	env    *env
	access access
	store  *store.Store
	repo   *repo.Repo
	state  *repo.State // newest when it was opened; nil after openUnread
	keys   *seal.Keys  // nil without a password
}

// openKeyless opens the repository and reads its log, without a password.
func (e *env) openKeyless(ctx context.Context) (*opened, error) {
	o, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	return o, o.finish(o.refresh(ctx))
}

// openKeyed opens the repository with its password.
func (e *env) openKeyed(ctx context.Context) (*opened, error) {
	o, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	if err := o.unlock(ctx); err != nil {
		return o, o.finish(err)
	}
	return o, o.finish(o.refresh(ctx))
}

// openToRead is openKeyed for commands that only read: what is damaged costs
// them no more than what only that holds.
func (e *env) openToRead(ctx context.Context) (*opened, error) {
	o, err := e.openKeyed(ctx)
	if err == nil {
		o.repo.PassOverLostRuns()
	}
	return o, err
}

// openUnread opens the repository with its password if one is configured, else
// without, and leaves the log to the caller, who may find it damaged.
func (e *env) openUnread(ctx context.Context) (*opened, error) {
	o, err := e.connect(ctx)
	if err != nil || o.access.password.kind == passwordAsk {
		return o, err
	}
	return o, o.finish(o.unlock(ctx))
}

// connect reads the identity of the repository.
func (e *env) connect(ctx context.Context) (*opened, error) {
	a, err := e.access()
	if err != nil {
		return nil, err
	}
	return e.connectTo(ctx, a)
}

func (e *env) connectTo(ctx context.Context, a access) (*opened, error) {
	location, err := a.repository()
	if err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, location)
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("%w: %w", repo.ErrNoRepository, err)
	}
	if err != nil {
		return nil, err
	}
	if a.isDefault {
		e.notedDefault.Do(func() { e.message("using the default repository at %s", quote(st.Location())) })
	}
	o := &opened{env: e, access: a, store: st}
	options := repo.Options{
		StateDir: e.stateDir(), CacheDir: e.cacheDir(),
		AcceptRollback: e.settings.AcceptRollback, Now: e.now,
	}
	o.repo, err = repo.Open(ctx, st, options)
	if err != nil {
		err = hintIdentity(ctx, st, options, fmt.Errorf("%s: %w", quote(st.Location()), err))
		return nil, errors.Join(err, st.Close())
	}
	return o, nil
}

// hintIdentity adds to an error of opening st with options, where something is
// corrupt, on which side it is: check cannot tell more.
func hintIdentity(ctx context.Context, st *store.Store, options repo.Options, err error) error {
	if !errors.Is(err, object.ErrCorrupt) {
		return err
	}
	options.StateDir, options.CacheDir = "", ""
	if _, again := repo.Open(ctx, st, options); again == nil {
		return withHint(err, "that file is this machine's; nothing is wrong with what could be read of the repository")
	}
	return withHint(err, "nothing can be read until %s and %s are as they were; take them from a copy of the repository", repo.ConfigKey, repo.GenerationKey(0))
}

// finish closes o if err is not nil.
func (o *opened) finish(err error) error {
	if err != nil {
		return errors.Join(err, o.store.Close())
	}
	return nil
}

// unlock opens the keys.
func (o *opened) unlock(ctx context.Context) error {
	return o.unlocked(ctx, func(ring *keyring.Ring, password []byte) {
		clear(password)
		o.keys = ring.Keys()
	})
}

// unlocked calls use with what the password opens, and the password, which is
// part of it. A person gets three tries.
func (o *opened) unlocked(ctx context.Context, use func(*keyring.Ring, []byte)) error {
	for try := 1; ; try++ {
		password, err := o.env.password(ctx, o.access.password)
		if err != nil {
			return err
		}
		ring, err := keyring.Unlock(ctx, o.repo, password)
		if err == nil {
			// Argon2id has used 64 MiB, which would else count as live until the
			// heap has grown to twice that.
			runtime.GC()
			use(ring, password)
			return nil
		}
		clear(password)
		if !errors.Is(err, keyring.ErrWrongPassword) || try == 3 || !o.env.canRetry(o.access.password) {
			return err
		}
		o.env.warn("wrong password, try again")
	}
}

// refresh reads the log.
func (o *opened) refresh(ctx context.Context) (err error) {
	o.state, err = o.repo.Refresh(ctx)
	return err
}

// close ends the use of the repository and reports what went wrong on this
// machine's side without having stopped anything.
//
// What the newest state does not name any more goes from the cache: a machine
// that cleans makes other runs each time, and never backs up.
func (o *opened) close() {
	if o.state != nil {
		if err := o.repo.TidyCache(); err != nil {
			o.env.warn("%v", err)
		}
	}
	for _, problem := range o.repo.Problems() {
		o.env.warn("%v", problem)
	}
	if err := o.store.Close(); err != nil {
		o.env.warn("closing the repository: %v", err)
	}
}

// snapshots lists the live snapshots that the filter chooses, oldest first.
// Those that cannot be read are reported as warnings.
func (o *opened) snapshots(ctx context.Context, filter *snapshotFilter) ([]snapshot.Snapshot, error) {
	list, err := snapshot.List(ctx, o.repo, o.keys, o.state)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		o.env.warn("%v", err)
	}
	var chosen []snapshot.Snapshot
	for _, s := range list {
		if filter.match(s.Record.Host, s.Record.Tags, s.Record.Paths) {
			chosen = append(chosen, s)
		}
	}
	return chosen, nil
}

// snapshot finds the one snapshot that name means, among those that the filter
// chooses if it is "latest".
func (o *opened) snapshot(ctx context.Context, name string, filter *snapshotFilter) (*snapshot.Snapshot, error) {
	if name != "latest" {
		filter = &snapshotFilter{}
	}
	list, err := o.snapshots(ctx, filter)
	if err != nil {
		return nil, err
	}
	s, err := snapshot.Find(list, name)
	if id, ok := o.forgotten(name); errors.Is(err, snapshot.ErrNotFound) && ok {
		return nil, withHint(err, "snapshot %s was forgotten; bluesky undo-forget %[1]s brings it back", id.Short())
	}
	return s, err
}

// forgotten returns the one snapshot whose id begins so that was forgotten, and
// is not collected yet.
func (o *opened) forgotten(name string) (id object.ID, ok bool) {
	found := 0
	for i := range o.state.Forgotten {
		if strings.HasPrefix(o.state.Forgotten[i].ID.String(), strings.ToLower(name)) {
			id = o.state.Forgotten[i].ID
			found++
		}
	}
	return id, found == 1 && name != ""
}

// reader reads the objects of a snapshot.
func (o *opened) reader(s *snapshot.Snapshot) *seal.Reader {
	return seal.NewReader(o.repo.Of(s.ID), o.keys)
}

// inodes opens the inode map of a snapshot.
func (o *opened) inodes(s *snapshot.Snapshot) *tree.Map {
	return tree.OpenMap(o.reader(s), o.keys, tree.Params(o.repo.Config().Tree), s.Root)
}
