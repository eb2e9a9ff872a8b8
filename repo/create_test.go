package repo

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"bluesky/object"
	"bluesky/store"
	"bluesky/store/fault"
)

// initialize is what init does, with an id of its own.
func initialize(st *store.Store, seed byte) error {
	config := testConfig()
	config.ID = object.RepositoryID{seed, 1}
	creation, err := Prepare(background, st, config)
	if err != nil {
		return err
	}
	key := testKey(100 + seed)
	if err := creation.Genesis(fixed(seed), key, pub(writer), pub(cleaner)); err != nil {
		return err
	}
	if _, err := creation.PutSlot(background, KeySlot{ID: [16]byte{seed}, Data: []byte{seed}}); err != nil {
		return err
	}
	return creation.Commit(background)
}

// TestInterruptedInit strikes each operation of an init, in every way: the next
// init succeeds, or there is a repository.
func TestInterruptedInit(t *testing.T) {
	cases := 0
	for s := range fault.Sweep(fault.Ways, nil) {
		f := newFaulty()
		f.Inject(s.Plan)
		first := initialize(f.open(t), 1)
		f.Inject(nil)
		if !s.Struck() {
			if first != nil {
				t.Errorf("%v: %v", s, first)
			}
			continue
		}
		cases++
		second := initialize(f.open(t), 2)
		f.Settle()
		if first == nil && !errors.Is(second, ErrRepositoryExists) {
			t.Errorf("%v: the first succeeded, the second: %v", s, second)
		}
		if second != nil && !errors.Is(second, ErrRepositoryExists) {
			t.Errorf("%v: first: %v, second: %v", s, first, second)
			continue
		}
		if len(f.Objects.Keys("gen/")) != 1 {
			t.Fatalf("%v: generations %v", s, f.Objects.Keys("gen/"))
		}
		backUp(t, open(t, f.open(t), Options{}), 1)
		audit(t, f.open(t))
		if probe := strings.HasPrefix(s.Op().Key, "state/"); s.Way.Name == "reply lost" && !probe && first != nil {
			t.Errorf("%v: a lost reply made init fail: %v", s, first)
		}
	}
	t.Logf("%d cases", cases)
	if cases < 50 {
		t.Errorf("only %d cases", cases)
	}
}

// TestConcurrentInits: of two exactly one makes the repository, and the other
// learns that there is one.
func TestConcurrentInits(t *testing.T) {
	for range 30 {
		f := newFaulty()
		var errs [2]error
		var both sync.WaitGroup
		for i := range errs {
			st := f.open(t)
			both.Go(func() { errs[i] = initialize(st, byte(1+i)) })
		}
		both.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else if !errors.Is(err, ErrRepositoryExists) {
				t.Errorf("the loser got %v", err)
			}
		}
		if won != 1 {
			t.Fatalf("%d inits succeeded: %v", won, errs)
		}
		backUp(t, open(t, f.open(t), Options{}), 1)
		audit(t, f.open(t))
	}
}

func TestNoRepository(t *testing.T) {
	f := newFaulty()
	if _, err := Open(t.Context(), f.open(t), Options{}); !errors.Is(err, ErrNoRepository) {
		t.Errorf("empty bucket: %v", err)
	}
	if _, err := Prepare(t.Context(), f.open(t), testConfig()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), f.open(t), Options{}); !errors.Is(err, ErrNoRepository) {
		t.Errorf("half a repository: %v", err)
	}
	create(t, f.open(t))
	if _, err := Prepare(t.Context(), f.open(t), testConfig()); !errors.Is(err, ErrRepositoryExists) {
		t.Errorf("a whole one: %v", err)
	}
}

// TestLostIdentity: where generations are, a missing bluesky.json or generation
// 0 is damage. Open does not say that an init would help, and no init puts
// another one, or anything else, into a place that a copy has to fill.
func TestLostIdentity(t *testing.T) {
	for _, key := range []string{ConfigKey, GenerationKey(0)} {
		t.Run(key, func(t *testing.T) {
			f := newFaulty()
			create(t, f.open(t))
			backUp(t, open(t, f.open(t), Options{}), 1)
			f.Objects.Remove(key)
			before := f.Objects.Keys("")
			_, err := Open(t.Context(), f.open(t), Options{})
			if !errors.Is(err, object.ErrCorrupt) || errors.Is(err, ErrNoRepository) {
				t.Errorf("open: %v", err)
			}
			if err := initialize(f.open(t), 2); !errors.Is(err, object.ErrCorrupt) {
				t.Errorf("init: %v", err)
			}
			if after := f.Objects.Keys(""); !slices.Equal(after, before) {
				t.Errorf("init has left %v, there was %v", after, before)
			}
		})
	}
}

// TestRefusedPut: what a put that did not happen ends with is one sentence; that
// nothing is found when the name is read back is what it says already.
func TestRefusedPut(t *testing.T) {
	f := newFaulty()
	f.put = func(string, []byte) fault.Effect { return fault.Refuse }
	_, err := createBytes(t.Context(), f.open(t), "idx/00", []byte("bytes"))
	if !errors.Is(err, fault.ErrRefused) || errors.Is(err, store.ErrNotFound) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want only %v", err, fault.ErrRefused)
	}
}

// TestKeySlots: names that are none are passed over.
func TestKeySlots(t *testing.T) {
	f := newFaulty()
	st := f.open(t)
	if err := initialize(st, 1); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"keys/x", "keys/" + strings.Repeat("AB", 16), "keys/" + strings.Repeat("ab", 17)} {
		f.Objects.Set(key, []byte("foreign"))
	}
	var got []KeySlot
	for slot, err := range open(t, st, Options{}).KeySlots(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, slot)
	}
	if len(got) != 1 || got[0].ID != [16]byte{1} || string(got[0].Data) != "\x01" {
		t.Errorf("slots %v", got)
	}
}

// TestIdentityIsBound: generation 0 belongs to the bluesky.json of its init,
// and another one of the same form is none.
func TestIdentityIsBound(t *testing.T) {
	f := newFaulty()
	create(t, f.open(t))
	other := testConfig()
	other.Segment.DataTarget++
	data, err := EncodeConfig(other)
	if err != nil {
		t.Fatal(err)
	}
	f.Objects.Set(ConfigKey, data)
	if _, err := Open(t.Context(), f.open(t), Options{}); !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("other parameters: %v", err)
	}
}
