package cmd

import (
	"context"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"bluesky/check"
	"bluesky/object"
	"bluesky/seal"
)

// phases records what a check announces, and how much of it came.
type phases struct {
	mu          sync.Mutex
	names       []string
	total, done map[string]uint64
}

func (p *phases) Phase(name string, steps uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names = append(p.names, name)
	p.total[name] = steps
}

func (p *phases) Step(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[p.names[len(p.names)-1]] += n
}

func (p *phases) Problem(check.Problem) {}

// The units that are shown are those of package check: a phase that is not
// listed here counts bytes, of which there are far more than of anything else.
func TestCheckUnits(t *testing.T) {
	dir := t.TempDir()
	h := newTestHost(map[string]string{
		"BLUESKY_REPOSITORY": dir + "/repo", "BLUESKY_PASSWORD": "x", "XDG_CONFIG_HOME": dir, "XDG_STATE_HOME": dir, "XDG_CACHE_HOME": dir,
	})
	h.slot = seal.SlotParams{Time: 1, Memory: 8, Lanes: 1}
	seen := &phases{total: map[string]uint64{}, done: map[string]uint64{}}
	source := writeFile(t, dir+"/file", "x")
	for _, args := range [][]string{{"init"}, {"backup", source}, {"record"}} {
		code := h.execute(t.Context(), args, func(e *env) *cobra.Command {
			return &cobra.Command{Use: "record", RunE: func(cmd *cobra.Command, _ []string) error {
				return recordCheck(cmd.Context(), e, seen)
			}}
		})
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", args, code, h.err.String())
		}
	}
	for _, name := range seen.names {
		total, done := seen.total[name], seen.done[name]
		if total != done {
			t.Errorf("%s: %d of %d steps came", name, done, total)
		}
		_, _, listed := checkUnit(name)
		if few := total < 100; few != listed {
			t.Errorf("%s: %d steps, listed: %v", name, total, listed)
		}
	}
	if len(seen.names) < 5 {
		t.Errorf("phases: %q", seen.names)
	}
}

// recordCheck runs a check of everything.
func recordCheck(ctx context.Context, e *env, to check.Progress) error {
	o, err := e.openUnread(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	_, err = check.Run(ctx, o.repo, o.keys, check.Options{ReadData: true}, to)
	return err
}

func TestPrintProblem(t *testing.T) {
	p := check.Problem{
		Severity: check.Error, Subject: "seg/00/\x1b", Text: "it is\nmissing",
		Files: []string{"/a", "/b\n"}, MoreFiles: 1, Snapshots: []object.ID{{1}}, MoreSnapshots: 2,
	}
	for _, tt := range []struct {
		settings settings
		severity check.Severity
		want     string
	}{
		{settings{}, check.Error, `error: "seg/00/\x1b": it is\nmissing` + "\n" +
			"    affects /a\n" + `    affects "/b\n"` + "\n    and 1 more file\n    in snapshots 01000000 and 2 more\n"},
		{settings{}, check.Note, ""},
		{settings{JSON: true, Verbose: 1}, check.Note, ""},
		{settings{JSON: true}, check.Error, `{"message_type":"error","message":"\"seg/00/\\x1b\": it is\nmissing","severity":"error",` +
			`"files":["/a","/b\n"],"snapshots":["0100000000000000000000000000000000000000000000000000000000000000"]}` + "\n"},
	} {
		h := newTestHost(nil)
		e := newEnv(h.host)
		e.settings = tt.settings
		p.Severity = tt.severity
		e.printProblem(&p)
		if got := h.err.String(); got != tt.want || h.out.Len() > 0 {
			t.Errorf("%+v, %v:\ngot  %s\nwant %s", tt.settings, tt.severity, got, tt.want)
		}
	}
}
