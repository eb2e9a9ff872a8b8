package cmd

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"bluesky/object"
	"bluesky/pack"
	"bluesky/prune"
	"bluesky/repo"
	"bluesky/store"
)

// A pruneReport is what a prune has done, or would do, and what waits then.
type pruneReport struct {
	prune.Result
	dryRun  bool
	nothing bool // was to be done
	waits   []wait
	kept    []object.ID // forgotten, by policies that keep them
	// condemned files of earlier prunes are there still, in a dry run.
	condemned int
	// unfinished sessions protect what they have registered.
	unfinished uint64
}

// used returns how many bytes of objects are needed.
func (r *pruneReport) used() uint64 { return r.ObjectBytes - r.DeadBytes }

// A wait is something that a later prune deletes.
type wait struct {
	one, many string
	why       string
	count     uint64
	until     time.Time // for the first of it
}

// look finds out what waits, and until when.
func (r *pruneReport) look(ctx context.Context, o *opened, options pruneOptions) error {
	state := o.repo.State()
	r.unfinished = uint64(len(state.Unfinished()))
	if r.dryRun {
		r.unfinished -= min(r.unfinished, r.Expired)
	}
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
	if len(r.kept) > 0 {
		e.warn("not collected, since the policy that each was forgotten by keeps it: %s; bluesky undo-forget brings them back, and then bluesky forget takes an id", fewIDs(r.kept))
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
	left := r.used() + r.UnusedLeft
	e.printf("unused left:         %s (%.2f%% of %s)\n", formatBytes(r.UnusedLeft), percent(r.UnusedLeft, left), formatBytes(left))
	for _, w := range r.waits {
		e.printf("waiting:             %s, at least until %s (%s)\n", plural(w.count, w.one, w.many), formatTime(w.until.Local()), w.why)
	}
	if r.unfinished > 0 {
		e.printf("waiting:             what %s registered, until the end of it, or 7 days of silence\n", plural(r.unfinished, "unfinished session has", "unfinished sessions have"))
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
	if r.Expired > 0 {
		e.printf("sessions expired:    %d\n", r.Expired)
	}
	e.printf("objects dead:        %d (%s)\n", r.Dead, formatBytes(r.DeadBytes))
	e.printf("segments condemned:  %d (%s)%s\n", r.Condemned, formatBytes(r.CondemnBytes), orphans)
	e.printf("objects repacked:    %d (%s)\n", r.Repacked, formatBytes(r.RepackBytes))
	switch {
	case !r.dryRun:
		e.printf("files deleted:       %d\n", r.Deleted)
	case r.condemned > 0:
		e.printf("files left over:     %d\n", r.condemned)
	}
}

// percent returns part in percent of whole.
func percent(part, whole uint64) float64 { return 100 * float64(part) / float64(max(whole, 1)) }

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

	UnusedBlobs    uint64  `json:"unused_blobs"`    // that die
	DuplicateBlobs uint64  `json:"duplicate_blobs"` // copies that die while another one stays
	UsedSize       uint64  `json:"used_size"`
	UnusedSize     uint64  `json:"unused_size"` // before
	TotalSize      uint64  `json:"total_size"`  // before
	RepackBlobs    uint64  `json:"repack_blobs"`
	RepackSize     uint64  `json:"repack_size"`
	RemainingSize  uint64  `json:"remaining_size"`          // after
	UnusedAfter    uint64  `json:"unused_size_after_prune"` // of that
	UnusedPercent  float64 `json:"unused_percent_after_prune"`

	Snapshots        uint64     `json:"snapshots_collected"`
	Kept             uint64     `json:"snapshots_kept"` // forgotten, by policies that keep them
	Expired          uint64     `json:"sessions_expired"`
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
		UnusedBlobs: r.Dead, DuplicateBlobs: r.Spare, RepackBlobs: r.Repacked, RepackSize: r.RepackBytes,
		UsedSize: r.used(), UnusedSize: r.Unused, TotalSize: r.used() + r.Unused,
		RemainingSize: r.used() + r.UnusedLeft, UnusedAfter: r.UnusedLeft,
		UnusedPercent: percent(r.UnusedLeft, r.used()+r.UnusedLeft),
		Snapshots:     r.Snapshots, Expired: r.Expired,
		Condemned: r.Condemned, CondemnedSize: r.CondemnBytes, Orphans: r.Orphans, Deleted: r.Deleted,
		Unfinished: r.unfinished, BytesRead: r.ReadBytes, BytesWritten: r.WrittenBytes,
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
