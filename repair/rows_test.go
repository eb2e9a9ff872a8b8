package repair

import (
	"testing"

	"bluesky/index"
	"bluesky/pack"
	"bluesky/repo"
)

// TestRunOfOtherRows: a run that a writer has signed, and whose rows are not
// those of the headers of its segments, is not called the same.
func TestRunOfOtherRows(t *testing.T) {
	b := standard(t, 8)
	r, err := repo.Open(t.Context(), openBucket(t, b), repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run := &state.Runs[2]
	honest, err := index.Decode(b.Objects.Get(run.Name.Key()), state.Repository, run.Name)
	if err != nil {
		t.Fatal(err)
	}
	forged := index.Builder{}
	for i, s := range honest.Segments() {
		h, err := pack.ReadHeader(t.Context(), r.Store(), s.Ref())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			h.Objects[0].Sum[0] ^= 1
		}
		if err := forged.AddSegment(s, h); err != nil {
			t.Fatal(err)
		}
	}
	var data []byte
	if data, run.Hash, err = forged.Encode(state.Repository, run.Name); err != nil {
		t.Fatal(err)
	}
	set(t, b, run.Name.Key(), data)
	p := repairer{repo: r, options: Options{All: true}, progress: NoProgress{}, state: state, named: map[pack.Name]bool{}}
	if err := p.run(t.Context(), p.state); err != nil {
		t.Fatal(err)
	}
	report := p.report
	if report.OK() || len(report.Wrong) != 1 || report.Wrong[0].Name != run.Name || report.Repaired() != 0 || report.Equal != report.Runs-1 {
		t.Errorf("%d of %d runs are the same, OK %v:\n%s", report.Equal, report.Runs, report.OK(), describe(report))
	}
}
