package repo

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"bluesky/object"
	"bluesky/store/fault"
)

// Several goroutines fill both lanes, with objects that are small, fill a
// segment, or are longer than one, while others register what there is; uploads
// fail, or the run is canceled, at any time. Everybody comes back, with an error
// if there is one, and what is left is sound. A deadlock is what this would hang on.
func TestLanesWhenUploadsFail(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	committed, failed := 0, 0
	for round := range uint64(15) {
		random := rand.New(rand.NewPCG(seed, round))
		_, f := newRepo(t)
		w := &wreck{f: f, state: t.TempDir()}
		ctx, cancel := context.WithCancel(t.Context())
		var puts atomic.Int64
		limit, how := 1+random.Int64N(120), random.IntN(4)
		f.put = func(key string, _ []byte) fault.Effect {
			if !strings.HasPrefix(key, "seg/") || puts.Add(1) != limit {
				return fault.None
			}
			switch how {
			case 0:
				return fault.Refuse
			case 1:
				return fault.Lose
			case 2:
				cancel()
			}
			return fault.None
		}
		s, err := w.client(t).Begin(ctx, writer)
		if err != nil {
			t.Fatal(err)
		}
		err = fillLanes(ctx, t, s, random.Uint64())
		if err == nil {
			_, err = s.Commit(ctx, putTree(t, s, 1<<20))
		}
		if err == nil {
			committed++
		} else {
			failed++
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		f.put = nil
		w.next(t)
	}
	t.Logf("%d runs have committed, %d have failed", committed, failed)
	if committed == 0 || failed == 0 {
		t.Error("the other way is not tried")
	}
}

// fillLanes has six goroutines add to s, each 60 blocks and leaves that refer to
// them, and returns the first error. All of them may name the same objects.
func fillLanes(ctx context.Context, t *testing.T, s *Session, seed uint64) error {
	var gate sync.RWMutex // as a backup has it
	errs := make([]error, 6)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			add := func(number uint64, kind object.Kind, refs ...object.ID) (object.ID, error) {
				gate.RLock()
				defer gate.RUnlock()
				o, row := sealed(s, number, kind, refs...)
				o.Bytes = make([]byte, []int{100, 3000, 30_000, 64_000, 90_000}[number%5])
				if !s.Claim(o.ID) {
					return o.ID, nil
				}
				return o.ID, s.Add(o, row)
			}
			for range 60 {
				number := random.Uint64N(200)
				id, err := add(number, object.KindBlock)
				if err == nil {
					_, err = add(number, object.KindInodes, id)
				}
				if err == nil && random.IntN(200) == 0 {
					err = s.EndData()
				}
				if err == nil && random.IntN(40) == 0 {
					gate.Lock()
					err = s.AddRun(ctx)
					gate.Unlock()
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// TestEndData: the open data segment is uploaded without a commit, its memory and
// that of others is given back, and whoever adds data all the same can.
func TestEndData(t *testing.T) {
	r, f := newRepo(t)
	s := begin(t, r)
	for i := range uint64(700) { // two segments and a part
		put(t, s, i, object.KindBlock)
	}
	s.data.uploads.wait()
	before := len(f.Objects.Keys("seg/"))
	if err := s.EndData(); err != nil {
		t.Fatal(err)
	}
	s.data.uploads.wait()
	if n := len(f.Objects.Keys("seg/")); n != before+1 {
		t.Errorf("%d segments, %d were there before", n, before)
	}
	for range cap(s.data.free) {
		if b := <-s.data.free; b != nil {
			t.Error("memory of a segment is kept")
		}
		s.data.free <- nil
	}
	if err := s.EndData(); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := s.Commit(t.Context(), putTree(t, s, 1000)); err != nil { // with one more block
		t.Fatal(err)
	}
	audit(t, f.open(t))
}
