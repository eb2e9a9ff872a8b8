package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"bluesky/pack"
	"bluesky/prune"
	"bluesky/repo"
	"bluesky/store"
)

// A pruneReport is what a prune has done, or would do, and what is left then.
type pruneReport struct {
	prune.Result
	dryRun  bool
	nothing bool   // was to be done
	used    uint64 // bytes of objects that are needed
	known   bool   // what is left
	waits   []wait
	// unfinished sessions protect what they have registered.
	unfinished int
}

// A wait is something that a later prune deletes.
type wait struct {
	one, many string
	why       string
	count     uint64
	until     time.Time // for the first of it
}

// look finds out what is left in the repository.
func (r *pruneReport) look(ctx context.Context, o *opened, options pruneOptions) error {
	state := o.repo.State()
	view, err := o.repo.Index(ctx, state)
	if err != nil {
		return err
	}
	var bodies uint64
	for s := range view.Segments() {
		bodies += uint64(s.Size) - pack.PreludeSize - uint64(s.HeaderLength) - pack.TrailerSize
	}
	unused := r.Stats.Left
	if r.dryRun {
		unused = r.Unused
	}
	r.used, r.known = bodies-min(bodies, unused), true
	r.unfinished = len(state.Unfinished())
	return r.wait(ctx, o, state, options)
}

// wait finds out what waits, and until when.
func (r *pruneReport) wait(ctx context.Context, o *opened, state *repo.State, options pruneOptions) error {
	if quarantine := state.Policy.Quarantine; quarantine > 0 {
		var at []uint64
		for i := range state.Forgotten {
			at = append(at, state.Forgotten[i].At)
		}
		w := wait{one: "forgotten snapshot", many: "forgotten snapshots", why: "quarantine"}
		if err := r.add(ctx, o, w, at, time.Duration(min(quarantine, uint64(maxSpan/time.Second)))*time.Second); err != nil {
			return err
		}
	}
	w := wait{one: "condemned file", many: "condemned files", why: "grace"}
	return r.add(ctx, o, w, slices.Collect(maps.Values(state.Condemned)), options.Grace)
}

// add adds what is to be deleted a delay after these generations, as far as that
// is to come.
func (r *pruneReport) add(ctx context.Context, o *opened, w wait, generations []uint64, delay time.Duration) error {
	if delay == 0 {
		return nil
	}
	slices.Sort(generations)
	for i, n := range generations {
		if i > 0 && n == generations[i-1] {
			continue
		}
		entry, err := o.store.Stat(ctx, repo.GenerationKey(n))
		if errors.Is(err, store.ErrNotFound) {
			continue // below the floor: long ago
		}
		if err != nil {
			return fmt.Errorf("generation %d: %w", n, err)
		}
		if until := entry.ModTime.Add(delay); until.After(o.env.now()) {
			// What came after it waits as well, and longer.
			w.count, w.until = uint64(len(generations)-i), until
			r.waits = append(r.waits, w)
			return nil
		}
	}
	return nil
}

// printPrune prints what a prune has done. For a log: a few lines.
func (e *env) printPrune(r *pruneReport) error {
	for _, name := range slices.SortedFunc(maps.Keys(r.DamagedCopies), func(a, b pack.Name) int { return slices.Compare(a[:], b[:]) }) {
		e.printError("segment %s: %v", name, r.DamagedCopies[name])
	}
	switch {
	case e.json():
		return e.printJSON(pruneSummaryOf(r))
	case e.settings.Quiet:
		return nil
	case r.nothing:
		e.printf("nothing to delete\n")
	default:
		e.printDone(r)
	}
	if r.known {
		e.printf("unused left:         %s (%s of %s)\n", formatBytes(r.Stats.Left), percentOf(r.Stats.Left, r.used+r.Stats.Left), formatBytes(r.used+r.Stats.Left))
	}
	for _, w := range r.waits {
		e.printf("waiting:             %s, at least until %s (%s)\n", plural(w.count, w.one, w.many), formatTime(w.until.Local()), w.why)
	}
	if r.unfinished > 0 {
		e.printf("waiting:             what %s registered, until the end of it, or 7 days of silence\n", plural(uint64(r.unfinished), "unfinished session has", "unfinished sessions have"))
	}
	return nil
}

func (e *env) printDone(r *pruneReport) {
	if r.dryRun {
		e.printf("Would have made the following changes:\n")
	}
	orphans := ""
	if r.Orphans > 0 {
		orphans = ", and " + plural(r.Orphans, "file that nothing names", "files that nothing names")
	}
	e.printf("snapshots collected: %d\n", r.Snapshots)
	e.printf("objects dead:        %d\n", r.Dead)
	e.printf("segments condemned:  %d (%s)%s\n", r.Condemned, formatBytes(r.CondemnBytes), orphans)
	e.printf("objects repacked:    %d (%s)\n", r.Repacked, formatBytes(r.RepackBytes))
	if !r.dryRun {
		e.printf("files deleted:       %d\n", r.Deleted)
	}
}

// printError reports damage that does not end the command.
func (e *env) printError(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if e.json() {
		_ = e.writeJSON(e.stderr, checkError{MessageType: "error", Message: text, Severity: "error"}) // strings always marshal
		return
	}
	fmt.Fprintf(e.stderr, "error: %s\n", printable(text))
}

// pruneSummary is the one message of prune. restic 0.18 has none: the names are
// those of what it prints with --verbose, and the rest is ours. Sizes are bytes
// of objects, but for those of segments and of what was read and written.
type pruneSummary struct {
	MessageType string `json:"message_type"`
	DryRun      bool   `json:"dry_run,omitempty"`

	TotalBlobs  uint64  `json:"total_blobs"`  // before, in use
	UnusedBlobs uint64  `json:"unused_blobs"` // that die
	RepackBlobs uint64  `json:"repack_blobs"`
	RepackSize  uint64  `json:"repack_size"`
	UnusedSize  uint64  `json:"unused_size"`              // before
	UnusedAfter uint64  `json:"unused_size_after_prune"`  // left
	UnusedShare float64 `json:"unused_percent,omitempty"` // of remaining_size
	Remaining   uint64  `json:"remaining_size,omitempty"` // needed and unused; absent where it is not known

	DuplicateBlobs   uint64     `json:"duplicate_blobs"`
	Snapshots        uint64     `json:"snapshots_collected"`
	Condemned        uint64     `json:"segments_condemned"`
	CondemnedSize    uint64     `json:"segments_condemned_size"`
	Orphans          uint64     `json:"orphans_condemned"`
	Deleted          uint64     `json:"files_deleted"`
	FilesWaiting     uint64     `json:"files_waiting"`       // for the grace
	SnapshotsWaiting uint64     `json:"snapshots_waiting"`   // for the quarantine
	Unfinished       uint64     `json:"sessions_unfinished"` // that protect what they have registered
	BytesRead        uint64     `json:"bytes_read"`
	BytesWritten     uint64     `json:"bytes_written"`
	EarliestDelete   *time.Time `json:"earliest_delete,omitempty"` // of what waits
	DamagedSegments  []string   `json:"damaged_segments,omitempty"`
}

func pruneSummaryOf(r *pruneReport) pruneSummary {
	s := pruneSummary{
		MessageType: "summary", DryRun: r.dryRun,
		TotalBlobs: r.Objects, UnusedBlobs: r.Dead, DuplicateBlobs: r.Spare,
		RepackBlobs: r.Repacked, RepackSize: r.RepackBytes,
		UnusedSize: r.Unused, UnusedAfter: r.Stats.Left,
		Snapshots: r.Snapshots, Condemned: r.Condemned, CondemnedSize: r.CondemnBytes, Orphans: r.Orphans,
		Deleted: r.Deleted, Unfinished: uint64(r.unfinished), BytesRead: r.ReadBytes, BytesWritten: r.WrittenBytes,
	}
	if r.known {
		s.Remaining = r.used + r.Stats.Left
		s.UnusedShare = 100 * float64(r.Stats.Left) / float64(max(s.Remaining, 1))
	}
	for i := range r.waits {
		w := &r.waits[i]
		if w.why == "grace" {
			s.FilesWaiting = w.count
		} else {
			s.SnapshotsWaiting = w.count
		}
		if s.EarliestDelete == nil || w.until.Before(*s.EarliestDelete) {
			s.EarliestDelete = &w.until
		}
	}
	for name := range r.DamagedCopies {
		s.DamagedSegments = append(s.DamagedSegments, name.String())
	}
	slices.Sort(s.DamagedSegments)
	return s
}
