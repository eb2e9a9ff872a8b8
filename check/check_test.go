package check

import (
	"bluesky/object"
	"bluesky/seal"
	"context"
	"errors"
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
				Generation: 68, Generations: 69, Checkpoints: 1, Runs: 68, Segments: 7, Objects: 204,
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

// TestBounds: what is not listed is counted.
func TestBounds(t *testing.T) {
	f := newFixture(t)
	for _, key := range f.segmentsOf(object.ClassData) {
		f.put(key, nil)
	}
	r, err := f.open(t)
	if err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), r, f.keys, Options{MaxProblems: 1, MaxFiles: 1}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Problems) != 1 || report.Errors != report.Omitted+1 || report.Errors < 2 {
		t.Fatalf("%d problems, %d errors, %d omitted\n%s",
			len(report.Problems), report.Errors, report.Omitted, describe(report))
	}
	p := report.Problems[0]
	if len(p.Files) != 1 || len(p.Snapshots) != 1 || len(report.BrokenSegments) != report.Errors {
		t.Errorf("%d broken segments\n%s", len(report.BrokenSegments), describe(report))
	}
}

// TestMoreFiles: files that are not named are counted, each once.
func TestMoreFiles(t *testing.T) {
	f := newFixture(t)
	for _, key := range f.segmentsOf(object.ClassData) {
		f.put(key, nil)
	}
	count := func(most int) (named, more int) {
		r, err := f.open(t)
		if err != nil {
			t.Fatal(err)
		}
		report, err := Run(t.Context(), r, f.keys, Options{MaxFiles: most}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range report.Problems {
			named += len(p.Files)
			more += p.MoreFiles
		}
		return named, more
	}
	all, none := count(1000)
	few, more := count(1)
	if none != 0 || all < 20 || few+more != all || more == 0 {
		t.Errorf("all %d (+%d), few %d (+%d)", all, none, few, more)
	}
}

// TestCanceled: a check that was stopped has called nothing right.
func TestCanceled(t *testing.T) {
	f := newFixture(t)
	for _, l := range levels {
		phases := 0
		for stop := 1; ; stop++ {
			r, err := f.open(t)
			if err != nil {
				t.Fatal(err)
			}
			var keys *seal.Keys
			if l.keyed {
				keys = f.keys
			}
			ctx, cancel := context.WithCancel(t.Context())
			p := &stopper{left: stop, cancel: cancel}
			_, err = Run(ctx, r, keys, Options{ReadData: l.readData}, p)
			cancel()
			if p.left > 0 {
				break // it came to its end
			}
			phases++
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: stopped in phase %d: %v", l.name, stop, err)
			}
		}
		if phases < 3 {
			t.Errorf("%s: %d phases", l.name, phases)
		}
	}
}

// A stopper cancels at the beginning of a phase.
type stopper struct {
	NoProgress
	left   int
	cancel func()
}

func (s *stopper) Phase(string, uint64) {
	if s.left--; s.left == 0 {
		s.cancel()
	}
}
