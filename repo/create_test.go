package repo

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"bluesky/object"
	"bluesky/store"
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

// TestInterruptedInit stops an init before and after each of its puts, and
// loses the reply to each: the next init succeeds, or there is a repository.
func TestInterruptedInit(t *testing.T) {
	whole := newFaulty()
	if err := initialize(whole.open(t), 1); err != nil {
		t.Fatal(err)
	}
	const never = 1 << 30
	for _, tt := range []struct {
		name string
		what fault
		dead bool // nothing works any more after it
	}{{"stopped before", refuse, true}, {"stopped after", lose, true}, {"lost reply", lose, false}, {"refused once", refuse, false}} {
		for n := range len(whole.puts) {
			t.Run(fmt.Sprintf("%s put %d of %s", tt.name, n, whole.puts[n]), func(t *testing.T) {
				f := newFaulty()
				var mu sync.Mutex
				puts, stop := 0, n
				f.put = func(string, []byte) fault {
					mu.Lock()
					defer mu.Unlock()
					puts++
					switch {
					case puts-1 == stop && tt.what == lose:
						return lose
					case puts-1 >= stop && (tt.dead || puts-1 == stop):
						return refuse
					}
					return none
				}
				f.read = func(string) error {
					mu.Lock()
					defer mu.Unlock()
					if tt.dead && puts > stop {
						return errFault
					}
					return nil
				}
				first := initialize(f.open(t), 1)
				stop = never
				second := initialize(f.open(t), 2)
				if first == nil && !errors.Is(second, ErrRepositoryExists) {
					t.Errorf("the first succeeded, the second: %v", second)
				}
				if second != nil && !errors.Is(second, ErrRepositoryExists) {
					t.Fatalf("first: %v, second: %v", first, second)
				}
				if len(f.names("gen/")) != 1 {
					t.Fatalf("generations %v", f.names("gen/"))
				}
				backUp(t, open(t, f.open(t), Options{}), 1)
				audit(t, f.open(t))
				if probe := strings.HasPrefix(whole.puts[n], "state/"); tt.name == "lost reply" && !probe && first != nil {
					t.Errorf("a lost reply made init fail: %v", first)
				}
			})
		}
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
			f.remove(key)
			before := f.names("")
			_, err := Open(t.Context(), f.open(t), Options{})
			if !errors.Is(err, object.ErrCorrupt) || errors.Is(err, ErrNoRepository) {
				t.Errorf("open: %v", err)
			}
			if err := initialize(f.open(t), 2); !errors.Is(err, object.ErrCorrupt) {
				t.Errorf("init: %v", err)
			}
			if after := f.names(""); !slices.Equal(after, before) {
				t.Errorf("init has left %v, there was %v", after, before)
			}
		})
	}
}

// TestRefusedPut: what a put that did not happen ends with is one sentence; that
// nothing is found when the name is read back is what it says already.
func TestRefusedPut(t *testing.T) {
	f := newFaulty()
	f.put = func(string, []byte) fault { return refuse }
	_, err := createBytes(t.Context(), f.open(t), "idx/00", []byte("bytes"))
	if !errors.Is(err, errFault) || errors.Is(err, store.ErrNotFound) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want only %v", err, errFault)
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
		f.set(key, []byte("foreign"))
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
	f.set(ConfigKey, data)
	if _, err := Open(t.Context(), f.open(t), Options{}); !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("other parameters: %v", err)
	}
}
