package prune

import (
	"errors"
	"strings"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/store"
	"bluesky/store/fault"

	"gocloud.dev/blob"
)

// Who appends behind a state whose runs a cleaner has replaced and deleted was
// outrun, like anybody else who lost a race.
func TestAppendBehindWhatIsGone(t *testing.T) {
	b := newBed(t, 1)
	first := b.backUp(b.newTree(4, 4))
	second := b.backUp(b.newTree(4, 4))
	slow := b.open() // knows the state, and has read none of its runs
	base := slow.State()
	b.forget(first)
	b.prune(tight)
	if _, err := slow.Index(t.Context(), base); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("the index of the old state: %v", err)
	}
	op, err := repo.NewOp(repo.OpForget, &repo.Forget{Snapshots: []object.ID{second}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := slow.Append(t.Context(), base, admin, []repo.Op{op}); !errors.Is(err, repo.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
}

// What another cleaner has moved and deleted before it could be copied is no
// damage.
func TestVictimsThatAreGone(t *testing.T) {
	b := newBed(t, 2)
	tree := b.newTree(20, 20)
	first := b.backUp(tree)
	b.backUp(b.change(tree, 100))
	b.forget(first)
	slow, err := NewPlan(t.Context(), b.open(), tight, nil)
	if err != nil {
		t.Fatal(err)
	}
	if slow.Repacked == 0 {
		t.Fatal("nothing is to be copied")
	}
	b.prune(tight)
	result, err := slow.Apply(t.Context(), cleaner, nil)
	if err != nil || len(result.DamagedCopies) > 0 {
		t.Errorf("%v; damaged: %v", err, result.DamagedCopies)
	}
	b.live()
	b.sound()
}

// Who edits a snapshot too late is told what has become of it.
func TestEditsOfWhatIsGone(t *testing.T) {
	b := newBed(t, 3)
	first, second := b.backUp(b.newTree(2, 2)), b.backUp(b.newTree(2, 2))
	r := b.open()
	edits := map[string]func(object.ID) error{
		"forget": func(id object.ID) error {
			_, err := r.Forget(t.Context(), admin, []object.ID{id}, nil)
			return err
		},
		"undo": func(id object.ID) error {
			_, err := r.UndoForget(t.Context(), admin, []object.ID{id})
			return err
		},
		"pin": func(id object.ID) error {
			_, err := r.PinSnapshots(t.Context(), admin, []object.ID{id}, true)
			return err
		},
	}
	want := func(edit string, id object.ID, text string) {
		t.Helper()
		if err := edits[edit](id); err == nil || !strings.HasSuffix(err.Error(), text) {
			t.Errorf("%s: got %v, want … %s", edit, err, text)
		}
	}
	want("undo", first, "is not forgotten")
	b.forget(first)
	want("forget", first, "was forgotten meanwhile")
	want("pin", first, "was forgotten meanwhile")
	b.prune(tight)
	want("undo", first, "it was collected, and its data is deleted")
	want("forget", first, "was forgotten meanwhile, and its data is deleted")
	if err := edits["pin"](second); err != nil {
		t.Fatal(err)
	}
	want("forget", second, "is pinned")
}

// TestQuarantineComesFirst: who asks for a quarantine while a prune is under way
// has it from then on.
func TestQuarantineComesFirst(t *testing.T) {
	b := newBed(t, 1)
	b.backUp(b.newTree(2, 2))
	b.forget(b.backUp(b.newTree(2, 2)))
	plan, err := NewPlan(t.Context(), b.open(), tight, nil)
	if err != nil || plan.Snapshots != 1 {
		t.Fatalf("%d snapshots are to be collected; %v", plan.Snapshots, err)
	}
	if _, err := b.open().SetPolicy(t.Context(), admin, repo.Policy{Quarantine: 3600}); err != nil {
		t.Fatal(err)
	}
	result, err := plan.Apply(t.Context(), cleaner, nil)
	if err != nil || result.Snapshots != 0 || len(b.open().State().Forgotten) != 1 {
		t.Errorf("%d snapshots were collected; %v", result.Snapshots, err)
	}
	b.live()
}

// A bucket that is out of reach is no damage.
func TestUnreachableIsNoDamage(t *testing.T) {
	bucket := fault.New()
	b := newBedIn(t, store.NewImpatient(blob.NewBucket(bucket), "memory"), 1, 65536)
	b.forget(b.backUp(b.newTree(4, 4)))
	b.backUp(b.newTree(4, 4))
	want := func(damage bool) {
		t.Helper()
		_, err := NewPlan(t.Context(), b.open(), tight, nil)
		if err == nil || errors.Is(err, ErrDamaged) != damage {
			t.Errorf("damage %v: got %v", damage, err)
		}
	}
	bucket.Inject(fault.Rules(fault.Rule{Prefix: "seg/", Effect: fault.Refuse}))
	want(false)
	bucket.Inject(nil)
	for _, key := range bucket.Objects.Keys("seg/") {
		bucket.Objects.Remove(key)
	}
	want(true)
}

// A victim whose file is too short is left alone, and all else is cleaned.
func TestShortVictim(t *testing.T) {
	bucket := fault.New()
	b := newBedIn(t, store.NewImpatient(blob.NewBucket(bucket), "memory"), 1, 65536)
	current := b.newTree(30, 20)
	var ids []object.ID
	for range 4 {
		ids = append(ids, b.backUp(current))
		current = b.change(current, 40)
	}
	b.forget(ids[:3]...)
	plan, err := NewPlan(t.Context(), b.open(), tight, nil)
	if err != nil {
		t.Fatal(err)
	}
	var short *segment
	for _, s := range plan.victims {
		if len(s.copies) > 0 && s.Class == object.ClassData {
			short = s
		}
	}
	key := segmentName(short.Name).Key()
	whole := bucket.Objects.Get(key)
	head := int(short.HeaderLength) + pack.PreludeSize
	bucket.Objects.Set(key, whole[:head+10])
	result, err := plan.Apply(t.Context(), cleaner, nil)
	if !errors.Is(err, ErrDamaged) || result == nil || len(result.DamagedCopies) != 1 || result.Deleted == 0 {
		t.Fatalf("%+v, %v", result, err)
	}
	bucket.Objects.Set(key, whole)
	b.prune(tight)
	b.sound()
}

// Two cleaners find the same orphan in a repository that nobody has written to.
// The slower one sees that it is condemned.
func TestOrphanOfTwoCleaners(t *testing.T) {
	b := newBed(t, 3)
	orphan := pack.Name{1}
	if err := b.store.PutNew(t.Context(), orphan.Key(), []byte("something")); err != nil {
		t.Fatal(err)
	}
	both := instant
	both.Grace = time.Hour // so the file stays, and its name condemned
	var plans [2]*Plan
	for i := range plans {
		var err error
		if plans[i], err = NewPlan(t.Context(), b.open(), both, nil); err != nil {
			t.Fatal(err)
		}
		if plans[i].Orphans == 0 {
			t.Fatal("there is no orphan")
		}
	}
	for i, p := range plans {
		if _, err := p.Apply(t.Context(), cleaner, nil); err != nil {
			t.Errorf("cleaner %d: %v", i, err)
		}
	}
	b.prune(instant)
	b.sound()
}
