package prune

import (
	"errors"
	"testing"

	"bluesky/store/fault"
)

// TestUnreachableIsNotDamaged: a bucket that refuses a read for now is no
// damaged repository, whatever is read.
func TestUnreachableIsNotDamaged(t *testing.T) {
	base := workSite(t)
	cases := 0
	for strike := range fault.Sweep([]fault.Way{{Name: "refused", Kinds: fault.Reads, Effect: fault.Refuse}}, nil) {
		s := base.clone(t)
		r := s.open()
		s.bucket.Inject(strike.Plan)
		err := pruneWith(tight)(t.Context(), r)
		if !strike.Struck() {
			break
		}
		cases++
		if errors.Is(err, ErrDamaged) || !errors.Is(err, fault.ErrRefused) {
			t.Errorf("%v: %v", strike, err)
		}
	}
	t.Logf("%d cases", cases)
	if cases < 10 {
		t.Error("too few cases")
	}
}
