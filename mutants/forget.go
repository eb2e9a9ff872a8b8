package main

// forgetMutations are of what retention rests on.
func forgetMutations() []mutation {
	const apply, recheck, pkg = "forget/apply.go", "forget/recheck.go", "forget"
	return []mutation{
		instead("the oldest snapshot is not kept", apply, "again && !oldest", "again", pkg, "TestAgreesWithRestic"),
		instead("a count is not used up", apply, "		r.left--\n", "", pkg, "TestAgreesWithRestic"),
		instead("weeks begin on Thursday", apply, "day(t)+3, 7", "day(t), 7", pkg, "TestAgreesWithRestic"),
		instead("within includes its limit", apply, "return t.After(limit)", "return !t.Before(limit)", pkg, "TestPolicyAtItsLimit"),
		never("dated snapshots take places", apply, "len(honest) < len(entries)", pkg, "TestLiesPushNothingOut"),
		instead("old snapshots that came later are as new as they came", apply, "			e.at = list[i].Claimed\n", "", pkg, "TestOldSnapshotsThatCameLater"),
		instead("a store that loses times costs snapshots", apply, "	judge(future, p)\n", "", pkg, "TestAStoreWithoutTimes"),
		never("pinned snapshots are forgotten", apply, "s.Pinned", pkg, "TestPinnedOnesAreKept"),
		instead("writers share groups", "forget/group.go", "k := Key{Signer: s.Signer}", "k := Key{}", pkg, "TestGroups"),
		instead("series lose their last snapshot", "forget/decide.go", "lastOfLines(live, remove)", "lastOfLines(nil, remove)", pkg, "TestDecide"),
		never("a policy of tags keeps nothing", "forget/decide.go", "len(outcomes[i].Keep) == 0", pkg, "TestDecide"),
		never("no floor without the key", "forget/policy.go", "p.Within[Last] == nil", pkg, "TestTheFloorIsADefault"),
		never("a policy without rules forgets", recheck, "policy.Empty()", pkg, "TestRecheckOfWhatIsNoPolicy"),
		instead("what was forgotten with it is not looked at", recheck, "f.Generation < generation && f.At >= generation", "false", pkg, "TestRecheck"),
		instead("what came later is looked at", recheck, "h.live[i].Generation < generation", "true", pkg, "TestRecheck"),
		instead("times are not asked of the store", "repo/storetime.go", "if snap.Effective == nil {", "if false {", "repo", "TestStoreTimes"),
		instead("a policy is applied to an older state", "cmd/forget.go", "_, err = w.repo.Append(ctx, w.state, w.author, []repo.Op{op})", "_ = op\n\t_, err = w.repo.Forget(ctx, w.author, ids, w.policy)", "cmd", "TestForgetDecidesAgain"),
	}
}
