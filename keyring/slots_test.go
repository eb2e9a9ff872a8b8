package keyring

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
	"bluesky/store/fault"
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
	if _, err := ring.Remove(t.Context(), second); !errors.Is(err, ErrSlotInUse) {
		t.Errorf("removing its own: %v", err)
	}
	if _, err := ring.Remove(t.Context(), first); err != nil {
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
	if _, err := ring.Remove(t.Context(), moved[0].ID); !errors.Is(err, ErrLastSlot) {
		t.Errorf("removing the last: %v", err)
	}
	if _, err := ring.Remove(t.Context(), first); err != nil {
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
	if _, err := ring.Remove(t.Context(), change.Added); !errors.Is(err, ErrSlotInUse) {
		t.Errorf("the ring goes on with another slot than the new one: %v", err)
	}
	if _, err := ring.Remove(t.Context(), change.Others[0]); err != nil {
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
			if _, err := ring.Remove(t.Context(), ring.slot.ID); !errors.Is(err, ErrLastSlot) {
				t.Errorf("the only one that is ours: %v", err)
			}
			continue
		}
		if _, err := ring.Remove(t.Context(), s.ID); err != nil {
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
			b := fault.New()
			st := openBucket(t, b)
			create(t, st, options(t, "old"))
			ring := unlock(t, st, "old")
			old := ring.slot.Data
			fresh := map[string]bool{}
			b.Inject(func(op fault.Op) fault.Effect {
				switch {
				case op.Kind == fault.Create:
					fresh[op.Key] = true
				case fresh[op.Key] && edit != nil:
					b.Objects.Set(op.Key, edit(b.Objects.Get(op.Key)))
				case fresh[op.Key]:
					b.Objects.Set(op.Key, old)
				}
				if op.Kind != fault.Create {
					delete(fresh, op.Key)
				}
				return fault.None
			})
			if change, err := ring.Change(t.Context(), newSlot("new")); err == nil || change.Removed || change.Added != (seal.SlotID{}) {
				t.Errorf("changed: %+v, %v", change, err)
			}
			if _, err := ring.Add(t.Context(), newSlot("new")); err == nil {
				t.Error("added without an error")
			}
			if _, err := ring.Remove(t.Context(), seal.SlotID{1}); err == nil {
				t.Error("a slot that does not open has taken the place of the own one")
			}
			if n, _ := b.Count(fault.Delete, ""); n > 0 {
				t.Errorf("%d deletions", n)
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
