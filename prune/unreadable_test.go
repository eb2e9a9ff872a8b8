package prune

import (
	"errors"
	"strings"
	"testing"

	"bluesky/store"
	"bluesky/store/fault"
)

// TestUnreachableIsNotDamaged: a bucket that refuses a read for now is no
// damaged repository, whatever is read.
func TestUnreachableIsNotDamaged(t *testing.T) {
	base := workSite(t)
	cases := 0
	next := func(int) int {
		if raceEnabled {
			return 7
		}
		return 1
	}
	for strike := range fault.Sweep([]fault.Way{{Name: "refused", Kinds: fault.Reads, Effect: fault.Refuse}}, next) {
		s := base.clone(t)
		r := s.open()
		s.bucket.Inject(strike.Plan)
		err := pruneWith(tight)(t.Context(), r)
		if !strike.Struck() {
			break
		}
		cases++
		if errors.Is(err, ErrDamaged) || !errors.Is(err, fault.ErrRefused) || strings.Contains(err.Error(), "would break") {
			t.Errorf("%v: %v", strike, err)
		}
	}
	t.Logf("%d cases", cases)
	if cases < 10 {
		t.Error("too few cases")
	}
}

// TestGoneAndUnreachable: what is gone may have been moved by another cleaner.
// Where the bucket does not say, nobody is told of damage.
func TestGoneAndUnreachable(t *testing.T) {
	s := workSite(t)
	r := s.open()
	raced := false
	s.bucket.Inject(func(op fault.Op) fault.Effect {
		if op.Kind == fault.Range && !raced {
			raced = true
			other := *s.bed
			other.store = openFault(fault.Over(s.bucket.Objects))
			other.prune(tight)
		} else if raced && strings.HasPrefix(op.Key, "gen/") {
			return fault.Refuse
		}
		return fault.None
	})
	err := pruneWith(tight)(t.Context(), r)
	if errors.Is(err, ErrDamaged) || !errors.Is(err, fault.ErrRefused) {
		t.Errorf("error %v, want that of the bucket", err)
	}
	if !raced {
		t.Error("no race")
	}
}

// TestMarksThatCannotBeRead: marks that are missing, or that the bucket does not
// give, are not taken for none (R7).
func TestMarksThatCannotBeRead(t *testing.T) {
	s := newSite(t, 1)
	s.current = s.newTree(8, 12)
	s.kept = append(s.kept, s.backUp(s.current))
	s.backs(1)
	s.drops(0)
	marking := tight
	marking.NoRepack = true
	s.prune(marking)
	marks := s.open().State().Marks
	if len(marks) == 0 {
		t.Fatal("no marks")
	}
	key := marks[0].Name.Key()
	s.bucket.Inject(fault.Rules(fault.Rule{Kinds: fault.Reads, Prefix: key, Effect: fault.Refuse}))
	if err := pruneWith(tight)(t.Context(), s.open()); !errors.Is(err, fault.ErrRefused) {
		t.Errorf("error %v, want that of the bucket", err)
	}
	s.bucket.Inject(nil)
	s.bucket.Objects.Remove(key)
	if _, _, err := s.open().Current(t.Context()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("error %v, want %v", err, store.ErrNotFound)
	}
}
