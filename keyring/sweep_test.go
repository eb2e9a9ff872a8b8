package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"bluesky/seal"
	"bluesky/store/fault"
)

// A keyOperation changes the slots with the ring of p0, while p1 has one too,
// whose id it is told.
type keyOperation struct {
	name   string
	run    func(context.Context, *Ring, seal.SlotID) (Change, error)
	always string          // opens at any time
	either []string        // one of these does
	after  map[string]bool // what opens and what does not when it was done
	minOps int             // of the bucket
}

var (
	addKey = keyOperation{"add", func(ctx context.Context, g *Ring, _ seal.SlotID) (Change, error) {
		_, err := g.Add(ctx, newSlot("new"))
		return Change{}, err
	}, "p1", []string{"p0"}, map[string]bool{"p0": true, "p1": true, "new": true}, 2}
	removeKey = keyOperation{"remove", func(ctx context.Context, g *Ring, other seal.SlotID) (Change, error) {
		_, err := g.Remove(ctx, other)
		return Change{}, err
	}, "p0", []string{"p0"}, map[string]bool{"p0": true, "p1": false, "new": false}, 7}
	changeKey = keyOperation{"change", func(ctx context.Context, g *Ring, _ seal.SlotID) (Change, error) {
		return g.Change(ctx, newSlot("new"))
	}, "p1", []string{"p0", "new"}, map[string]bool{"p0": false, "p1": true, "new": true}, 6}
	// removeOthers is for two who meet: it removes what it finds, moved slots too.
	removeOthers = keyOperation{name: "remove others", run: func(ctx context.Context, g *Ring, _ seal.SlotID) (Change, error) {
		return Change{}, g.removeOthers(ctx)
	}}
)

// removeOthers takes all slots away but one of the ring's password.
func (g *Ring) removeOthers(ctx context.Context) error {
	list, err := g.Slots(ctx)
	if err != nil {
		return err
	}
	for _, s := range list {
		if s.Current {
			continue
		}
		if _, err := g.Remove(ctx, s.ID); err != nil {
			return err
		}
	}
	return nil
}

// TestKeyChangeStops strikes each operation at each access to the bucket, in each
// way. Before every access the passwords that must open the repository do; what
// was done or not done is told apart; and what is done next succeeds: the same
// again, or one of the passwords that still open takes all others away. What the
// bucket executes late changes nothing in that.
func TestKeyChangeStops(t *testing.T) {
	m := newMeeting(t)
	cases, late := 0, 0
	for _, op := range []keyOperation{addKey, removeKey, changeKey} {
		for _, next := range []string{"again", "p0", "p1", "new"} {
			for s := range fault.Sweep(fault.Ways, nil) {
				stopped := &stopped{m, op, m.open(), s}
				late += stopped.run(t, next)
				if s.Struck() {
					cases++
				} else if s.Way.Kinds == fault.Any && s.K <= op.minOps {
					t.Errorf("%s: only %d operations", op.name, s.K-1)
				}
			}
		}
	}
	t.Logf("%d cases, %d late writes behind all of it", cases, late)
	if late == 0 {
		t.Error("no write was late")
	}
}

// A stopped operation is one that s strikes.
type stopped struct {
	*meeting
	op keyOperation
	b  *fault.Bucket
	s  *fault.Strike
}

func (o *stopped) String() string { return fmt.Sprintf("%s: %v", o.op.name, o.s) }

// run does the operation, and what comes next. It returns how many writes were
// late even then.
func (o *stopped) run(t *testing.T, next string) (late int) {
	t.Helper()
	ring, second := o.ring(t, 0, o.b), seal.SlotID(o.rings[1].slot.ID)
	o.b.Inject(fault.First(o.watch(t), o.s.Plan))
	change, err := o.op.run(t.Context(), ring, second)
	o.b.Inject(nil)
	if now := o.opening(o.b); change.Added != (seal.SlotID{}) && !now["new"] || change.Removed && now["p0"] {
		t.Errorf("%v: it is not as the result says: %+v, %v", o, change, err)
	}
	switch {
	case err == nil: // it may have got over the fault, but then it is done
		o.wantDone(t)
	case !errors.Is(err, fault.ErrRefused):
		t.Errorf("%v: %v, which is not the error of the bucket", o, err)
	}
	if next == "again" {
		return o.again(t, err)
	}
	return o.others(t, o, o.b, next)
}

// watch checks before each operation that passwords open which must.
func (o *stopped) watch(t *testing.T) fault.Plan {
	return func(fault.Op) fault.Effect {
		now := o.opening(o.b)
		if !now[o.op.always] || !slices.ContainsFunc(o.op.either, func(p string) bool { return now[p] }) {
			t.Errorf("%v: %v open, want %s, and one of %v", o, now, o.op.always, o.op.either)
		}
		return fault.None
	}
}

// wantDone checks what opens once the operation was done.
func (o *stopped) wantDone(t *testing.T) {
	t.Helper()
	now := o.opening(o.b)
	for password, want := range o.op.after {
		if now[password] != want {
			t.Errorf("%v: done, and %s opens: %v", o, password, now[password])
		}
	}
}

// again does the operation again where it has failed with err, as whoever has
// the old password.
func (o *stopped) again(t *testing.T, err error) (late int) {
	t.Helper()
	if err != nil {
		o.b.Inject(o.watch(t))
		ring, err := Unlock(t.Context(), open(t, openBucket(t, o.b)), []byte("p0"))
		if err == nil {
			_, err = o.op.run(t.Context(), ring, seal.SlotID(o.rings[1].slot.ID))
		}
		if changed := o.op.name == changeKey.name && !o.opening(o.b)["p0"]; err != nil && !changed { // if only later
			t.Errorf("%v: again: %v", o, err)
		}
		o.b.Inject(nil)
	}
	o.wantDone(t)
	late = o.b.Settle()
	o.wantDone(t)
	return late
}
