package repo

import (
	"fmt"
	"slices"

	"bluesky/object"
)

// restoreCleanedRun registers a run that a clean has made. Its entry holds the
// run's record alone, in the place of the body of the clean.
func (s *State) restoreCleanedRun(e Entry) error {
	var run AddRun
	if err := object.DecodeCBOR(e.Op.Body, &run); err != nil {
		return fmt.Errorf("run of the clean of generation %d: %w", e.Generation, err)
	}
	if _, known := s.known.runs[run.Name]; known {
		return fmt.Errorf("%w: run %s stands twice", object.ErrCorrupt, run.Name)
	}
	s.addCleaned(e.Generation, run, nil)
	return nil
}

// restoreForgotten takes forgotten snapshots for live ones first, to have their
// statements judged, and then out of these.
func (s *State) restoreForgotten(list []forgottenEntry) error {
	entries := make([]Entry, len(list))
	for i, f := range list {
		if f.At < f.Entry.Generation || f.At > s.Generation { // one generation may do both
			return fmt.Errorf("%w: a snapshot of generation %d was forgotten by generation %d", object.ErrCorrupt, f.Entry.Generation, f.At)
		}
		entries[i] = f.Entry
	}
	if err := s.restoreStatements(entries, OpAddSnapshot); err != nil {
		return err
	}
	for i := range s.Snapshots {
		s.Forgotten = append(s.Forgotten, Forgotten{s.Snapshots[i], list[i].At, list[i].By})
	}
	s.Snapshots = nil
	return nil
}

// restoreCleaned restores what cleans, pins and policies have said.
func (s *State) restoreCleaned(c *checkpoint) error {
	switch {
	case !ascending(c.Condemned, compareCondemned) ||
		slices.ContainsFunc(c.Condemned, func(n condemnedName) bool { return !n.Folder.Valid() || n.Generation > c.Number }):
		return fmt.Errorf("%w: condemned names", object.ErrCorrupt)
	case !validTables(c.Marks), !validTables(c.Counts), !validTables(c.Space):
		return fmt.Errorf("%w: tables", object.ErrCorrupt)
	case c.Fold > 0 && c.Fold >= c.Number, !validSessions(c.Pending):
		return fmt.Errorf("%w: what is counted", object.ErrCorrupt)
	case c.Floor > 0 && !s.ReadOnly() && !s.mayFloor(c.Floor): // an unknown op may have moved either
		return fmt.Errorf("%w: its floor", object.ErrCorrupt)
	}
	if err := s.checkNames(); err != nil {
		return err
	}
	if err := s.restoreTimes(c.Times); err != nil {
		return err
	}
	if err := s.restorePins(c.Pins); err != nil {
		return err
	}
	if c.Policy == nil {
		return nil
	}
	return s.restoreStatements([]Entry{*c.Policy}, OpPolicy)
}

// checkNames refuses what no clean leaves: a condemned name that is in use, and
// a table that is listed twice.
func (s *State) checkNames() error {
	used := map[Name]bool{}
	for i := range s.Runs {
		used[RunName(s.Runs[i].Name)] = true
	}
	for _, ref := range slices.Concat(s.Marks, s.Counts, s.Space) {
		name := TableName(ref.Name)
		if used[name] {
			return fmt.Errorf("%w: table %s stands twice", object.ErrCorrupt, ref.Name)
		}
		used[name] = true
	}
	if s.Checkpoint != nil {
		used[CheckpointNamed(s.Checkpoint.Name)] = true
	}
	for name := range used {
		if s.isCondemned(name) {
			return fmt.Errorf("%w: %s is condemned and in use", object.ErrCorrupt, name)
		}
	}
	return nil
}

func (s *State) restoreTimes(times []StoreTime) error {
	if !ascending(times, func(a, b StoreTime) int { return a.ID.Compare(b.ID) }) {
		return fmt.Errorf("%w: times out of order", object.ErrCorrupt)
	}
	all := s.byID()
	for i := range times {
		snap := all[times[i].ID]
		if snap == nil || !times[i].Time.Valid() {
			return fmt.Errorf("%w: the time of snapshot %s", object.ErrCorrupt, times[i].ID.Short())
		}
		snap.Effective = &times[i].Time
	}
	return nil
}

func (s *State) restorePins(pins []pinEntry) error {
	if !ascending(pins, func(a, b pinEntry) int { return a.ID.Compare(b.ID) }) {
		return fmt.Errorf("%w: pins out of order", object.ErrCorrupt)
	}
	all := s.byID()
	for _, pin := range pins {
		snap := all[pin.ID]
		if snap == nil || pin.Pinned == snap.stated {
			return fmt.Errorf("%w: the pin of snapshot %s", object.ErrCorrupt, pin.ID.Short())
		}
		snap.Pinned = pin.Pinned
	}
	for i := range s.Forgotten {
		if s.Forgotten[i].Pinned {
			return fmt.Errorf("%w: snapshot %s is pinned and forgotten", object.ErrCorrupt, s.Forgotten[i].ID.Short())
		}
	}
	return nil
}

// byID returns all snapshots that the state knows, to be changed in place by
// who has made s.
func (s *State) byID() map[object.ID]*Snapshot {
	all := make(map[object.ID]*Snapshot, len(s.Snapshots)+len(s.Forgotten))
	for i := range s.Snapshots {
		all[s.Snapshots[i].ID] = &s.Snapshots[i]
	}
	for i := range s.Forgotten {
		all[s.Forgotten[i].ID] = &s.Forgotten[i].Snapshot
	}
	return all
}
