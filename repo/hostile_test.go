package repo

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/store"
)

// TestUnsignedHeadNamesItsOwnState: whoever can write to the bucket and has no
// key can make up a checkpoint, and a generation that names it. A machine that
// sees the repository for the first time must verify something signed before
// it believes either.
func TestUnsignedHeadNamesItsOwnState(t *testing.T) {
	for _, ahead := range []uint64{0, 1, 1 << 40, math.MaxUint64 - 3} {
		r, f := newRepo(t)
		s := backUp(t, r, 1)
		lie := s.clone()
		lie.Snapshots, lie.Runs = nil, nil
		lie.Generation = s.Generation + 1 + ahead
		lie.Hash = object.Hash{1}
		ref, err := r.putCheckpoint(t.Context(), lie)
		if err != nil {
			t.Fatal(err)
		}
		l := &log{t, s}
		f.Objects.Set(GenerationKey(s.Generation+1), l.encode(stranger, func(g *Generation) { g.Checkpoint = ref }))
		got, err := open(t, f.open(t), Options{}).Refresh(t.Context())
		if !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("%d ahead: error %v, want %v", ahead, err, object.ErrCorrupt)
		}
		if got != nil {
			t.Errorf("%d ahead: it believes a state of %d snapshots", ahead, len(got.Snapshots))
		}
	}
}

// TestForkBehindTheVerifiedCheckpoint: a log that leaves the one seen before
// earlier than the newest verified checkpoint is a rollback like any other.
func TestForkBehindTheVerifiedCheckpoint(t *testing.T) {
	r, f := newRepo(t)
	dir := t.TempDir()
	for seed := range uint64(5) {
		backUp(t, r, seed)
	}
	f.record(t, r.State())
	refresh(t, open(t, f.open(t), Options{StateDir: dir}))
	refresh(t, open(t, f.open(t), Options{StateDir: dir}))
	// The bucket is set back to generation 3, and another machine goes on; what
	// was recorded as state/ stays.
	for n := uint64(4); n <= 6; n++ {
		f.Objects.Remove(GenerationKey(n))
	}
	other := open(t, f.open(t), Options{})
	for seed := range uint64(5) {
		backUp(t, other, 20+seed)
	}
	f.record(t, other.State())
	_, err := open(t, f.open(t), Options{StateDir: dir}).Refresh(t.Context())
	if !errors.Is(err, ErrRollback) {
		t.Errorf("got %v, want %v", err, ErrRollback)
	}
	s, err := open(t, f.open(t), Options{StateDir: dir, AcceptRollback: true}).Refresh(t.Context())
	if err != nil || len(s.Snapshots) != 8 {
		t.Errorf("accepting it: %v", err)
	}
}

// TestVerifiedCheckpointIsDeleted: to delete the checkpoint that a machine has
// verified is no way to make it believe another one.
func TestVerifiedCheckpointIsDeleted(t *testing.T) {
	r, f := newRepo(t)
	dir := t.TempDir()
	backUp(t, r, 1)
	f.record(t, backUp(t, r, 2))
	refresh(t, open(t, f.open(t), Options{StateDir: dir}))
	verified := f.Objects.Keys("state/")
	backUp(t, r, 3)
	forgeCheckpoint(t, open(t, f.open(t), Options{}), f.open(t))
	for _, key := range verified {
		f.Objects.Remove(key)
	}
	s, err := open(t, f.open(t), Options{StateDir: dir}).Refresh(t.Context())
	if !errors.Is(err, object.ErrCorrupt) {
		t.Errorf("got %v, want %v", err, object.ErrCorrupt)
	}
	if s != nil {
		t.Errorf("it believes a state of %d snapshots, of 3", len(s.Snapshots))
	}
}

// TestHugeRun: a run that is registered with an impossible size is an error.
func TestHugeRun(t *testing.T) {
	for _, size := range []uint64{0, 1, math.MaxInt64, math.MaxInt64 + 1, math.MaxUint64} {
		r, f := newRepo(t)
		s := refresh(t, r)
		l := &log{t, s}
		add := AddRun{Name: [16]byte{9}, Size: size}
		f.Objects.Set(GenerationKey(1), l.encode(writer, nil, statement(t, writer, 1, 1, OpAddRun, &add)))
		f.Objects.Set(add.Name.Key(), []byte("x"))
		client := open(t, f.open(t), Options{CacheDir: t.TempDir()})
		after := refresh(t, client)
		if _, err := client.Index(t.Context(), after); !errors.Is(err, object.ErrCorrupt) && !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("%d: %v", size, err)
		}
	}
}

// TestLaterCopyComesLater: a writer that registers its own bytes under the id of
// an object that is there does not come before it, whatever its run says.
func TestLaterCopyComesLater(t *testing.T) {
	r, f := newRepo(t)
	s := begin(t, r)
	if err := s.AddRun(t.Context()); err != nil {
		t.Fatal(err)
	}
	good, row := sealed(s, 1, object.KindBlock)
	if err := errors.Join(s.Add(good, row), s.AddRun(t.Context())); err != nil {
		t.Fatal(err)
	}
	put(t, s, 2, object.KindBlock)
	bad := good
	bad.Bytes = append([]byte{}, good.Bytes...)
	bad.Bytes[20] ^= 1
	b := pack.NewBuilder(r.config.ID, object.ClassData, 1<<16)
	if err := b.Add(bad, row); err != nil {
		t.Fatal(err)
	}
	segment, err := b.Finish(pack.Name{1})
	if err != nil {
		t.Fatal(err)
	}
	f.Objects.Set(segment.Name.Key(), segment.Bytes)
	entry := index.SegmentOf(segment, object.SessionID{1})
	entry.RegisteredAt = 1 // before the other, which is of generation 2
	var rows index.Builder
	if err := rows.AddSegment(entry, segment.Header); err != nil {
		t.Fatal(err)
	}
	name := index.RunName{1}
	data, hash, err := rows.Encode(r.config.ID, name)
	if err != nil {
		t.Fatal(err)
	}
	f.Objects.Set(name.Key(), data)
	l := &log{t, refresh(t, r)}
	f.Objects.Set(GenerationKey(l.state.Generation+1), l.encode(writer, nil,
		statement(t, writer, 1, 1, OpAddRun, &AddRun{Name: name, Size: uint64(len(data)), Hash: hash})))

	client := open(t, f.open(t), Options{})
	if got := refresh(t, client); len(got.Runs) != 2 {
		t.Fatalf("%d runs", len(got.Runs))
	}
	got, _, err := client.Sealed(t.Context(), good.ID)
	if err != nil || !bytes.Equal(got.Bytes, good.Bytes) {
		t.Errorf("the later copy is read: %v", err)
	}
}

// TestLostCheckpoint: a checkpoint that is gone or damaged costs the time to
// replay the log, and nothing else.
func TestLostCheckpoint(t *testing.T) {
	for _, damage := range []func(f *faulty, key string){
		func(f *faulty, key string) { f.Objects.Remove(key) },
		func(f *faulty, key string) { f.Objects.Set(key, []byte("garbage")) },
	} {
		r, f := newRepo(t)
		dir := t.TempDir()
		backUp(t, r, 1)
		f.record(t, backUp(t, r, 2))
		refresh(t, open(t, f.open(t), Options{StateDir: dir}))
		backUp(t, r, 3)
		damage(f, f.Objects.Keys("state/")[0])
		for _, o := range []Options{{}, {StateDir: dir}} {
			if s := refresh(t, open(t, f.open(t), o)); len(s.Snapshots) != 3 {
				t.Errorf("%d snapshots, want 3", len(s.Snapshots))
			}
		}
	}
}
