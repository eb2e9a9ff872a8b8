package prune

import (
	"encoding/binary"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
)

// The longest clean leaves room in a generation for a checkpoint, the sessions
// that go on, and the tables.
func TestCleanFits(t *testing.T) {
	number := func(b []byte, i int) { binary.BigEndian.PutUint32(b, uint32(i)) }
	var c repo.Clean
	r := new(Options).room()
	for i := range r.victims + r.orphans + r.merged + 48 {
		name := repo.Name{Folder: repo.FolderCheckpoints}
		number(name.ID[:], i)
		c.Condemned = append(c.Condemned, name)
	}
	for i := range r.collected {
		var id object.ID
		number(id[:], i)
		c.Collected = append(c.Collected, id)
	}
	for i := range r.times {
		at := repo.StoreTime{Time: object.TimeOf(time.Unix(1<<40, 999_999_999))}
		number(at.ID[:], i)
		c.Times = append(c.Times, at)
	}
	op, err := repo.NewOp(repo.OpClean, &c)
	if err != nil {
		t.Fatal(err)
	}
	const generation = 4 << 20 // docs/format.md, "Limits"
	if n := len(op.Body); n > generation-256<<10 {
		t.Errorf("a clean of %d bytes in a generation of %d", n, generation)
	}
}

// What does not fit into one clean waits for the next one, and all of it is done
// in the end.
func TestLittleRoom(t *testing.T) {
	for seed := range uint64(2) {
		b := newBed(t, seed)
		current := b.newTree(12, 12)
		var ids []object.ID
		for range 12 {
			ids = append(ids, b.backUp(current))
			current = b.change(current, 20)
		}
		for i := range 9 {
			b.forget(ids[i])
			name := repo.Name{Folder: repo.FolderTables, ID: [16]byte{byte(i)}}
			if err := b.store.PutNew(t.Context(), name.Key(), []byte("orphan")); err != nil {
				t.Fatal(err)
			}
		}
		options := tight
		options.Instant = true
		options.most = room{victims: 3, orphans: 2, merged: 2, collected: 2, times: 5, rows: 60}
		prunes := 0
		for empty := false; !empty; prunes++ {
			plan, err := NewPlan(t.Context(), b.open(), options, nil)
			if err != nil {
				t.Fatal(err)
			}
			live, rows := plan.liveRows(), 0
			for part := range plan.merges() {
				rows += live[part]
			}
			if rows > 60 {
				t.Fatalf("%d rows are merged", rows)
			}
			if _, err = plan.Apply(t.Context(), cleaner, nil); err != nil {
				t.Fatal(err)
			}
			if prunes == 100 {
				t.Fatalf("seed %d: never done: %+v", seed, plan.Stats)
			}
			c := lastClean(t, b)
			if len(c.Collected) > 2 || len(c.Times) > 5 || len(c.Condemned) > 3+2+2+6 {
				t.Fatalf("%d collected, %d times, %d condemned", len(c.Collected), len(c.Times), len(c.Condemned))
			}
			b.live()
			empty = plan.Empty()
		}
		b.sound()
		if _, files := b.stored("cnt/"); files > 6 {
			t.Errorf("%d tables are left", files)
		}
		t.Logf("seed %d: %d prunes", seed, prunes)
	}
}

// lastClean reads the newest clean.
func lastClean(t *testing.T, b *bed) (c repo.Clean) {
	t.Helper()
	r := b.open()
	for n := r.State().Generation; n > 0; n-- {
		g, err := r.Generation(t.Context(), n)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range g.Ops {
			if op.Type == repo.OpClean {
				if err := object.DecodeCBOR(op.Body, &c); err != nil {
					t.Fatal(err)
				}
				return c
			}
		}
	}
	return c
}
