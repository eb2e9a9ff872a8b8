package prune

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"bluesky/index"
	"bluesky/pack"
	"bluesky/prune/prunetest"

	"github.com/RoaringBitmap/roaring/v2"
)

// hideRow returns v without one row.
func hideRow(v View, part, row int) View {
	var parts []index.Part
	for i, run := range v.Runs {
		p := index.Part{Run: run, At: v.State.Runs[i].Generation}
		if i == part {
			p.Dead = roaring.BitmapOf(uint32(row))
		}
		parts = append(parts, p)
	}
	v.Index = index.New(parts, nil)
	return v
}

func TestRecountDangling(t *testing.T) {
	s := newSynthetic(3000, 3)
	whole := s.view(t)
	missing, parent := synID(1, synBlock, 30), synID(1, synLeaf, 1)
	at := whole.Index.Lookup(missing)[0]
	v := hideRow(whole, at.Part, at.Place)
	tally, err := Recount(t.Context(), s, v, RecountOptions{Fold: v.State.Generation}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tally.DanglingCount != 1 || tally.Dangling[0].ID != missing || tally.Dangling[0].Refs == 0 {
		t.Fatalf("%d dangling: %+v", tally.DanglingCount, tally.Dangling)
	}
	if got := tally.Dangling[0].Parent; tally.Dangling[0].Refs == 1 && got != parent || got.IsZero() {
		t.Errorf("%s refers to it, want %s", got, parent)
	}

	root := whole.Index.Lookup(synID(2, synSnapshot, 0))[0]
	v = hideRow(whole, root.Part, root.Place)
	if tally, err = Recount(t.Context(), s, v, RecountOptions{Fold: v.State.Generation}, nil); err != nil {
		t.Fatal(err)
	}
	if tally.DanglingCount != 1 || tally.Dangling[0].ID != synID(2, synSnapshot, 0) || !tally.Dangling[0].Parent.IsZero() {
		t.Errorf("a root that is not there: %+v", tally.Dangling)
	}
}

// TestRecountHomeless: what counted objects refer to stands where nothing is
// counted.
func TestRecountHomeless(t *testing.T) {
	s := newSynthetic(3000, 3)
	v := s.view(t)
	v.State.Runs[0].Generation = 9 // the first backup, which the others refer to
	tally, err := Recount(t.Context(), s, v, RecountOptions{Fold: 3}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if tally.HomelessCount == 0 || tally.DanglingCount != 0 || tally.Runs[0] != nil || tally.Homeless[0].Parent.IsZero() {
		t.Errorf("%d homeless, %d dangling, %+v", tally.HomelessCount, tally.DanglingCount, tally.Homeless[:min(3, len(tally.Homeless))])
	}
}

// TestRecountOfOtherHeaders: rows that their header does not have are not
// counted on.
func TestRecountOfOtherHeaders(t *testing.T) {
	s := newSynthetic(3000, 1)
	for name, edit := range map[string]func(*pack.Header){
		"another id":     func(h *pack.Header) { h.Objects[1].ID[9]++; h.Objects[1].ID[0]++ },
		"another place":  func(h *pack.Header) { h.Objects[1].Offset++ },
		"swapped":        func(h *pack.Header) { h.Objects[1].ID, h.Objects[2].ID = h.Objects[2].ID, h.Objects[1].ID },
		"a row too few":  func(h *pack.Header) { h.Objects = h.Objects[:len(h.Objects)-1] },
		"not read":       nil,
		"nothing wrong!": func(*pack.Header) {},
	} {
		t.Run(name, func(t *testing.T) {
			v := s.view(t)
			c, err := NewRecounter(t.Context(), v, RecountOptions{Fold: 1}, NoProgress{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			err = c.eachHeader(t.Context(), s, "", NoProgress{}, func(part, ordinal int, h *pack.Header) error {
				if h.Name == synName(0, synLeaf, 0) {
					if edit == nil {
						return nil
					}
					edit(h)
				}
				return c.Add(part, ordinal, h)
			})
			if err == nil {
				_, err = c.Tally(t.Context(), NoProgress{})
			}
			if want := name != "nothing wrong!"; errors.Is(err, ErrRecount) != want || !want && err != nil {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestRecountPutAside: a file that changes is noticed, and nothing of it stays.
func TestRecountPutAside(t *testing.T) {
	s := newSynthetic(20_000, 2)
	v := s.view(t)
	for name, damage := range map[string]func(*os.File) error{
		"nothing": func(*os.File) error { return nil },
		"an id":   func(f *os.File) error { _, err := f.WriteAt([]byte{0x5a, 0x5a}, 100*refSize+2); return err },
		"a count": func(f *os.File) error { _, err := f.WriteAt([]byte{7}, 100*refSize+32); return err },
		"the end": func(f *os.File) error { return f.Truncate(100 * refSize) },
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			c, err := NewRecounter(t.Context(), v, RecountOptions{Fold: 2, Folder: folder, Memory: 100_000}, NoProgress{})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.eachHeader(t.Context(), s, "", NoProgress{}, c.Add); err != nil {
				t.Fatal(err)
			}
			if err := damage(c.refs.file); err != nil {
				t.Fatal(err)
			}
			tally, err := c.Tally(t.Context(), NoProgress{})
			if err == nil && name != "nothing" && tally.DanglingCount == 0 || err != nil && !errors.Is(err, ErrRecount) {
				t.Errorf("%v", err)
			}
			if err := c.Close(); err != nil {
				t.Fatal(err)
			}
			if left, err := os.ReadDir(folder); len(left) > 0 || err != nil {
				t.Errorf("%v is left, %v", left, err)
			}
		})
	}
	if _, err := Recount(t.Context(), s, v, RecountOptions{Fold: 2, Folder: t.TempDir() + "/none", Memory: 1000}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// A failing is a [pack.ReaderAt] that fails at the n-th read.
type failing struct {
	of   pack.ReaderAt
	n    int
	stop func()
	err  error
}

func (f *failing) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if f.n--; f.n == 0 {
		f.stop()
		return nil, f.err
	}
	return f.of.GetRange(ctx, key, off, n)
}

// TestRecountStops: at each read that fails, and when it is told to.
func TestRecountStops(t *testing.T) {
	s := newSynthetic(3000, 1)
	v := s.view(t)
	want := errors.New("out of reach")
	for n := 1; ; n++ {
		ctx, cancel := context.WithCancel(t.Context())
		f := &failing{s, n, func() {}, want}
		if n%2 == 0 {
			f.stop, f.err = cancel, context.Canceled
		}
		_, err := Recount(ctx, f, v, RecountOptions{Fold: 1, Readers: 1}, nil)
		cancel()
		if f.n > 0 {
			if err != nil || n < 4 {
				t.Errorf("%d reads: %v", n-1, err)
			}
			break
		}
		if !errors.Is(err, f.err) {
			t.Errorf("read %d fails: got %v, want %v", n, err, f.err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Recount(ctx, s, v, RecountOptions{Fold: 1}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestSoakRecount recounts random repositories, cleaned by hand and by prunes,
// for as long as BLUESKY_SOAK says.
func TestSoakRecount(t *testing.T) {
	end := soakEnd(t)
	seed, states, kinds := newSeed(t), 0, map[string]int{}
	for ; time.Now().Before(end) && !t.Failed(); seed++ {
		w := prunetest.New(t, seed)
		if seed%2 == 0 {
			w.Cleaning = func() {
				if _, err := prune(t, w, Options{AllowMassDelete: true, Recount: w.Rand.IntN(4) == 0, Instant: w.Rand.IntN(4) == 0}); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
			}
		}
		for range 60 {
			w.Step()
			compare(t, w, kinds)
			if w.Cleaning != nil {
				compareStored(t, w)
			}
			states++
		}
	}
	t.Logf("%d states: %v", states, kinds)
}

var _ pack.ReaderAt = (*failing)(nil)
