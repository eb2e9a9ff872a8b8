package main

// useMutations are of backup, restore, check and the tree.
func useMutations() []mutation {
	const stat, dirs = "backup/stat.go", "restore/dirs.go"
	return []mutation{
		instead("openat2 follows links", dirs, "unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS", "0", "restore", "TestDirCacheNeverFollows", "TestLinksInTarget"),
		instead("names of entries are not checked", "tree/dir.go", "if err := CheckName(e.Name); err != nil {", "if err := CheckName(e.Name); false && err != nil {", "tree", "TestVectors"),
		instead("restore does not check names", "restore/walk.go", "if err := tree.CheckName(e.Name); err != nil {", "if err := tree.CheckName(e.Name); false && err != nil {", "restore", "TestEntryThatLeavesTheTarget"),
		never("a directory may stand twice in a tree", "restore/walk.go", "_, again := s.seen[in.Number]; again", "restore", "TestHostileTrees"),
		instead("the length of a block is not compared", "restore/fetch.go", "case end > uint64(len(payload)), u.whole && end != uint64(len(payload)):", "case end > uint64(len(payload)):", "restore", "TestListWithOtherLength"),
		instead("a file that could not be finished stays", "restore/file.go", "		s.discard(f)\n", "", "restore", "TestDamage"),
		never("what was restored is not verified", "restore/file.go", "err := s.verify(f, &in); err != nil", "restore", "TestVerifyIsDone"),
		never("verify does not compare blocks", "restore/verify.go", "!same {\n\t\t\treturn", "restore", "TestVerify"),
		instead("backup follows a folder that became a link", stat, "unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC", "unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC", "backup", "TestFolderReplacedBySymlink"),
		never("a file of another type is read", "backup/file.go", "typeOf(&st) != tree.TypeFile", "backup", "TestReplaced"),
		instead("a change within a tick goes unseen", stat, "case old.CTime == ctime && !racy(ctime, start):", "case old.CTime == ctime:", "backup", "TestRacyTimes"),
		instead("ctime is not looked at", stat, "case old.CTime == ctime && !racy(ctime, start):", "case !racy(ctime, start):", "backup", "TestWhatCountsAsUnchanged"),
		instead("list of a snapshot may be of another", "snapshot/snapshot.go", "record.Root != entry.Root || record.Session != entry.Session", "false", "snapshot", "TestDamagedSummary"),

		instead("check does not compare sizes", "check/segments.go", "size != s.Size", "false && size != s.Size", "check", "TestDamage"),
		never("check does not compare rows with headers", "check/segments.go", "row.ID != o.ID || row.Sum != o.Sum || row.Offset != o.Offset || row.Length != o.Length || row.Kind != o.Kind", "check", "TestForgedRuns"),
		instead("check does not follow refs", "check/segments.go", "				graph.check(h, shown)\n", "				_ = shown\n", "check", "TestForgedRuns"),
		instead("check does not look at roots", "check/graph.go", "		c.checkRoot(snap)\n", "		_ = snap\n", "check", "TestForgedSnapshots"),
		instead("check does not compare summaries", "check/trees.go", "err != nil || !bytes.Equal(want, plain)", "err != nil && !bytes.Equal(want, plain)", "check", "TestSnapshotsThatLie"),
		instead("check does not compare the hash of a segment it opens", "check/readdata.go", "case object.Hash(trailer) != o.s.Hash ||", "case object.Hash(trailer) != o.s.Hash &&", "check", "TestDamage"),
		instead("check calls a missing slot right", "check/log.go", "	if opened == 0 {", "	if false && opened == 0 {", "check", "TestDamage"),
		instead("check takes dead rows for visible", "check/segments.go", "shown[i] = c.index.Shows(s.run, int(n))", "shown[i] = true", "check", "TestCleanedRepositories"),
		never("check believes stored counts", "check/counts.go", "got != want", "check", "TestWrongCounts"),
		instead("check believes a space map", "check/counts.go", "case want[0] != got:", "case false && want[0] != got:", "check", "TestWrongCounts"),
		instead("a recount takes each copy for a home", "prune/recounter.go", "case i == 0:", "case i >= 0:", "prune", "TestRecount"),
		instead("a recount counts roots of later", "prune/recounter.go", "s.Generation <= c.options.Fold", "true", "prune", "TestRecount"),
		instead("a recount believes any header", "prune/recounter.go", "len(homes) != int(s.homes) || print != s.print", "false", "prune", "TestRecountOfOtherHeaders"),
		instead("a recount believes what it has put aside", "prune/recountrefs.go", "s.gone != s.total || s.gonePrint != s.print", "false", "prune", "TestRecountPutAside"),
		instead("a recount passes over missing headers", "prune/recounter.go", "c.Wants(i, n) && !c.parts[i].segments[n].fed", "false", "prune", "TestRecountOfOtherHeaders"),
		instead("a prune after a recount keeps the old tables", "prune/assemble.go", "if a.anew || refcount.NeedsBase(", "if refcount.NeedsBase(", "prune", "TestPruneRecount"),
		instead("check calls a segment of another copy lost", "check/segments.go", "_, bad := c.bad[copyOf{at.Segment.Name, id}]", "_, bad := c.bad[copyOf{s.Name, id}]", "check", "TestOtherCopy"),
	}
}
