package repair

import (
	"syscall"
	"testing"

	"bluesky/store/fault"
)

// TestBadSector: a run that the disk cannot read any more is damaged. It keeps
// none of the others from being repaired, and is put again.
func TestBadSector(t *testing.T) {
	b := standard(t, 9)
	whole := clone(b)
	runs := registered(t, b)
	bad := runs[1]
	b.Objects.Remove(runs[0])
	put := false
	b.Inject(func(op fault.Op) fault.Effect {
		switch {
		case op.Key != bad:
		case op.Kind == fault.Put:
			put = true
		case op.Kind == fault.Get && !put:
			return fault.Fail.With(syscall.EIO)
		}
		return fault.None
	})
	dry := mustRepair(t, b, 2, Options{DryRun: true})
	if dry.Wrong[1].Name.Key() != bad {
		t.Errorf("%s", describe(dry))
	}
	mustRepair(t, b, 2, Options{})
	same(t, b, whole)
	if !put {
		t.Error("the bad sector was not written over")
	}
}
