package check

import (
	"context"
	"errors"
	"sync"

	"bluesky/pack"
	"bluesky/repo"
	"bluesky/store"
)

// A check is of the state that the log had when it began. Cleaners go on
// meanwhile: they move objects out of segments, and delete these, and runs and
// tables that they have merged. So what is missing is damage only where no later
// generation has condemned it (R9).

// meanwhile knows what was condemned since the state that is checked.
type meanwhile struct {
	mu    sync.Mutex
	state *repo.State // newest that was read; guarded by mu
	taken map[repo.Name]struct{}
}

// isTaken reports whether err says that a file is missing which a cleaner has
// condemned since the check began.
func (c *checker) isTaken(ctx context.Context, name repo.Name, err error) bool {
	if !errors.Is(err, store.ErrNotFound) {
		return false
	}
	m := &c.later
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.taken[name]; !known && c.catchUp(ctx) != nil {
		return false // then what is wrong there is damage, too
	}
	_, taken := m.taken[name]
	return taken
}

// catchUp reads the log on. It needs c.later.mu.
func (c *checker) catchUp(ctx context.Context) error {
	m := &c.later
	if m.state == nil {
		m.state, m.taken = c.state, map[repo.Name]struct{}{}
	}
	state, condemned, err := c.repo.Follow(ctx, m.state)
	if err != nil {
		return err
	}
	m.state = state
	for _, name := range condemned {
		m.taken[name] = struct{}{}
	}
	return nil
}

// newest returns the newest state.
func (c *checker) newest(ctx context.Context) (*repo.State, error) {
	c.later.mu.Lock()
	defer c.later.mu.Unlock()
	err := c.catchUp(ctx)
	return c.later.state, err
}

// errMoved: a cleaner has replaced the index of the state that is checked.
var errMoved = errors.New("the index was replaced while it was read")

// maxReloads is how often the check begins again for that.
const maxReloads = 3

// begin reads the log and the index, of a newer state where a cleaner has replaced
// the index meanwhile.
func (c *checker) begin(ctx context.Context) error {
	for reload := 0; ; reload++ {
		c.book = newBook(c.options, c.progress)
		c.state, c.checkpoints, c.runs, c.segments, c.lostRun = nil, nil, nil, nil, false
		c.later.state, c.counts.generations, c.counts.checkpoints = nil, 0, 0
		if err := c.checkLog(ctx); err != nil {
			return err
		}
		err := c.openRuns(ctx)
		if !errors.Is(err, errMoved) || reload == maxReloads {
			return err
		}
	}
}

// knownSince returns the segments and other files that the newest state names and the
// one that is checked does not.
func (c *checker) knownSince(ctx context.Context) (map[pack.Name]struct{}, map[repo.Name]struct{}, error) {
	state, err := c.newest(ctx)
	if err != nil {
		return nil, nil, err
	}
	_, view, err := c.repo.IndexFrom(ctx, state)
	if err != nil {
		return nil, nil, err
	}
	segments := map[pack.Name]struct{}{}
	for s := range view.Segments() {
		segments[s.Name] = struct{}{}
	}
	names := map[repo.Name]struct{}{}
	for name := range state.Names() {
		names[name] = struct{}{}
	}
	return segments, names, nil
}
