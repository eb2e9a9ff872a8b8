package repo

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"bluesky/object"
	"bluesky/store"
)

// healed fails the test unless every kind of reader reads f, and finds what was
// there before.
func (f *faulty) healed(t testing.TB, snapshots int, clients ...*Repo) {
	t.Helper()
	for i, r := range append(clients, open(t, f.open(t), Options{})) {
		if got := len(refresh(t, r).Snapshots); got != snapshots {
			t.Errorf("client %d sees %d snapshots, want %d", i, got, snapshots)
		}
	}
	report, found := f.findings(t)
	found = slices.DeleteFunc(found, func(text string) bool { return strings.HasSuffix(text, "garbage that the next generation passes over") })
	if len(found) > 0 || report.State == nil || len(report.State.Snapshots) != snapshots {
		t.Errorf("an audit finds %q", found)
	}
	if want := encodeState(t, refresh(t, open(t, f.open(t), Options{}))); !bytes.Equal(encodeState(t, report.State), want) {
		t.Error("the audit and the reader come to different states")
	}
}

// TestVoid: whatever somebody puts at the next generation stops everybody, and
// the admin alone makes all readers pass over it, new ones and those that have
// seen the log before.
func TestVoid(t *testing.T) {
	garbage := map[string]func(newest, cut []byte) []byte{
		"nothing":          func(_, _ []byte) []byte { return nil },
		"random":           func(_, _ []byte) []byte { return bytes.Repeat([]byte{0x81, 3}, 50) },
		"the one before":   func(newest, _ []byte) []byte { return newest },
		"cut":              func(_, next []byte) []byte { return next[:len(next)-1] },
		"a flipped bit":    func(_, next []byte) []byte { next[len(next)/2] ^= 1; return next },
		"of another chain": func(_, next []byte) []byte { return next },
	}
	for name, make := range garbage {
		t.Run(name, func(t *testing.T) {
			r, f := newRepo(t)
			seen := open(t, f.open(t), Options{StateDir: t.TempDir()})
			refresh(t, seen)
			last := backUp(t, r, 1)
			newest := f.Objects.Get(GenerationKey(last.Generation))
			fork := &log{t, last}
			next := fork.encode(writer, func(g *Generation) {
				if name == "of another chain" {
					g.Previous[0] ^= 1
				}
			})
			n := last.Generation + 1
			f.Objects.Set(GenerationKey(n), make(bytes.Clone(newest), next))

			for _, client := range []*Repo{r, seen, open(t, f.open(t), Options{})} {
				if _, err := client.Refresh(t.Context()); !errors.Is(err, object.ErrCorrupt) {
					t.Fatalf("with garbage: %v", err)
				}
			}
			if _, err := open(t, f.open(t), Options{}).Void(t.Context(), writer, false); err == nil {
				t.Error("a writer has healed it")
			}
			if got, err := open(t, f.open(t), Options{}).Void(t.Context(), admin, false); err != nil || got != n {
				t.Fatalf("generation %d, %v; want %d", got, err, n)
			}
			f.healed(t, 1, r, seen)
			if got, err := r.Void(t.Context(), admin, false); err != nil || got != 0 {
				t.Errorf("again: generation %d, %v", got, err)
			}
			for i := range uint64(70) { // past the next checkpoint
				backUp(t, r, 2+i)
			}
			f.healed(t, 71, r, seen)
		})
	}
}

// TestVoidRefuses: what may be somebody's is not passed over unasked.
func TestVoidRefuses(t *testing.T) {
	r, f := newRepo(t)
	last := backUp(t, r, 1)
	n := last.Generation + 1
	void := func(o Options, newer bool) (uint64, error) {
		return open(t, f.open(t), o).Void(t.Context(), admin, newer)
	}

	newer := (&log{t, last}).encode(writer, nil)
	if newer[1] != 1 || newer[2] != 1 {
		t.Fatalf("% x does not begin with its version", newer[:4])
	}
	newer[2] = 2
	f.Objects.Set(GenerationKey(n), newer)
	before := len(f.Objects.Keys(""))
	if _, err := void(Options{}, false); !errors.Is(err, object.ErrVersion) {
		t.Errorf("of a newer version: %v", err)
	}
	f.Objects.Set(GenerationKey(n), make([]byte, generationMax+1))
	if _, err := void(Options{}, false); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("too large: %v", err)
	}
	f.Objects.Set(GenerationKey(n), []byte("x"))
	f.Objects.Set(GenerationKey(n+1), []byte("y"))
	if _, err := void(Options{}, false); !errors.Is(err, object.ErrCorrupt) || !strings.Contains(err.Error(), "cannot be healed") {
		t.Errorf("two of them: %v", err)
	}
	f.Objects.Remove(GenerationKey(n + 1))
	f.Objects.Remove(GenerationKey(n))

	// What this machine has seen was valid then.
	state := t.TempDir()
	refresh(t, open(t, f.open(t), Options{StateDir: state}))
	damaged := bytes.Clone(f.Objects.Get(GenerationKey(n - 1)))
	damaged[len(damaged)-1] ^= 1
	f.Objects.Set(GenerationKey(n-1), damaged)
	if _, err := void(Options{StateDir: state}, false); !errors.Is(err, ErrRollback) || !strings.Contains(err.Error(), fmt.Sprintf("generation %d was valid", n-1)) {
		t.Errorf("damaged: %v", err)
	}
	if got := len(f.Objects.Keys("")); got != before-1 {
		t.Errorf("%d objects, want %d", got, before-1)
	}
	if got, err := void(Options{StateDir: state, AcceptRollback: true}, false); err != nil || got != n-1 {
		t.Errorf("damaged, and given up: %d, %v", got, err)
	}
	f.healed(t, 0)

	f.Objects.Set(GenerationKey(n+1), newer)
	if got, err := void(Options{}, true); err != nil || got != n+1 {
		t.Errorf("of a newer version, and garbage: %d, %v", got, err)
	}
	f.healed(t, 0)
}
