// Package repo is a repository as it looks without a key: its identity, its
// log of generations, the state that the log adds up to, and the sessions in
// which writers register segments.
//
// The invariant that every generation keeps, called I1: each visible entry's
// refs and each live root resolve to a visible entry. So one look at the top of
// a reused subtree answers for all below it. The log grows only by creating
// gen/N+1 where it is absent, which is the commit point of everything; see
// commit.go for the protocol and docs/architecture.md for what a crash leaves.
//
// Nothing here decrypts. Role keys come in as a [crypto.Signer].
package repo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"bluesky/index"
	"bluesky/object"
	"bluesky/refcount"
	"bluesky/store"

	"github.com/RoaringBitmap/roaring/v2"
)

// Errors that callers branch on.
var (
	// ErrNoRepository: there is none at this place.
	ErrNoRepository = errors.New("there is no repository here")
	// ErrRepositoryExists: there is one already.
	ErrRepositoryExists = errors.New("a repository exists here already")
	// ErrForeign: the repository is not the one that a key or the trust file
	// belongs to.
	ErrForeign = errors.New("this is not the repository that was expected")
	// ErrRollback: the log is older than, or does not extend, what this
	// machine has seen.
	ErrRollback = errors.New("the repository was rolled back")
	// ErrReadOnly: the log holds ops of a newer bluesky.
	ErrReadOnly = errors.New("the repository was written by a newer bluesky; upgrade before writing to it")
	// ErrObjectGone: an object that a writer relied on is no longer visible.
	ErrObjectGone = errors.New("an object that this backup relies on was removed meanwhile")
	// ErrConflict: another author was faster; plan again on the newer state.
	ErrConflict = errors.New("another author has added this generation")
	// ErrNotFound: no visible entry has this id.
	ErrNotFound = errors.New("object not found")
	// ErrForgotten: the snapshot that is read was forgotten meanwhile, and a
	// cleaner has taken what it leads to.
	ErrForgotten = errors.New("it was forgotten while it was read, and its data is deleted")
	// ErrLost: what a live snapshot leads to is not there.
	ErrLost = errors.New("data is lost")
)

// Options say where a client keeps what it knows of repositories.
type Options struct {
	StateDir       string    // trust file and journals, per repository; "" keeps none
	CacheDir       string    // runs, per repository; may vanish at any time; "" keeps none
	AcceptRollback bool      // take the log as it is and trust it from now on
	Rand           io.Reader // nil is crypto/rand
	Now            func() time.Time
}

// A Repo is an open repository. It is safe for concurrent use.
type Repo struct {
	store    *store.Store
	config   Config
	genesis  *State
	options  Options
	cache    *index.Cache
	segments *segmentCache
	passOver bool // runs that are lost; constant once r is in use

	mu      sync.Mutex
	pinned  bool   // the identity is confirmed by a key or the trust file
	trusted trust  // newest that was seen, by this run or an earlier one
	state   *State // newest verified
	// verified is the newest checkpoint that this machine has compared with the
	// log, or has taken as it was when it knew nothing else.
	verified *CheckpointRef
	runs     map[index.RunName]*index.Run
	lost     map[index.RunName]bool            // runs that were passed over
	view     view                              // the last that was asked for
	tables   map[refcount.TableName][]byte     // marks of that one, where there is no cache
	fetched  map[index.RunName]bool            // runs of cleans that nobody has judged yet
	invented map[index.RunName]*roaring.Bitmap // rows that are not believed

	problems []error
}

// A view is what is visible in a state.
type view struct {
	state *State
	index *index.Index
}

// Open reads the identity of the repository in st and what this machine knows
// of it. It does not read the log: that is [Repo.Refresh]. The caller keeps st
// open as long as it uses the Repo.
//
// The error wraps [ErrNoRepository] where there is none, and [ErrForeign] where
// the trust file knows another one by the same id.
func Open(ctx context.Context, st *store.Store, options Options) (*Repo, error) {
	config, raw, err := readConfig(ctx, st)
	if errors.Is(err, ErrNoRepository) {
		if err := lost(ctx, st, ConfigKey); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	data, err := st.Get(ctx, GenerationKey(0), generationMax)
	if errors.Is(err, store.ErrNotFound) {
		if err := lost(ctx, st, GenerationKey(0)); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("%w: its init was interrupted; run init again", ErrNoRepository)
	}
	if err != nil {
		return nil, fmt.Errorf("generation 0: %w", err)
	}
	first, err := genesis(config, raw, data)
	if err != nil {
		return nil, err
	}
	r := &Repo{
		store: st, config: config, genesis: first, state: first,
		options:  options.filled(config.ID),
		segments: newSegmentCache(st),
		runs:     map[index.RunName]*index.Run{},
		lost:     map[index.RunName]bool{},
		tables:   map[refcount.TableName][]byte{},
		fetched:  map[index.RunName]bool{},
		invented: map[index.RunName]*roaring.Bitmap{},
	}
	if r.options.CacheDir != "" {
		r.cache, err = index.OpenCache(r.options.CacheDir)
		r.problem(err) // a nil cache keeps runs in memory
	}
	if r.options.StateDir != "" {
		if r.trusted, err = readTrust(r.options.StateDir); err != nil {
			return nil, err
		}
	}
	if r.trusted.known() {
		if err := r.Pin(r.trusted.Identity); err != nil {
			return nil, err
		}
		r.verified = r.trusted.Checkpoint
	}
	return r, nil
}

// filled returns o with its defaults, and the folders of one repository.
func (o Options) filled(id object.RepositoryID) Options {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.StateDir != "" {
		o.StateDir = filepath.Join(o.StateDir, id.String())
	}
	if o.CacheDir != "" {
		o.CacheDir = filepath.Join(o.CacheDir, id.String())
	}
	return o
}

// readConfig fetches and decodes bluesky.json.
func readConfig(ctx context.Context, st *store.Store) (Config, []byte, error) {
	raw, err := st.Get(ctx, ConfigKey, configMax)
	if errors.Is(err, store.ErrNotFound) {
		return Config{}, nil, ErrNoRepository
	}
	if err != nil {
		return Config{}, nil, fmt.Errorf("%s: %w", ConfigKey, err)
	}
	config, err := DecodeConfig(raw)
	return config, raw, err
}

// lost returns an error if key, which is not there, once was: generations come
// after it. Nothing tells so in a repository that has none but generation 0,
// and that one holds no snapshot.
func lost(ctx context.Context, st *store.Store, key string) error {
	for e, err := range st.List(ctx, "gen/") {
		if err != nil {
			return fmt.Errorf("%s: not found, and what is there instead cannot be listed: %w", key, err)
		}
		if _, err := st.Stat(ctx, key); err == nil {
			return nil // an init has come to its end meanwhile
		}
		return fmt.Errorf("%s: %w: it is missing, but %s is there", key, object.ErrCorrupt, e.Key)
	}
	return nil
}

// Config returns the parameters of the repository.
func (r *Repo) Config() Config { return r.config }

// Identity returns who the repository says that it is.
func (r *Repo) Identity() Identity {
	return Identity{r.config.ID, r.genesis.Admin, r.genesis.Origin}
}

// TidyCache removes from the cache the runs that the newest state which was read
// does not register, and what processes that died have left.
func (r *Repo) TidyCache() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	keep := map[string]bool{}
	for _, run := range r.state.Runs {
		keep[run.Name.String()] = true
	}
	for _, list := range [][]TableRef{r.state.Marks, r.state.Counts, r.state.Space} {
		for _, ref := range list {
			keep[index.BlobName(ref.Name)] = true
		}
	}
	return r.cache.Prune(func(name string) bool { return keep[name] })
}

// Verified reports whether a key or the trust file has confirmed the identity.
func (r *Repo) Verified() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pinned
}

// Pin confirms the identity by what a key or a file of this machine says. The
// error wraps [ErrForeign].
func (r *Repo) Pin(want Identity) error {
	if got := r.Identity(); got != want {
		return fmt.Errorf("%w: it has id %s and admin key %s, not %s and %s", ErrForeign,
			got.Repository, got.Admin, want.Repository, want.Admin)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pinned = true
	return nil
}

// Refresh reads the log up to its head, verifies it and returns the state.
// What it has seen is recorded in the trust file.
//
// The error wraps [ErrRollback] when the log does not extend what this machine
// has seen before.
func (r *Repo) Refresh(ctx context.Context) (*State, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s, err := r.refresh(ctx)
	if errors.Is(err, ErrRollback) && r.options.AcceptRollback {
		r.trusted, r.verified = trust{}, nil
		r.state = r.genesis
		s, err = r.refresh(ctx)
	}
	return r.advanceTo(s, err)
}

// advanceTo makes s, as refresh returned it, the newest state. It needs r.mu.
func (r *Repo) advanceTo(s *State, err error) (*State, error) {
	if err != nil {
		return nil, err
	}
	r.state = s
	r.remember(s)
	return s, nil
}

// refresh reads the log up to its head. A cleaner may delete a checkpoint or
// generations below a new floor while they are read: then the head has moved, and
// it begins again (R9). It needs r.mu.
func (r *Repo) refresh(ctx context.Context) (*State, error) {
	var last uint64
	for reload := 0; ; reload++ {
		s, head, err := r.readLog(ctx)
		if !errors.Is(err, store.ErrNotFound) || head <= last || reload == maxReloads {
			return s, err
		}
		last = head
	}
}

// readLog returns the state of the head, and its number as far as it got. It
// needs r.mu.
func (r *Repo) readLog(ctx context.Context) (s *State, head uint64, err error) {
	known := max(r.state.Generation, r.trusted.Generation)
	if known == 0 {
		listed, err := r.newestListed(ctx)
		if err != nil {
			return nil, 0, fmt.Errorf("list generations: %w", err)
		}
		known = listed
	}
	if ok, err := r.hasGeneration(ctx, known); err != nil {
		return nil, 0, err
	} else if !ok {
		if known, err = r.aboveFloor(ctx, known); err != nil {
			return nil, known, err
		}
	}
	head, err = r.findHead(ctx, known)
	if err != nil {
		return nil, 0, fmt.Errorf("find the newest generation: %w", err)
	}
	if head == r.state.Generation {
		return r.state, head, nil
	}
	from, ref, err := r.start(ctx, head)
	if err != nil {
		return nil, head, err
	}
	s, err = r.replay(ctx, from, head, ref)
	return s, head, err
}

// remember records s in the trust file. It needs r.mu.
func (r *Repo) remember(s *State) {
	if s.Hash == r.trusted.Hash && sameCheckpoint(r.verified, r.trusted.Checkpoint) {
		return
	}
	r.trusted = trust{r.Identity(), s.Generation, s.Hash, r.verified}
	if r.options.StateDir == "" {
		return
	}
	if err := writeTrust(r.options.StateDir, r.trusted, r.options.AcceptRollback); err != nil {
		r.problem(fmt.Errorf("the trust file cannot be written, so a rollback would go unnoticed: %w", err))
	}
}

// problem notes err for [Repo.Problems]. It needs r.mu.
func (r *Repo) problem(err error) {
	if err != nil {
		r.problems = append(r.problems, err)
	}
}

// Problems returns what went wrong on this machine's side and was no reason to
// stop: a trust file, a journal or a cache that cannot be written; and runs
// that were passed over.
func (r *Repo) Problems() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	problems := slices.Clone(r.problems)
	if r.cache != nil {
		if err := r.cache.Problem(); err != nil {
			problems = append(problems, fmt.Errorf("cache: %w", err))
		}
	}
	return problems
}

// StateDir returns the folder of what this machine knows of the repository, ""
// if it keeps nothing.
func (r *Repo) StateDir() string { return r.options.StateDir }

// State returns the newest state that was verified, without looking for a
// newer one.
func (r *Repo) State() *State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state
}

// random fills b. The system's source does not fail; another one may.
func (r *Repo) random(b []byte) error {
	_, err := io.ReadFull(r.options.Rand, b)
	return err
}
