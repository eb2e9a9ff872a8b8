package repo

import (
	"context"
	"errors"
	"fmt"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/store"

	"golang.org/x/sync/errgroup"
)

// maxReloads is how often a reader that meets a missing segment looks for a
// newer state before it says that data is lost (R9).
const maxReloads = 3

// Index returns what is visible in the state s: the rows of its runs, but for
// those that are marked and those in condemned segments.
//
// The error wraps [store.ErrNotFound] where a cleaner has deleted what s is read
// from; a newer state is there then, and [Repo.IndexFrom] takes it.
func (r *Repo) Index(ctx context.Context, s *State) (*index.Index, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.view.state == s && r.view.index != nil {
		return r.view.index, nil
	}
	parts, err := r.openParts(ctx, s, false)
	if r.passOver && isLost(err) {
		parts, err = r.partsAround(ctx, s, err)
	}
	if err != nil {
		return nil, err
	}
	r.judgeFetched(ctx, s, parts)
	r.keepTables(s)
	r.view = view{s, s.indexOf(parts)}
	return r.view.index, nil
}

// Current returns the newest state and what is visible in it. Where a cleaner
// takes away what it is read from, it looks again (R7).
func (r *Repo) Current(ctx context.Context) (*State, *index.Index, error) {
	s, err := r.Refresh(ctx)
	if err != nil {
		return nil, nil, err
	}
	return r.IndexFrom(ctx, s)
}

// IndexFrom returns s and what is visible in it, or a newer state where a
// cleaner has taken away what s is read from.
func (r *Repo) IndexFrom(ctx context.Context, s *State) (*State, *index.Index, error) {
	for reload := 0; ; reload++ {
		view, err := r.Index(ctx, s)
		if !errors.Is(err, store.ErrNotFound) || reload == maxReloads {
			return s, view, err
		}
		newer, refreshErr := r.Refresh(ctx)
		if refreshErr != nil || newer == s {
			return nil, nil, errors.Join(err, refreshErr)
		}
		s = newer
	}
}

// makeIndex is Index for a state that may never be, and returns the parts too.
// What its cleans have made is not judged: who asks does that.
func (r *Repo) makeIndex(ctx context.Context, s *State) (*index.Index, []index.Part, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts, err := r.openParts(ctx, s, false)
	if err != nil {
		return nil, nil, err
	}
	return s.indexOf(parts), parts, nil
}

// indexOf makes the index of s of its runs.
func (s *State) indexOf(parts []index.Part) *index.Index {
	return index.New(parts, func(name pack.Name) bool { return s.isCondemned(SegmentName(name)) })
}

// openParts opens the runs of s, and marks them; around passes over what of it is
// lost. It needs r.mu.
func (r *Repo) openParts(ctx context.Context, s *State, around bool) ([]index.Part, error) {
	if err := r.openRuns(ctx, s, around); err != nil {
		return nil, err
	}
	parts := make([]index.Part, 0, len(s.Runs))
	for i := range s.Runs {
		run := &s.Runs[i]
		if opened := r.runs[run.Name]; opened != nil { // else passed over
			parts = append(parts, index.Part{Run: opened, At: run.Generation, Cleaned: run.Cleaned})
		}
	}
	if err := r.mark(ctx, s, parts); err != nil {
		if !around || !isLost(err) {
			return nil, err
		}
		r.problem(fmt.Errorf("%w; what is dead is taken for live", err))
	}
	return parts, nil
}

// openRuns opens the runs of s that are not open yet. Around lets those be that
// are lost. It needs r.mu.
func (r *Repo) openRuns(ctx context.Context, s *State, around bool) error {
	opened := make([]*index.Run, len(s.Runs))
	lost, isNew := make([]error, len(s.Runs)), make([]bool, len(s.Runs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readAhead)
	for i, run := range s.Runs {
		if r.runs[run.Name] != nil {
			continue
		}
		g.Go(func() (err error) {
			opened[i], err = r.openRun(gctx, run.AddRun, func(ctx context.Context) ([]byte, error) {
				isNew[i] = true
				return r.store.Get(ctx, run.Name.Key(), int64(run.Size))
			})
			if around && isLost(err) {
				lost[i], err = err, nil
			}
			return err
		})
	}
	err := g.Wait()
	for i := range s.Runs {
		run := &s.Runs[i]
		if cause := lost[i]; cause != nil && !r.lost[run.Name] {
			r.lost[run.Name] = true
			r.problem(fmt.Errorf("%w; what stands in no other run cannot be read", cause))
		}
		if opened[i] == nil {
			continue
		}
		r.runs[run.Name] = opened[i]
		if run.Cleaned && isNew[i] {
			r.fetched[run.Name] = true
		}
		if run.Cleaned {
			r.readInvented(run.Name)
		}
	}
	return err
}

// openRun opens the run that add describes, from the cache or as fetch has it.
func (r *Repo) openRun(ctx context.Context, add AddRun, fetch func(context.Context) ([]byte, error)) (*index.Run, error) {
	meta := index.Meta{Repository: r.config.ID, Name: add.Name, Size: int64(add.Size), Hash: add.Hash}
	run, err := r.cache.Run(ctx, meta, fetch)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", add.Name, err)
	}
	return run, nil
}

// Sealed reads the object of the given id and verifies its sum. The caller
// owns Refs and Bytes of the result.
//
// Where a cleaner has taken away what the newest state that is known says, it
// reads the log again, up to three times. The error wraps [ErrNotFound] where no
// visible entry has the id in the end, [store.ErrNotFound] where its segment is
// gone, and [object.ErrCorrupt]; [Repo.Of] says what the first two mean.
func (r *Repo) Sealed(ctx context.Context, id object.ID) (object.Sealed, object.Session, error) {
	s := r.State()
	for reload := 0; ; reload++ {
		o, row, err := r.sealedIn(ctx, s, id)
		if !isGone(err) || reload == maxReloads {
			return o, row, err
		}
		newer, refreshErr := r.Refresh(ctx)
		if refreshErr != nil {
			return o, row, errors.Join(err, refreshErr)
		}
		if newer == s {
			return o, row, err
		}
		s = newer
	}
}

// isGone reports whether err says that something is not there, where a newer
// state may say that it is elsewhere.
func isGone(err error) bool {
	return errors.Is(err, store.ErrNotFound) || errors.Is(err, ErrNotFound)
}

// sealedIn reads id as the state s shows it, from the first copy that is whole.
func (r *Repo) sealedIn(ctx context.Context, s *State, id object.ID) (object.Sealed, object.Session, error) {
	view, err := r.Index(ctx, s)
	if err != nil {
		return object.Sealed{}, object.Session{}, err
	}
	places := view.Lookup(id)
	if len(places) == 0 {
		return object.Sealed{}, object.Session{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	var failed error
	for i := range places {
		o, row, err := r.readAt(ctx, &places[i])
		if err == nil {
			return o, row, nil
		}
		failed = errors.Join(failed, err)
	}
	return object.Sealed{}, object.Session{}, failed
}

// readAt reads the object that a row of a run points at.
func (r *Repo) readAt(ctx context.Context, at *index.Location) (object.Sealed, object.Session, error) {
	e, err := r.segments.open(ctx, r.config.ID, &at.Segment)
	if err != nil {
		return object.Sealed{}, object.Session{}, fmt.Errorf("object %s: %w", at.Row.ID.Short(), err)
	}
	i, ok := e.header.Locate(at.Row.ID, at.Row.Offset)
	if !ok || e.header.Objects[i].Sum != at.Row.Sum {
		return object.Sealed{}, object.Session{}, fmt.Errorf("object %s: %w: the run and the header of segment %s disagree",
			at.Row.ID.Short(), object.ErrCorrupt, at.Segment.Name)
	}
	return e.header.Read(ctx, e.source, i)
}

// Header returns the verified header of a segment, and where its bytes are
// read from with least effort.
func (r *Repo) Header(ctx context.Context, seg *index.Segment) (*pack.Header, pack.ReaderAt, error) {
	e, err := r.segments.open(ctx, r.config.ID, seg)
	if err != nil {
		return nil, nil, err
	}
	return e.header, e.source, nil
}

// Generation reads generation n as it is stored, for whoever wants to look at
// it. Only its form is checked.
func (r *Repo) Generation(ctx context.Context, n uint64) (*Generation, error) {
	data, err := r.getGeneration(ctx, n)
	if err != nil {
		return nil, err
	}
	g, err := DecodeGeneration(data)
	if err != nil {
		return nil, fmt.Errorf("generation %d: %w", n, err)
	}
	return g, nil
}

// RawConfig reads the bytes of bluesky.json.
func (r *Repo) RawConfig(ctx context.Context) ([]byte, error) {
	return r.store.Get(ctx, ConfigKey, configMax)
}
