package repair

import (
	"syscall"
	"testing"
)

// TestBadSector: a run that the disk cannot read any more is damaged. It keeps
// none of the others from being repaired, and is put again.
func TestBadSector(t *testing.T) {
	b := standard(t, 9)
	whole := b.copy()
	runs := registered(t, b)
	bad := runs[1]
	delete(b.objects, runs[0])
	b.unreadable = map[string]error{bad: syscall.EIO}
	dry := mustRepair(t, b, 2, Options{DryRun: true})
	if dry.Wrong[1].Name.Key() != bad {
		t.Errorf("%s", describe(dry))
	}
	mustRepair(t, b, 2, Options{})
	same(t, b, whole)
	if len(b.unreadable) > 0 {
		t.Error("the bad sector was not written over")
	}
}
