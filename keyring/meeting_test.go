package keyring

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"bluesky/seal"
	"bluesky/store/fault"
)

// TestKeyRemoversMeet lets two machines remove each other's slot, or change
// their own meanwhile, in random orders of their accesses to the bucket: before
// each of them one password at least opens the repository.
func TestKeyRemoversMeet(t *testing.T) {
	m, random := newMeeting(t), seeded(t)
	const orders = 12
	crossed := 0
	for range orders {
		crossed += m.meet(t, random)
	}
	t.Logf("%d orders of %d pairs; two have removed each other in %d", orders, len(pairs()), crossed)
	if crossed == 0 {
		t.Error("in no order have two removed each other: this test has lost its grip")
	}
}

// TestKeyRemoversMeetFaults is TestKeyRemoversMeet where the first machine is
// struck, at each of its accesses in each way, and what it wrote is executed late
// at any moment of the second one, or behind both: a third of the pairs.
func TestKeyRemoversMeetFaults(t *testing.T) {
	random, all := seeded(t), pairs()
	random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	cases, late := newMeeting(t).sweep(t, random, all[:3])
	t.Logf("%d cases, %d late writes", cases, late)
	if cases < 50 || late == 0 {
		t.Errorf("only %d cases, %d late writes", cases, late)
	}
}

// TestSoakKeys is both, with all pairs, for as long as BLUESKY_SOAK says.
func TestSoakKeys(t *testing.T) {
	limit, err := time.ParseDuration(os.Getenv("BLUESKY_SOAK"))
	if err != nil {
		t.Skip("a long campaign: BLUESKY_SOAK says how long")
	}
	m, random := newMeeting(t), seeded(t)
	cases := 0
	for end := time.Now().Add(limit); time.Now().Before(end) && !t.Failed(); {
		m.meet(t, random)
		n, _ := m.sweep(t, random, pairs())
		cases += n + len(pairs())
	}
	t.Logf("%d cases", cases)
}

func seeded(t *testing.T) *rand.Rand {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// pairs are all pairs of operations that delete slots.
func pairs() (all [][2]keyOperation) {
	deleting := []keyOperation{removeKey, changeKey, removeOthers}
	for _, a := range deleting {
		for _, b := range deleting {
			all = append(all, [2]keyOperation{a, b})
		}
	}
	return all
}

// meet lets each pair meet once, in a random order. It returns how often both
// have removed the slot that the other one had begun with.
func (m *meeting) meet(t *testing.T, random *rand.Rand) (crossed int) {
	t.Helper()
	for _, pair := range pairs() {
		e := &encounter{meeting: m, pair: pair, s: &fault.Strike{}, turns: newTurns(random.Uint64(), 0)}
		errs := e.run(t)
		if pair[0].name == removeKey.name && pair[1].name == removeKey.name && errs == [2]error{} {
			crossed++
		}
	}
	return crossed
}

// sweep strikes the first of each pair, at each of its operations in each way, in
// random orders. It returns how many cases there were, and writes that were
// executed by neither of the two.
//
// In some orders the first one ends early, as its slot is gone. So fault.Sweep,
// which goes on to the next way when a run was not struck, would leave most out.
func (m *meeting) sweep(t *testing.T, random *rand.Rand, pairs [][2]keyOperation) (cases, late int) {
	t.Helper()
	for _, pair := range pairs {
		for _, way := range fault.Ways {
			k := 1
			for misses := 0; misses < 4; {
				e := &encounter{meeting: m, pair: pair, s: &fault.Strike{Way: way, K: k}, turns: newTurns(random.Uint64(), random.Uint64())}
				e.run(t)
				late += e.late
				if misses++; e.s.Struck() {
					k, misses = k+1, 0
				}
			}
			cases += k - 1
		}
	}
	return cases, late
}

// A meeting is a repository with two slots, of passwords p0 and p1.
type meeting struct {
	objects *fault.Memory
	rings   [2]*Ring

	mu    sync.Mutex
	known map[string]string // guarded by mu: by the bytes of a slot, what opens it
}

func newMeeting(t *testing.T) *meeting {
	b := fault.New()
	st := openBucket(t, b)
	create(t, st, options(t, "p0"))
	addPassword(t, st, "p0", "p1")
	return &meeting{objects: b.Objects, rings: [2]*Ring{unlock(t, st, "p0"), unlock(t, st, "p1")}, known: map[string]string{}}
}

// open returns a bucket of its own with the repository.
func (m *meeting) open() *fault.Bucket { return fault.Over(m.objects.Clone()) }

// ring returns the ring of p0 or p1, for b.
func (m *meeting) ring(t *testing.T, i int, b *fault.Bucket) *Ring {
	t.Helper()
	ring := *m.rings[i]
	ring.repo = open(t, openBucket(t, b))
	return &ring
}

// opening returns the passwords that open the repository, past all faults.
func (m *meeting) opening(b *fault.Bucket) map[string]bool {
	now := map[string]bool{}
	for key, data := range b.Objects.All() {
		name, isSlot := strings.CutPrefix(key, "keys/")
		if id, err := hex.DecodeString(name); isSlot && err == nil {
			now[m.password(seal.SlotID(id), data)] = true
		}
	}
	delete(now, "")
	return now
}

// password returns what opens a slot, "" if none does.
func (m *meeting) password(id seal.SlotID, data []byte) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if password, ok := m.known[string(id[:])+string(data)]; ok {
		return password
	}
	ours := m.rings[0].bundle
	i := slices.IndexFunc(passwords, func(p string) bool {
		b, err := seal.OpenSlot(id, data, ours.Repository, []byte(p), seal.MemoryLimit())
		return err == nil && identity(b) == identity(ours) && b.Root == ours.Root
	})
	password := ""
	if i >= 0 {
		password = passwords[i]
	}
	m.known[string(id[:])+string(data)] = password
	return password
}

var passwords = []string{"p0", "p1", "new"}

// others lets a password take all others away, if it opens the repository. It
// goes on to open it, unless it is told that it does not: its slot was deleted
// late, meanwhile.
func (m *meeting) others(t *testing.T, what fmt.Stringer, b *fault.Bucket, password string) (late int) {
	t.Helper()
	b.Inject(func(fault.Op) fault.Effect { m.wantAny(t, what, b); return fault.None })
	defer b.Inject(nil)
	if !m.opening(b)[password] {
		return b.Settle()
	}
	ring, err := Unlock(t.Context(), open(t, openBucket(t, b)), []byte(password))
	if err == nil {
		err = ring.removeOthers(t.Context())
	}
	if err != nil && m.opening(b)[password] {
		t.Errorf("%v: then %s takes the others away: %v", what, password, err)
	}
	late = b.Settle()
	m.wantAny(t, what, b)
	if err == nil && !m.opening(b)[password] {
		t.Errorf("%v: then %s took the others away, and opens no more", what, password)
	}
	return late
}

// wantAny checks that a password opens the repository.
func (m *meeting) wantAny(t *testing.T, what fmt.Stringer, b *fault.Bucket) {
	t.Helper()
	if len(m.opening(b)) == 0 {
		t.Errorf("%v: no password opens the repository", what)
	}
}

// An encounter is that of two machines with the slots p0 and p1.
type encounter struct {
	*meeting
	pair  [2]keyOperation
	s     *fault.Strike // of the first
	turns *turns
	b     [2]*fault.Bucket // how each sees the one repository
	late  int              // writes that were executed between operations, or behind all
}

func (e *encounter) String() string {
	return fmt.Sprintf("%s and %s, order %#x, late writes %#x; %v", e.pair[0].name, e.pair[1].name, e.turns.order, e.turns.late, e.s)
}

// run does both operations, each with its own ring and the slot of the other, in
// their order, and then lets a password that opens take the others away. It
// returns the errors.
func (e *encounter) run(t *testing.T) (errs [2]error) {
	t.Helper()
	objects := e.objects.Clone()
	var rings [2]*Ring
	for i := range e.b {
		e.b[i] = fault.Over(objects)
		rings[i] = e.ring(t, i, e.b[i])
	}
	e.b[0].Inject(fault.First(e.step(t, 0), e.s.Plan))
	e.b[1].Inject(e.step(t, 1))
	var both sync.WaitGroup
	for i, op := range e.pair {
		both.Go(func() {
			defer e.turns.leave(i)
			_, errs[i] = op.run(t.Context(), rings[i], seal.SlotID(e.rings[1-i].slot.ID))
		})
	}
	both.Wait()
	e.wantAny(t, e, e.b[0])
	open := slices.Sorted(maps.Keys(e.opening(e.b[0])))
	if len(open) > 0 {
		e.late += e.others(t, e, e.b[0], open[e.turns.order%uint64(len(open))])
	}
	return errs
}

// step waits for the turn of machine i before each of its operations, and looks
// after the passwords.
func (e *encounter) step(t *testing.T, i int) fault.Plan {
	return func(fault.Op) fault.Effect {
		if e.turns.wait(i) {
			e.late += e.b[0].Settle() // it has the turn
		}
		e.wantAny(t, e, e.b[i])
		return fault.None
	}
}

// turns let two machines take one step after the other: the one whose turn it
// is goes on until it comes to its next operation.
type turns struct {
	order, late uint64 // bits: whose turn is next, and whether late writes are executed then

	mu      sync.Mutex
	changed *sync.Cond
	step    int     // guarded by mu, as all below
	turn    int     // whose it is
	began   [2]bool // has had a turn
	left    [2]bool
}

func newTurns(order, late uint64) *turns {
	s := &turns{order: order, late: late & (late >> 7) & (late >> 17)}
	s.changed = sync.NewCond(&s.mu)
	s.next()
	return s
}

// next gives the turn away. It needs mu.
func (s *turns) next() {
	s.turn = int(s.order >> (s.step % 64) & 1)
	s.step++
	if s.left[s.turn] {
		s.turn = 1 - s.turn
	}
	s.changed.Broadcast()
}

// wait ends the turn of machine i, if it is its, and returns at the next one. It
// reports whether late writes are executed then.
func (s *turns) wait(i int) (late bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began[i] {
		s.next()
	}
	s.began[i] = true
	for s.turn != i {
		s.changed.Wait()
	}
	return s.late>>(s.step%64)&1 == 1
}

// leave ends the turns of machine i.
func (s *turns) leave(i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left[i] = true
	if s.turn == i {
		s.next()
	}
	s.changed.Broadcast()
}
