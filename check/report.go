package check

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"bluesky/object"
	"bluesky/pack"
)

// A Severity says what a problem means.
type Severity int

// The severities.
const (
	// Note is what a person may want to know; nothing is wrong.
	Note Severity = iota
	// Warning may be damage, and cannot be told from what a crash leaves behind.
	Warning
	// Error is damage.
	Error
)

func (s Severity) String() string { return [...]string{"note", "warning", "error"}[s] }

// A Problem is something that a check came upon. Names in it are bytes as they
// stand in the repository; whoever prints them quotes them.
type Problem struct {
	Severity Severity
	Subject  string // a key of the bucket, an object, a snapshot
	Text     string
	// Files are the paths that cannot be restored whole because of it, at most
	// Options.MaxFiles; known only with the key. A path that ends with a slash
	// stands for all below it.
	Files     []string
	MoreFiles int // not named
	// Snapshots are those that it concerns, at most Options.MaxFiles.
	Snapshots     []object.ID
	MoreSnapshots int // not named
}

// A Report says what a check found.
type Report struct {
	Level      string // what was checked, for the last line that a person reads
	Identity   bool   // a key or the trust file confirms which repository it is
	Generation uint64 // number of the newest generation
	ReadOnly   bool   // the log holds ops of a newer bluesky

	Generations uint64 // verified, generation 0 included
	Checkpoints uint64 // compared with the log
	Runs        uint64
	Segments    uint64
	Objects     uint64 // rows of the index
	Opened      uint64 // objects that were decrypted
	ReadWhole   uint64 // segments that were read whole
	Snapshots   uint64
	Inodes      uint64 // of all trees, each counted where it changed
	KeySlots    int
	BytesRead   uint64

	Problems []Problem // errors first, then by subject
	Errors   int       // problems of severity Error, those that are not listed included
	Warnings int
	Omitted  int // problems that are not listed
	// BrokenSegments are missing or damaged.
	BrokenSegments []pack.Name
	// SuggestRepairIndex: a run is missing or damaged, and the segment headers
	// can make it again.
	SuggestRepairIndex bool
	// SuggestRecount: counts that a cleaner keeps are missing or wrong, and can be
	// counted anew.
	SuggestRecount bool
	// SuggestPrune: the bucket holds files that nothing refers to.
	SuggestPrune bool
	// Unseen is what this level cannot see.
	Unseen []string
}

// OK reports whether everything that the level can see is right.
func (r *Report) OK() bool { return r.Errors == 0 }

// A book collects problems. It is safe for concurrent use.
type book struct {
	options  Options
	progress Progress

	mu       sync.Mutex
	problems []Problem
	errors   int
	warnings int
	omitted  int
	broken   map[pack.Name]struct{}
	repair   bool // suggest it
	prune    bool // suggest it
	recount  bool // suggest it
	// lost are the objects of which no copy is right, by the problem that
	// explains it, -1 for one that is not listed.
	lost map[object.ID]int
}

func newBook(options Options, progress Progress) *book {
	return &book{
		options: options, progress: progress,
		broken: map[pack.Name]struct{}{}, lost: map[object.ID]int{},
	}
}

// add records a problem and returns its place, -1 if it is not listed.
func (b *book) add(severity Severity, subject, text string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.addLocked(severity, subject, text)
}

// addLocked needs b.mu.
func (b *book) addLocked(severity Severity, subject, text string) int {
	switch severity {
	case Error:
		b.errors++
	case Warning:
		b.warnings++
	}
	p := Problem{Severity: severity, Subject: subject, Text: text}
	b.progress.Problem(p)
	if len(b.problems) >= b.options.MaxProblems {
		b.omitted++
		return -1
	}
	b.problems = append(b.problems, p)
	return len(b.problems) - 1
}

// damaged records an error because of which objects are lost.
func (b *book) damaged(subject string, ids []object.ID, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.addLocked(Error, subject, text)
	for _, id := range ids {
		if _, ok := b.lost[id]; !ok {
			b.lost[id] = at
		}
	}
}

// isLost reports whether it is known already that an object is lost.
func (b *book) isLost(id object.ID) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.lost[id]
	return ok
}

func (b *book) lostCount() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lost)
}

func (b *book) breakSegment(name pack.Name) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken[name] = struct{}{}
}

func (b *book) suggestRepair() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.repair = true
}

func (b *book) suggestRecount() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.recount = true
}

func (b *book) suggestPrune() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.prune = true
}

// nameFile notes that the problem at, which is listed, concerns the file of that
// path, which it was not told before.
func (b *book) nameFile(at int, path string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &b.problems[at]
	if len(p.Files) >= b.options.MaxFiles {
		p.MoreFiles++
		return
	}
	p.Files = append(p.Files, path)
}

// nameSnapshot notes that the problem at concerns a snapshot, which it was not
// told before.
func (b *book) nameSnapshot(at int, id object.ID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if at < 0 {
		return
	}
	p := &b.problems[at]
	if len(p.Snapshots) >= b.options.MaxFiles {
		p.MoreSnapshots++
		return
	}
	p.Snapshots = append(p.Snapshots, id)
}

func (c *checker) report() Report {
	b := c.book
	b.mu.Lock()
	defer b.mu.Unlock()
	r := Report{
		Identity:    c.repo.Verified(),
		Generations: c.counts.generations, Checkpoints: c.counts.checkpoints,
		Runs: uint64(len(c.runs)), Segments: uint64(len(c.segments)), Objects: c.counts.objects,
		Opened: c.counts.opened.Load(), ReadWhole: c.counts.whole.segments, Inodes: c.counts.inodes, KeySlots: c.counts.slots,
		BytesRead: c.bytes.Load(),
		Problems:  sorted(b.problems), Errors: b.errors, Warnings: b.warnings, Omitted: b.omitted,
		SuggestRepairIndex: b.repair, SuggestRecount: b.recount, SuggestPrune: b.prune,
	}
	for name := range b.broken {
		r.BrokenSegments = append(r.BrokenSegments, name)
	}
	slices.SortFunc(r.BrokenSegments, func(x, y pack.Name) int { return slices.Compare(x[:], y[:]) })
	if c.state != nil {
		r.Generation, r.Snapshots, r.ReadOnly = c.state.Generation, uint64(len(c.state.Snapshots)), c.state.ReadOnly()
	}
	r.Level, r.Unseen = c.level()
	return r
}

// sorted returns a copy of list in an order that does not depend on which of
// several readers was faster.
func sorted(list []Problem) []Problem {
	list = slices.Clone(list)
	slices.SortStableFunc(list, func(x, y Problem) int {
		return cmp.Or(cmp.Compare(y.Severity, x.Severity), cmp.Compare(x.Subject, y.Subject), cmp.Compare(x.Text, y.Text))
	})
	return list
}

// part names the part of the segments that was chosen to be read whole, and the
// rest. It is empty where there is no such choice, or it fell on all of them.
func (c *checker) part() (part, rest string) {
	all, read := c.counts.wanted, c.counts.whole
	if !c.chosen || read.segments == all.segments {
		return "", ""
	}
	percent := 100 * float64(read.bytes) / float64(all.bytes)
	part = fmt.Sprintf("%d of %d segments (%.1f%% of their bytes)", read.segments, all.segments, percent)
	return part, fmt.Sprintf("%d of %d segments, which were not read", all.segments-read.segments, all.segments)
}

// moved says what a cleaner has taken from the check.
func (c *checker) moved() []string {
	taken := int(c.takenWhole.Load())
	for _, s := range c.segments {
		if s.taken {
			taken++
		}
	}
	var unseen []string
	if taken > 0 {
		unseen = append(unseen, fmt.Sprintf("%d segments that a prune has taken while the check ran: what it kept of them stands in new ones, which were not checked", taken))
	}
	if n := c.counts.forgotten; n > 0 {
		unseen = append(unseen, fmt.Sprintf("%d snapshots that were forgotten and pruned while the check ran", n))
	}
	return unseen
}

// level names the level and what it cannot see.
func (c *checker) level() (string, []string) {
	level := "chain, signatures, checkpoints, index, graph, existence and sizes"
	if c.counts.counted {
		level = "chain, signatures, checkpoints, index, graph, counts, existence and sizes"
	}
	unseen := c.moved()
	if c.uncountable.Load() {
		unseen = append(unseen, "reference counts: what they are made of is damaged")
	}
	if c.uncounted.Load() {
		unseen = append(unseen, "reference counts: a prune has replaced them while the check ran")
	}
	if !c.repo.Verified() {
		unseen = append(unseen, "identity not verified: no key and no trust file says that this is the repository you mean")
	}
	switch part, rest := c.part(); {
	case part != "" && c.keys != nil:
		level += "; " + part + " decrypted; all metadata decrypted, trees of all snapshots"
		unseen = append(unseen, rest+": whether file contents are whole")
	case part != "":
		level += "; all sums and hashes of " + part + "; without the key"
		unseen = append(unseen, rest+": whether the bytes of objects are whole",
			"without the key: whether objects decrypt to what their ids say, and what the trees of the snapshots say")
	case c.chosen && c.keys != nil:
		level += "; all data decrypted, trees of all snapshots"
	case c.chosen:
		level += "; all sums and hashes; without the key"
		unseen = append(unseen, "without the key: whether objects decrypt to what their ids say, and what the trees of the snapshots say")
	case c.keys != nil:
		level += "; all metadata decrypted, trees of all snapshots"
		unseen = append(unseen, "without --read-data: whether file contents are whole")
	default:
		level += "; without the key"
		unseen = append(unseen, "without --read-data and the key: whether the bytes of objects are whole")
	}
	return level, append(unseen, "passwords: whether each key slot opens with its own")
}
