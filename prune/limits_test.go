package prune

import (
	"errors"
	"testing"
	"time"

	"bluesky/object"
)

// churn makes a bed whose segments are all partly dead.
func churn(t testing.TB) *bed {
	b := newBed(t, 1)
	current := b.newTree(30, 20)
	var ids []object.ID
	for range 6 {
		ids = append(ids, b.backUp(current))
		current = b.change(current, 40)
	}
	b.forget(ids[:5]...)
	return b
}

// TestLimits: each limit keeps a prune from doing what goes beyond it, and what
// it does is sound.
func TestLimits(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options Options
		check   func(r *Result) bool
	}{
		{"nothing may be unused", Options{}, func(r *Result) bool { return r.UnusedLeft == 0 && r.RepackBytes > 100_000 }},
		{"unused without limit", Options{MaxUnused: Limit{Unlimited: true}}, func(r *Result) bool { return r.RepackBytes == 0 && r.UnusedLeft > 0 }},
		{"a tenth unused", Options{MaxUnused: Limit{Percent: 10, IsPercent: true}}, func(r *Result) bool {
			return r.UnusedLeft > 0 && r.UnusedLeft*9 <= r.ObjectBytes-r.DeadBytes
		}},
		{"no repacking", Options{NoRepack: true}, func(r *Result) bool { return r.RepackBytes == 0 && r.ReadBytes < 200_000 }},
		{"some repacking", Options{MaxRepack: 50_000}, func(r *Result) bool { return 0 < r.RepackBytes && r.RepackBytes <= 50_000 }},
		{"some reading", Options{MaxRead: 50_000}, func(r *Result) bool { return 0 < r.RepackBytes && r.RepackBytes <= 50_000 }},
		{"no time", Options{MaxDuration: 1}, func(r *Result) bool { return r.RepackBytes == 0 && r.Dead > 0 }},
		{"grace", Options{Grace: time.Hour}, func(r *Result) bool { return r.Deleted == 0 && r.Waiting > 0 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := churn(t)
			tt.options.AllowMassDelete = true
			live := b.live()
			result := b.prune(tt.options)
			if !tt.check(result) {
				t.Errorf("%+v", result)
			}
			if after := b.live(); len(after) != len(live)-int(result.Dead) {
				t.Errorf("%d objects are live, before %d, of which %d died", len(after), len(live), result.Dead)
			}
			b.prune(tight)
			b.sound()
		})
	}
}

// TestMassDelete: most of a repository goes only on request.
func TestMassDelete(t *testing.T) {
	b := newBed(t, 1)
	ids := []object.ID{b.backUp(b.newTree(20, 20)), b.backUp(b.newTree(2, 2))}
	b.forget(ids[0])
	_, err := NewPlan(t.Context(), b.open(), Options{}, nil)
	if !isMassDelete(err) {
		t.Errorf("got %v", err)
	}
	b.prune(tight)
	b.sound()
}

func isMassDelete(err error) bool { return errors.Is(err, ErrMassDelete) }
