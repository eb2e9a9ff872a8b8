package repo

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/store/fault"
)

// Every operation of the bucket fails in turn, or its reply is lost, while a run
// takes over what another has left, and the run after that: in the end each
// upload is registered, once.
func TestCrashDuringAdoption(t *testing.T) {
	w := newWreck(t, 2)
	cases := 0
	for _, what := range []fault.Effect{fault.Refuse, fault.Lose.With(fault.ErrRefused)} {
		for k := 1; ; k++ {
			c := w.copy(t)
			var mu sync.Mutex
			ops, hit := 0, false
			fails := func() bool {
				mu.Lock()
				defer mu.Unlock()
				ops++
				hit = hit || ops >= k
				return ops >= k // and all that come after: the machine is gone
			}
			c.f.put = func(string, []byte) fault.Effect {
				if !fails() {
					return fault.None
				}
				if mu.Lock(); ops == k {
					defer mu.Unlock()
					return what
				}
				mu.Unlock()
				return fault.Refuse
			}
			c.f.read = func(string) error {
				if fails() {
					return fault.ErrRefused
				}
				return nil
			}
			r, err := Open(t.Context(), c.f.open(t), Options{StateDir: c.state})
			if err == nil {
				var s *Session
				if s, err = r.Begin(t.Context(), writer); err == nil {
					_ = s.Close() // a crash: nothing more reaches the bucket
				}
			}
			mu.Lock()
			done := !hit
			mu.Unlock()
			c.f.put, c.f.read = nil, nil
			_, names := c.next(t)
			for _, name := range w.segment {
				if !names[name] {
					t.Errorf("operation %d: segment %s is not registered", k, name)
				}
			}
			if t.Failed() || done {
				break
			}
			cases++
		}
	}
	t.Logf("%d crashes", cases)
	if cases < 20 {
		t.Errorf("only %d operations", cases)
	}
}

// Random graphs, and random segments of them lost: what is registered is closed,
// and as much as can be.
func TestAdoptionModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for range 25 {
		_, f := newRepo(t)
		w := &wreck{f: f, state: t.TempDir()}
		s := begin(t, w.client(t))
		refs := map[object.ID][]object.ID{}
		segments := map[string][]object.ID{}
		var ids []object.ID
		for range 1 + random.IntN(12) {
			before := f.Objects.Keys("seg/")
			var own []object.ID
			for range 1 + random.IntN(3) {
				var list []object.ID
				for _, i := range random.Perm(len(ids))[:min(len(ids), random.IntN(3))] {
					list = append(list, ids[i])
				}
				id := put(t, s, uint64(len(ids)), object.KindInodes, list...)
				refs[id], ids, own = list, append(ids, id), append(own, id)
			}
			flush(t, s, s.meta)
			for _, key := range f.Objects.Keys("seg/") {
				if !slices.Contains(before, key) {
					segments[key] = own
				}
			}
			if random.IntN(8) == 0 {
				if err := s.AddRun(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		r := open(t, f.open(t), Options{})
		view, err := r.Index(t.Context(), refresh(t, r))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		visible := map[object.ID]bool{}
		for _, id := range ids {
			visible[id] = view.Has(id)
		}
		want := maps.Clone(segments) // by the model: drop what is lost or leads nowhere
		for key, own := range segments {
			if visible[own[0]] {
				continue
			}
			if random.IntN(4) == 0 {
				f.Objects.Remove(key)
				delete(want, key)
			}
		}
		for again := true; again; {
			again = false
			there := maps.Clone(visible)
			for _, own := range want {
				for _, id := range own {
					there[id] = true
				}
			}
			for key, own := range want {
				for _, id := range own {
					for _, ref := range refs[id] {
						if !there[ref] {
							delete(want, key)
							again = true
						}
					}
				}
			}
		}
		_, names := w.next(t)
		for key := range segments {
			name, err := pack.ParseKey(key)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := want[key]; names[name] != ok {
				t.Fatalf("segment %s registered: %v", name, names[name])
			}
		}
	}
}
