package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/spf13/cobra"

	"bluesky/forget"
)

// inProcess runs a command of the test's own on the repository of m.
func (m *machine) inProcess(args []string, use func(context.Context, *env) error) string {
	m.t.Helper()
	environment := map[string]string{"HOME": m.home, "BLUESKY_REPOSITORY": m.repo}
	for _, setting := range append([]string{"BLUESKY_PASSWORD=secret"}, m.env...) {
		name, value, _ := strings.Cut(setting, "=")
		environment[name] = value
	}
	h := newTestHost(environment)
	code := h.execute(m.t.Context(), append([]string{"test"}, args...), func(e *env) *cobra.Command {
		return &cobra.Command{Use: "test", RunE: func(cmd *cobra.Command, _ []string) error { return use(cmd.Context(), e) }}
	})
	if code != 0 {
		m.t.Fatalf("exit code %d: %s", code, h.err.String())
	}
	return h.out.String()
}

// kept returns how many snapshots of each host there are.
func (m *machine) kept() map[string]int {
	m.t.Helper()
	var list []struct{ Hostname string }
	if err := json.Unmarshal([]byte(m.must("snapshots", "--json")), &list); err != nil {
		m.t.Fatal(err)
	}
	count := map[string]int{}
	for _, s := range list {
		count[s.Hostname]++
	}
	return count
}

// mustRecheck fails the test if a policy that something was forgotten by does
// not remove it.
func (m *machine) mustRecheck() (forgotten int) {
	m.t.Helper()
	m.inProcess(nil, func(ctx context.Context, e *env) error {
		o, err := e.openKeyless(ctx)
		if err != nil {
			return err
		}
		defer o.close()
		times, err := o.repo.StoreTimes(ctx, o.state)
		if err != nil {
			return err
		}
		live, gone, err := forget.Load(o.state.Timed(times))
		if err != nil {
			return err
		}
		for _, f := range forget.Recheck(live, gone) {
			m.t.Errorf("snapshot %s is forgotten by %v, which keeps it", f.ID.Short(), f.By)
		}
		forgotten = len(gone)
		return nil
	})
	return forgotten
}

// What a policy keeps is decided on the state that the forget follows: a backup
// that comes between takes part.
func TestForgetDecidesAgain(t *testing.T) {
	t.Parallel()
	for _, password := range []string{"secret", ""} {
		m := newMachine(t)
		file := m.write("file", []byte("data"))
		for range 2 {
			m.must("backup", "-q", "--host", "one", file)
		}
		m.env = []string{"BLUESKY_PASSWORD=" + password}
		out := m.inProcess(nil, func(ctx context.Context, e *env) error {
			w := &forgetting{env: e, flags: &forgetFlags{filter: &snapshotFilter{}, groupBy: forget.GroupBy{Host: true}}}
			w.flags.policy.Keep[forget.Last] = 1
			w.flags.policy.Within[forget.Last] = &forget.Duration{}
			if err := w.openKeyless(ctx); err != nil {
				return err
			}
			defer w.close()
			again := *m
			again.env = nil
			again.must("backup", "-q", "--host", "one", file)
			return w.forgetByPolicy(ctx)
		})
		if !strings.Contains(out, "forgot 2 snapshots;") {
			t.Errorf("password %q: %s", password, out)
		}
		m.env = nil
		if got := m.kept(); got["one"] != 1 {
			t.Errorf("password %q: %v are kept", password, got)
		}
		if got := m.mustRecheck(); got != 2 {
			t.Errorf("password %q: %d forgotten", password, got)
		}
	}
}

// Processes that back up and forget at once all succeed, each with its own
// policy, and every forget is what its policy says about the state before it.
func TestForgetWhileOthersDo(t *testing.T) {
	t.Parallel()
	const rounds, hosts = 4, 3
	m := newMachine(t)
	file := m.write("file", []byte("data"))
	var processes sync.WaitGroup
	each := func(n int, args func(round int) []string, env ...string) {
		for i := range n {
			own := *m
			own.env = env
			processes.Go(func() {
				for round := range rounds {
					if got := own.run(args(i*rounds + round)...); got.code != 0 {
						t.Errorf("exit code %d: %s", got.code, got.stderr)
					}
				}
			})
		}
	}
	each(hosts, func(n int) []string { return []string{"backup", "-q", "--host", fmt.Sprint("host", n/rounds), file} })
	each(1, func(n int) []string { return []string{"forget", "-q", "--keep-last", fmt.Sprint(1 + n%3)} })
	each(1, func(n int) []string {
		return []string{"forget", "-q", "--keep-within", "0s", "--keep-last", fmt.Sprint(1 + n%2)}
	}, "BLUESKY_PASSWORD=")
	processes.Wait()
	m.must("forget", "-q", "--keep-last", "1")
	if got, want := fmt.Sprint(m.kept()), "map[host0:1 host1:1 host2:1]"; got != want {
		t.Errorf("kept %s, want %s", got, want)
	}
	if got := m.mustRecheck(); got != hosts*rounds-hosts {
		t.Errorf("%d forgotten, want %d", got, hosts*rounds-hosts)
	}
	m.mustCheck()
}
