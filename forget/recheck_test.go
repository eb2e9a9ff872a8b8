package forget

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
)

// A repository is a world in which snapshots are also forgotten, undone and
// collected.
type repository struct {
	*world
	live      []Snapshot
	forgotten []Forgotten
	wrong     map[object.ID]bool // forgotten although the policy keeps it
	disturbed map[object.ID]bool // something of its set was collected or undone since
}

func newRepository(r *rand.Rand) *repository {
	return &repository{world: newWorld(r), wrong: map[object.ID]bool{}, disturbed: map[object.ID]bool{}}
}

func (r *repository) add(line Line) {
	if r.wait(30 * time.Hour); r.IntN(4) == 0 {
		r.lie(line)
	} else {
		r.world.add(line, r.now)
	}
	r.live = append(r.live, r.log[len(r.log)-1])
}

// take forgets the snapshots in one generation.
func (r *repository) take(list []Snapshot, by *repo.ForgetPolicy) {
	r.generation++
	ids := idSet(list)
	r.live = slices.DeleteFunc(r.live, func(s Snapshot) bool { return ids[s.ID] })
	for _, s := range list {
		r.forgotten = append(r.forgotten, Forgotten{s, r.generation, by})
	}
	InLogOrder(r.live)
}

// forgetByPolicy forgets what the policy removes, in all lines. A liar also
// forgets one that the policy keeps, if that is not the last of its line.
func (r *repository) forgetByPolicy(t *testing.T, lie bool) {
	t.Helper()
	policy := withoutMonths(randomPolicy(r.Rand))
	record, err := policy.Record()
	if err != nil {
		t.Fatal(err)
	}
	var remove []Snapshot
	for _, g := range Lines(r.live) {
		d := Apply(g.Snapshots, &policy)
		if lie && len(d.Keep) > 1 {
			s := d.Keep[r.IntN(len(d.Keep))]
			r.wrong[s.ID] = true
			d.Remove = append(d.Remove, s)
			lie = false
		}
		remove = append(remove, d.Remove...)
	}
	r.take(remove, record)
}

// disturb notes that the sets of what is forgotten in the line have changed.
func (r *repository) disturb(line Line) {
	for _, f := range r.forgotten {
		if f.Line == line {
			r.disturbed[f.ID] = true
		}
	}
}

// undo makes one of the forgotten live again, or collects it.
func (r *repository) undoOrCollect() {
	if len(r.forgotten) == 0 {
		return
	}
	at := r.IntN(len(r.forgotten))
	f := r.forgotten[at]
	r.forgotten = slices.Delete(r.forgotten, at, at+1)
	delete(r.wrong, f.ID)
	delete(r.disturbed, f.ID)
	r.generation++
	if r.IntN(2) == 0 {
		r.live = append(r.live, f.Snapshot)
		InLogOrder(r.live)
	}
	r.disturb(f.Line)
}

// TestRecheck: what honest forgets have forgotten is right, and what liars have
// added is found, each as long as nothing of the same line was collected or
// undone since.
func TestRecheck(t *testing.T) {
	found := 0
	random(t, 800, func(t *testing.T, r *rand.Rand) { found += recheck(t, r) })
	if found < 500 {
		t.Errorf("only %d wrong ones were found", found)
	}
	t.Logf("%d were found that should not have been forgotten", found)
}

func TestSoakRecheck(t *testing.T) {
	soak(t, func(t *testing.T, r *rand.Rand) { recheck(t, r) })
}

func recheck(t *testing.T, random *rand.Rand) (found int) {
	r := newRepository(random)
	lines := []Line{testLine(1, 1), testLine(1, 2), testLine(2, 1)}
	for range 30 + r.IntN(40) {
		switch r.IntN(20) {
		case 0:
			r.forgetByPolicy(t, false)
		case 1:
			r.forgetByPolicy(t, true)
		case 2:
			if len(r.live) > 0 {
				r.take([]Snapshot{r.live[r.IntN(len(r.live))]}, nil) // by id
			}
		case 3:
			if r.IntN(3) == 0 {
				r.undoOrCollect()
			}
		default:
			r.add(lines[r.IntN(len(lines))])
		}
	}
	wrong := map[object.ID]bool{}
	for _, f := range Recheck(r.live, r.forgotten) {
		wrong[f.ID] = true
	}
	for _, f := range r.forgotten {
		if r.disturbed[f.ID] {
			continue
		}
		if wrong[f.ID] != r.wrong[f.ID] {
			t.Errorf("%s: found wrong: %v; is wrong: %v", f.ID.Short(), wrong[f.ID], r.wrong[f.ID])
		}
		if wrong[f.ID] {
			found++
		}
	}
	return found
}

// TestUndoneOnesAreNoHarm: what is live again saves nothing that was forgotten,
// whatever was undone; only what was collected can.
func TestUndoneOnesAreNoHarm(t *testing.T) {
	random(t, 500, func(t *testing.T, random *rand.Rand) {
		r := newRepository(random)
		for range 40 {
			switch line := testLine(1, 1); r.IntN(8) {
			case 0:
				r.forgetByPolicy(t, false)
			case 1:
				if len(r.forgotten) > 0 {
					at := r.IntN(len(r.forgotten))
					r.live = append(r.live, r.forgotten[at].Snapshot)
					r.forgotten = slices.Delete(r.forgotten, at, at+1)
					InLogOrder(r.live)
					r.generation++
				}
			default:
				r.add(line)
			}
		}
		if wrong := Recheck(r.live, r.forgotten); len(wrong) > 0 {
			t.Errorf("%d of %d honestly forgotten ones are called wrong", len(wrong), len(r.forgotten))
		}
	})
}

func TestRecheckOfWhatIsNoPolicy(t *testing.T) {
	list := snapshotsOf("1:a:/x:", "1:a:/x:", "1:a:/x:")
	tests := []struct {
		name string
		by   *repo.ForgetPolicy
		want string // the generations that are wrong
	}{
		{"by id", nil, ""},
		{"by a policy that has no rule", &repo.ForgetPolicy{}, "0 1 "},
		{"by a policy that keeps all", &repo.ForgetPolicy{Last: repo.Unlimited}, "0 1 "},
		{"by a policy that keeps one more", &repo.ForgetPolicy{Last: 2}, "1 "},
		{"by a policy that keeps one", &repo.ForgetPolicy{Last: 1}, ""},
	}
	for _, tt := range tests {
		got := ""
		for _, f := range Recheck(list[2:], []Forgotten{{list[0], 9, tt.by}, {list[1], 9, tt.by}}) {
			got += fmt.Sprintf("%d ", f.Generation)
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
