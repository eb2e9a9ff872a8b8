package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/store/fault"
)

// findings audits a bucket and returns what was found, "key: text" each.
func (f *faulty) findings(t testing.TB) (*Audit, []string) {
	t.Helper()
	var found []string
	a, err := open(t, f.open(t), Options{}).Audit(t.Context(), func(x Finding) {
		found = append(found, fmt.Sprintf("%s: %v", x.Key, x.Err))
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, found
}

// record adds a generation that records a checkpoint of the given state.
func (f *faulty) record(t testing.TB, s *State) {
	t.Helper()
	r := open(t, f.open(t), Options{})
	ref, err := r.putCheckpoint(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.commit(t.Context(), refresh(t, r), change{author: cleaner, ops: ops(plainOp(t, OpCheckpoint, ref))}); err != nil {
		t.Fatal(err)
	}
}

// TestAuditCheckpoints: a checkpoint is compared with the log, recorded at once
// or some generations later.
func TestAuditCheckpoints(t *testing.T) {
	for _, late := range []int{0, 3} {
		for _, forge := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d late, forged %v", late, forge), func(t *testing.T) {
				r, f := newRepo(t)
				s := backUp(t, r, 1)
				f.pad(t, late)
				if forge {
					s = s.clone()
					s.Condemned[Name{ID: [16]byte{1}}] = 1
				}
				f.record(t, s)
				f.grow(t, 2)
				a, found := f.findings(t)
				if a.Checkpoints != 1 || len(a.Named) != 1 || a.State.Generation != a.Head {
					t.Errorf("%d checkpoints, state %d, head %d", a.Checkpoints, a.State.Generation, a.Head)
				}
				if len(found) > 0 != forge || forge && !strings.Contains(found[0], "is not the state after generation 1") {
					t.Errorf("found %q", found)
				}
			})
		}
	}
}

// TestAuditGoesOn: behind a generation that is damaged the state is had again
// from a checkpoint, if there is one, and else is that before it.
func TestAuditGoesOn(t *testing.T) {
	for _, damage := range []string{"removed", "garbled", "void of its signature"} {
		for n := uint64(1); n <= 6; n++ {
			t.Run(fmt.Sprintf("generation %d %s", n, damage), func(t *testing.T) {
				r, f := newRepo(t)
				var s *State
				for i := range uint64(3) {
					s = backUp(t, r, i)
				}
				f.record(t, s) // of 3, in 4
				f.grow(t, 8, 9)
				bad := f.Objects.Get(GenerationKey(n))
				switch damage {
				case "removed":
					f.Objects.Remove(GenerationKey(n))
				case "garbled":
					bad[0] ^= 0xff
					f.Objects.Set(GenerationKey(n), bad)
				default:
					bad[len(bad)-1] ^= 1
					f.Objects.Set(GenerationKey(n), bad)
				}
				a, found := f.findings(t)
				if n == 6 && damage == "removed" {
					if a.Head != 5 || len(found) > 0 {
						t.Errorf("head %d, found %q", a.Head, found)
					}
					return
				}
				if len(found) != 1 || !strings.HasPrefix(found[0], GenerationKey(n)) {
					t.Errorf("found %q, want generation %d alone", found, n)
				}
				want := n - 1
				if n <= 3 { // a checkpoint makes up for it
					want = 6
				}
				if a.State.Generation != want {
					t.Errorf("state of generation %d, want %d", a.State.Generation, want)
				}
				if want == 6 && len(a.State.Snapshots) != 5 {
					t.Errorf("%d snapshots", len(a.State.Snapshots))
				}
			})
		}
	}
}

// TestAuditFarGeneration: a file that somebody put far behind the end of the
// log costs a finding, and no time in proportion to its number.
func TestAuditFarGeneration(t *testing.T) {
	for _, far := range []uint64{100, 1 << 20, maxGeneration - 1, maxGeneration} {
		r, f := newRepo(t)
		backUp(t, r, 1)
		backUp(t, r, 2)
		f.Objects.Set(GenerationKey(far), []byte("garbage"))
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		found := 0
		a, err := open(t, f.open(t), Options{}).Audit(ctx, func(Finding) { found++ })
		cancel()
		if err != nil {
			t.Errorf("%d: %v after %d findings", far, err, found)
			continue
		}
		if found == 0 || found > 30 {
			t.Errorf("%d: %d findings", far, found)
		}
		if a.State.Generation != 2 || len(a.State.Snapshots) != 2 {
			t.Errorf("%d: state of generation %d with %d snapshots", far, a.State.Generation, len(a.State.Snapshots))
		}
	}
}

// TestAuditVoidOps: an op that is void is nothing to worry about.
func TestAuditVoidOps(t *testing.T) {
	_, f := newRepo(t)
	l := &log{t, audit(t, f.open(t))}
	f.Objects.Set(GenerationKey(1), l.encode(cleaner, nil, statement(t, cleaner, 1, 1, OpAddRun, run(1))))
	harmless := 0
	_, err := open(t, f.open(t), Options{}).Audit(t.Context(), func(x Finding) {
		if x.Harmless {
			harmless++
		} else {
			t.Errorf("%s: %v", x.Key, x.Err)
		}
	})
	if err != nil || harmless != 1 {
		t.Errorf("%v, %d void ops", err, harmless)
	}
}

// TestAuditUnreadable: an error of the bucket is the end, and no finding.
func TestAuditUnreadable(t *testing.T) {
	r, f := newRepo(t)
	f.record(t, backUp(t, r, 1))
	f.grow(t, 2)
	for _, key := range []string{GenerationKey(2), f.Objects.Keys("state/")[0]} {
		client := open(t, f.open(t), Options{})
		f.read = func(k string) error {
			if k == key {
				return fault.ErrRefused
			}
			return nil
		}
		_, err := client.Audit(t.Context(), func(x Finding) { t.Errorf("%s: %v", x.Key, x.Err) })
		if !errors.Is(err, fault.ErrRefused) {
			t.Errorf("%s: %v", key, err)
		}
		f.read = nil
	}
}

// TestFetchRun reads the bucket and not the cache.
func TestFetchRun(t *testing.T) {
	r, f := newRepo(t)
	after := backUp(t, r, 1)
	client := open(t, f.open(t), Options{CacheDir: t.TempDir()})
	for _, edit := range []func(key string){
		func(string) {},
		func(key string) {
			bad := f.Objects.Get(key)
			bad[70] ^= 1
			f.Objects.Set(key, bad)
		},
		func(key string) { data := f.Objects.Get(key); f.Objects.Set(key, data[:len(data)-1]) },
		func(key string) { data := f.Objects.Get(key); f.Objects.Set(key, append(data, 0, 0)) },
		func(key string) { f.Objects.Remove(key) },
	} {
		run := after.Runs[0]
		was := f.Objects.Get(run.Name.Key())
		edit(run.Name.Key())
		now := f.Objects.Get(run.Name.Key())
		opened, err := client.FetchRun(t.Context(), run)
		if intact := string(was) == string(now); (err == nil) != intact {
			t.Errorf("%d bytes: %v, intact %v", len(now), err, intact)
		} else if intact && opened.Name() != run.Name {
			t.Errorf("run %s", opened.Name())
		}
		f.Objects.Set(run.Name.Key(), was)
	}
	if _, err := client.FetchRun(t.Context(), Run{AddRun: AddRun{Size: 96, Hash: object.Hash{1}}}); err == nil {
		t.Error("a run that is nowhere was fetched")
	}
}

// BenchmarkAudit reads logs of backups, of which each has registered a run and
// added a snapshot.
func BenchmarkAudit(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprintf("%d generations", n), func(b *testing.B) {
			f := newFaulty()
			st := f.open(b)
			create(b, st)
			l := &log{b, audit(b, st)}
			for i := range n {
				name := [16]byte{byte(i), byte(i >> 8), 1}
				add := func(sequence uint64, typ OpType, body any) Op {
					op, err := newStatement(writer, l.state.Repository, name, sequence, typ, body)
					if err != nil {
						b.Fatal(err)
					}
					return op
				}
				data := l.encode(writer, nil,
					add(1, OpAddRun, &AddRun{Name: name}),
					add(2, OpAddSnapshot, &AddSnapshot{ID: object.ID(append(name[:], name[:]...)), Summary: make([]byte, 400)}))
				s := l.state.clone() // as an auditor does: copying for each takes too long
				if i > 0 {
					s = l.state
				}
				g, err := DecodeGeneration(data)
				if err != nil {
					b.Fatal(err)
				}
				if void, err := s.apply(g, data); err != nil || len(void) > 0 {
					b.Fatal(void, err)
				}
				l.state = s
				f.Objects.Set(GenerationKey(uint64(i+1)), data)
			}
			r := open(b, st, Options{})
			for b.Loop() {
				if _, err := r.Audit(b.Context(), func(x Finding) { b.Errorf("%s: %v", x.Key, x.Err) }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
