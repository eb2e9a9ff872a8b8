package main

import (
	"slices"
	"strings"
)

// all returns the table.
func all() []mutation {
	return slices.Concat(storeMutations(), sealMutations(), packMutations(), logMutations(), commitMutations(), cleanMutations(), assertMutations(), forgetMutations(), pruneMutations(), useMutations())
}

// never makes a condition of an if statement false. A statement may stand before
// it, and what is needed to tell it from others behind the brace.
func never(name, file, condition, pkg string, tests ...string) mutation {
	condition, behind, _ := strings.Cut(condition, " {")
	before := ""
	if at := strings.LastIndex(condition, "; "); at >= 0 {
		before, condition = condition[:at+2], condition[at+2:]
	}
	return mutation{
		name, file, "if " + before + condition + " {" + behind,
		"if " + before + "false && (" + condition + ") {" + behind, pkg, tests,
	}
}

// without leaves a text out.
func without(name, file, text, pkg string, tests ...string) mutation {
	return mutation{name, file, text, "", pkg, tests}
}

// instead puts a text in the place of another.
func instead(name, file, old, new, pkg string, tests ...string) mutation {
	return mutation{name, file, old, new, pkg, tests}
}

func storeMutations() []mutation {
	const write, folder, pkg = "store/local/write.go", "store/local/folder.go", "store/local"
	return []mutation{
		instead("fsync of a file left out", write, "w.tmp.file.Sync()", "error(nil)", pkg, "TestPowerCut"),
		instead("fsync of a copied file left out", write, "		err = s.file.Sync()\n", "", pkg, "TestPowerCut"),
		instead("fsync of a folder left out", folder, "err := dir.Sync()", "err := error(nil)", pkg, "TestPowerCut"),
		instead("fsync above a new folder left out", folder, "return parent.sync(dir)", "_ = parent\n\treturn nil", pkg, "TestPowerCut"),
		instead("exclusive link is a rename", write, "publish = w.tmp.create", "publish = w.tmp.replace", pkg, "TestExclusiveAtTheLastMoment", "TestRaceOfProcesses"),
		instead("renameat2 without NOREPLACE", write, "s.dir.RenameNew(s.name, name)", "s.dir.Rename(s.name, name)", pkg, "TestExclusiveAtTheLastMoment"),
		instead("folder trusted after a failed fsync", folder, "		f.failed = err\n", "", pkg, "TestNothingIsTrustedAfterAFailedSync"),
		instead("failed fsync of a name is no error", folder, "	if err == nil {\n		return nil\n	}\n	f.mu.Lock()", "	if err == nil || true {\n		return nil\n	}\n	f.mu.Lock()",
			pkg, "TestEveryCallFails"),
		instead("a name given by a failed call is not synced", write, "	err := publish(w.name)\n	if errors.Is(err, fs.ErrExist) {", "	err := publish(w.name)\n	if err != nil {", pkg, "TestNameGivenByAFailedCall"),
		instead("write goes on after an error", write, "	err := w.err\n", "	var err error\n", pkg, "TestEveryCallFails"),
		instead("a body may go on behind its end", "store/read.go", "data := make([]byte, n)", "data := make([]byte, n)\n\tr = io.LimitReader(r, n)", "store", "TestBodyThatBreaksOff", "TestBucketThatLies"),
		instead("a bucket that ignores conditions is taken", "store/probe.go", "case err == nil && winner >= 0:", "case false && winner >= 0:", "store", "TestProbeRefusesBucketThatIgnoresConditions"),
	}
}
