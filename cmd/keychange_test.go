package cmd

import (
	"strings"
	"testing"
	"time"

	"bluesky/keyring"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
	"bluesky/store/fault"

	"gocloud.dev/blob"
)

// TestRemoveKeyMeetsAnother: while key remove takes a slot away, its machine runs
// key remove itself. Who removes it is told of the new one, in one line.
func TestRemoveKeyMeetsAnother(t *testing.T) {
	b, cheap := fault.New(), seal.SlotParams{Time: 1, Memory: 64, Lanes: 1}
	st := store.NewImpatient(blob.NewBucket(b), "memory")
	t.Cleanup(func() { st.Close() })
	_, err := keyring.Create(t.Context(), st, keyring.Options{Password: []byte("one"), Slot: cheap, Now: time.Unix(1e9, 0), ConfigDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	unlock := func(password string) *keyring.Ring {
		t.Helper()
		r, err := repo.Open(t.Context(), st, repo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ring, err := keyring.Unlock(t.Context(), r, []byte(password))
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}
	one := unlock("one")
	victim, err := one.Add(t.Context(), keyring.NewSlot{Password: []byte("two"), Now: time.Unix(2e9, 0), Params: cheap})
	if err != nil {
		t.Fatal(err)
	}
	two, met := unlock("two"), false
	b.Inject(func(op fault.Op) fault.Effect {
		if op.Kind == fault.Delete && !met {
			met = true
			if _, err := two.Remove(t.Context(), seal.SlotID{1}); err != nil { // whichever: its own slot moves
				t.Error(err)
			}
		}
		return fault.None
	})
	h := newTestHost(nil)
	if err := newEnv(h.host).removeKey(t.Context(), one, victim.String()); err != nil || !met {
		t.Fatalf("%v, met %v", err, met)
	}
	list, err := two.Slots(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	moved := ""
	for _, s := range list {
		if s.Current {
			moved = shortKey(s.ID)
		}
	}
	want := "warning: the password of the removed key may open key " + moved +
		" too, which was made meanwhile or has the same user, host and time; bluesky key remove " + moved + " takes it away\n"
	if got := h.err.String(); moved == "" || got != want {
		t.Errorf("stderr\ngot  %q\nwant %q", got, want)
	}
	if got := h.out.String(); !strings.HasPrefix(got, "removed key "+shortKey(victim)) {
		t.Errorf("stdout %q", got)
	}
}
