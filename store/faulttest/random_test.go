package faulttest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"bluesky/repo"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/store/fault"

	"gocloud.dev/blob/driver"
)

// honest are faults that a bucket may have, and lies are those that it must not,
// each with a weight.
var (
	honest = []fault.Chance{
		{Of: 1, Effect: fault.Fail}, {Of: 1, Effect: fault.Lose}, {Of: 1, Effect: fault.Delay(2)}, {Of: 0.3, Effect: fault.Delay(20)},
		{Of: 1, Effect: fault.BreakOff(0)}, {Of: 1, Effect: fault.Short(0)}, {Of: 1, Effect: fault.Stale(0)},
	}
	lies = []fault.Chance{
		{Of: 1, Effect: fault.Flip(0)}, {Of: 1, Effect: fault.Truncate(0)}, {Of: 1, Effect: fault.Absent}, {Of: 1, Effect: fault.Lag(3)},
		{Of: 1, Effect: fault.Omit(0)}, {Of: 1, Effect: fault.Repeat(0)},
	}
)

// A tally counts what a campaign has seen.
type tally struct{ cases, struck, backups, failedBackups, restores, failedRestores, checks, failedChecks int }

// Backups, restores and checks on a bucket where things go wrong by chance.
func TestRandomFaults(t *testing.T) {
	var sum tally
	for seed := range uint64(16) {
		randomFaults(t, seed, &sum)
	}
	t.Logf("%+v", sum)
	if sum.failedBackups == 0 || sum.failedBackups == sum.backups || sum.restores < 20 || sum.checks < 20 {
		t.Errorf("the faults are too many or too few")
	}
}

func TestSoakRandomFaults(t *testing.T) {
	var sum tally
	for end, seed := soak(t), uint64(1000); time.Now().Before(end) && !t.Failed(); seed++ {
		randomFaults(t, seed, &sum)
	}
	t.Logf("%+v, from seed 1000", sum)
}

// randomFaults runs a history of backups, with restores and checks between.
// What reports success must be right.
func randomFaults(t *testing.T, seed uint64, sum *tally) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	b := fault.New()
	s := newSite(t, func() driver.Bucket { return b })
	must(t, s.init(t.Context()))
	rate := []float64{0.003, 0.01, 0.03}[rng.IntN(3)]
	plan := fault.Random(seed, scaled(rate, honest)...)
	what := fmt.Sprintf("seed %d, rate %v", seed, rate)
	if rng.IntN(2) == 0 {
		plan = fault.Random(seed, append(scaled(rate/3, lies), scaled(rate, honest)...)...)
		what += ", with lies"
	}
	b.Inject(plan)
	sum.cases++
	for version := 1; version <= 3; version++ {
		s.write(t, version)
		sum.backups++
		if err := s.backup(t.Context(), t, rng.IntN(2)*10); err != nil {
			sum.failedBackups++
			wantSentence(t, what, err)
		}
		s.restoreAll(t, sum)
		sum.checks++
		if err := s.check(t.Context()); err != nil {
			sum.failedChecks++
		}
	}
	sum.struck += len(b.Struck())
	b.Inject(nil)
	b.Settle()
	s.recover(t, what, true)
	if t.Failed() {
		for _, op := range b.Struck() {
			t.Log(op)
		}
	}
}

// restoreAll restores all snapshots that can be seen; site.restore compares.
func (s *site) restoreAll(t *testing.T, sum *tally) {
	err := s.with(t.Context(), func(r *repo.Repo, keys *seal.Keys, list []snapshot.Snapshot) error {
		for _, snap := range list {
			sum.restores++
			if err := s.restore(t.Context(), t, r, keys, snap); err != nil {
				sum.failedRestores++
			}
		}
		return nil
	})
	if err != nil {
		sum.restores++
		sum.failedRestores++
	}
}

func scaled(by float64, chances []fault.Chance) []fault.Chance {
	var list []fault.Chance
	for _, c := range chances {
		list = append(list, fault.Chance{Of: c.Of * by, Effect: c.Effect})
	}
	return list
}

// wantSentence checks that an error is one line that says what it is about.
func wantSentence(t *testing.T, what string, err error) {
	t.Helper()
	if text := err.Error(); strings.Contains(text, "\n") && !strings.Contains(text, "not all key slots") || len(text) < 20 {
		t.Errorf("%s: the error is %q", what, text)
	}
}

// Damage that lasts is never called right, whatever else goes wrong: neither by
// a check nor by a restore.
func TestDamageUnderRandomFaults(t *testing.T) {
	missed, found := 0, 0
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := fault.New()
		s := newSite(t, func() driver.Bucket { return b })
		must(t, s.init(t.Context()))
		s.write(t, 1)
		must(t, s.backup(t.Context(), t, 0))
		segments := b.Objects.Keys("seg/")
		key := segments[rng.IntN(len(segments))]
		data := b.Objects.Get(key)
		bit := rng.IntN(8 * len(data))
		data[bit/8] ^= 1 << (bit % 8)
		b.Objects.Set(key, data)
		b.Inject(fault.Random(seed, append(scaled(0.01, lies), scaled(0.01, honest)...)...))
		if err := s.check(t.Context()); err == nil {
			t.Errorf("seed %d: check says that all is right; bit %d of %s is not", seed, bit, key)
			missed++
		} else {
			found++
		}
		var sum tally
		s.restoreAll(t, &sum)
	}
	t.Logf("%d damages found, %d missed", found, missed)
}
