package check

import (
	"reflect"
	"testing"
)

func TestCleanRepository(t *testing.T) {
	f := newLongFixture(t)
	for _, l := range levels {
		t.Run(l.name, func(t *testing.T) {
			r, err := f.check(t, l)
			if err != nil {
				t.Fatal(err)
			}
			if !r.OK() || len(r.Problems) > 0 {
				t.Errorf("problems in a clean repository:\n%s", describe(r))
			}
			want := Report{
				Generation: 68, Generations: 69, Checkpoints: 1, Runs: 2, Segments: 6, Objects: 203,
				Snapshots: 2, KeySlots: 1, Identity: l.keyed,
			}
			got := Report{
				Generation: r.Generation, Generations: r.Generations, Checkpoints: r.Checkpoints, Runs: r.Runs,
				Segments: r.Segments, Objects: r.Objects, Snapshots: r.Snapshots, KeySlots: r.KeySlots, Identity: r.Identity,
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("counts\n%+v, want\n%+v", got, want)
			}
			if r.Level == "" || len(r.Unseen) == 0 {
				t.Errorf("level %q, unseen %q", r.Level, r.Unseen)
			}
			if opened := r.Opened > 0; opened != l.keyed {
				t.Errorf("%d objects opened", r.Opened)
			}
		})
	}
}
