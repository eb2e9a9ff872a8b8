package cmd

import (
	"testing"

	"bluesky/restore/treetest"
)

// A tree with everything that Linux has comes back as it was, through the
// program itself: whole, a second time over itself, and from a later snapshot.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	src := m.mkdir("src")
	treetest.Make(t, src)
	whole := []string{"restore", "-q", "latest", "-t", "out"}
	if !treetest.Root() {
		whole = append(whole, "--preserve-special") // root needs no flag for a whole snapshot
		// What the owner himself cannot read is not the subject here.
		treetest.Run(t, m.dir, "chmod", "-R", "u+r", "src")
		t.Cleanup(func() { treetest.Run(t, m.dir, "chmod", "-R", "u+rwx", ".") })
	}
	m.must("backup", "-q", "src")
	m.must(append(whole, "--verify")...)
	treetest.Compare(t, src, m.path("out"+src))
	m.must(whole...)
	treetest.Compare(t, src, m.path("out"+src))

	m.must("backup", "-q", "src")
	m.must("backup", "-q", "src", "--force", "--host", "another")
	m.must("restore", "-q", "latest:"+src, "-t", "again", "--preserve-special", "--host", "another")
	treetest.Compare(t, src, m.path("again"))
	m.mustCheck()
}
