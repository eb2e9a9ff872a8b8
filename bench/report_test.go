package main

import (
	"slices"
	"strings"
	"testing"
)

func TestSpread(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
		want   spread
		text   string
	}{
		{"one", []float64{2}, spread{2, 2, 2}, "2.0"},
		{"odd", []float64{3, 1, 2}, spread{2, 1, 3}, "2.0 (1.0–3.0)"},
		{"even", []float64{4, 1, 2, 3}, spread{2.5, 1, 4}, "2.5 (1.0–4.0)"},
		{"equal as shown", []float64{1, 1.03125}, spread{1.015625, 1, 1.03125}, "1.0"},
		{"none", nil, spread{}, "0.0"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := spreadOf(slices.Clone(tt.values))
			if got != tt.want || got.text(1) != tt.text {
				t.Errorf("got %v, %q, want %v, %q", got, got.text(1), tt.want, tt.text)
			}
		})
	}
}

func TestTable(t *testing.T) {
	const us, them = "bluesky 1", "restic 2"
	phases, err := choosePhases("first,check,keyless")
	if err != nil {
		t.Fatal(err)
	}
	r := report{
		Rounds: 2, Scale: 1, Phases: phases,
		Tools: []*tool{
			{Label: us, kind: "bluesky", init: []line{{args: "init"}}, commands: map[string]line{"first": {args: "backup SOURCE"}}},
			{Label: them, kind: "restic", commands: map[string]line{"first": {args: "backup --x SOURCE"}, "prune": {before: "policy", args: "prune"}}},
		},
		Trees: []treeReport{{Name: "small", Title: "small files", Change: "some", Files: 3, Bytes: 5 << 20, Samples: []sample{
			{Tool: us, Phase: "first", Round: 1, Wall: 1, Sync: 1, User: 0.5, System: 0.25, PeakMiB: 100, Read: 2 << 20, Written: 8 << 20, RepoBytes: 4 << 20, RepoFiles: 7},
			{Tool: us, Phase: "first", Round: 2, Wall: 3, Sync: 1, User: 0.5, System: 0.25, PeakMiB: 100, Read: 2 << 20, Written: 8 << 20, RepoBytes: 4 << 20, RepoFiles: 7},
			{Tool: them, Phase: "first", Round: 1, Wall: 5, Sync: 1, User: 1, System: 0.5, PeakMiB: 50, Read: 3 << 20, RepoBytes: 5 << 20, RepoFiles: 9},
			{Tool: us, Phase: "check", Wall: 2},
			{Tool: them, Phase: "check", Wall: 1},
			{Tool: us, Phase: "keyless", Wall: 1},
			{Tool: us, Phase: "restore", Wall: 1}, // not asked for
		}}},
	}
	want := `
## small

small files (3 files, 5 MiB).
Changed: some.

| | | wall s | × | on disk s | × | CPU s | × | peak MiB | × | read MiB | × | written MiB | × | repository MiB | × | files |
|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
| first backup | bluesky 1 | 2.00 (1.00–3.00) | 1.00 | 3.00 (2.00–4.00) | 1.00 | 0.75 | 1.00 | 100 | 1.00 | 2.0 | 1.00 | 8.0 | 1.00 | 4.0 | 1.00 | 7 |
|  | restic 2 | 5.00 | 2.50 | 6.00 | 2.00 | 1.50 | 2.00 | 50 | 0.50 | 3.0 | 1.50 | 0.0 | 0.00 | 5.0 | 1.25 | 9 |
| check, all data | bluesky 1 | 2.00 | 1.00 | 2.00 | 1.00 | 0.00 |  | 0 |  | 0.0 |  | 0.0 |  | | |  |
|  | restic 2 | 1.00 | 0.50 | 1.00 | 0.50 | 0.00 |  | 0 |  | 0.0 |  | 0.0 |  | | |  |
| the same without the key | bluesky 1 | 1.00 | 1.00 | 1.00 | 1.00 | 0.00 |  | 0 |  | 0.0 |  | 0.0 |  | | |  |
| | *none of the others does this* | | | | | | | | | | | | | | | |

`
	got := string(r.markdown())
	if !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant in it\n%s", got, want)
	}
	if !strings.Contains(got, "# bluesky 1\nbluesky init\nbluesky backup SOURCE\n# restic 2\nrestic backup --x SOURCE\nrestic policy\nrestic prune\n") {
		t.Errorf("no command lines in\n%s", got)
	}
	if strings.Contains(got, "scale") {
		t.Errorf("a whole run calls itself a try:\n%s", got)
	}
}

// TestTableOfOne: a table of others alone, or of one, has no row that
// complains.
func TestTableOfOne(t *testing.T) {
	r := report{Rounds: 1, Scale: 0.5, Phases: allPhases, Tools: []*tool{{Label: "restic 2", kind: "restic"}}, Trees: []treeReport{{
		Name: "small", Samples: []sample{{Tool: "restic 2", Phase: "check", Wall: 1}},
	}}}
	got := string(r.markdown())
	if strings.Contains(got, "none of the others") || strings.Contains(got, "first backup") {
		t.Errorf("got\n%s", got)
	}
	if !strings.Contains(got, "A try at scale 0.5") {
		t.Errorf("a try does not say so:\n%s", got)
	}
}

func TestChoosePhases(t *testing.T) {
	got, err := choosePhases("restore,first")
	if err != nil || len(got) != 2 || got[0].name != "first" || got[1].name != "restore" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := choosePhases("first,sing"); err == nil || !strings.Contains(err.Error(), `"sing"`) {
		t.Errorf("got %v for a phase that is not there", err)
	}
}

// TestToolsKnowPhases: a command line whose phase has another name would never
// run.
func TestToolsKnowPhases(t *testing.T) {
	for _, k := range kinds() {
		for name := range k.commands {
			if !slices.Contains(phaseNames(), name) {
				t.Errorf("%s has a command line for %q, which is no phase", k.kind, name)
			}
		}
		for _, p := range allPhases {
			if _, ok := k.commands[p.name]; !ok && p.needed {
				t.Errorf("%s has no command line for %q, which others build on", k.kind, p.name)
			}
		}
	}
}
