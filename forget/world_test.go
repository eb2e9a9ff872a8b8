package forget

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
)

// random runs a test with n different seeds, and as long as BLUESKY_SOAK says
// if the test's name begins with TestSoak. The failure names the seed.
func random(t *testing.T, n uint64, test func(*testing.T, *rand.Rand)) {
	t.Helper()
	for seed := range n {
		if test(t, rand.New(rand.NewPCG(seed, 0))); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d cases", n)
}

// soak is random with other seeds each time.
func soak(t *testing.T, test func(*testing.T, *rand.Rand)) {
	t.Helper()
	limit, err := time.ParseDuration(os.Getenv("BLUESKY_SOAK"))
	if err != nil {
		t.Skip("a long campaign: BLUESKY_SOAK says how long")
	}
	cases := 0
	for start := time.Now(); time.Since(start) < limit; cases++ {
		seed := rand.Uint64()
		if test(t, rand.New(rand.NewPCG(seed, 0))); t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	t.Logf("%d cases", cases)
}

// A world is a log that writers add to while time goes by: the time of the
// store, which nobody can lie about.
type world struct {
	*rand.Rand
	now        time.Time
	generation uint64
	log        []Snapshot
	lies       map[object.ID]bool
	stored     map[object.ID]time.Time
	effective  map[Line]object.Time // of the newest of each line
}

func newWorld(r *rand.Rand) *world {
	return &world{
		Rand: r, now: time.Date(2026, 1, 1, r.IntN(24), 0, 0, 0, time.UTC).Add(time.Duration(r.IntN(1000)) * time.Hour),
		lies: map[object.ID]bool{}, stored: map[object.ID]time.Time{}, effective: map[Line]object.Time{},
	}
}

// wait lets up to most go by.
func (w *world) wait(most time.Duration) {
	w.now = w.now.Add(time.Duration(1 + w.Int64N(int64(most)))).Truncate(time.Second)
}

// add adds a snapshot of a line that claims the given time.
func (w *world) add(line Line, claimed time.Time) *Snapshot {
	w.generation++
	s := Snapshot{Line: line, Generation: w.generation, Claimed: object.TimeOf(claimed)}
	for i := range s.ID {
		s.ID[i] = byte(w.Uint32())
	}
	var previous *object.Time
	if at, ok := w.effective[line]; ok {
		previous = &at
	}
	s.Effective = effectiveTime(s.Claimed, object.TimeOf(w.now), previous)
	w.effective[line] = s.Effective
	w.stored[s.ID] = w.now
	w.log = append(w.log, s)
	return &w.log[len(w.log)-1]
}

// lie adds a snapshot that claims a time which is up to many years away.
func (w *world) lie(line Line) {
	away := time.Duration(w.Int64N(int64(10 * 365 * 24 * time.Hour)))
	if w.IntN(2) == 0 {
		away = time.Duration(w.Int64N(int64(72 * time.Hour)))
	}
	if w.IntN(2) == 0 {
		away = -away
	}
	s := w.add(line, w.now.Add(away))
	w.lies[s.ID] = true
}

// honest returns the log without the lies, with the effective times that it has
// with them.
func (w *world) honest() []Snapshot {
	var list []Snapshot
	for _, s := range w.log {
		if !w.lies[s.ID] {
			list = append(list, s)
		}
	}
	return list
}

func testLine(signer, series byte) Line {
	return Line{Signer: repo.PublicKey{signer}, Series: repo.Series{series}}
}

// randomPolicy returns one with at least one rule.
func randomPolicy(r *rand.Rand) Policy {
	for {
		var p Policy
		for _, span := range Spans {
			if r.IntN(4) == 0 {
				p.Keep[span] = Count(1 + r.IntN(8))
			}
			if r.IntN(30) == 0 {
				p.Keep[span] = Unlimited
			}
			if r.IntN(6) == 0 {
				p.Within[span] = &Duration{Months: uint32(r.IntN(3)), Days: uint32(r.IntN(40)), Hours: uint32(r.IntN(30)), Seconds: uint32(r.IntN(2))}
			}
		}
		if !p.Empty() {
			return p
		}
	}
}

// withoutMonths returns p with days for months.
func withoutMonths(p Policy) Policy {
	for _, span := range Spans {
		if d := p.Within[span]; d != nil && d.Months > 0 {
			p.Within[span] = &Duration{Days: d.Days + 30*d.Months, Hours: d.Hours, Seconds: d.Seconds}
		}
	}
	return p
}

func idSet(list []Snapshot) map[object.ID]bool {
	ids := map[object.ID]bool{}
	for _, s := range list {
		ids[s.ID] = true
	}
	return ids
}

// effectiveTime returns what retention takes for the time of a snapshot: what
// its writer claims, but not after the store's time of the generation that
// added it, nor before the effective time of the snapshot before it in its
// line, if it has one. Where these two contradict each other, as after a change
// of the store's clock, the second counts: time does not go back within a line.
func effectiveTime(claimed, stored object.Time, previous *object.Time) object.Time {
	at := claimed
	if stored.Before(at) {
		at = stored
	}
	if previous != nil && at.Before(*previous) {
		at = *previous
	}
	return at
}
