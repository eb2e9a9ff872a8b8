package faulttest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"bluesky/store/local"
	"bluesky/store/local/simdisk"

	"gocloud.dev/blob/driver"
)

// shapes are kinds of file system, by the calls that they lack.
var shapes = [][]string{
	nil,
	{"create unnamed", "link unnamed"},
	{"create unnamed", "link unnamed", "link"},
}

// A diskSite is a site whose repository is on a simulated disk.
type diskSite struct {
	*site
	disk local.FS
}

func newDiskSite(t *testing.T, disk local.FS) *diskSite {
	s := &diskSite{disk: disk}
	s.site = newSite(t, func() driver.Bucket { return local.New(s.disk, func() time.Time { return later }) })
	return s
}

// history is what is done to a repository while something goes wrong.
func (s *site) history(t *testing.T, often int) error {
	t.Helper()
	if err := s.init(t.Context()); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	s.write(t, 1)
	if err := s.backup(t.Context(), t, often); err != nil {
		return fmt.Errorf("first backup: %w", err)
	}
	s.write(t, 2)
	if err := s.backup(t.Context(), t, often); err != nil {
		return fmt.Errorf("second backup: %w", err)
	}
	return nil
}

// The power goes before any of the calls that init, a backup and a second one
// make, and perhaps once more while the next run recovers.
func TestPowerCut(t *testing.T) {
	for seed := range uint64(100) {
		powerCut(t, seed)
	}
}

func TestSoakPowerCut(t *testing.T) {
	cases := uint64(0)
	for end := soak(t); time.Now().Before(end) && !t.Failed(); cases++ {
		powerCut(t, 1000+cases)
	}
	t.Logf("%d cases, from seed 1000", cases)
}

func powerCut(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 0))
	lacks := shapes[rng.IntN(len(shapes))]
	often := rng.IntN(2) * (4 + rng.IntN(16))
	disk := simdisk.New(lacks...)
	s := newDiskSite(t, disk)
	what := fmt.Sprintf("seed %d", seed)
	for cuts := 1 + rng.IntN(4)/3; cuts > 0; cuts-- {
		limit := rng.IntN(120 + 60*min(often, 1)) // about as many as there are
		disk.CutAt(limit)
		err := s.history(t, often)
		if err != nil && !errors.Is(err, simdisk.ErrPowerCut) {
			t.Errorf("%s: before the cut at call %d: %v", what, limit, err)
		}
		what += fmt.Sprintf(", cut at call %d (%v)", limit, err)
		disk = disk.AfterPowerCut(rng)
		s.disk = disk
		if rng.IntN(2) == 0 {
			s.forget()
		}
	}
	s.recover(t, what, rng.IntN(4) == 0)
}

// Of all calls some are refused, and more of those on which durability hangs.
func TestEveryCallFails(t *testing.T) {
	for _, calls := range []struct {
		name string
		step int
	}{{"", 19}, {"sync", 3}, {"sync folder", 2}, {"read", 5}} {
		t.Run("of "+calls.name, func(t *testing.T) { everyCall(t, calls.name, 0, calls.step) })
	}
}

func TestSoakEveryCallFails(t *testing.T) {
	for end, first := soak(t), 0; time.Now().Before(end) && !t.Failed(); first++ {
		everyCall(t, "", first, 7)
	}
}

// everyCall refuses, of the calls of a name that a history makes ("" is any),
// every stepth from first on: with ENOSPC or EIO, before it did its work and after. Then, perhaps, the
// power goes.
func everyCall(t *testing.T, name string, first, step int) {
	t.Helper()
	cases, hits := 0, map[string]int{}
	for n := first % step; ; n += step {
		rng := rand.New(rand.NewPCG(uint64(n), uint64(first)))
		errno := []syscall.Errno{syscall.ENOSPC, syscall.EIO}[rng.IntN(2)]
		after, often := rng.IntN(2) == 1, 10*rng.IntN(2)
		disk := simdisk.New(shapes[rng.IntN(len(shapes))]...)
		r := simdisk.NewRefuser(disk)
		r.Only(name)
		s := newDiskSite(t, r)
		r.Refuse(n, errno, after)
		err := s.history(t, often)
		hit := r.Hit()
		if hit == "" {
			must(t, err)
			break
		}
		cases++
		hits[hit]++
		what := fmt.Sprintf("call %d, %s, with %v, done %v (%v)", n, hit, errno, after, err)
		if err != nil && !errors.Is(err, errno) {
			t.Errorf("%s: the error is another", what)
		}
		s.disk = disk
		if rng.IntN(2) == 0 { // what was refused may be a sync: no success may hang on it
			what += ", power cut then"
			s.disk = disk.AfterPowerCut(rng)
		}
		s.recover(t, what, rng.IntN(4) == 0)
	}
	t.Logf("%d cases: %v", cases, hits)
	if cases < 4 || name == "" && len(hits) < 8 {
		t.Errorf("only %d cases, of %d kinds", cases, len(hits))
	}
}
