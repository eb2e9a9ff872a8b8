package prune

import (
	"errors"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
)

// TestSessions has several sessions go on at once, that store the same things,
// fall asleep, come to nothing or are taken for dead, between forgets, their undoing
// and prunes of all sorts. What is committed reads until it is forgotten; when all
// sessions are over, nothing is left of what nobody needs.
func TestSessions(t *testing.T) {
	sum, seeds := sessionHistory{}, uint64(8)
	if raceEnabled {
		seeds = 3
	}
	for seed := range seeds {
		sum.run(t, seed)
	}
	t.Logf("%d commits, %d told to start again, %d prunes", sum.commits, sum.fails, sum.prunes)
}

// TestSoakSessions is TestSessions for as long as BLUESKY_SOAK says.
func TestSoakSessions(t *testing.T) {
	sum, seed := sessionHistory{}, uint64(1000)
	for end := soakEnd(t); time.Now().Before(end) && !t.Failed(); seed++ {
		sum.run(t, seed)
	}
	t.Logf("seeds 1000 to %d: %d commits, %d told to start again, %d prunes", seed-1, sum.commits, sum.fails, sum.prunes)
}

// run adds the history of that seed to sum.
func (sum *sessionHistory) run(t *testing.T, seed uint64) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	h := &sessionHistory{bed: newBed(t, seed)}
	h.trees = []*tree{h.newTree(5, 6)}
	for range 40 {
		h.step()
		h.live()
	}
	for _, s := range h.open {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	late := tight
	late.Now = func() time.Time { return time.Now().Add(h.past + 8*24*time.Hour) }
	h.prune(late)
	h.prune(late)
	h.live()
	h.sound()
	sum.commits, sum.fails, sum.prunes = sum.commits+h.commits, sum.fails+h.fails, sum.prunes+h.prunes
}

type sessionHistory struct {
	*bed
	trees  []*tree
	open   []*repo.Session
	past   time.Duration // since the beginning, by the cleaners' clock
	planAt *Plan         // that waits to be applied

	commits, fails, prunes int
}

func (h *sessionHistory) step() {
	h.Helper()
	switch n := h.rand.IntN(16); {
	case n < 4 && len(h.open) < 4:
		h.open = append(h.open, h.begin())
	case n < 7 && len(h.open) > 0:
		h.work()
	case n < 9:
		state := h.bed.open().State()
		if len(state.Snapshots) > 0 {
			h.forget(state.Snapshots[h.rand.IntN(len(state.Snapshots))].ID)
		}
	case n == 9:
		r := h.bed.open()
		if list := r.State().Forgotten; len(list) > 0 {
			if _, err := r.UndoForget(h.Context(), admin, []object.ID{list[h.rand.IntN(len(list))].ID}); err != nil {
				h.Fatal(err)
			}
		}
	case n == 10:
		h.plan()
	case n == 11 && h.planAt != nil:
		h.apply()
	case n < 15:
		h.plan()
		h.apply()
	}
}

// work has one of the open sessions go on.
func (h *sessionHistory) work() {
	h.Helper()
	i := h.rand.IntN(len(h.open))
	s, current := h.open[i], h.trees[h.rand.IntN(len(h.trees))]
	if h.rand.IntN(2) == 0 {
		current = h.change(current, 1+h.rand.IntN(3))
		h.trees = append(h.trees, current)
	}
	var err error
	over := true
	switch h.rand.IntN(6) {
	case 0: // comes to nothing
	case 1, 2, 3:
		if h.rand.IntN(2) == 0 {
			h.fill(s, current)
		} else {
			for _, leaf := range current.leaves {
				for _, seed := range leaf {
					h.add(s, seed, object.KindBlock)
				}
			}
		}
		err, over = s.AddRun(h.Context()), false
	default:
		if _, err = s.Commit(h.Context(), h.fill(s, current)); err == nil {
			h.commits++
		}
	}
	if errors.Is(err, repo.ErrObjectGone) {
		h.fails++
	} else if err != nil {
		h.Fatal(err)
	}
	if over || err != nil {
		h.open = append(h.open[:i], h.open[i+1:]...)
		if err := s.Close(); err != nil {
			h.Fatal(err)
		}
	}
}

func (h *sessionHistory) plan() {
	h.Helper()
	options := tight
	switch h.rand.IntN(7) {
	case 0:
		options.NoRepack = true
	case 1:
		options.MaxUnused = Limit{Percent: 20, IsPercent: true}
	case 2:
		options.MaxRepack = 20_000
	case 3:
		options.Recount = true
	case 4:
		options.Instant = true
	case 5:
		h.past += 8 * 24 * time.Hour
	}
	past := h.past
	options.Now = func() time.Time { return time.Now().Add(past) }
	var err error
	if h.planAt, err = NewPlan(h.Context(), h.bed.open(), options, nil); err != nil {
		h.Fatal(err)
	}
}

func (h *sessionHistory) apply() {
	h.Helper()
	if _, err := h.planAt.Apply(h.Context(), cleaner, nil); err != nil {
		h.Fatal(err)
	}
	h.planAt = nil
	h.prunes++
}
