package check

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/repo"
)

func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// TestCampaignFlips flips bits of bytes all over the bucket, at a stride that
// begins somewhere else each time. TestSoakFlips takes every byte.
func TestCampaignFlips(t *testing.T) {
	c, random := newCampaign(t, makeRich(t, richSeeds{1, 1, 1})), seeded(t)
	const flips = 30
	total := 0
	for _, data := range c.f.files {
		total += len(data)
	}
	stride := total/flips + 1
	at := random.IntN(stride)
	for _, key := range c.f.fixture.names("") {
		n := len(c.f.files[key])
		c.flip(key, random.IntN(n), 1<<random.IntN(8)) // of the short ones too
		for ; at < n; at += stride {
			c.flip(key, at, byte(1+random.IntN(255)))
		}
		at -= n
	}
}

// TestSoakFlips flips each bit of every byte of every file of the bucket, as far
// as it comes in its time: first one bit of each, then another. It begins
// somewhere else each time.
func TestSoakFlips(t *testing.T) {
	over := soak(t)
	c, random := newCampaign(t, makeRich(t, richSeeds{1, 1, 1})), seeded(t)
	c.all = false
	places := c.places()
	start, bit := random.IntN(len(places)), random.IntN(8)
	flips := 0
	for ; flips < 8*len(places) && !over(); flips++ {
		p := places[(start+flips)%len(places)]
		c.flip(p.key, p.at, 1<<((bit+p.at+flips/len(places))%8))
	}
	t.Logf("%d of %d bits, of %d bytes, from byte %d on", flips, 8*len(places), len(places), start)
}

// A place is a byte of a file of the bucket.
type place struct {
	key string
	at  int
}

// places returns all of them.
func (c *campaign) places() []place {
	var list []place
	for _, key := range c.f.fixture.names("") {
		for at := range c.f.files[key] {
			list = append(list, place{key, at})
		}
	}
	return list
}

// soak skips the test, or returns whether its time is over.
func soak(t *testing.T) (over func() bool) {
	t.Helper()
	text := os.Getenv("BLUESKY_SOAK")
	if text == "" {
		t.Skip("BLUESKY_SOAK does not say how long to go on")
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(d)
	return func() bool { return time.Now().After(end) }
}

// replace puts other bytes in the place of a file, or none.
func (c *campaign) replace(name, key string, data []byte) {
	c.t.Helper()
	d := damage{name: name, changes: map[string][]byte{key: data}, sees: always}
	gens := c.f.fixture.names("gen/")
	switch {
	case key == repo.ConfigKey || key == repo.GenerationKey(0):
		d.refused = true
	case kindOf(key) == "keys":
		c.runSlot(d)
		return
	case key == gens[len(gens)-1] && data == nil:
		// A shorter log is a log: what it does not name is an orphan.
		d.sees, d.mute = never, true
		d.lost = c.f.added(len(c.f.history) - 1)
	}
	c.run(d)
}

// added returns the snapshots that are in no generation up to the given number.
func (f *rich) added(generation int) []object.ID {
	var ids []object.ID
	for id, at := range f.since {
		if at > generation {
			ids = append(ids, id)
		}
	}
	return ids
}

// TestCampaignFiles cuts, empties, lengthens and removes every file.
func TestCampaignFiles(t *testing.T) {
	c, random := newCampaign(t, makeRich(t, richSeeds{1, 1, 1})), seeded(t)
	for _, key := range c.f.fixture.names("") {
		data := c.f.files[key]
		edits := []struct {
			name string
			edit edit
		}{
			{"removed", remove}, {"with a byte behind", longer}, {"cut somewhere", cut(1 + random.IntN(len(data)-1))},
			{"emptied", empty}, {"cut by a byte", cut(1)}, {"halved", half},
			{"doubled", func(b []byte) []byte { return append(b, b...) }},
			{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }},
		}
		if !c.all { // one of them, beside the first
			random.Shuffle(len(edits)-1, func(i, j int) { edits[i+1], edits[j+1] = edits[j+1], edits[i+1] })
			edits = edits[:2]
		}
		for _, e := range edits {
			c.replace(key+" "+e.name, key, e.edit(bytes.Clone(data)))
		}
	}
}

// TestSoakTruncations cuts every file to every length, as far as it comes in its
// time, and begins somewhere else each time.
func TestSoakTruncations(t *testing.T) {
	over := soak(t)
	c, random := newCampaign(t, makeRich(t, richSeeds{1, 1, 1})), seeded(t)
	c.all = false
	places := c.places()
	start, cuts := random.IntN(len(places)), 0
	for ; cuts < len(places) && !over(); cuts++ {
		p := places[(start+cuts)%len(places)]
		c.replace(fmt.Sprintf("%s cut to %d bytes", p.key, p.at), p.key, bytes.Clone(c.f.files[p.key][:p.at]))
	}
	t.Logf("%d of %d lengths, from the %dth on", cuts, len(places), start)
}

// TestCampaignSwaps puts other files in the place of each: of the same kind and
// of others, and those that stand under the same name in a repository of other
// keys, and in one of the same keys that went another way.
func TestCampaignSwaps(t *testing.T) { swaps(t, 24) }

// TestSoakSwaps does so with all of them.
func TestSoakSwaps(t *testing.T) {
	soak(t)
	swaps(t, 1)
}

func swaps(t *testing.T, stride int) {
	c, random := newCampaign(t, makeRich(t, richSeeds{1, 1, 1})), seeded(t)
	foreign, twin := makeRich(t, richSeeds{1, 2, 1}), makeRich(t, richSeeds{1, 1, 2})
	for _, f := range []*rich{foreign, twin} { // else the cases below are not what they say
		if want, got := c.f.fixture.names("gen/"), f.fixture.names("gen/"); !slices.Equal(got, want) {
			t.Fatalf("generations %q, want %q", got, want)
		}
		for _, kind := range []string{"seg/", "idx/", "state/"} {
			if !slices.Equal(f.fixture.names(kind), c.f.fixture.names(kind)) {
				t.Fatalf("%s: the repositories do not use the same names", kind)
			}
		}
	}
	for _, key := range c.f.fixture.names("") {
		others := c.others(key, foreign, twin)
		names := slices.Sorted(maps.Keys(others))
		for i := random.IntN(stride); i < len(names); i += stride {
			c.replace(fmt.Sprintf("%s is %s", key, names[i]), key, others[names[i]])
		}
		for i, f := range []*rich{foreign, twin} {
			data, ok := f.files[key]
			if !ok || bytes.Equal(data, c.f.files[key]) {
				continue
			}
			name := fmt.Sprintf("%s is that of repository %d", key, i+1)
			if f == twin && key == repo.GenerationKey(1) {
				// It follows generation 0 as well as ours does: it is the next
				// one that is out of place.
				c.run(damage{name: name, changes: map[string][]byte{key: data}, sees: always, subject: repo.GenerationKey(2)})
				continue
			}
			c.replace(name, key, data)
		}
	}
	c.exchange(stride, random)
	c.foreignSlot(foreign)
}

// exchange swaps each two files of a kind, or a part of these pairs.
func (c *campaign) exchange(stride int, random *rand.Rand) {
	pair := random.IntN(stride)
	for _, kind := range []string{"seg/", "idx/", "state/", "gen/"} {
		names := c.f.fixture.names(kind)
		for i, a := range names {
			for _, b := range names[i+1:] {
				if pair++; pair%stride != 0 {
					continue
				}
				d := damage{
					name:    "exchanged " + a + " and " + b,
					changes: map[string][]byte{a: c.f.files[b], b: c.f.files[a]},
					sees:    always, subject: a, refused: a == repo.GenerationKey(0),
				}
				c.run(d)
			}
		}
	}
}

// foreignSlot adds slots of another repository: no level calls that damage, and
// the password of one opens nothing.
func (c *campaign) foreignSlot(foreign *rich) {
	for i, key := range foreign.fixture.names("keys/") {
		at := fmt.Sprintf("keys/%032x", i+1)
		c.run(damage{name: "foreign slot", changes: map[string][]byte{at: foreign.files[key]}, mute: true})
		c.run(damage{name: "foreign slot", changes: map[string][]byte{key + "/x": foreign.files[key]}, mute: true})
	}
	slots := c.f.fixture.names("keys/")
	changes := map[string][]byte{slots[0]: nil, slots[1]: nil}
	c.cases++
	c.with(changes, func() {
		for _, l := range levels {
			if r, err := c.check(l); err != nil || r.OK() {
				c.t.Errorf("%s: no slot is left: %v\n%s", l.name, err, describe(r))
			}
		}
	})
}

// TestCampaignRollback takes the log back, and lets it go on differently. Who
// has seen more says so at every level; who has not sees a log like any other,
// and gets the right bytes of what it names.
func TestCampaignRollback(t *testing.T) {
	c := newCampaign(t, makeRich(t, richSeeds{1, 1, 1}))
	gens := c.f.fixture.names("gen/")
	for k := 1; k < len(gens); k++ {
		changes := map[string][]byte{}
		for _, key := range gens[len(gens)-k:] {
			changes[key] = nil
		}
		d := damage{name: fmt.Sprintf("%d generations removed", k), changes: changes, mute: true, lost: c.f.added(len(gens) - 1 - k)}
		c.run(d)
		c.rolledBack(d)
	}
	for step := range c.f.history[1:] {
		c.forked(step, gens)
	}
}

// forked lets the log go on differently after a step, whole and in part.
func (c *campaign) forked(step int, gens []string) {
	fork := c.f.fork(c.t, step)
	changes := map[string][]byte{}
	for key, data := range fork.files {
		if !bytes.Equal(data, c.f.files[key]) {
			changes[key] = data
		}
	}
	for _, key := range gens {
		if fork.files[key] == nil {
			changes[key] = nil
		}
	}
	d := damage{name: fmt.Sprintf("another log from generation %d on", step+2), changes: changes, mute: true, lost: c.f.added(step + 1)}
	c.run(d)
	c.rolledBack(d)
	// Some generations of each do not make a log.
	for n := step + 2; n < len(gens)-1; n++ {
		mixed := maps.Clone(changes)
		for _, key := range gens[n+1:] {
			delete(mixed, key)
		}
		c.run(damage{
			name:    fmt.Sprintf("generations %d to %d of another log", step+2, n),
			changes: mixed, sees: always, subject: gens[n+1], mute: true, lost: c.f.added(0),
		})
	}
}

// rolledBack looks at d with the eyes of a machine that has seen the head.
func (c *campaign) rolledBack(d damage) {
	c.t.Helper()
	c.cases++
	options := repo.Options{StateDir: c.t.TempDir()}
	if out := c.f.restoreAll(c.t, c.store, options); !out.whole || len(out.wrong) > 0 {
		c.t.Fatalf("%s: before: %v %v", d.name, out.err, out.wrong)
	}
	c.with(d.changes, func() {
		for _, l := range levels {
			r, err := repo.Open(c.t.Context(), c.store, options)
			if err != nil {
				c.t.Fatal(err)
			}
			report, err := Run(c.t.Context(), r, nil, Options{ReadData: l.readData}, nil)
			if err != nil || report.OK() || !strings.Contains(describe(report), repo.ErrRollback.Error()) {
				c.t.Errorf("%s: %s: rollback not seen: %v\n%s", d.name, l.name, err, describe(report))
			}
		}
		if out := c.f.restoreAll(c.t, c.store, options); !errors.Is(out.err, repo.ErrRollback) {
			c.t.Errorf("%s: restoring gave %v, want a rollback", d.name, out.err)
		}
	})
}
