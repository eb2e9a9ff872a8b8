package check

import (
	"testing"
)

func TestCleanRepository(t *testing.T) {
	f := newFixture(t)
	t.Logf("%d segments, %d runs", len(f.names("seg/")), len(f.names("idx/")))
	for _, l := range levels {
		t.Run(l.name, func(t *testing.T) {
			r, err := f.check(t, l)
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK() || len(r.Problems) > 0 {
				t.Errorf("problems in a clean repository:\n%s", describe(r))
			}
			t.Logf("%+v", r)
		})
	}
}
