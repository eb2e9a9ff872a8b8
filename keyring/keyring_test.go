package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
	"bluesky/store/fault"

	"go.uber.org/goleak"
	"gocloud.dev/blob"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var cheapSlot = seal.SlotParams{Time: 1, Memory: 64, Lanes: 1}

func options(t testing.TB, password string) Options {
	return Options{Password: []byte(password), Host: "h", User: "u", Slot: cheapSlot, Now: time.Unix(1e9, 0), ConfigDir: t.TempDir()}
}

func memory(t testing.TB) *store.Store {
	st := store.NewMemory()
	t.Cleanup(func() { st.Close() })
	return st
}

func create(t testing.TB, st *store.Store, o Options) repo.Config {
	t.Helper()
	config, err := Create(t.Context(), st, o)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func open(t testing.TB, st *store.Store) *repo.Repo {
	t.Helper()
	r, err := repo.Open(t.Context(), st, repo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// slots returns the keys of all slots.
func slots(t testing.TB, st *store.Store) (keys []string) {
	t.Helper()
	for e, err := range st.List(t.Context(), "keys/") {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Key)
	}
	return keys
}

func get(t testing.TB, st *store.Store, key string) []byte {
	t.Helper()
	data, err := st.Get(t.Context(), key, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func put(t testing.TB, st *store.Store, key string, data []byte) {
	t.Helper()
	if err := st.Put(t.Context(), key, data); err != nil {
		t.Fatal(err)
	}
}

// addSlot stores one more slot, for a bundle that edit may change.
func addSlot(t testing.TB, st *store.Store, first, password string, edit func(*seal.Bundle)) {
	t.Helper()
	r := open(t, st)
	for slot, err := range r.KeySlots(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		bundle, err := seal.OpenSlot(slot.ID, slot.Data, r.Identity().Repository, []byte(first), seal.MemoryLimit())
		if err != nil {
			continue
		}
		edit(&bundle)
		id, data, err := seal.NewSlot(rand.NewChaCha8([32]byte{7}), []byte(password), bundle, seal.SlotInfo{Created: object.Time{Sec: 1}}, cheapSlot)
		if err != nil {
			t.Fatal(err)
		}
		put(t, st, repo.SlotKey(id), data)
		return
	}
	t.Fatalf("no slot opens with %q", first)
}

func TestCreateAndOpen(t *testing.T) {
	st, o := memory(t), options(t, "secret")
	config := create(t, st, o)
	r := open(t, st)
	if r.Verified() {
		t.Error("verified before a slot was opened")
	}
	keys, err := Open(t.Context(), r, []byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Verified() {
		t.Error("the slot has not confirmed the identity")
	}
	if publicKey(keys.Admin()) != r.Identity().Admin {
		t.Error("the admin key is not that of the repository")
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if role, ok := state.Role(publicKey(keys.Writer())); !ok || role != repo.RoleWriter {
		t.Errorf("the writer key has role %v", role)
	}
	cleaner, err := repo.ReadCleanerKey(repo.CleanerKeyPath(o.ConfigDir, config.ID))
	if err != nil {
		t.Fatal(err)
	}
	if cleaner.Identity != r.Identity() {
		t.Errorf("the cleaner key file is for %v", cleaner.Identity)
	}
	if role, ok := state.Role(publicKey(cleaner.Signer())); !ok || role != repo.RoleCleaner {
		t.Errorf("the cleaner key has role %v", role)
	}
	again := options(t, "other")
	if _, err := Create(t.Context(), st, again); !errors.Is(err, repo.ErrRepositoryExists) {
		t.Errorf("a second init: %v", err)
	}
	if n := len(slots(t, st)); n != 1 {
		t.Errorf("%d slots behind a refused init", n)
	}
}

func TestOpen(t *testing.T) {
	none := func(*testing.T, *store.Store) {}
	tests := []struct {
		name     string
		edit     func(t *testing.T, st *store.Store)
		password string
		want     error  // nil: it opens
		text     string // in the error
	}{
		{"right password", none, "secret", nil, ""},
		{"wrong password", none, "Secret", ErrWrongPassword, ""},
		{"empty password", none, "", ErrWrongPassword, ""},
		{"two slots, the first", func(t *testing.T, st *store.Store) {
			addSlot(t, st, "secret", "second", func(*seal.Bundle) {})
		}, "secret", nil, ""},
		{"two slots, the second", func(t *testing.T, st *store.Store) {
			addSlot(t, st, "secret", "second", func(*seal.Bundle) {})
		}, "second", nil, ""},
		{"slot of an init that lost beside a good one", func(t *testing.T, st *store.Store) {
			addSlot(t, st, "secret", "secret", func(b *seal.Bundle) { b.Generation0[0]++ })
		}, "secret", nil, ""},
		{"only the slot of an init that lost", func(t *testing.T, st *store.Store) {
			addSlot(t, st, "secret", "lost", func(b *seal.Bundle) { b.Generation0[0]++ })
		}, "lost", repo.ErrForeign, ""},
		{"slot of another repository", func(t *testing.T, st *store.Store) {
			other := memory(t)
			create(t, other, options(t, "foreign"))
			for _, key := range slots(t, other) {
				put(t, st, key, get(t, other, key))
			}
		}, "foreign", ErrWrongPassword, ""},
		{"foreign names", func(t *testing.T, st *store.Store) {
			put(t, st, "keys/readme", []byte("hello"))
			put(t, st, "keys/0/1", []byte("hello"))
		}, "secret", nil, ""},
		{"damaged slot beside a good one", func(t *testing.T, st *store.Store) {
			put(t, st, repo.SlotKey([16]byte{}), []byte("garbage")) // the first in order
			put(t, st, repo.SlotKey([16]byte{0: 255, 1: 255}), []byte("garbage"))
		}, "secret", nil, ""},
		{"damaged slot, wrong password", func(t *testing.T, st *store.Store) {
			put(t, st, repo.SlotKey([16]byte{}), []byte("garbage"))
		}, "wrong", ErrWrongPassword, "corrupt"},
		{"only a damaged slot", func(t *testing.T, st *store.Store) {
			put(t, st, slots(t, st)[0], []byte("garbage"))
		}, "secret", object.ErrCorrupt, "no key slot can be read"},
		{"a slot that is too large", func(t *testing.T, st *store.Store) {
			put(t, st, slots(t, st)[0], make([]byte, 1<<20))
		}, "secret", store.ErrTooLarge, ""},
		{"no slot", func(t *testing.T, st *store.Store) {
			if err := st.Delete(t.Context(), slots(t, st)[0]); err != nil {
				t.Fatal(err)
			}
		}, "secret", ErrNoSlot, "keys folder"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			st := memory(t)
			create(t, st, options(t, "secret"))
			tt.edit(t, st)
			r := open(t, st)
			keys, err := Open(t.Context(), r, []byte(tt.password))
			if !errors.Is(err, tt.want) || tt.want != nil && !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("error %v, want %v with %q", err, tt.want, tt.text)
			}
			if (err == nil) != (keys != nil) || (err == nil) != r.Verified() {
				t.Errorf("keys %v, verified %v, error %v", keys != nil, r.Verified(), err)
			}
			if tt.want != ErrWrongPassword && errors.Is(err, ErrWrongPassword) {
				t.Errorf("%v says that the password is wrong", err)
			}
		})
	}
}

// Who cannot read all slots does not know that a password is wrong.
func TestOpenCanceled(t *testing.T) {
	st := memory(t)
	create(t, st, options(t, "secret"))
	r := open(t, st)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, r, []byte("wrong")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrWrongPassword) {
		t.Errorf("canceled: %v", err)
	}
}

// openBucket opens b.
func openBucket(t testing.TB, b *fault.Bucket) *store.Store {
	st := store.New(blob.NewBucket(b), "memory")
	t.Cleanup(func() { st.Close() })
	return st
}

func TestOpenWhileTheStoreFails(t *testing.T) {
	cases := 0
	for s := range fault.Sweep(fault.Ways[:1], nil) {
		b := fault.New()
		create(t, openBucket(t, b), options(t, "secret"))
		addSlot(t, openBucket(t, b), "secret", "second", func(*seal.Bundle) {})
		r := open(t, openBucket(t, b))
		b.Inject(s.Plan)
		_, err := Open(t.Context(), r, []byte("wrong"))
		if !s.Struck() {
			if !errors.Is(err, ErrWrongPassword) {
				t.Errorf("without faults: %v", err)
			}
			continue
		}
		cases++
		if err == nil || errors.Is(err, ErrWrongPassword) || !errors.Is(err, fault.ErrRefused) {
			t.Errorf("%v: %v", s, err)
		}
	}
	if cases < 3 {
		t.Errorf("only %d operations", cases)
	}
}

// An init that stops at any operation of the bucket, or meets a fault there,
// leaves what the next one finishes or finds complete; then the password opens
// it and the cleaner key file fits. It deletes nothing but what it has probed
// the bucket with.
func TestInterruptedCreate(t *testing.T) {
	cases := 0
	for s := range fault.Sweep(fault.Ways, nil) {
		b, o := fault.New(), options(t, "secret")
		b.Inject(s.Plan)
		_, first := Create(t.Context(), openBucket(t, b), o)
		if n, _ := b.Count(fault.Delete, ""); n > 0 {
			if probes, _ := b.Count(fault.Delete, "state/"); probes != n {
				t.Errorf("%v: %d deletions, %d of a probe", s, n, probes)
			}
		}
		b.Inject(nil)
		if !s.Struck() {
			if first != nil {
				t.Errorf("%v: %v", s, first)
			}
			continue
		}
		cases++
		if first == nil && s.Way.Dies {
			t.Errorf("%v: stopped without an error", s)
		}
		if first == nil {
			if _, err := Open(t.Context(), open(t, openBucket(t, b)), []byte("secret")); err != nil {
				t.Errorf("%v: created, and %v", s, err)
			}
		}
		_, err := Create(t.Context(), openBucket(t, b), o)
		if err != nil && !errors.Is(err, repo.ErrRepositoryExists) {
			t.Errorf("%v: again: %v", s, err)
			continue
		}
		b.Settle()
		wantComplete(t, s.String(), openBucket(t, b), o)
	}
	t.Logf("%d cases", cases)
	if cases < 50 {
		t.Errorf("only %d cases", cases)
	}
}

// wantComplete checks that the password opens the repository, and that the
// cleaner key file is that of its cleaner.
func wantComplete(t *testing.T, what string, st *store.Store, o Options) {
	t.Helper()
	r := open(t, st)
	if _, err := Open(t.Context(), r, o.Password); err != nil {
		t.Errorf("%s: open: %v", what, err)
		return
	}
	cleaner, err := repo.ReadCleanerKey(repo.CleanerKeyPath(o.ConfigDir, r.Config().ID))
	if err != nil || cleaner.Identity != r.Identity() {
		t.Errorf("%s: cleaner key file of %v, repository %v: %v", what, cleaner.Identity, r.Identity(), err)
	}
	state, err := r.Refresh(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if role, ok := state.Role(publicKey(cleaner.Signer())); !ok || role != repo.RoleCleaner {
		t.Errorf("%s: the cleaner key has role %v", what, role)
	}
}

// Of many inits at once, one makes the repository, the others say that it
// exists, and the one password that opens it is the winner's.
func TestConcurrentCreate(t *testing.T) {
	st := memory(t)
	config := t.TempDir() // all on one machine: the cleaner key file is one
	const n = 8
	errs := make(chan error, n)
	for i := range n {
		o := options(t, fmt.Sprint("secret", i))
		o.ConfigDir = config
		go func() {
			_, err := Create(context.Background(), st, o)
			if err != nil {
				i = -1
			}
			errs <- errors.Join(err, winner(i))
		}()
	}
	won := -1
	for range n {
		err := <-errs
		var w winner
		if errors.As(err, &w) && w >= 0 {
			if won >= 0 {
				t.Error("two have won")
			}
			won = int(w)
		} else if !errors.Is(err, repo.ErrRepositoryExists) {
			t.Error(err)
		}
	}
	cleaner, err := repo.ReadCleanerKey(repo.CleanerKeyPath(config, open(t, st).Config().ID))
	if err != nil || cleaner.Identity != open(t, st).Identity() {
		t.Errorf("the cleaner key file is not the winner's: %v", err)
	}
	for i := range n {
		_, err := Open(t.Context(), open(t, st), fmt.Appendf(nil, "secret%d", i))
		if (err == nil) != (i == won) {
			t.Errorf("password %d, of which %d has won: %v", i, won, err)
		}
	}
}

type winner int

func (w winner) Error() string { return fmt.Sprint("init ", int(w)) }

// Equal randomness makes an equal repository, up to nothing.
func TestRandomnessIsAParameter(t *testing.T) {
	var all [2][]byte
	for i := range all {
		st, o := memory(t), options(t, "secret")
		o.Rand = rand.NewChaCha8([32]byte{1})
		create(t, st, o)
		for _, key := range append(slots(t, st), repo.ConfigKey, repo.GenerationKey(0)) {
			all[i] = append(append(all[i], key...), get(t, st, key)...)
		}
	}
	if !bytes.Equal(all[0], all[1]) {
		t.Error("two repositories of equal randomness differ")
	}
	o := options(t, "secret")
	o.Rand = bytes.NewReader(make([]byte, 40))
	if _, err := Create(t.Context(), memory(t), o); err == nil {
		t.Error("created without enough randomness")
	}
}

// TestCreateRefusesOtherParameters: whoever owns the bucket does not choose how
// the repository in it is made.
func TestCreateRefusesOtherParameters(t *testing.T) {
	o := options(t, "secret")
	for name, edit := range map[string]func(*repo.Config){
		"no padding":    func(c *repo.Config) { c.Padding = "none" },
		"large chunks":  func(c *repo.Config) { c.Chunker.Bits = 22 },
		"inline":        func(c *repo.Config) { c.Tree.InlineLimit = 4096 },
		"small segment": func(c *repo.Config) { c.Segment.DataTarget = 1 << 16 },
	} {
		t.Run(name, func(t *testing.T) {
			st := memory(t)
			config := repo.DefaultConfig(object.RepositoryID{7}, o.Now)
			edit(&config)
			raw, err := repo.EncodeConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			if err := st.PutNew(t.Context(), repo.ConfigKey, raw); err != nil {
				t.Fatal(err)
			}
			if _, err := Create(t.Context(), st, o); !errors.Is(err, ErrOtherParameters) {
				t.Errorf("got %v, want %v", err, ErrOtherParameters)
			}
			asked := o
			asked.Parameters = &config
			if got := create(t, st, asked); got != config {
				t.Errorf("asked for, and got %+v", got)
			}
		})
	}
}

// A slot that does not come back from the bucket as it was made makes no
// repository: its password would open nothing.
func TestCreateReadsTheSlotBack(t *testing.T) {
	b := fault.New()
	b.Inject(fault.Rules(fault.Rule{Prefix: "keys/", Effect: fault.Flip(1000)}))
	if _, err := Create(t.Context(), openBucket(t, b), options(t, "secret")); err == nil {
		t.Error("a damaged slot was taken")
	}
	b.Inject(nil)
	if b.Objects.Get(repo.GenerationKey(0)) != nil {
		t.Error("the repository was committed")
	}
	if _, err := Create(t.Context(), openBucket(t, b), options(t, "secret")); err != nil {
		t.Errorf("the next init: %v", err)
	}
}
