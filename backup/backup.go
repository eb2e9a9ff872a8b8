// Package backup makes snapshots of directory trees.
//
// One walk visits the sources depth first in bytewise order of their names and
// gives every file its inode number, so numbers do not depend on scheduling.
// Workers read the files, cut them into chunks, and seal and add what the
// repository does not have. A directory is written when all below it is. At
// the end the inode map is made from the parent's and the changes, and one
// generation commits everything.
//
// Memory in flight: each worker has one chunk, its sealed form and a read
// buffer, a file being cut by several workers has a few more chunks, and the
// session has its open segments. Changed inodes are held until the end.
package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/tree"
)

// ErrNoSources: none of the paths that were asked for could be read.
var ErrNoSources = errors.New("none of the paths could be read; nothing was backed up")

// Options say what to back up, and how.
type Options struct {
	Paths       []string  // absolute and clean
	Host        string    // recorded in the snapshot
	User        string    // likewise
	UID, GID    uint32    // likewise
	Tags        []string  // likewise
	Excludes    []string  // patterns, recorded in the snapshot; Select applies them
	Description string    // recorded in the snapshot
	Program     string    // name and version of the program, recorded
	Series      string    // name of the series; "" derives it from host and paths
	Time        time.Time // of the snapshot; zero is when the backup starts

	Parent        *snapshot.Snapshot // unchanged files are taken from it; nil if there is none
	Force         bool               // read all files, also those that an interrupted backup has read
	OneFileSystem bool               // do not descend into other file systems
	WithATime     bool               // record access times
	IgnoreCTime   bool               // a changed ctime alone is no change
	IgnoreInode   bool               // a changed inode number alone is no change
	DryRun        bool               // read and count, store nothing
	NoVerify      bool               // do not open sealed objects again before upload
	Compression   seal.Compression

	// Select reports whether the file at path is backed up; nil selects all.
	// What is left out of a directory is left out with all below it.
	Select func(path string, info *Info) bool
	Now    func() time.Time // nil is time.Now
}

// Info is what Select may judge a file by.
type Info struct {
	Type tree.Type
	Size uint64 // bytes
}

// A Result says what a backup did.
type Result struct {
	Counts   tree.Counts
	Parent   object.ID // zero if there was none
	Errors   int       // sources that could not be read
	Snapshot object.ID // zero after a dry run
	// Added are the bytes that the repository has grown by, segments and run.
	Added    uint64
	Resumed  Resumed
	Duration time.Duration
}

// Run backs up into r. Every change is reported to progress.
//
// The snapshot is durable when Run returns without error; sources that could
// not be read are counted in Result.Errors and left out of it. When an object
// that the backup relied on is removed while it runs, it starts again once,
// without a parent.
func Run(ctx context.Context, r *repo.Repo, keys *seal.Keys, options Options, progress Progress) (Result, error) {
	if options.Now == nil {
		options.Now = time.Now
	}
	if progress == nil {
		progress = NoProgress{}
	}
	if err := checkPaths(options.Paths); err != nil {
		return Result{}, err
	}
	return run(ctx, r, keys, options, progress, openTarget)
}

// An opener opens the target of one attempt.
type opener func(context.Context, *repo.Repo, *seal.Keys, Options) (target, error)

func run(ctx context.Context, r *repo.Repo, keys *seal.Keys, options Options, progress Progress, open opener) (Result, error) {
	result, err := attempt(ctx, r, keys, options, progress, open)
	if errors.Is(err, repo.ErrObjectGone) {
		progress.Restart(err)
		// They rely on what is gone, or the parent is gone itself.
		options.Parent, options.Force = nil, true
		result, err = attempt(ctx, r, keys, options, progress, open)
	}
	return result, err
}

// attempt is one backup from the newest state.
func attempt(ctx context.Context, r *repo.Repo, keys *seal.Keys, options Options, progress Progress, open opener) (_ Result, err error) {
	start := options.Now()
	target, err := open(ctx, r, keys, options)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()

	parent, err := openParent(r, keys, options)
	if err != nil {
		return Result{}, err
	}
	b := newBackup(r, keys, options, target, parent, progress)
	b.resume, err = openResume(r, keys, &options, b.series(), target, start)
	r.Note(err) // it costs time alone
	committed := false
	defer func() { r.Note(b.resume.close(committed)) }()
	if err := b.walk(ctx); err != nil {
		return Result{}, err
	}
	if err := target.EndData(); err != nil {
		return Result{}, err
	}
	root, err := b.finishMap(ctx)
	if err != nil {
		return Result{}, err
	}
	record := b.record(start)
	record.Root = root
	id, err := b.commit(ctx, record)
	if err != nil {
		return Result{}, err
	}
	committed = true
	result := Result{
		Counts: record.Counts, Parent: record.Parent, Errors: int(b.failures.Load()),
		Added: target.Stats().StoredBytes, Resumed: b.resume.stats(), Duration: options.Now().Sub(start),
	}
	if !options.DryRun {
		result.Snapshot = id
	}
	return result, nil
}

// record fills in the snapshot's record, but for the root.
func (b *backup) record(start time.Time) tree.Snapshot {
	o := b.options
	at := o.Time
	if at.IsZero() {
		at = start
	}
	counts := b.counts.record(b.sink.stats())
	counts.BackupStart, counts.BackupEnd = object.TimeOf(start), object.TimeOf(o.Now())
	record := tree.Snapshot{
		Session: b.target.ID(), Time: object.TimeOf(at),
		Host: o.Host, User: o.User, UID: o.UID, GID: o.GID,
		Paths: sorted(o.Paths), Tags: sorted(o.Tags), Excludes: o.Excludes,
		Description: o.Description, Program: o.Program,
		Counts: counts, Next: b.next,
	}
	if b.parent != nil {
		record.Parent = b.parent.id
	}
	return record
}

// commit stores the snapshot object and commits the session.
func (b *backup) commit(ctx context.Context, record tree.Snapshot) (object.ID, error) {
	refs, payload, err := tree.EncodeSnapshot(&record)
	if err != nil {
		return object.ID{}, err
	}
	id, err := b.sink.Put(ctx, object.KindSnapshot, refs, payload)
	if err != nil {
		return object.ID{}, err
	}
	summary, err := snapshot.Seal(b.keys, b.target.ID(), id, record)
	if err != nil {
		return object.ID{}, err
	}
	err = b.target.Commit(ctx, repo.AddSnapshot{
		ID: id, Root: record.Root, Time: record.Time, Series: b.series(), Summary: summary,
	})
	if err != nil {
		return object.ID{}, fmt.Errorf("commit: %w", err)
	}
	return id, nil
}

// series returns that of the snapshot to be.
func (b *backup) series() repo.Series {
	if b.options.Series != "" {
		return b.keys.NamedSeries(b.options.Series)
	}
	return b.keys.Series([]byte(b.options.Host), byteStrings(sorted(b.options.Paths)))
}
