package cmd

import (
	"encoding/json"
	"math"
	"testing"

	"bluesky/object"
)

// TestJSONTime: every time that a file can have can be printed, and those that
// JSON can hold come as they are.
func TestJSONTime(t *testing.T) {
	const year0, year10000 = -62167219200, 253402300800
	for _, sec := range []int64{math.MinInt64, math.MinInt64 / 2, -99999999999, year0 - 1, year0, -1, 0, year10000 - 1, year10000, 1 << 40, math.MaxInt64 / 2, math.MaxInt64} {
		at := object.Time{Sec: sec, Nsec: 999999999}
		got := jsonTime(at)
		if _, err := json.Marshal(got); err != nil {
			t.Errorf("%d: %v", sec, err)
		}
		if in := sec >= year0 && sec < year10000; in && !got.Equal(at.Time()) {
			t.Errorf("%d: %v", sec, got)
		}
	}
}
