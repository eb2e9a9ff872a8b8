package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"bluesky/restore/treetest"
)

// Each level stores what restores to the same; the harder it works on text, the
// less it stores, and off stores all of it.
func TestCompression(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	source := int64(0)
	for i, pattern := range []string{"*.go", "../docs/*.md", "../tree/*.go", "../repo/*.go"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		var all []byte
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, text...)
		}
		m.write(fmt.Sprint("src/text", i), all)
		source += int64(len(all))
	}
	m.write("src/random", treetest.Bytes(1, 100_000))
	stored := map[string]int64{}
	for _, level := range []string{"off", "fastest", "auto", "better", "max"} {
		m.repo = m.path("repo-" + level)
		m.must("init", "-q")
		before := size(t, m.repo)
		m.must("backup", "-q", "src", "--compression", level)
		stored[level] = size(t, m.repo) - before
		t.Logf("%s: %d bytes of text stored in %d", level, source, stored[level])
		m.must("restore", "-q", "latest:"+m.path("src"), "-t", "out-"+level)
		treetest.Compare(t, m.path("src"), m.path("out-"+level))
		m.mustCheck()
	}
	if stored["off"] < source+100_000 {
		t.Errorf("off stores %d bytes in %d", source, stored["off"])
	}
	for _, pair := range [][2]string{{"max", "better"}, {"better", "auto"}, {"auto", "fastest"}, {"fastest", "off"}} {
		if less, more := stored[pair[0]], stored[pair[1]]; less >= more {
			t.Errorf("%s stores %d bytes, %s %d", pair[0], less, pair[1], more)
		}
	}
	// All levels in one repository, whatever was stored first.
	m.must("backup", "-q", "src", "--force", "--compression", "max")
	m.mustCheck()
}
