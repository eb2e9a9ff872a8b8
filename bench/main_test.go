package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bluesky/cmd"
)

// asBluesky makes this test program be bluesky, so that none has to be built.
const asBluesky = "BENCH_TEST_IS_BLUESKY"

func TestMain(m *testing.M) {
	if os.Getenv(asBluesky) != "" {
		os.Exit(cmd.Main())
	}
	os.Exit(m.Run())
}

// TestSmoke compares bluesky with itself, on a small tree.
func TestSmoke(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(asBluesky, "1")
	scratch := t.TempDir()
	raw := filepath.Join(t.TempDir(), "raw.json")
	c := config{
		rounds: 1, scale: 1.0 / 500, trees: "small", phases: "all",
		tools: "bluesky=" + self + ",bluesky=" + self, scratch: scratch, raw: raw,
	}
	var out bytes.Buffer
	if err := run(t.Context(), &c, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	for _, row := range []string{
		"# bluesky 0.1.0-dev, bluesky 0.1.0-dev (2)", "| first backup | bluesky 0.1.0-dev |", "|  | bluesky 0.1.0-dev (2) |",
		"| the same without the key | bluesky", "| prune | bluesky 0.1.0-dev |", "A try at scale",
	} {
		if !strings.Contains(out.String(), row) {
			t.Errorf("no %q in\n%s", row, out.String())
		}
	}
	checkSamples(t, raw, 2*len(allPhases))
	if left, err := os.ReadDir(scratch); err != nil || len(left) > 0 {
		t.Errorf("it left %v, %v", left, err)
	}
}

// TestHistory plays two rounds of both patterns. Each file that is replaced dies,
// and with 5 % of so few files dead nothing has to be rewritten.
func TestHistory(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(asBluesky, "1")
	raw := filepath.Join(t.TempDir(), "raw.json")
	c := config{rounds: 1, scale: 1.0 / 64, history: 2, tools: "bluesky=" + self, scratch: t.TempDir(), raw: raw}
	var out bytes.Buffer
	if err := run(t.Context(), &c, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	var list []pruned
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	if len(list) != len(patterns) || strings.Count(out.String(), "| bluesky 0.1.0-dev |") != len(patterns) {
		t.Fatalf("%d results, want %d, in\n%s", len(list), len(patterns), out.String())
	}
	for _, d := range list {
		if d.DiedBytes < historyFile || d.Space/2 < d.LiveBytes || d.Space/2 > d.LiveBytes*5/4 || d.Rewritten != 0 || d.Others == 0 || len(d.Samples) != 2 {
			t.Errorf("this cannot be: %+v", d)
		}
	}
}

// checkSamples reads the samples and checks that they can be true.
func checkSamples(t *testing.T, path string, each int) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Trees) != 1 {
		t.Errorf("%d trees, want 1", len(r.Trees))
	}
	for _, tree := range r.Trees {
		if len(tree.Samples) != each {
			t.Errorf("%s: %d samples, want %d", tree.Name, len(tree.Samples), each)
		}
		for _, s := range tree.Samples {
			if s.Wall <= 0 || s.CPU() <= 0 || s.PeakMiB < 1 || s.RepoBytes < 1000 || s.RepoFiles < 3 || s.Round != 1 || s.Read < 1000 || s.Written < 10 {
				t.Errorf("%s: this cannot be: %+v", tree.Name, s)
			}
		}
	}
}

// TestWrongRestoreEndsTheRun: a program that restores something else has no
// figures.
func TestWrongRestoreEndsTheRun(t *testing.T) {
	script := filepath.Join(t.TempDir(), "bluesky")
	text := "#!/bin/sh\ncase $1 in\nversion) echo bluesky 9;;\ninit) mkdir $BLUESKY_REPOSITORY;;\nrestore) mkdir -p \"$4\" ;;\nesac\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	c := config{rounds: 1, scale: 1.0 / 1000, trees: "small", phases: "all", tools: "bluesky=" + script, scratch: t.TempDir()}
	var out bytes.Buffer
	err := run(t.Context(), &c, &out, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "what was restored is wrong") || out.Len() > 0 {
		t.Errorf("got %v and %q", err, out.String())
	}
}

// TestFailedCommandIsShown: with the end of what the program said.
func TestFailedCommandIsShown(t *testing.T) {
	script := filepath.Join(t.TempDir(), "bluesky")
	if err := os.WriteFile(script, []byte("#!/bin/sh\n[ $1 = version ] && echo bluesky 9 && exit\necho no such luck >&2\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := config{rounds: 1, scale: 1.0 / 1000, trees: "small", phases: "all", tools: "bluesky=" + script, scratch: t.TempDir()}
	err := run(t.Context(), &c, io.Discard, io.Discard)
	if err == nil || !strings.Contains(err.Error(), "no such luck") || !strings.Contains(err.Error(), "exit status 7") {
		t.Errorf("got %v", err)
	}
}
