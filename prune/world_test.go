package prune

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/repo"
	"bluesky/store/fault"
)

// A world is a bucket and processes that use it. Each of them waits before
// every operation until the test lets it go on, and says what becomes of the
// operation: so the test decides in which order things happen, and the real code
// what they are. It lives in a bubble of testing/synctest.
type world struct {
	*bed   // over the bucket, past all faults: for the beginning, the oracle and the end
	memory *fault.Memory
	procs  []*process

	mu      sync.Mutex
	waiting []*waiting                // guarded by mu
	graph   map[object.ID][]object.ID // guarded by mu: the refs of all that was ever sealed
	kept    map[object.ID]bool        // guarded by mu: snapshots that were reported, and not forgotten since
	met     map[string]int            // guarded by mu: what has happened, see observe

	seen     *repo.State          // newest that was checked
	by       string               // process that made it
	wrote    map[pack.Name]string // which process has put a segment
	known    map[pack.Name]bool   // segments that were registered
	deletes  int
	problems []string
}

// A waiting is an operation that a process is about to make.
type waiting struct {
	p     *process
	op    fault.Op
	reply chan fault.Effect
}

func (w *waiting) String() string { return w.p.name + " " + w.op.Kind.String() + " " + w.op.Key }

// commits reports whether an operation is the commit point of a generation.
func (w *waiting) commits() bool {
	return w.op.Kind == fault.Create && strings.HasPrefix(w.op.Key, "gen/")
}

// A process is a run of a program on some machine.
type process struct {
	*world
	name   string
	bucket *fault.Bucket
	rand   *rand.Rand // for what it chooses to do
	state  string     // folder of the machine; "" for none

	mu   sync.Mutex
	dead bool // guarded by mu: killed; nothing that it does reaches the bucket
	done bool // guarded by mu
	err  error
}

// newWorld makes a repository with small segments. It is called in a bubble.
func newWorld(t testing.TB, seed uint64) *world {
	memory := fault.NewMemory()
	return worldOf(newBedIn(t, openFault(fault.Over(memory)), seed, 65536), memory)
}

// worldOf makes a world of a repository that is in memory.
func worldOf(b *bed, memory *fault.Memory) *world {
	return &world{
		bed: b, memory: memory, graph: map[object.ID][]object.ID{}, kept: map[object.ID]bool{},
		met: map[string]int{}, wrote: map[pack.Name]string{}, known: map[pack.Name]bool{},
	}
}

// start runs jobs one after the other in a process of its own. It comes to its
// first operation.
func (w *world) start(name, state string, seed uint64, jobs ...job) *process {
	p := &process{world: w, name: name, state: state, bucket: fault.Over(w.memory), rand: rand.New(rand.NewPCG(seed, 2))}
	p.bucket.Inject(p.gate)
	w.procs = append(w.procs, p)
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	copy(key[8:], name)
	options := repo.Options{StateDir: state, Rand: &lockedRand{r: rand.NewChaCha8(key)}, Now: time.Now}
	go func() {
		err := p.run(w.Context(), options, jobs)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.done, p.err = true, err
	}()
	synctest.Wait()
	return p
}

func (p *process) run(ctx context.Context, options repo.Options, jobs []job) error {
	st := openFault(p.bucket)
	defer st.Close()
	r, err := repo.Open(ctx, st, options)
	if err != nil {
		return err
	}
	var errs []error
	for _, do := range jobs {
		if err := do(ctx, p, r); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// lockedRand is a source for several goroutines.
type lockedRand struct {
	mu sync.Mutex
	r  *rand.ChaCha8
}

func (l *lockedRand) Read(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Read(b)
}

// gate holds an operation until the test says what becomes of it.
func (p *process) gate(op fault.Op) fault.Effect {
	p.mu.Lock()
	dead := p.dead
	p.mu.Unlock()
	if dead {
		return fault.Refuse
	}
	w := &waiting{p, op, make(chan fault.Effect)}
	p.world.mu.Lock()
	p.waiting = append(p.waiting, w)
	p.world.mu.Unlock()
	return <-w.reply
}

func (p *process) isDone() (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done, p.err
}

// ready returns the operations that wait, in an order that does not depend on
// how goroutines are scheduled.
func (w *world) ready() []*waiting {
	w.mu.Lock()
	defer w.mu.Unlock()
	slices.SortFunc(w.waiting, func(a, b *waiting) int { return strings.Compare(a.String(), b.String()) })
	return slices.Clone(w.waiting)
}

// step lets one operation go on, and the process up to its next ones.
func (w *world) step(next *waiting, effect fault.Effect) {
	w.take(next)
	if next.op.Kind == fault.Delete {
		w.wantCondemned(next.op.Key)
	}
	if name, err := repo.ParseName(next.op.Key); err == nil && name.Folder == repo.FolderSegments && next.op.Kind&(fault.Create|fault.Put) != 0 {
		w.wrote[pack.Name(name.ID)] = next.p.name
	}
	next.reply <- effect
	synctest.Wait()
	if next.commits() {
		w.by = next.p.name
		w.check()
	}
}

// take takes an operation out of those that wait.
func (w *world) take(next *waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = slices.DeleteFunc(w.waiting, func(x *waiting) bool { return x == next })
}

// kill ends a process in the middle of an operation, of which effect says what
// becomes. It returns what the machine has on its disk at that moment.
func (w *world) kill(next *waiting, effect fault.Effect) (state string) {
	p := next.p
	if p.state != "" {
		state = w.TempDir()
		if err := os.CopyFS(state, os.DirFS(p.state)); err != nil {
			w.Fatal(err)
		}
	}
	p.mu.Lock()
	p.dead = true
	p.mu.Unlock()
	w.step(next, effect)
	for _, left := range w.ready() {
		if left.p == p {
			w.take(left)
			left.reply <- fault.Refuse
		}
	}
	synctest.Wait()
	if done, _ := p.isDone(); !done {
		w.Fatalf("%s goes on although nothing answers any more", p.name)
	}
	return state
}

// stop ends all processes.
func (w *world) stop() {
	for _, p := range w.procs {
		p.mu.Lock()
		p.dead = true
		p.mu.Unlock()
	}
	for _, left := range w.ready() {
		w.take(left)
		left.reply <- fault.Refuse
	}
	synctest.Wait()
}

// settle executes the writes of a process that were delayed.
func (w *world) settle(p *process) int {
	n := p.bucket.Settle()
	if n > 0 {
		w.by = p.name
		w.check()
	}
	return n
}

// broken notes that something is wrong; the first of all says what.
func (w *world) broken(format string, args ...any) {
	w.problems = append(w.problems, fmt.Sprintf(format, args...))
}

// drain lets a process run to its end, which is to be a good one.
func (w *world) drain(p *process) {
	w.Helper()
	for {
		ready := w.ready()
		if len(ready) == 0 {
			break
		}
		w.step(ready[0], fault.None)
	}
	if done, err := p.isDone(); !done || err != nil {
		w.broken("%s: done %v, %v", p.name, done, err)
	}
}
