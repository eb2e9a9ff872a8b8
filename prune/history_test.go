package prune

import (
	"testing"

	"bluesky/object"
	"bluesky/refcount"
	"bluesky/repo"
)

// TestHistory backs up, forgets and prunes at random. After each prune all that
// is live reads, the space is that of what is live, and the counts are those
// that counting anew gives.
func TestHistory(t *testing.T) {
	seeds := uint64(20)
	if raceEnabled {
		seeds = 2
	}
	for seed := range seeds {
		b := newBed(t, seed)
		current := b.newTree(8, 12)
		var snapshots []object.ID
		prunes := 0
		for range 25 {
			switch n := b.rand.IntN(10); {
			case n < 5:
				current = b.change(current, 1+b.rand.IntN(6))
				snapshots = append(snapshots, b.backUp(current))
			case n < 8 && len(snapshots) > 1:
				i := b.rand.IntN(len(snapshots))
				b.forget(snapshots[i])
				snapshots = append(snapshots[:i], snapshots[i+1:]...)
			default:
				b.prune(tight)
				prunes++
				b.sound()
			}
			b.live()
		}
		b.prune(tight)
		b.sound()
		var want int
		for _, n := range b.live() {
			want += n
		}
		if got := b.bodies(); got != want {
			t.Errorf("seed %d: after %d prunes segments hold %d bytes of objects, %d of them live", seed, prunes, got, want)
		}
	}
}

// spaceSound compares the space map with the rows that are visible.
func (b *bed) spaceSound(base *base) {
	b.Helper()
	live := map[refcount.Key]uint64{}
	for s := range base.view.Segments() {
		live[keyOf(&s)] = 0
	}
	for l := range base.view.Rows() {
		if placeOf(base.home(l.Row.ID)) == placeOf(&l) {
			live[keyOf(&l.Segment)] += uint64(l.Row.Length)
		}
	}
	for u, err := range base.space.All(b.Context()) {
		if err != nil {
			b.Fatal(err)
		}
		want, there := live[u.Key]
		if !there || want != uint64(u.Live) {
			b.Fatalf("segment %s: the space map has %d live bytes, want %d (in use: %v)", u.Name, u.Live, want, there)
		}
		delete(live, u.Key)
	}
	if len(live) > 0 {
		b.Fatalf("%d segments are not in the space map", len(live))
	}
}

// sound compares what is visible and counted with what the live snapshots lead
// to.
func (b *bed) sound() {
	b.Helper()
	base, err := openBase(b.Context(), b.open())
	if err != nil {
		b.Fatal(err)
	}
	want := map[object.ID]uint32{}
	seen := map[object.ID]bool{}
	var walk func(object.ID)
	walk = func(id object.ID) {
		want[id]++
		if seen[id] {
			return
		}
		seen[id] = true
		home := base.home(id)
		if home == nil {
			b.Fatalf("object %s is not visible", id)
		}
		refs, err := base.refsOf(b.Context(), home)
		if err != nil {
			b.Fatal(err)
		}
		for _, ref := range refs {
			walk(ref)
		}
	}
	for id := range base.state.Roots() {
		walk(id)
	}
	for l := range base.view.Rows() {
		count, err := base.counts.Get(base.runs[l.Part].Name(), uint32(l.Place))
		if err != nil {
			b.Fatal(err)
		}
		if !seen[l.Row.ID] || want[l.Row.ID] != count || placeOf(base.home(l.Row.ID)) != placeOf(&l) {
			b.Fatalf("%s %s: count %d, want %d, live %v", l.Row.Kind, l.Row.ID.Short(), count, want[l.Row.ID], seen[l.Row.ID])
		}
	}
	b.spaceSound(base)
	if left := len(base.state.Condemned); left > 0 {
		b.Fatalf("%d names are still condemned", left)
	}
	names := map[repo.Name]bool{}
	for s := range base.view.Segments() {
		names[segmentName(s.Name)] = true
	}
	if _, files := b.stored("seg/"); files != len(names) {
		b.Fatalf("%d segments are there, %d in use", files, len(names))
	}
}
