// Package restore writes the tree of a snapshot into a folder.
//
// One walk goes through the selected part of the tree, makes directories and
// gathers which blocks the files need. Each time enough of them have come
// together, they are read segment by segment, each block is opened once and
// written wherever it belongs, and a file whose last block has arrived gets its
// metadata. At the end come hard links, the metadata of directories from the
// deepest up, flags that forbid changes, and one sync of the file system.
//
// Invariants:
//
//   - Nothing outside the target is touched, whatever the snapshot says and
//     whatever stood in the target: everything goes through descriptors of
//     directories that openat2(2) has opened beneath it, and no symlink below
//     the target is followed.
//   - A file holds the bytes that were backed up, or its path is reported. One
//     that this run made and could not finish is removed.
//   - A file has mode 0600 while it is written and gets its time of
//     modification last, so a run after a crash knows what was not finished.
//
// docs/restore.md tells the order of steps, what a crash leaves, and
// how much memory it takes. Linux 5.6 is needed, for openat2.
package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"bluesky/repo"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// ErrNoSpace: the target is full. What was restored by then stays, and the same
// restore again goes on from there.
var ErrNoSpace = errors.New("no space is left in the target")

// Overwrite says what happens to files that exist in the target. Directories
// are always entered and get the metadata of the snapshot.
type Overwrite int

// The policies, as restic has them.
const (
	// OverwriteAlways makes every file what the snapshot says. Blocks that
	// stand in their place already are not fetched.
	OverwriteAlways Overwrite = iota
	// OverwriteIfChanged is the same, but takes content for equal where size
	// and time of modification are.
	OverwriteIfChanged
	// OverwriteIfNewer leaves a file alone unless that of the snapshot was
	// modified later.
	OverwriteIfNewer
	// OverwriteNever leaves every file alone that is there.
	OverwriteNever
)

var overwriteNames = []string{"always", "if-changed", "if-newer", "never"}

func (o Overwrite) String() string {
	if o < 0 || int(o) >= len(overwriteNames) {
		return fmt.Sprintf("overwrite(%d)", int(o))
	}
	return overwriteNames[o]
}

// ParseOverwrite reads the name of a policy.
func ParseOverwrite(name string) (Overwrite, error) {
	i := slices.Index(overwriteNames, name)
	if i < 0 {
		return 0, fmt.Errorf("overwrite %q: want %s", name, strings.Join(overwriteNames, ", "))
	}
	return Overwrite(i), nil
}

// Options say what to restore, and how.
type Options struct {
	// Target is the folder to restore into, made with mode 0700 if it is
	// absent. A link that leads to it is followed.
	Target string
	// Subpath is the absolute path, in the snapshot, of what to restore; ""
	// or "/" is all. What is in a directory lands in Target itself; anything
	// else lands there under its name.
	Subpath string
	// Select says of a path, below Subpath and beginning with "/", whether it
	// is restored, and of a directory, whether something below it may be. A
	// directory that is not selected but has something below it that is, is
	// restored too. nil selects all. It is not called concurrently.
	Select func(path string, dir bool) (selected, childMayMatch bool)

	Overwrite Overwrite
	// PreserveSpecial restores devices, capabilities and the setuid and setgid
	// bits of files also where the default does not: they come back when root
	// restores a whole snapshot, and not when a part of one is restored to
	// somewhere, perhaps by somebody else.
	PreserveSpecial bool
	// DryRun reports what would be done and writes nothing.
	DryRun bool
	// Verify reads every file again from the disk, before it gets its
	// metadata, and compares it with the ids of its blocks.
	Verify bool
	// Connections is how many segments are read at once; 0 is 8. Each takes
	// about 4 MiB of memory.
	Connections int
}

// special reports whether what the default restores only for root and whole
// snapshots is restored.
func (o *Options) special() bool {
	whole := o.Select == nil && (o.Subpath == "" || o.Subpath == "/")
	return o.PreserveSpecial || whole && isRoot()
}

func isRoot() bool { return unix.Geteuid() == 0 }

// A Result says what a restore did. Entries are of all types, directories
// among them; several names of one file are an entry each, whose bytes count
// once.
type Result struct {
	TotalEntries    int // found and selected
	EntriesRestored int // made or updated
	EntriesSkipped  int // found unchanged, or left out
	TotalBytes      uint64
	BytesRestored   uint64 // written
	BytesSkipped    uint64 // found in place, or left out
	Errors          int    // calls of Progress.Error
	Warnings        int    // calls of Progress.Warning
}

// Run restores the snapshot from, or a part of it.
//
// What cannot be restored is reported to progress and counted in
// Result.Errors; all else is restored. The error is for what ends the run
// before that: a target that cannot be written ([ErrNoSpace]), a Subpath that
// is not there ([io/fs.ErrNotExist]), metadata of the snapshot that leads
// nowhere, a snapshot that is forgotten and deleted meanwhile
// ([repo.ErrForgotten]), a canceled ctx. When Run returns nil, what it has restored is
// durable. progress may be nil.
func Run(ctx context.Context, r *repo.Repo, keys *seal.Keys, from snapshot.Snapshot, options Options, progress Progress) (Result, error) {
	if progress == nil {
		progress = NoProgress{}
	}
	s := newRestorer(ctx, r, keys, from, options, progress)
	defer s.stop()
	err := s.run()
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // what else went wrong came of it
	} else if cause := context.Cause(s.ctx); err != nil && cause != nil {
		err = cause
	}
	return s.result(), err
}

// A restorer is one run.
type restorer struct {
	ctx     context.Context // canceled with what ends the run as its cause
	cancel  context.CancelCauseFunc
	repo    *repo.Repo
	keys    *seal.Keys
	params  tree.Params
	source  *seal.Reader
	tree    *tree.Map
	options Options
	special bool
	root    bool // the process is root
	dirs    *dirCache
	handles *handles
	jobs    *pool

	progress Progress
	mu       sync.Mutex
	res      Result // guarded by mu

	window window

	// The rest belongs to the goroutine that walks.
	made    []*dir // in the order of making: a directory stands behind the one above
	seen    map[uint64]struct{}
	links   map[uint64]*link
	aliases []alias

	flagsMu sync.Mutex
	guarded []guarded // guarded by flagsMu
}

func newRestorer(ctx context.Context, r *repo.Repo, keys *seal.Keys, from snapshot.Snapshot, options Options, progress Progress) *restorer {
	params := tree.Params(r.Config().Tree)
	source := seal.NewReader(r.Of(from.ID), keys)
	s := &restorer{
		repo: r, keys: keys, params: params, source: source,
		tree:    tree.OpenMap(source, keys, params, from.Root),
		options: options, special: options.special(), root: isRoot(),
		handles: newHandles(maxOpenFiles), jobs: newPool(),
		progress: progress, window: window{limit: windowUses},
		seen: map[uint64]struct{}{}, links: map[uint64]*link{},
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	return s
}

// stop ends what is still under way and closes what is open.
func (s *restorer) stop() {
	s.jobs.wait()
	s.handles.closeAll()
	if s.dirs != nil {
		s.dirs.close()
	}
	s.cancel(nil)
}

func (s *restorer) run() error {
	start, err := s.resolve()
	if err != nil {
		return err
	}
	top, err := s.openTarget()
	if err != nil {
		return err
	}
	if err := s.walk(top, start); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	return s.finishTree()
}

// finishTree does what has to wait until all files are there.
func (s *restorer) finishTree() error {
	if s.options.DryRun {
		return nil
	}
	for _, step := range []func(){s.makeAliases, s.applyGuards, s.finishDirs} {
		step()
		if err := context.Cause(s.ctx); err != nil {
			return err
		}
	}
	return s.sync()
}

// openTarget opens Target, which it makes if it is absent, as the directory
// that everything is restored into.
func (s *restorer) openTarget() (*dir, error) {
	top := &dir{}
	if s.options.DryRun {
		_, err := os.Lstat(s.options.Target)
		if top.absent = errors.Is(err, os.ErrNotExist); top.absent {
			return top, nil
		}
	} else if err := os.MkdirAll(s.options.Target, 0o700); err != nil {
		return nil, fmt.Errorf("target: %w", err)
	}
	fd, err := retryFD(func() (int, error) {
		return unix.Open(s.options.Target, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, fmt.Errorf("target %q: %w", s.options.Target, err)
	}
	s.dirs = newDirCache(fd, maxOpenDirs)
	top.made = true
	return top, nil
}

// sync makes what was restored durable.
func (s *restorer) sync() error {
	fd, err := s.dirs.openTop()
	if err != nil {
		return fmt.Errorf("sync the target: %w", err)
	}
	defer unix.Close(fd) // read only: nothing is lost
	if err := unix.Syncfs(fd); err != nil {
		if isFull(err) {
			err = fmt.Errorf("%w: %w", ErrNoSpace, err)
		}
		return fmt.Errorf("sync the target: %w", err)
	}
	return nil
}
