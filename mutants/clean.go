package main

// cleanMutations are of the ops by which snapshots and their data go, and of
// what is visible behind them.
func cleanMutations() []mutation {
	const clean, state, checkpoint, set, pkg = "repo/foldclean.go", "repo/state.go", "repo/checkpointclean.go", "index/set.go", "repo"
	const void = "TestVoidCleanOps"
	return []mutation{
		never("a cleaner forgets without a policy", clean, "body.Policy == nil && role != roleAdmin", pkg, void),
		instead("a pinned snapshot is forgotten", clean, "if snap.Pinned || body.Policy != nil", "if body.Policy != nil", pkg, void, "TestForgetAndUndo"),
		instead("a policy forgets the last of a series", clean, "if snap.Pinned || body.Policy != nil && !left[snap.line()]", "if _ = left; snap.Pinned", pkg, void),
		instead("a line is of many signers", clean, "line{snap.Signer, snap.Series}", "line{series: snap.Series}", pkg, "TestEffectiveTimes"),
		instead("a forget takes effect at collecting", state, "		for i := range s.Forgotten {\n			if !yield(&s.Forgotten[i].Snapshot) {\n				return\n			}\n		}\n", "", pkg, "TestForgetAndUndo", "TestRefusedCleans"),
		instead("a live snapshot is collected", clean, "collected == nil && len(c.Collected) > 0 ||\n", "false ||\n", pkg, void),
		instead("the fold goes back", clean, "c.Fold < s.Fold || c.Fold >= g.Number", "c.Fold >= g.Number", pkg, void),
		instead("the fold goes ahead", clean, "c.Fold < s.Fold || c.Fold >= g.Number", "c.Fold < s.Fold", pkg, void),
		never("a condemned name is condemned again", clean, "s.isCondemned(name) {\n			return false\n		}\n		condemned[name] = true", pkg, void),
		never("the newest checkpoint is condemned", clean, "s.Checkpoint != nil && condemned[CheckpointNamed(s.Checkpoint.Name)]", pkg, void),
		instead("a clean registers a run that is condemned", clean, "known || condemned[RunName(run.Name)] || s.isCondemned(RunName(run.Name))", "known", pkg, void),
		instead("a clean registers a run that is there", clean, "known || condemned[RunName(run.Name)]", "_ = known; condemned[RunName(run.Name)]", pkg, void),
		instead("a clean lists a table that is condemned", clean, "listed[ref.Name] || condemned[name] || s.isCondemned(name)", "listed[ref.Name] || !name.Folder.Valid()", pkg, void),
		never("a table leaves its list and is not condemned", clean, "!stays[ref] && !condemned[TableName(ref.Name)]", pkg, void),
		instead("a time is recorded twice", clean, "!s.mayTime(c.Times) || ", "", pkg, void),
		never("a snapshot is as new as it claims", clean, "stored.Before(claimed)", pkg, "TestEffectiveTimes"),
		never("a snapshot is older than the one before it", clean, "follows && snap.Effective.Before(before)", pkg, "TestEffectiveTimes"),
		instead("a condemned run stays", clean, "s.Runs = remove(s.Runs, gone)", "_ = gone", pkg, "TestCleanFolds"),
		instead("a session that has expired goes on", clean, "		session.ended = true\n", "", pkg, "TestCleanFolds"),
		instead("what was not condemned is deleted", clean, "!condemned || at >= g.Number", "condemned && at >= g.Number", pkg, void),
		instead("what is condemned is deleted at once", clean, "!condemned || at >= g.Number", "!condemned || at > g.Number", pkg, "TestConditionsWithinAGeneration"),
		instead("the floor goes past what is counted", clean, "return n <= s.Fold && ", "return ", pkg, void),
		instead("the floor goes past the checkpoint", clean, " && n <= s.Checkpoint.Number", "", pkg, "TestVoidFloors"),
		instead("the floor ends what goes on", clean, "session.ended && session.generation < s.Floor", "session.generation < s.Floor", pkg, "TestFloorEndsSessions"),
		instead("a condemned run is registered", state, "ok || s.isCondemned(RunName(body.Name))", "ok", pkg, void),
		instead("a condemned checkpoint is named", state, " ||\n		s.isCondemned(CheckpointNamed(ref.Name))", "", pkg, void),
		instead("a void stands anywhere", state, "case op.Type == OpVoid && i > 0, ", "case i < 0, ", pkg, "TestVoidVoids"),
		instead("many forgets and cleans in a generation", state, "isSingle(op.Type) && stood[op.Type], ", "", pkg, "TestOneForgetAndCleanAGeneration"),
		instead("a void is of anything", state, "body.Number == g.Number-1 && body.Hash == g.Previous", "true", pkg, "TestVoidVoids"),
		instead("a pin shows in the state before", clean, "	s.Snapshots = slices.Clone(s.Snapshots)\n	for _, i", "	for _, i", pkg, "TestFoldLeavesTheStateAlone"),
		without("a time shows in the state before", clean, "	s.Snapshots, s.Forgotten = slices.Clone(s.Snapshots), slices.Clone(s.Forgotten)\n", pkg, "TestFoldLeavesTheStateAlone"),
		never("names of a checkpoint may be condemned", checkpoint, "s.isCondemned(name)", pkg, "TestVectors"),
		never("a forgotten snapshot of a checkpoint may be pinned", checkpoint, "s.Forgotten[i].Pinned", pkg, "TestVectors"),
		instead("dead rows are visible", set, "return m.shows(row.Segment) && (m.dead == nil || !m.dead.ContainsInt(i))", "return m.shows(row.Segment)", "index", "TestIndexModel"),
		instead("rows of gone segments are visible", set, "gone != nil && gone.ContainsInt(i) || ", "", "index", "TestIndexModel"),
		instead("a merged run makes its segments younger", set, "s.RegisteredAt = min(s.RegisteredAt, m.at)", "s.RegisteredAt = m.at", "index", "TestIndexModel"),
		instead("marks are not asked for", "repo/read.go", "if err := r.mark(ctx, s, parts); err != nil", "if err := error(nil); err != nil", pkg, "TestRefusedCleans"),
	}
}

// assertMutations are of what a commit is held to, and of what is known of
// names that were condemned.
func assertMutations() []mutation {
	const condemned, assert, pkg = "repo/condemned.go", "repo/assert.go", "repo"
	const since = "TestCondemnedBeforeACheckpoint"
	return []mutation{
		without("condemned names are forgotten once deleted", "repo/foldclean.go", "	s.recent = append(s.recent, recentClean{g.Number, c.Condemned})\n", pkg, "TestOwnSegmentIsCondemned", "TestCleanFolds"),
		never("generations before a checkpoint are not asked", condemned, "since < s.recentFrom", pkg, since),
		never("generations below the floor condemned nothing", condemned, "since < s.Floor", pkg, since),
		never("another generation is believed to condemn nothing", condemned, "n > since+1 && g.Previous != last", pkg, "TestCondemnedCannotBeRead"),
		never("other generations are believed to condemn nothing", condemned, "err == nil && last != s.recentHash", pkg, "TestCondemnedCannotBeRead"),
		never("a clean shows what nobody had", assert, "!isCopy(view, &row)", pkg, "TestRefusedCleans"),
		instead("a copy has another sum", assert, " && l.Row.Sum == row.Sum", "", pkg, "TestRefusedCleans"),
		instead("a clean that condemns nothing is a writer's", assert, " && len(s.Condemned) == len(old.Condemned) &&\n		!slices.ContainsFunc(s.Runs[len(old.Runs):], func(run Run) bool { return run.Cleaned })", "", pkg, "TestRefusedCleans"),
		never("a deleted segment shows again", assert, "condemned && (part.Gone == nil || !part.Gone.ContainsInt(i))", pkg, "TestRefusedCleans", "TestDeletedShowsNothing"),
		never("rows of an unfinished session die", assert, "after.IsUnfinished(l.Segment.Session) && !showsAt(made, &l)", pkg, "TestRefusedCleans"),
		never("a clean takes away roots", assert, "!made.Has(id) && view.Has(id)", pkg, "TestRefusedCleans"),
	}
}
