package repo

import (
	"cmp"
	"slices"

	"bluesky/object"
	"bluesky/refcount"
)

// How the ops by which snapshots and their data go change a State.
// docs/format.md, "Ops", says when each is void.

func (s *State) isCondemned(n Name) bool {
	_, ok := s.Condemned[n]
	return ok
}

// places returns where the snapshots of the given ids stand in list, nil if one
// of them is not there, stands twice, or is none.
func places[T any](ids []object.ID, list []T, id func(*T) object.ID) []int {
	if len(ids) == 0 || !validIDs(ids) {
		return nil
	}
	var at []int
	for i := range list {
		if _, ok := slices.BinarySearchFunc(ids, id(&list[i]), object.ID.Compare); ok {
			at = append(at, i)
		}
	}
	if len(at) != len(ids) {
		return nil
	}
	return at
}

func (s *State) placesLive(ids []object.ID) []int {
	return places(ids, s.Snapshots, func(snap *Snapshot) object.ID { return snap.ID })
}

func (s *State) placesForgotten(ids []object.ID) []int {
	return places(ids, s.Forgotten, func(f *Forgotten) object.ID { return f.ID })
}

// remove returns list without the elements at the given places, which ascend.
// It leaves list as it is.
func remove[T any](list []T, at []int) []T {
	kept := make([]T, 0, len(list)-len(at))
	for i := range list {
		if len(at) > 0 && at[0] == i {
			at = at[1:]
			continue
		}
		kept = append(kept, list[i])
	}
	return kept
}

// line is what retention takes for one line of snapshots.
type line struct {
	signer PublicKey
	series Series
}

func (snap *Snapshot) line() line { return line{snap.Signer, snap.Series} }

func (s *State) foldForget(g *Generation, role RoleID, body *Forget) bool {
	if body.Policy == nil && role != roleAdmin {
		return false
	}
	at := s.placesLive(body.Snapshots)
	if at == nil {
		return false
	}
	kept := remove(s.Snapshots, at)
	left := map[line]bool{}
	for i := range kept {
		left[kept[i].line()] = true
	}
	gone := make([]Forgotten, 0, len(at))
	for _, i := range at {
		snap := &s.Snapshots[i]
		if snap.Pinned || body.Policy != nil && !left[snap.line()] {
			return false
		}
		gone = append(gone, Forgotten{*snap, g.Number, body.Policy})
	}
	s.Snapshots = kept
	s.Forgotten = append(slices.Clip(s.Forgotten), gone...)
	slices.SortStableFunc(s.Forgotten, func(a, b Forgotten) int { return cmp.Compare(a.Generation, b.Generation) })
	return true
}

// foldSnapshots folds an undo-forget, a pin or an unpin.
func (s *State) foldSnapshots(t OpType, body *SnapshotList) bool {
	if t == OpUndoForget {
		return s.foldUndoForget(body)
	}
	at := s.placesLive(body.Snapshots)
	if at == nil {
		return false
	}
	s.Snapshots = slices.Clone(s.Snapshots)
	for _, i := range at {
		s.Snapshots[i].Pinned = t == OpPin
	}
	return true
}

func (s *State) foldUndoForget(body *SnapshotList) bool {
	at := s.placesForgotten(body.Snapshots)
	if at == nil {
		return false
	}
	s.Snapshots = slices.Clip(s.Snapshots)
	for _, i := range at {
		s.Snapshots = append(s.Snapshots, s.Forgotten[i].Snapshot)
	}
	slices.SortStableFunc(s.Snapshots, func(a, b Snapshot) int { return cmp.Compare(a.Generation, b.Generation) })
	s.Forgotten = remove(s.Forgotten, at)
	return true
}

func (s *State) foldClean(g *Generation, c *Clean) bool {
	if !c.valid() || c.Fold < s.Fold || c.Fold >= g.Number {
		return false
	}
	collected := s.placesForgotten(c.Collected)
	if collected == nil && len(c.Collected) > 0 ||
		slices.ContainsFunc(c.Expired, func(id object.SessionID) bool { return !s.IsUnfinished(id) }) ||
		!s.mayTime(c.Times) || !s.mayName(c) {
		return false
	}
	s.recordTimes(c.Times)
	s.Forgotten = remove(s.Forgotten, collected)
	for _, id := range c.Collected {
		delete(s.known.snapshots, id)
	}
	for _, id := range c.Expired {
		session := s.sessions[id]
		session.ended = true
		s.sessions[id] = session
	}
	for _, name := range c.Condemned {
		s.Condemned[name] = g.Number
	}
	s.recent = append(s.recent, recentClean{g.Number, c.Condemned})
	s.replaceRuns(g.Number, c)
	s.Fold, s.Pending = c.Fold, c.Pending
	s.Marks, s.Counts, s.Space = c.Marks, c.Counts, c.Space
	return true
}

// mayName judges the names of c: nothing that stays or comes is condemned, what
// comes was not there, and what goes is condemned.
func (s *State) mayName(c *Clean) bool {
	condemned := make(map[Name]bool, len(c.Condemned))
	for _, name := range c.Condemned {
		if s.isCondemned(name) {
			return false
		}
		condemned[name] = true
	}
	if s.Checkpoint != nil && condemned[CheckpointNamed(s.Checkpoint.Name)] {
		return false
	}
	for _, run := range c.Runs {
		_, known := s.known.runs[run.Name]
		if known || condemned[RunName(run.Name)] || s.isCondemned(RunName(run.Name)) {
			return false
		}
	}
	return s.mayList(c, condemned)
}

// mayList judges the lists of tables of c. A table stays in its list, so it
// never counts as one of another type.
func (s *State) mayList(c *Clean, condemned map[Name]bool) bool {
	listed := map[refcount.TableName]bool{}
	for i, old := range [][]TableRef{s.Marks, s.Counts, s.Space} {
		stays := map[TableRef]bool{}
		for _, ref := range c.tables()[i] {
			name := TableName(ref.Name)
			if listed[ref.Name] || condemned[name] || s.isCondemned(name) {
				return false
			}
			listed[ref.Name], stays[ref] = true, true
		}
		for _, ref := range old {
			if !stays[ref] && !condemned[TableName(ref.Name)] {
				return false
			}
		}
	}
	return true
}

// replaceRuns takes the condemned runs out of the state and adds the new ones.
func (s *State) replaceRuns(generation uint64, c *Clean) {
	var from *origin
	if len(c.Runs) > 0 {
		from = originOf(s)
	}
	var gone []int
	for i := range s.Runs {
		if s.isCondemned(RunName(s.Runs[i].Name)) {
			gone = append(gone, i)
			delete(s.known.runs, s.Runs[i].Name)
		}
	}
	if len(gone) > 0 {
		s.Runs = remove(s.Runs, gone)
	}
	for _, run := range c.Runs {
		s.addCleaned(generation, run, from)
	}
}

// addCleaned registers a run that a clean has made.
func (s *State) addCleaned(generation uint64, run AddRun, from *origin) {
	s.known.runs[run.Name] = struct{}{}
	s.Runs = append(s.Runs, Run{AddRun: run, Generation: generation, Cleaned: true, origin: from})
}

// mayTime reports whether the snapshots are there and have no time yet.
func (s *State) mayTime(times []StoreTime) bool {
	if len(times) == 0 {
		return true
	}
	untimed := map[object.ID]bool{}
	for i := range s.Snapshots {
		untimed[s.Snapshots[i].ID] = s.Snapshots[i].Effective == nil
	}
	for i := range s.Forgotten {
		untimed[s.Forgotten[i].ID] = s.Forgotten[i].Effective == nil
	}
	return !slices.ContainsFunc(times, func(t StoreTime) bool { return !untimed[t.ID] })
}

// recordTimes sets the effective time of snapshots: the one that they claim,
// but not after the store's and not before that of the snapshot before them in
// their line.
func (s *State) recordTimes(times []StoreTime) {
	if len(times) == 0 {
		return
	}
	s.Snapshots, s.Forgotten = slices.Clone(s.Snapshots), slices.Clone(s.Forgotten)
	all := make([]*Snapshot, 0, len(s.Snapshots)+len(s.Forgotten))
	for i := range s.Snapshots {
		all = append(all, &s.Snapshots[i])
	}
	for i := range s.Forgotten {
		all = append(all, &s.Forgotten[i].Snapshot)
	}
	slices.SortStableFunc(all, func(a, b *Snapshot) int {
		return cmp.Or(cmp.Compare(a.Generation, b.Generation), a.ID.Compare(b.ID))
	})
	last := map[line]object.Time{}
	for _, snap := range all {
		before, follows := last[snap.line()]
		i, ok := slices.BinarySearchFunc(times, snap.ID, func(t StoreTime, id object.ID) int { return t.ID.Compare(id) })
		if ok {
			snap.Effective = effective(snap.Time, times[i].Time)
			if follows && snap.Effective.Before(before) {
				*snap.Effective = before
			}
		}
		if snap.Effective != nil {
			last[snap.line()] = *snap.Effective
		}
	}
}

func effective(claimed, stored object.Time) *object.Time {
	if stored.Before(claimed) {
		return &stored
	}
	return &claimed
}

// foldDeleted forgets names that an earlier generation condemned: nothing is
// deleted before that is durable, so one that says both at once lies (R5).
func (s *State) foldDeleted(g *Generation, body *Deleted) bool {
	if len(body.Names) == 0 || !validNames(body.Names) {
		return false
	}
	for _, name := range body.Names {
		if at, condemned := s.Condemned[name]; !condemned || at >= g.Number {
			return false
		}
	}
	for _, name := range body.Names {
		delete(s.Condemned, name)
	}
	return true
}

// foldFloor moves the floor. What is below it is no more needed: a checkpoint
// says what it adds up to, and all of it is counted. Nor are the sessions that
// ended before: no writer whose base lies below the floor commits any more.
func (s *State) foldFloor(body *Floor) bool {
	if body.Number <= s.Floor || !s.mayFloor(body.Number) {
		return false
	}
	s.Floor = body.Number
	for id, session := range s.sessions {
		if session.ended && session.generation < s.Floor {
			delete(s.sessions, id)
		}
	}
	return true
}

// mayFloor reports whether what lies below n is counted, and a checkpoint that
// covers it at hand.
func (s *State) mayFloor(n uint64) bool {
	return n <= s.Fold && s.Checkpoint != nil && n <= s.Checkpoint.Number
}
