// Package check verifies a repository: that what its log promises is in the
// bucket, whole, and, for whoever holds the key, that every file of every
// snapshot can be restored.
//
// There are four levels, of Options.ReadData and of having the key; each sees
// what those before it see. Options.Subset is read data for some of the segments:
//
//	default                chain, signatures, checkpoints, runs against segment headers,
//	                       closure of the graph, counts, existence and sizes
//	default with the key   every reachable metadata object opened, the trees of all snapshots
//	read data              every sum and hash of every segment
//	read data with the key every object decrypted and its id recomputed
//
// OK at a level means that all that the level can see is right. What it could
// not see stands in [Report.Unseen].
//
// Nothing is written, and nothing is believed because it is cached: runs and
// headers are read from the bucket. Memory is that of the index (64 bytes for
// each object, in mapped files where there is a cache), 4 bytes for each row of
// one run, [readers] headers and reads of 4 MiB; with the key 16 bytes for each
// inode of one snapshot, and at the level read data 20 bytes for each block.
package check

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
	"bluesky/prune"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/store"
)

// Options say how much to check.
type Options struct {
	// ReadData reads all segments whole.
	ReadData bool
	// Subset reads those that it chooses, if ReadData does not read all.
	Subset Subset
	// Random chooses segments; nil is the system's randomness.
	Random *rand.Rand
	// MaxProblems is how many problems the report lists; the others are counted
	// only. 0 is 1,000.
	MaxProblems int
	// MaxFiles is how many files are named for each problem; 0 is 20.
	MaxFiles int
	// Folder is where refs go for a while that are too many for memory, as
	// [prune.RecountOptions] says; "" keeps them all in memory.
	Folder string
}

// reads reports whether any segment is read whole.
func (o *Options) reads() bool { return o.ReadData || o.Subset != Subset{} }

// Progress is told what a check does. Its methods are called concurrently and
// must return soon.
type Progress interface {
	// Phase is called when a part of the check begins, with the number of steps
	// that it has, 0 if that is not known.
	Phase(name string, steps uint64)
	// Step is called when steps of the phase are done.
	Step(n uint64)
	// Problem is called for each problem when it is found, before the files that
	// it concerns are known.
	Problem(p Problem)
}

// NoProgress is a Progress that tells nobody.
type NoProgress struct{}

func (NoProgress) Phase(string, uint64) {}
func (NoProgress) Step(uint64)          {}
func (NoProgress) Problem(Problem)      {}

// readers is how many segments are read at once.
const readers = 8

// maxReadErrors is how many files may fail to be read before the bucket itself
// is taken to be out of reach.
const maxReadErrors = 16

// Run checks r. keys may be nil.
//
// The report says what is wrong. The error says that the check could not be
// finished, and why: then the report covers what was seen until then, and
// nothing is to be called right.
func Run(ctx context.Context, r *repo.Repo, keys *seal.Keys, options Options, progress Progress) (Report, error) {
	if options.MaxProblems == 0 {
		options.MaxProblems = 1000
	}
	if options.MaxFiles == 0 {
		options.MaxFiles = 20
	}
	if options.Random == nil {
		options.Random = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	if progress == nil {
		progress = NoProgress{}
	}
	if keys != nil {
		admin := repo.PublicKey(keys.Admin().Public().(ed25519.PublicKey))
		if id := r.Identity(); keys.Repository() != id.Repository || admin != id.Admin {
			return Report{}, fmt.Errorf("check: %w: the key is of repository %s", repo.ErrForeign, keys.Repository())
		}
	}
	c := &checker{
		repo: r, store: r.Store(), keys: keys, options: options, progress: progress,
		book: newBook(options, progress), bad: map[copyOf]struct{}{},
	}
	err := c.run(ctx)
	if c.recount != nil {
		if closeErr := c.recount.Close(); err == nil {
			err = closeErr
		}
	}
	return c.report(), err
}

// A checker is one run of a check.
type checker struct {
	repo     *repo.Repo
	store    *store.Store
	keys     *seal.Keys // may be nil
	options  Options
	progress Progress
	book     *book

	state       *repo.State
	checkpoints []repo.CheckpointRef // all that the log records
	listed      listing
	runs        []openRun    // those that are right
	index       *index.Index // of runs
	segments    []*segment   // of runs, not condemned or gone
	lostRun     bool         // some run could not be opened
	later       meanwhile
	chosen      bool          // the check came to reading segments whole
	takenWhole  atomic.Uint64 // segments that were to be read whole and that a cleaner took
	lengths     *blockLengths // nil unless blocks were opened
	bytes       atomic.Uint64 // read from the bucket
	unread      atomic.Uint64 // files that could not be read
	counts      counts

	recount     *prune.Recounter // nil where there are no counts
	uncountable atomic.Bool      // what it counts is damaged
	uncounted   atomic.Bool      // a cleaner took something of what it counts, or is compared with

	badMu sync.Mutex
	bad   map[copyOf]struct{} // copies of objects that are damaged; guarded by badMu
}

// counts are what the report counts beside problems.
type counts struct {
	generations, checkpoints, objects, inodes uint64
	slots                                     int
	forgotten                                 int    // snapshots, while they were checked
	wanted, whole                             volume // segments that have a header; those of them that were chosen to be read
	opened                                    atomic.Uint64
	counted                                   bool // refs, and compared with what is stored
}

// A volume is a number of segments and their bytes.
type volume struct{ segments, bytes uint64 }

// openRun is a run whose bytes were verified.
type openRun struct {
	repo.Run
	run *index.Run
}

// A segment is one that a verified run describes.
type segment struct {
	index.Segment
	run     int // in checker.runs
	ordinal uint32
	absent  bool // it cannot be read, or its header is not what the run says
	taken   bool // absent, because a cleaner took it meanwhile
	whole   bool // all of it is read, or was
}

func (c *checker) run(ctx context.Context) error {
	steps := []func(context.Context) error{
		c.begin, c.list, c.findOrphans, c.checkSlots, c.beginRecount, c.checkSegments, c.checkCounts, c.checkSnapshots,
	}
	if c.options.reads() {
		steps = append(steps, c.readData)
	}
	if c.keys != nil {
		steps = append(steps, c.checkTrees)
	}
	steps = append(steps, c.traceDamage)
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
		if n := c.unread.Load(); n > maxReadErrors {
			return fmt.Errorf("check given up: %d files could not be read from %s", n, c.store.Location())
		}
	}
	return nil
}

// isDamage reports whether err says something about what is stored, rather than
// that it could not be read.
func isDamage(err error) bool {
	for _, kind := range []error{
		object.ErrCorrupt, object.ErrVersion, store.ErrNotFound, store.ErrShort, store.ErrTooLarge, repo.ErrNotFound,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// failed records what is wrong with a file of the bucket, or with an object in
// it. The error it returns ends the check.
func (c *checker) failed(ctx context.Context, subject string, ids []object.ID, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if !isDamage(err) {
		if c.unread.Add(1) > maxReadErrors {
			return fmt.Errorf("check given up: too much cannot be read; the last was %s: %w", subject, err)
		}
		err = fmt.Errorf("cannot be read: %w", err)
	}
	c.book.damaged(subject, ids, err.Error())
	return nil
}

// GetRange reads from the bucket and counts the bytes; so a checker is a
// [pack.ReaderAt].
func (c *checker) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	data, err := c.store.GetRange(ctx, key, off, n)
	c.bytes.Add(uint64(len(data)))
	return data, err
}

var _ pack.ReaderAt = (*checker)(nil)
