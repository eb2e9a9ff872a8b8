package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"bluesky/index"
	"bluesky/object"
	"bluesky/store"

	"golang.org/x/sync/errgroup"
)

// An Audit is what the log says when all of it is read, from generation 0 on,
// and no checkpoint is believed.
type Audit struct {
	// State is the newest that could be verified: that of the head, unless
	// something was found that no checkpoint behind it makes up for.
	State       *State
	Head        uint64          // number of the newest generation that is there
	Generations uint64          // that were read
	Checkpoints uint64          // that were compared with the state replayed
	Bytes       uint64          // read
	Named       []CheckpointRef // all that the log records
}

// A Finding is something about the log that Audit came upon.
type Finding struct {
	Key      string // of the file in the bucket
	Err      error
	Harmless bool // an op or a generation that is void, for everyone: it changes nothing
}

// Audit reads and verifies the whole log: the form, number, chain, author,
// signature and ops of each generation, and each checkpoint against the state
// that the log itself adds up to. What is wrong goes to found, and reading goes
// on where it can.
//
// The error is one of reading the bucket. Memory is a state, twice the largest
// checkpoint, and [readAhead] generations.
func (r *Repo) Audit(ctx context.Context, found func(Finding)) (*Audit, error) {
	a := auditor{r: r, found: found, trusted: r.trust()}
	if err := a.begin(ctx); err != nil {
		return nil, err
	}
	if err := a.findHead(ctx); err != nil {
		return nil, err
	}
	if err := a.beginAtFloor(ctx); err != nil {
		return nil, err
	}
	if err := a.each(ctx, a.from, a.Head, a.generation); err != nil {
		return nil, err
	}
	if a.state == nil {
		if err := a.retreat(ctx); err != nil {
			return nil, err
		}
	}
	if len(a.late) > 0 {
		if err := a.compareLate(ctx); err != nil {
			return nil, err
		}
	}
	a.State = a.state
	return &a.Audit, a.explainMissing(ctx)
}

// trust returns what this machine has seen of the log, nothing where that is
// to be forgotten.
func (r *Repo) trust() trust {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.options.AcceptRollback {
		return trust{}
	}
	return r.trusted
}

// An auditor folds the generations in place: copying the state for each, as
// readers do for a few, would take time in the square of their number.
type auditor struct {
	Audit
	r       *Repo
	found   func(Finding)
	trusted trust

	genesis *State
	from    uint64      // the first generation that is read
	state   *State      // after the generation before; nil while the chain is broken
	last    object.Hash // of the bytes of the generation before, zero if it is missing
	broken  uint64      // first generation that does not verify, 0 for none
	listed  []uint64    // numbers that a listing showed, ascending
	resume  *State      // of a checkpoint at or behind broken
	late    []CheckpointRef
	missing []missing
}

func (a *auditor) report(key string, err error) { a.found(Finding{Key: key, Err: err}) }

func (a *auditor) begin(ctx context.Context) error {
	config, raw, err := readConfig(ctx, a.r.store)
	if err != nil {
		return err
	}
	data, err := a.r.getGeneration(ctx, 0)
	if err != nil {
		return err
	}
	if a.genesis, err = genesis(config, raw, data); err != nil {
		return err
	}
	a.Generations, a.Bytes = 1, uint64(len(raw)+len(data))
	a.state, a.last = a.genesis.clone(), a.genesis.Hash
	return nil
}

func (a *auditor) findHead(ctx context.Context) error {
	for entry, err := range a.r.store.List(ctx, generationPrefix) {
		if err != nil {
			return fmt.Errorf("list generations: %w", err)
		}
		if n, ok := ParseGenerationKey(entry.Key); ok {
			a.listed = append(a.listed, n)
		}
	}
	slices.Sort(a.listed) // as it should be, but a bucket may say anything
	newest := uint64(0)
	if n := len(a.listed); n > 0 {
		newest = a.listed[n-1]
	}
	var err error
	if a.Head, err = a.r.findHead(ctx, newest); err != nil {
		return fmt.Errorf("find the newest generation: %w", err)
	}
	if a.Head < a.trusted.Generation {
		a.report(GenerationKey(a.trusted.Generation), rollback("it was seen before and is missing"))
	}
	return nil
}

// beginAtFloor sets where the audit begins. Below the floor generations are
// gone, so what they add up to is believed of the checkpoint that the head names,
// as a new machine does; behind the floor the chain is verified, and behind that
// checkpoint everything.
func (a *auditor) beginAtFloor(ctx context.Context) error {
	a.from = 1
	data, err := a.r.getGeneration(ctx, a.Head)
	if err != nil {
		return nil // reported when its turn comes
	}
	g, err := DecodeGeneration(data)
	if err != nil || g.Floor <= 1 || g.Checkpoint == nil || g.Checkpoint.Number < g.Floor || g.Checkpoint.Number >= a.Head {
		return nil
	}
	if there, err := a.r.hasGeneration(ctx, 1); there || err != nil {
		return err // not deleted yet
	}
	s, err := a.r.readCheckpoint(ctx, *g.Checkpoint)
	switch {
	case err == nil:
		a.from, a.state, a.last, a.resume = g.Floor, nil, object.Hash{}, s
	case errors.Is(err, object.ErrCorrupt), errors.Is(err, object.ErrVersion),
		errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrTooLarge):
		a.report(g.Checkpoint.Name.Key(), fmt.Errorf("the checkpoint of generation %d: %w", g.Checkpoint.Number, err))
	default:
		return err
	}
	return nil
}

// base returns the state that all that is folded begins with, and the first
// generation behind it.
func (a *auditor) base() (*State, uint64) {
	if a.from > 1 {
		return a.resume.clone(), a.resume.Generation + 1
	}
	return a.genesis.clone(), 1
}

// each calls fn with the bytes of generations from to last, in order. What is
// missing or too large to be one comes as an error; other errors end it.
func (a *auditor) each(ctx context.Context, from, last uint64, fn func(ctx context.Context, n uint64, data []byte, err error) error) error {
	for ; from <= last; from += readAhead {
		n := min(readAhead, last-from+1)
		data, missing := make([][]byte, n), make([]error, n)
		g, gctx := errgroup.WithContext(ctx)
		for i := range n {
			g.Go(func() error {
				bytes, err := a.r.getGeneration(gctx, from+i)
				if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTooLarge) {
					missing[i], err = err, nil
				}
				data[i] = bytes
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		for i := range n {
			if err := fn(ctx, from+i, data[i], missing[i]); err != nil {
				return err
			}
		}
		if !slices.Contains(missing, nil) {
			from = a.skip(from+n, last) - n
		}
	}
	return nil
}

// skip returns the next generation up to last, from the given one on, of which
// a file was listed or a checkpoint takes the place: somebody may have put a
// file far behind the end of the log, and what lies between is one finding.
func (a *auditor) skip(from, last uint64) uint64 {
	next := last
	if i, _ := slices.BinarySearch(a.listed, from); i < len(a.listed) {
		next = min(next, a.listed[i])
	}
	if a.state == nil && a.resume != nil && a.resume.Generation >= from {
		next = min(next, a.resume.Generation)
	}
	if next > from {
		a.report(GenerationKey(from), fmt.Errorf("%w, and so are all up to generation %d", store.ErrNotFound, next-1))
	}
	return max(next, from)
}

// generation takes generation n into the state, or, behind one that is broken,
// verifies what can be verified without it.
func (a *auditor) generation(ctx context.Context, n uint64, data []byte, err error) error {
	var g *Generation
	if err == nil {
		a.Generations++
		a.Bytes += uint64(len(data))
		g, err = a.link(n, data)
	}
	if err == nil && a.state != nil {
		err = a.fold(ctx, g, data)
	}
	if failed := new(storeError); errors.As(err, &failed) {
		return failed.error
	}
	if err == nil && n == a.trusted.Generation && hashGeneration(data) != a.trusted.Hash {
		err = rollback("it is not the one seen before")
	}
	if err != nil && data != nil {
		voided, err := a.passOver(ctx, n, data)
		if voided || err != nil {
			return err
		}
	}
	if err != nil {
		a.report(GenerationKey(n), err)
		if err := a.breakAt(ctx, n); err != nil {
			return err
		}
	}
	a.last = object.Hash{}
	if err == nil {
		a.last = hashGeneration(data)
	}
	if a.state == nil && a.resume != nil && a.resume.Generation == n {
		a.takeUp()
	}
	return nil
}

// passOver goes on behind generation n, which is not valid, if the admin has
// healed it with a void in the next one.
func (a *auditor) passOver(ctx context.Context, n uint64, data []byte) (bool, error) {
	if a.state == nil || n >= a.Head {
		return false, nil
	}
	healer, err := a.r.getGeneration(ctx, n+1)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrTooLarge) {
		return false, nil // it is looked at next
	}
	if err != nil || !a.state.isVoided(n, data, healer) {
		return false, err
	}
	a.found(Finding{GenerationKey(n), errors.New("it is garbage that the next generation passes over"), true})
	a.state = a.state.voided(data)
	a.last = a.state.Hash
	return true, nil
}

// takeUp goes on from the checkpoint of the generation that was just read,
// whose bytes may be lost: the next one names their hash.
func (a *auditor) takeUp() {
	if a.last != a.resume.Hash && a.last != (object.Hash{}) {
		a.report(GenerationKey(a.resume.Generation), fmt.Errorf("%w: its checkpoint was made of another", object.ErrCorrupt))
		return
	}
	a.state, a.last = a.resume.clone(), a.resume.Hash
}

// A storeError is one of reading the bucket, which ends an audit.
type storeError struct{ error }

// link decodes generation n and verifies that it follows the one before.
func (a *auditor) link(n uint64, data []byte) (*Generation, error) {
	g, err := DecodeGeneration(data)
	switch {
	case err != nil:
		return nil, err
	case g.Number != n:
		return nil, fmt.Errorf("%w: it says that it is number %d", object.ErrCorrupt, g.Number)
	case g.Previous != a.last && a.last != object.Hash{}:
		return nil, fmt.Errorf("%w: it does not follow generation %d", object.ErrCorrupt, n-1)
	}
	return g, nil
}

// fold applies g to the state and compares the checkpoint that it records.
func (a *auditor) fold(ctx context.Context, g *Generation, data []byte) error {
	var before []byte
	for _, op := range g.Ops {
		if op.known() && op.Type == OpCheckpoint && before == nil {
			var err error
			if before, err = EncodeState(a.state); err != nil {
				return err
			}
		}
	}
	was, number := a.state.Checkpoint, a.state.Generation
	void, err := a.state.apply(g, data)
	if err != nil {
		return err
	}
	for _, op := range void {
		a.found(Finding{GenerationKey(g.Number), fmt.Errorf("its %s is void", op.Type), true})
	}
	ref := a.state.Checkpoint
	if sameCheckpoint(was, ref) {
		return nil
	}
	a.Named = append(a.Named, *ref)
	if ref.Number == number && before != nil {
		return a.compare(ctx, *ref, before)
	}
	a.late = append(a.late, *ref)
	return nil
}

// compare reads a checkpoint and compares it with want, the state replayed.
func (a *auditor) compare(ctx context.Context, ref CheckpointRef, want []byte) error {
	got, err := a.r.store.Get(ctx, ref.Name.Key(), checkpointMax)
	switch {
	case errors.Is(err, store.ErrNotFound):
		a.missing = append(a.missing, missing{ref, err})
		return nil
	case errors.Is(err, store.ErrTooLarge):
		a.report(ref.Name.Key(), fmt.Errorf("the checkpoint of generation %d: %w", ref.Number, err))
		return nil
	case err != nil:
		return &storeError{err}
	}
	a.Checkpoints++
	a.Bytes += uint64(len(got))
	switch {
	case object.HashBytes("checkpoint", got) != ref.Hash:
		a.report(ref.Name.Key(), fmt.Errorf("%w: it is not the checkpoint of generation %d that the log names", object.ErrCorrupt, ref.Number))
	case !bytes.Equal(got, want):
		a.report(ref.Name.Key(), fmt.Errorf("%w: it is not the state after generation %d", object.ErrCorrupt, ref.Number))
	}
	return nil
}

// breakAt notes that generation n does not verify, and looks for a checkpoint
// from which the state can be had again behind it, as readers do.
func (a *auditor) breakAt(ctx context.Context, n uint64) error {
	if a.broken == 0 {
		a.broken = n
	}
	a.state = nil
	if a.resume != nil && a.resume.Generation >= n {
		return nil
	}
	a.resume = nil
	ref, err := a.newestCheckpoint(ctx)
	if err != nil || ref == nil || ref.Number < n || ref.Number >= a.Head {
		return err // the head vouches for what it names only if it follows that
	}
	s, err := a.r.readCheckpoint(ctx, *ref)
	switch {
	case err == nil:
		a.resume = s
	case errors.Is(err, store.ErrNotFound):
		a.missing = append(a.missing, missing{*ref, err})
	case errors.Is(err, object.ErrCorrupt), errors.Is(err, object.ErrVersion), errors.Is(err, store.ErrTooLarge):
		a.report(ref.Name.Key(), fmt.Errorf("the checkpoint of generation %d: %w", ref.Number, err))
	default:
		return err
	}
	return nil
}

// newestCheckpoint returns the checkpoint that the head names.
func (a *auditor) newestCheckpoint(ctx context.Context) (*CheckpointRef, error) {
	data, err := a.r.getGeneration(ctx, a.Head)
	if errors.Is(err, store.ErrTooLarge) || errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	g, err := DecodeGeneration(data)
	if err != nil {
		return nil, nil // reported when its turn comes
	}
	return g.Checkpoint, nil
}

// retreat makes the state before the first broken generation.
func (a *auditor) retreat(ctx context.Context) error {
	a.late = slices.DeleteFunc(a.late, func(ref CheckpointRef) bool { return ref.Number >= a.broken })
	var from uint64
	a.state, from = a.base()
	return a.refold(ctx, a.state, from, a.broken-1, func(*State) error { return nil })
}

// refold folds the generations up to last, all of which have verified, into s
// once more.
func (a *auditor) refold(ctx context.Context, s *State, from, last uint64, fn func(*State) error) error {
	return a.each(ctx, from, last, func(_ context.Context, n uint64, data []byte, err error) error {
		var g *Generation
		if err == nil {
			g, err = DecodeGeneration(data)
		}
		if err == nil {
			_, err = s.apply(g, data)
		}
		if err != nil {
			return fmt.Errorf("generation %d has changed while it was read: %w", n, err)
		}
		return fn(s)
	})
}

// compareLate compares the checkpoints that were recorded some generations
// after the one that they were made of, which takes another replay.
func (a *auditor) compareLate(ctx context.Context) error {
	last := uint64(0)
	for _, ref := range a.late {
		if a.broken == 0 || ref.Number < a.broken {
			last = max(last, ref.Number)
		}
	}
	begin, from := a.base()
	err := a.refold(ctx, begin, from, last, func(s *State) error {
		for _, ref := range a.late {
			if ref.Number != s.Generation {
				continue
			}
			want, err := EncodeState(s)
			if err != nil {
				return err
			}
			if err := a.compare(ctx, ref, want); err != nil {
				return err
			}
		}
		return nil
	})
	if failed := new(storeError); errors.As(err, &failed) {
		return failed.error
	}
	return err
}

// FetchRun reads a registered run from the bucket, whatever the cache has of
// it, and verifies it against the statement that registers it.
//
// The error wraps [object.ErrCorrupt], [object.ErrVersion], or is that of the
// store.
func (r *Repo) FetchRun(ctx context.Context, run Run) (*index.Run, error) {
	data, err := r.store.Get(ctx, run.Name.Key(), int64(run.Size))
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", run.Name, err)
	}
	if _, err := index.Load(data, r.meta(run)); err != nil {
		return nil, err
	}
	// The cache maps it where it can, so that it takes no memory of its own.
	return r.cache.Run(ctx, r.meta(run), func(context.Context) ([]byte, error) { return data, nil })
}

// Store returns the bucket of the repository. What is put there past Session
// and commit is not the repository's.
func (r *Repo) Store() *store.Store { return r.store }
