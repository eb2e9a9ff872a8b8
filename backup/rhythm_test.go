package backup

import (
	"testing"
	"time"
)

// An add-run is due after half an hour, 8 GiB or 2^18 objects, whichever comes
// first, and never while there is nothing to register.
func TestRhythm(t *testing.T) {
	now := time.Unix(0, 0)
	r := newRhythm(func() time.Time { return now })
	var objects, stored uint64
	step := func(what string, after time.Duration, moreObjects, moreBytes uint64, want bool) {
		t.Helper()
		now = now.Add(after)
		objects += moreObjects
		stored += moreBytes
		if got := r.due(objects, stored); got != want {
			t.Errorf("%s: due is %v, want %v", what, got, want)
		}
	}
	step("at once", 0, 1, 1, false)
	step("nearly half an hour", runEvery-1, 1, 1, false)
	step("half an hour", 1, 0, 0, true)
	step("half an hour without an object", runEvery, 0, 0, false)
	step("the first object after that", 0, 1, 1, true)
	step("nearly 8 GiB", 0, 1, runBytes-1, false)
	step("8 GiB", 0, 1, 1, true)
	step("nearly enough objects", 0, runObjects-1, 1, false)
	step("enough objects", 0, 1, 1, true)
	step("just after", 0, 1, 1, false)
}
