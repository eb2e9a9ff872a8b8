package main

// pruneMutations take away the rules by which forgetting and pruning are safe
// (docs/architecture.md, "The rules"), one at a time. The tests that notice run the real
// steps of writers, cleaners and readers against each other: histories by chance,
// and small scenarios in every order.
//
// Not here, because another rule holds where one of them is taken away: a plan that
// stands although a writer has stored another copy of what it moves, and a home that
// does not gather the counts of other copies (either makes up for the other); a
// plan that stands although a snapshot names what dies (the object of the snapshot
// refers to it, and is in a run that came in between); a rescue without what the
// object refers to (the next look finds that missing).
func pruneMutations() []mutation {
	const (
		pkg                                    = "prune"
		apply, assemble, stands, cascade, fold = "prune/apply.go", "prune/assemble.go", "prune/stands.go", "prune/cascade.go", "prune/fold.go"
	)
	tests := []string{"TestSimulation", "TestModel"}
	by := func(name, file, old, new string) mutation { return mutation{name, file, old, new, pkg, tests} }
	return []mutation{
		// R1, R3: writers.
		by("R1: dead rows are hits", "repo/marks.go", "r.withInvented(name, of.DeadRows()), of.GoneSegments()", "r.withInvented(name, nil), of.GoneSegments()"),
		by("R3: a lost race is no reason to look again", "repo/commit.go", "if checked == nil || !base.extends(checked) {", "if checked == nil {"),
		by("R3: hits are not looked at", "repo/commit.go", "if !view.Has(id) && !c.run.has(id) {", "if false && !view.Has(id) && !c.run.has(id) {"),
		by("R3: own uploads may have been condemned", "repo/commit.go", "if _, ok := condemned[SegmentName(name)]; ok {", "if _, ok := condemned[SegmentName(name)]; false && ok {"),
		by("R3: own uploads are looked for in the newest state alone", "repo/commit.go", "condemned, err := r.condemnedSince(ctx, base, c.since)", "condemned, err := base.Condemned, error(nil)"),
		instead("R3: uploads of a dead run may have been condemned", "repo/adopt.go", "		_, gone := condemned[SegmentName(a.Name)]\n		return gone\n", "		_, gone := condemned[SegmentName(a.Name)]\n		return false && gone\n", "repo", "TestAdoptable"),

		// R2, R8: replies that are lost, and writers that fail.
		by("R2: the generation of another is taken for one's own", "repo/commit.go", "			return bytes.Equal(there, data), nil\n", "			return true || bytes.Equal(there, data), nil\n"),
		instead("R8: a failed commit takes back its uploads", "repo/register.go", "	after, err := s.repo.commit(ctx, s.base, c)\n	if err != nil {\n", "	after, err := s.repo.commit(ctx, s.base, c)\n	if err != nil {\n		if staged != nil {\n			for _, segment := range staged.run.Segments() {\n				_ = s.repo.store.Delete(ctx, SegmentName(segment.Name).Key())\n			}\n		}\n", pkg, "TestSimulation"),

		// R4: cleaners that lose a race.
		by("R4: a plan stands whatever came in between", stands, "	if state.Fold != a.state.Fold ||", "	if true {\n		return true, nil\n	}\n	if state.Fold != a.state.Fold ||"),
		instead("R4: a plan stands though another clean came in between", stands, "	if state.Fold != a.state.Fold || !slices.Equal(state.Marks, a.state.Marks) || len(state.Runs) < len(a.state.Runs) ||", "	if len(state.Runs) < len(a.state.Runs) ||", pkg, "TestSimulation"),
		by("R4: a plan stands though a snapshot was brought back", stands, "if !a.stillForgotten(state) || a.condemns(state) {", "if a.condemns(state) {"),
		instead("R4: a plan stands though an orphan was registered", stands, "if !a.stillForgotten(state) || a.condemns(state) {", "if !a.stillForgotten(state) {", pkg, "TestSimulation"),
		by("R4: a plan stands though there are new parents", stands, "if slices.ContainsFunc(header.External, a.names) {", "if false && slices.ContainsFunc(header.External, a.names) {"),
		instead("R4: a clean counts what it has not seen", apply, "	for state := a.state; ; {\n", "	for state := a.state; ; {\n		a.clean.Fold = state.Generation\n		op, err = a.op()\n", pkg, "TestSimulation"),
		by("R4: a segment goes although an object in it was not copied", assemble, "return !ok || copied.output.header.Objects[copied.object].Sum != l.Row.Sum", "return ok && copied.output.header.Objects[copied.object].Sum != l.Row.Sum"),
		by("R4: copies of what died meanwhile are visible", assemble, "if a.made[a.run.Segment(int(row.Segment)).Name] && a.original(row.ID) == nil {", "if false && a.original(row.ID) == nil {"),
		instead("R4: what was copied may have been condemned", apply, "		if _, gone := condemned[segmentName(out.segment.Name)]; !gone {", "		if _, gone := condemned[segmentName(out.segment.Name)]; true || !gone {", pkg, "TestSimulation"),
		instead("R4: copies of one's own are orphans", "prune/orphans.go", "if err != nil || known[name] || b.own[name] {", "if err != nil || known[name] {", pkg, "TestSimulation"),
		instead("R4: a merged run shows what dies", assemble, "r := a.runs[part].Row(row); a.stays(place{part, row}, &r) {", "r := a.runs[part].Row(row); a.view.Shows(part, row) && !a.victimAt(part, r.Segment) {", pkg, "TestSimulation"),
		by("R4: a merged run takes the place of those that came since", "repo/foldclean.go", "if s.isCondemned(RunName(s.Runs[i].Name)) {", "if s.isCondemned(RunName(s.Runs[i].Name)) || len(c.Runs) > 0 {"),

		// I1: what dies.
		by("I1: an object dies that has a parent left", cascade, "if count == 0 && !d.protected(home.Segment.Session) {", "if count <= 1 && !d.protected(home.Segment.Session) {"),
		by("I1: dead parents are not counted off", cascade, "uint32(home.Place), -1)", "uint32(home.Place), 0)"),
		by("I1: roots are not counted", fold, "snap.Generation > f.state.Fold && !f.anew", "false"),
		by("I1: what is merged or moved loses its counts", assemble, "		if len(copies) == 0 || !a.isHome(i, &row, copies) {", "		if true || len(copies) == 0 || !a.isHome(i, &row, copies) {"),
		by("I1: a collected snapshot comes back", "repo/foldclean.go", "	s.Forgotten = remove(s.Forgotten, collected)\n	for", "	for"),

		// R5, R6: what is deleted.
		by("R5: segments are deleted before the clean", apply, "	if !p.Empty() {\n", "	if !p.Empty() {\n		for _, s := range p.victims {\n			_ = p.repo.Store().Delete(ctx, segmentName(s.Name).Key())\n		}\n"),
		by("R5: a clean is committed before its copies are durable", "prune/copy.go", "if err := w.repo.PutNamed(ctx, segmentName(name), segment.Bytes); err != nil {", "if err := error(nil); err != nil {"),
		by("R6: an orphan is deleted without a name", "prune/orphans.go", "				orphans = append(orphans, name)\n", "				_ = b.repo.Store().Delete(ctx, entry.Key)\n"),
		by("R6: what a run has is an orphan", "prune/orphans.go", "names[segmentName(s.Name)] = true", "_ = s"),
		by("R5: what a cleaner left condemned stays", "prune/delete.go", "	for name, at := range state.Condemned {\n", "	for name, at := range state.Condemned {\n		if at < state.Generation {\n			continue\n		}\n"),

		// R7, R9, R10.
		instead("R7: marks that cannot be read are none", "repo/marks.go", "				return nil, fmt.Errorf(\"marks: %w\", err)\n			}\n", "				tables = nil\n				break\n			}\n", pkg, "TestMarksThatCannotBeRead"),
		by("R9: a reader looks once", "repo/read.go", "const maxReloads = 3", "const maxReloads = 0"),
		instead("R10: unfinished sessions are not spared", "prune/base.go", "return b.state.IsUnfinished(session) && !b.expired[session]", "return false && b.state.IsUnfinished(session) && !b.expired[session]", pkg, "TestSimulation"),
		instead("R10: what was spared is not looked at again", assemble, "			a.clean.Pending = append(a.clean.Pending, id)\n", "			_ = id\n", pkg, "TestSimulation"),
		instead("R10: what was spared for a copy is not looked at again", fold, "		f.addSpare(&at)\n		if err := f.zero(home); err != nil {", "		f.addSpare(&at)\n		if err := error(nil); err != nil {", pkg, "TestCopyOfAnUnfinishedSession"),
		by("R10: a cleaner ends no session", "prune/collect.go", "if options.Instant || options.Now().Sub(last) > sessionAge {", "if false && options.Now().Sub(last) > sessionAge {"),
	}
}
