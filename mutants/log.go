package main

// packMutations are of what stands between a run and the bytes of an object.
func packMutations() []mutation {
	const read, run = "pack/read.go", "index/run.go"
	return []mutation{
		never("header hash is not compared", read, "HeaderHash(head) != ref.HeaderHash", "pack", "TestReadHeaderComparesFirst", "TestEveryFlippedBit"),
		never("name in a header is not compared", read, "h.Name != ref.Name", "pack", "TestSwappedSegments"),
		never("sum of an object is not compared", read, "sums.sum(o.ID, o.Kind, o.Session, o.Refs, o.Bytes) != h.Objects[i].Sum", "pack", "TestEveryFlippedBit", "TestReadMany"),
		without("sum without refs", "pack/sum.go", "	b = object.AppendRefs(b, refs)\n", "pack", "TestSummerIsSumOf"),
		instead("hash of a segment is not compared with the run", "pack/verify.go", "case got != want:", "case false && got != want:", "pack", "TestVerifyComparesWithRun"),
		instead("trailer of a segment is not compared", "pack/verify.go", "case got != trailer:", "case false && got != trailer:", "pack", "TestEveryFlippedBit", "TestVerify"),
		never("feature bits of a segment are ignored", "pack/prelude.go", "f := binary.LittleEndian.Uint32(head[12:]); f != 0", "pack", "TestVectors"),
		never("trailer of a run is not compared", run, "r.hash = object.HashBytes(\"run\", data[:end]); r.hash != object.Hash(data[end:])", "index", "TestVectors"),
		never("repository of a run is not compared", run, "p.repository != repository", "index", "TestVectors"),
		never("name of a run is not compared", run, "p.name != name", "index", "TestVectors"),
		never("rows of a run may be in any order", run, "i > 0 && last.compare(&row) >= 0", "index", "TestVectors"),
		never("registered hash of a run is not compared", "index/file.go", "r.Hash() != want.Hash", "index", "TestLoadComparesWithStatement"),
		never("a segment of another repository is read", "repo/segments.go", "e.header.Repository != repository", "repo", "TestForgedRun"),
		instead("row and header may disagree", "repo/read.go", "!ok || e.header.Objects[i].Sum != at.Row.Sum", "!ok", "repo", "TestForgedRun"),
	}
}

// logMutations are of what a reader believes of the log.
func logMutations() []mutation {
	const state, generation, log, checkpoint = "repo/state.go", "repo/generation.go", "repo/log.go", "repo/checkpoint.go"
	const pkg = "repo"
	return []mutation{
		never("signature of a generation is not verified", generation, "!ed25519.Verify(g.Author[:], message, g.Signature[:])", pkg, "TestInvalidGenerations"),
		never("signature of a statement is not verified", "repo/statement.go", "!ed25519.Verify(s.Signer[:], s.message(o.Type), s.Signature[:])", pkg, "TestVoidOps"),
		never("repository of a statement is not compared", "repo/statement.go", "s.Repository != repository", pkg, "TestVoidOps"),
		without("signature of a statement does not cover its session", "repo/statement.go", "	b = append(b, s.Session[:]...)\n", pkg, "TestVectors", "TestStateIsTheLog"),
		without("signature of a generation does not cover its repository", generation, "	b = append(b, repository[:]...)\n", pkg, "TestVectors", "TestInvalidGenerations"),
		never("chain of hashes is not compared", state, "g.Previous != s.Hash", pkg, "TestInvalidGenerations"),
		never("number of a generation is not compared", state, "g.Number != n", pkg, "TestInvalidGenerations"),
		never("author of a generation needs no role", state, "!ok {\n\t\treturn nil, fmt.Errorf(\"generation %d: %w: its author", pkg, "TestInvalidGenerations"),
		never("checkpoint field of a generation is not judged", state, "!s.ReadOnly() && !sameCheckpoint(g.Checkpoint, s.Checkpoint)", pkg, "TestInvalidGenerations"),
		never("floor of a generation is not judged", state, "!s.ReadOnly() && g.Floor != s.Floor", pkg, "TestInvalidGenerations"),
		never("bluesky.json is not bound to generation 0", state, "g.Number != 0 || g.Previous != object.HashBytes(\"config\", config)", pkg, "TestIdentityIsBound"),
		instead("any role may make any op", state, "if !may(op.Type, role) {", "if false && !may(op.Type, role) {", pkg, "TestVoidOps"),
		instead("a statement may stand in another's generation", state, "err != nil || st.Signer != g.Author", "err != nil", pkg, "TestVoidOps"),
		instead("a statement may be replayed", state, "session.ended || session.signer != st.Signer || st.Sequence <= session.sequence", "session.signer != st.Signer", pkg, "TestReplayedStatement"),
		instead("a session may be another's", state, "session.ended || session.signer != st.Signer || st.Sequence", "session.ended || st.Sequence", pkg, "TestSessionOfAnotherWriter"),
		never("hash of a checkpoint is not compared", log, "object.HashBytes(\"checkpoint\", data) != ref.Hash {\n\t\treturn nil, fmt", pkg, "TestSwappedCheckpoint"),
		instead("a checkpoint may be of another log", log, "s.Repository != r.config.ID || s.Origin != r.genesis.Origin || s.Admin != r.genesis.Admin || s.Generation != ref.Number", "false", pkg, "TestCheckpointOfAnotherLog"),
		never("a checkpoint is not compared with the log", log, "object.HashBytes(\"checkpoint\", data) != ref.Hash {\n\t\treturn fmt", pkg, "TestForgedCheckpoint"),
		never("a checkpoint at or behind the head is taken", log, "ref.Number >= head", pkg, "TestUnsignedHeadNamesItsOwnState"),
		never("statements of a checkpoint may be the wrong ones", checkpoint, "(e.Op.Type == OpRole || e.Op.Type == OpPolicy) && st.Signer != s.Admin", pkg, "TestCheckpointsThatLie"),
		instead("the head is not compared with the trust file", log, "next.Generation == r.trusted.Generation && next.Hash != r.trusted.Hash", "false", pkg, "TestRollback"),
		instead("a head behind the trust file is taken", "repo/repo.go", "known := max(r.state.Generation, r.trusted.Generation)", "known := r.state.Generation", pkg, "TestRollback"),
		never("identity is not compared", "repo/repo.go", "got := r.Identity(); got != want", pkg, "TestPin"),
		never("a damaged trust file counts as none", "repo/trust.go", "err != nil {\n		return trust{}, fmt.Errorf(\"%s: %w: remove", pkg, "TestTrustFile"),
		never("an older trust file takes the place of a newer", "repo/trust.go", "old, err := readTrust(dir); err == nil && !force && old.Generation > t.Generation", pkg, "TestTrustOfManyWriters", "TestTrustFile"),
		never("check does not compare with the trust file", "repo/audit.go", "a.Head < a.trusted.Generation", "check", "TestHeadRemoved"),
		instead("check does not compare checkpoints with the log", "repo/audit.go", "case !bytes.Equal(got, want):", "case false && !bytes.Equal(got, want):", pkg, "TestAuditCheckpoints"),
	}
}

// commitMutations are of the commit protocol.
func commitMutations() []mutation {
	const commit, session, pkg = "repo/commit.go", "repo/session.go", "repo"
	return []mutation{
		instead("read-back is not compared", commit, "return bytes.Equal(there, data), nil", "return true || bytes.Equal(there, data), nil", pkg, "TestFaultyPuts", "TestLostRaces"),
		instead("a lost reply is a failure", commit, "		there, err := st.Get(ctx, key, int64(len(data)))\n", "		return false, putErr\n		there, err := st.Get(ctx, key, int64(len(data)))\n", pkg, "TestFaultyPuts"),
		instead("an unreadable outcome is a success", commit, "return false, fmt.Errorf(\"%w; and what is there now is unknown: %w\", putErr, err)", "return true, nil", pkg, "TestUnreadableOutcome"),
		never("a name that is not durable is trusted", commit, "errors.Is(putErr, store.ErrNotDurable)", pkg, "TestNotDurableIsNoSuccess"),
		never("relied-on ids are not looked at", commit, "!view.Has(id) && !c.run.has(id) {\n				gone = append(gone, id)", pkg, "TestReliedOnObjectVanishes"),
		instead("relied-on ids are not looked at again", commit, "checked == nil || !base.extends(checked)", "checked == nil", pkg, "TestReliedOnObjectVanishes"),
		instead("no assertion at the end of a commit", commit, "if err := assert(base, after, view, made, c); err != nil", "if err := assert(base, after, view, made, c); false && err != nil", pkg, "TestRefusedCommits"),
		instead("void ops are committed", commit, "	if len(void) > 0 {", "	if false && len(void) > 0 {", pkg, "TestRefusedCommits"),
		never("own uploads may be condemned", commit, "lost {\n		return &goneError", pkg, "TestOwnSegmentIsCondemned"),
		instead("the own run may be condemned", commit, "_, lost := condemned[RunName(c.run.add.Name)]", "lost := false", pkg, "TestOwnRunIsCondemned"),
		never("roots may be invisible", "repo/assert.go", "!listed[snap.ID] && !visible(id)", pkg, "TestRefusedCommits"),
		never("a repository of a newer version is written to", commit, "base.ReadOnly()", pkg, "TestReadOnlyRepository"),
		never("metadata does not wait for data", session, "l.class == object.ClassMeta", pkg, "TestDurabilityOrder"),
		instead("metadata waits for no upload", session, "	l.uploads.wait()\n	return context.Cause(s.ctx)", "	return context.Cause(s.ctx)", pkg, "TestDurabilityOrder"),
		instead("a failed upload is forgotten", session, "			s.fail(err)\n", "			_ = err\n", pkg, "TestFailedUpload"),
		instead("the run is not put", "repo/register.go", "err := s.repo.put(ctx, name.Key(), data); err != nil", "err := error(nil); err != nil", pkg, "TestDurabilityOrder"),
		instead("refs out of a session are not relied on", session, "	s.relied = append(s.relied, segment.Header.External)\n", "", pkg, "TestDanglingRefOfASession"),
		instead("a session without anything new adds no generation", "repo/register.go", "!(empty && registered)", "!(false && registered)", pkg, "TestAddRunOfNothing"),
		instead("a long run without a new object adds no generation", "backup/counts.go", "due = passed >= idleEvery", "due = false", "backup", "TestLongRun"),
		instead("sessions of live runs are ended", "journal/file.go", "if !locked {", "if false && !locked {", pkg, "TestKilledHolder", "TestAbandonedSession"),
		instead("init takes the place of a lost generation 0", "repo/create.go", "	if err := lost(ctx, st, GenerationKey(0)); err != nil {\n		return nil, err\n	}\n", "", pkg, "TestLostIdentity"),
	}
}
