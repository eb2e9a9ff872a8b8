package keyring

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
)

func unlock(t testing.TB, st *store.Store, password string) *Ring {
	t.Helper()
	ring, err := Unlock(t.Context(), open(t, st), []byte(password))
	if err != nil {
		t.Fatalf("password %s: %v", password, err)
	}
	return ring
}

func newSlot(password string) NewSlot {
	return NewSlot{Password: []byte(password), Host: "h2", User: "u2", Now: time.Unix(2e9, 0), Params: cheapSlot}
}

func addPassword(t testing.TB, st *store.Store, old, password string) seal.SlotID {
	t.Helper()
	id, err := unlock(t, st, old).Add(t.Context(), newSlot(password))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// opens reports whether password opens a slot of the repository: what [Unlock]
// looks for, without deriving the keys, which takes time.
func opens(t testing.TB, st *store.Store, password string) bool {
	t.Helper()
	r := open(t, st)
	for slot, err := range r.KeySlots(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		b, err := seal.OpenSlot(slot.ID, slot.Data, r.Identity().Repository, []byte(password), seal.MemoryLimit())
		if err == nil && identity(b) == r.Identity() {
			return true
		}
	}
	return false
}

func TestAddListRemove(t *testing.T) {
	st := memory(t)
	create(t, st, options(t, "first"))
	second := addPassword(t, st, "first", "second")
	ring := unlock(t, st, "second")
	list, err := ring.Slots(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%d slots, %v", len(list), err)
	}
	for _, s := range list {
		user, host, created := "u", "h", int64(1e9)
		if s.ID == second {
			user, host, created = "u2", "h2", 2e9
		}
		if s.Err != nil || string(s.Info.User) != user || string(s.Info.Host) != host || s.Info.Created.Sec != created {
			t.Errorf("slot %s: %q@%q at %v, %v", s.ID, s.Info.User, s.Info.Host, s.Info.Created, s.Err)
		}
		if s.Current != (s.ID == second) {
			t.Errorf("slot %s is current: %v", s.ID, s.Current)
		}
	}
	first := list[0].ID
	if first == second {
		first = list[1].ID
	}
	if err := ring.Remove(t.Context(), second); !errors.Is(err, ErrSlotInUse) {
		t.Errorf("removing its own: %v", err)
	}
	if err := ring.Remove(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if opens(t, st, "first") || !opens(t, st, "second") {
		t.Error("the wrong slot was removed")
	}
	// The own one has moved, and says what it said.
	moved, err := ring.Slots(t.Context())
	if err != nil || len(moved) != 1 || !moved[0].Current || moved[0].ID == second || string(moved[0].Info.Host) != "h2" ||
		string(moved[0].Info.User) != "u2" || moved[0].Info.Created.Sec != 2e9 {
		t.Fatalf("left are %+v, %v", moved, err)
	}
	if params, err := seal.ParamsOf(ring.slot.Data); err != nil || params != cheapSlot {
		t.Errorf("its costs are %+v, %v", params, err)
	}
	if err := ring.Remove(t.Context(), moved[0].ID); !errors.Is(err, ErrLastSlot) {
		t.Errorf("removing the last: %v", err)
	}
	if err := ring.Remove(t.Context(), first); err != nil {
		t.Errorf("removing one that is gone already: %v", err)
	}
	if !opens(t, st, "second") {
		t.Error("nothing opens any more")
	}
}

func TestChange(t *testing.T) {
	st := memory(t)
	create(t, st, options(t, "old"))
	other := addPassword(t, st, "old", "other")
	twin := addPassword(t, st, "old", "old")
	ring := unlock(t, st, "old")
	before := ring.slot.ID
	change, err := ring.Change(t.Context(), newSlot("new"))
	if err != nil || !change.Removed {
		t.Fatalf("removed %v, %v", change.Removed, err)
	}
	left := slots(t, st)
	if slices.Contains(left, repo.SlotKey(before)) || !slices.Contains(left, repo.SlotKey(change.Added)) || !slices.Contains(left, repo.SlotKey(other)) {
		t.Errorf("left are %v", left)
	}
	// One of the twins was changed, the other one still has the old password.
	if len(change.Others) != 1 || change.Others[0] == change.Added || change.Others[0] == seal.SlotID(before) ||
		twin != seal.SlotID(before) && change.Others[0] != twin {
		t.Errorf("the old password opens %v too", change.Others)
	}
	if err := ring.Remove(t.Context(), change.Added); !errors.Is(err, ErrSlotInUse) {
		t.Errorf("the ring goes on with another slot than the new one: %v", err)
	}
	if err := ring.Remove(t.Context(), change.Others[0]); err != nil {
		t.Fatal(err)
	}
	if opens(t, st, "old") || !opens(t, st, "new") || !opens(t, st, "other") {
		t.Error("the passwords are not new and other")
	}
}

// What is in keys/ and these keys have not made is named, and can be removed.
func TestForeignSlots(t *testing.T) {
	st := memory(t)
	create(t, st, options(t, "secret"))
	foreign := memory(t)
	create(t, foreign, options(t, "secret"))
	planted := slots(t, foreign)[0]
	put(t, st, planted, get(t, foreign, planted))
	garbage, huge, future := seal.SlotID{1}, seal.SlotID{2}, seal.SlotID{3}
	put(t, st, repo.SlotKey(garbage), []byte("garbage"))
	put(t, st, repo.SlotKey(huge), make([]byte, 1<<20))
	put(t, st, repo.SlotKey(future), []byte{0xa1, 0x01, 0x02})
	ring := unlock(t, st, "secret")
	list, err := ring.Slots(t.Context())
	if err != nil || len(list) != 5 {
		t.Fatalf("%d slots, %v", len(list), err)
	}
	for _, s := range list {
		want := ErrNotOurs
		switch {
		case s.Current:
			want = nil
		case s.ID == future:
			want = object.ErrVersion
		}
		if !errors.Is(s.Err, want) {
			t.Errorf("slot %s: %v, want %v", s.ID, s.Err, want)
		}
		if s.Current {
			if err := ring.Remove(t.Context(), ring.slot.ID); !errors.Is(err, ErrLastSlot) && !errors.Is(err, ErrSlotInUse) {
				t.Errorf("the only one that is ours: %v", err)
			}
			continue
		}
		if err := ring.Remove(t.Context(), s.ID); err != nil {
			t.Errorf("slot %s: %v", s.ID, err)
		}
	}
	if n := len(slots(t, st)); n != 1 {
		t.Errorf("%d slots are left", n)
	}
}

// A new slot that the bucket does not give back as it was put is no success, and
// costs no password.
func TestNewSlotIsReadBack(t *testing.T) {
	edits := map[string]func([]byte) []byte{
		"flipped":  func(b []byte) []byte { b = bytes.Clone(b); b[len(b)/2] ^= 1; return b },
		"salt":     func(b []byte) []byte { b = bytes.Clone(b); b[10] ^= 1; return b },
		"cut":      func(b []byte) []byte { return b[:len(b)-1] },
		"replaced": nil, // by the slot of the old password
	}
	for name, edit := range edits {
		t.Run(name, func(t *testing.T) {
			b := newFaulty()
			b.removes = true
			st := b.open(t)
			create(t, st, options(t, "old"))
			ring := unlock(t, st, "old")
			b.after = func(_ int, kind, key string) error {
				if kind != "put" {
					return nil
				}
				if edit == nil {
					b.objects[key] = ring.slot.Data
				} else {
					b.objects[key] = edit(b.objects[key])
				}
				return nil
			}
			if change, err := ring.Change(t.Context(), newSlot("new")); err == nil || change.Removed || change.Added != (seal.SlotID{}) {
				t.Errorf("changed: %+v, %v", change, err)
			}
			if _, err := ring.Add(t.Context(), newSlot("new")); err == nil {
				t.Error("added without an error")
			}
			if !opens(t, st, "old") {
				t.Error("the old password is gone")
			}
		})
	}
}

// A slot of other keys under the new password is not taken for ours.
func TestVerifyComparesKeys(t *testing.T) {
	st := memory(t)
	create(t, st, options(t, "secret"))
	ring := unlock(t, st, "secret")
	other := ring.bundle
	other.Root[0]++
	keys, err := newKeys(other.Root, open(t, st).Config())
	if err != nil {
		t.Fatal(err)
	}
	other.Admin = keys.Admin().Public().(ed25519.PublicKey)
	moved := ring.bundle
	moved.Generation0[0]++
	for _, b := range []seal.Bundle{other, moved} {
		id, data, err := seal.NewSlot(bytes.NewReader(make([]byte, 1000)), []byte("new"), b, seal.SlotInfo{Created: object.Time{Sec: 1}}, cheapSlot)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(repo.KeySlot{ID: id, Data: data}, []byte("new"), ring.bundle); !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("got %v, want corrupt", err)
		}
	}
}

// A keyOperation is a change of the slots, and which passwords may open the
// repository when it was stopped, and must when it was not.
type keyOperation struct {
	name   string
	run    func(context.Context, *Ring, seal.SlotID) (Change, error)
	always string          // opens at any time, "" if none does
	either []string        // one of these does at any time
	after  map[string]bool // what opens and what does not when it was done
	minOps int             // of the bucket
}

func keyOperations() []keyOperation {
	return []keyOperation{
		{"add", func(ctx context.Context, g *Ring, _ seal.SlotID) (Change, error) {
			_, err := g.Add(ctx, newSlot("new"))
			return Change{}, err
		}, "p0", nil, map[string]bool{"p0": true, "p1": true, "new": true}, 2},
		{"remove", func(ctx context.Context, g *Ring, second seal.SlotID) (Change, error) {
			return Change{}, g.Remove(ctx, second)
		}, "p0", nil, map[string]bool{"p0": true, "p1": false}, 5},
		{"change", func(ctx context.Context, g *Ring, _ seal.SlotID) (Change, error) {
			return g.Change(ctx, newSlot("new"))
		}, "p1", []string{"p0", "new"}, map[string]bool{"p0": false, "p1": true, "new": true}, 6},
	}
}

// TestKeyChangeStops stops each operation at each access to the bucket, before
// it is done or after, for once or for good: the old password or the new one
// opens the repository, what was done or not done is told apart, and the same
// operation then succeeds.
func TestKeyChangeStops(t *testing.T) {
	cases := 0
	m := newMeeting(t)
	for _, op := range keyOperations() {
		for _, forever := range []bool{false, true} {
			for _, lost := range []bool{false, true} {
				for k := 1; ; k++ {
					cases++
					if !m.stop(t, op, k, lost, forever) {
						if k <= op.minOps {
							t.Errorf("%s: only %d operations", op.name, k-1)
						}
						break
					}
				}
			}
		}
	}
	t.Logf("%d cases", cases)
}

// stop does op with the first password, and reports whether access k was reached.
func (m *meeting) stop(t *testing.T, op keyOperation, k int, lost, forever bool) bool {
	t.Helper()
	what := fmt.Sprintf("%s, operation %d, lost reply %v, for good %v", op.name, k, lost, forever)
	b, st := m.open(t)
	ring, second := *m.rings[0], seal.SlotID(m.rings[1].slot.ID)
	ring.repo = open(t, st)
	b.arm(k, lost, forever)
	change, err := op.run(t.Context(), &ring, second)
	hit := b.hit()
	b.failAt(0, false)
	if change.Added != (seal.SlotID{}) && !opens(t, st, "new") || change.Removed && opens(t, st, "p0") {
		t.Errorf("%s: it is not as the result says: %+v, %v", what, change, err)
	}
	if err == nil {
		// It may have got over the fault, but then it is done.
		for password, want := range op.after {
			if got := opens(t, st, password); got != want {
				t.Errorf("%s: no error, and %s opens: %v", what, password, got)
			}
		}
		return hit
	}
	if !hit {
		t.Fatalf("%s: %v without a fault", what, err)
	}
	if op.always != "" && !opens(t, st, op.always) {
		t.Errorf("%s: %s opens no more: %v", what, op.always, err)
	}
	if op.either != nil && !slices.ContainsFunc(op.either, func(p string) bool { return opens(t, st, p) }) {
		t.Errorf("%s: none of %v opens: %v", what, op.either, err)
	}
	again := op.always
	if op.either != nil {
		again = op.either[0]
		if !opens(t, st, again) {
			return hit // it was done but for the report
		}
	}
	if _, err := op.run(t.Context(), unlock(t, st, again), second); err != nil {
		t.Errorf("%s: again: %v", what, err)
	}
	for password, want := range op.after {
		if got := opens(t, st, password); got != want {
			t.Errorf("%s: again, and %s opens: %v", what, password, got)
		}
	}
	return hit
}

// TestKeyRemoversMeet lets two machines remove each other's slot, or one change
// its own meanwhile, in random orders of their accesses to the bucket: one
// password at least opens the repository at any time.
func TestKeyRemoversMeet(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	remove := func(ctx context.Context, g *Ring, other seal.SlotID) error {
		return g.Remove(ctx, other)
	}
	change := func(ctx context.Context, g *Ring, _ seal.SlotID) error {
		_, err := g.Change(ctx, newSlot("new"))
		return err
	}
	m := newMeeting(t)
	const orders = 60
	for range orders {
		order := random.Uint64()
		m.run(t, order, remove, remove)
		m.run(t, order, remove, change)
		m.run(t, order, change, change)
	}
	t.Logf("%d orders of 3 pairs", orders)
}

// A meeting is a repository with two slots, of passwords p0 and p1.
type meeting struct {
	objects map[string][]byte
	rings   [2]*Ring
}

func newMeeting(t *testing.T) *meeting {
	b := newFaulty()
	st := b.open(t)
	create(t, st, options(t, "p0"))
	addPassword(t, st, "p0", "p1")
	return &meeting{b.objects, [2]*Ring{unlock(t, st, "p0"), unlock(t, st, "p1")}}
}

// open returns a bucket of its own with the repository.
func (m *meeting) open(t *testing.T) (*faulty, *store.Store) {
	b := newFaulty()
	b.removes, b.objects = true, maps.Clone(m.objects)
	return b, b.open(t)
}

// run does both operations, each with its own ring and the slot of the other, in
// the order that the bits of order give.
func (m *meeting) run(t *testing.T, order uint64, operations ...func(context.Context, *Ring, seal.SlotID) error) {
	t.Helper()
	b, st := m.open(t)
	turns := newTurns(order)
	r := open(t, st)
	b.turn = turns.wait
	b.after = func(int, string, string) error {
		isSlot := func(key string) bool { return strings.HasPrefix(key, "keys/") }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(b.objects)), isSlot) {
			t.Errorf("order %#x: there is no slot", order)
		}
		return nil
	}
	done := make(chan error)
	for i, op := range operations {
		ring := *m.rings[i]
		ring.repo = r
		go func() {
			defer turns.leave(i)
			done <- op(context.WithValue(context.Background(), processKey{}, i), &ring, seal.SlotID(m.rings[1-i].slot.ID))
		}()
	}
	errs := []error{<-done, <-done}
	b.after, b.turn = nil, nil
	if !slices.ContainsFunc([]string{"p0", "p1", "new"}, func(p string) bool { return opens(t, st, p) }) {
		t.Errorf("order %#x: no password opens the repository any more: %v", order, errs)
	}
}

// processKey finds in a context which of two processes it is of.
type processKey struct{}

// turns let two processes take one step after the other, in an order of bits.
type turns struct {
	mu      sync.Mutex
	changed *sync.Cond
	order   uint64
	step    int
	left    [2]bool
}

func newTurns(order uint64) *turns {
	s := &turns{order: order}
	s.changed = sync.NewCond(&s.mu)
	return s
}

// wait returns when it is the turn of ctx's process, which ends its step by
// calling what wait returns.
func (s *turns) wait(ctx context.Context) func() {
	i := ctx.Value(processKey{}).(int)
	s.mu.Lock()
	for !s.left[1-i] && int(s.order>>(s.step%64)&1) != i {
		s.changed.Wait()
	}
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.step++
		s.changed.Broadcast()
	}
}

// leave ends the turns of a process.
func (s *turns) leave(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[i] = true
	s.changed.Broadcast()
}
