package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// A mutation is one way to break the program.
type mutation struct {
	name     string // the rule that it breaks
	file     string // below the root of the module
	old, new string // old stands in the file exactly once
	pkg      string // whose tests must notice
	tests    []string
}

// apply returns the bytes of m.file with the mutation in it.
func (m *mutation) apply() ([]byte, error) {
	data, err := os.ReadFile(m.file)
	if err != nil {
		return nil, err
	}
	if n := strings.Count(string(data), m.old); n != 1 {
		return nil, fmt.Errorf("%s holds the text to replace %d times, want once: %q", m.file, n, m.old)
	}
	if m.old == m.new {
		return nil, errors.New("it changes nothing")
	}
	return []byte(strings.Replace(string(data), m.old, m.new, 1)), nil
}

// timeLimit is far more than any of the tests takes.
const timeLimit = "10m"

// A runner compiles tests, with or without a mutation, and runs them.
type runner struct {
	root    string
	scratch string
}

func newRunner() (*runner, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat("go.mod"); err != nil {
		return nil, fmt.Errorf("run it from the root of the module: %w", err)
	}
	scratch, err := os.MkdirTemp("", "mutants")
	return &runner{root, scratch}, err
}

func (r *runner) close() { os.RemoveAll(r.scratch) } // whatever is left there harms nobody

// control runs the tests of all mutations without any.
func (r *runner) control(list []mutation) error {
	tests := map[string][]string{}
	for _, m := range list {
		for _, name := range m.tests {
			if !slices.Contains(tests[m.pkg], name) {
				tests[m.pkg] = append(tests[m.pkg], name)
			}
		}
	}
	for pkg, names := range tests {
		if err := r.compile(pkg, ""); err != nil {
			return fmt.Errorf("control: %w", err)
		}
		out, err := r.run(pkg, names)
		if err != nil {
			return fmt.Errorf("control: %s fails without a mutation: %w\n%s", pkg, err, out)
		}
		for _, name := range names {
			if !slices.Contains(results(out, "PASS"), name) {
				return fmt.Errorf("control: %s has no test %s that passes:\n%s", pkg, name, out)
			}
		}
	}
	return nil
}

// kill returns the tests of m that fail with it.
func (r *runner) kill(m mutation) ([]string, error) {
	overlay, err := r.overlay(&m)
	if err != nil {
		return nil, err
	}
	if err := r.compile(m.pkg, overlay); err != nil {
		return nil, err
	}
	out, err := r.run(m.pkg, m.tests)
	if err == nil {
		return nil, nil
	}
	if strings.Contains(out, "panic: test timed out") {
		return nil, fmt.Errorf("it does not come to an end, which says nothing:\n%s", out)
	}
	failed := results(out, "FAIL")
	if len(failed) == 0 && strings.Contains(out, "panic: ") {
		failed = lastRun(out)
	}
	failed = slices.DeleteFunc(failed, func(name string) bool { return !slices.Contains(m.tests, name) })
	if len(failed) == 0 {
		return nil, fmt.Errorf("the tests fail, and none of them says so: %w\n%s", err, out)
	}
	return failed, nil
}

// overlay writes what the compiler takes in place of m.file.
func (r *runner) overlay(m *mutation) (string, error) {
	data, err := m.apply()
	if err != nil {
		return "", err
	}
	file := filepath.Join(r.scratch, "mutated.go")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		return "", err
	}
	config, err := json.Marshal(map[string]any{
		"Replace": map[string]string{filepath.Join(r.root, m.file): file},
	})
	if err != nil {
		return "", err
	}
	overlay := filepath.Join(r.scratch, "overlay.json")
	return overlay, os.WriteFile(overlay, config, 0o600)
}

func (r *runner) binary() string { return filepath.Join(r.scratch, "tests") }

func (r *runner) compile(pkg, overlay string) error {
	args := []string{"test", "-c", "-o", r.binary()}
	if overlay != "" {
		args = append(args, "-overlay", overlay)
	}
	if out, err := exec.Command("go", append(args, "./"+pkg)...).CombinedOutput(); err != nil {
		return fmt.Errorf("the tests of %s do not compile: %w\n%s", pkg, err, out)
	}
	return nil
}

// run runs tests by their names and returns what they print.
func (r *runner) run(pkg string, names []string) (string, error) {
	cmd := exec.Command(r.binary(), "-test.v", "-test.count=1", "-test.timeout="+timeLimit,
		"-test.run=^("+strings.Join(names, "|")+")$")
	cmd.Dir = filepath.Join(r.root, pkg)
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "BLUESKY_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var (
	resultLine = regexp.MustCompile(`(?m)^--- (PASS|FAIL): (\w+) `)
	runLine    = regexp.MustCompile(`(?m)^=== RUN   (\w+)`)
)

// results returns the tests, not their parts, of which out says so.
func results(out, verdict string) []string {
	var names []string
	for _, m := range resultLine.FindAllStringSubmatch(out, -1) {
		if m[1] == verdict && !slices.Contains(names, m[2]) {
			names = append(names, m[2])
		}
	}
	return names
}

// lastRun returns the test that was begun last.
func lastRun(out string) []string {
	all := runLine.FindAllStringSubmatch(out, -1)
	if len(all) == 0 {
		return nil
	}
	return []string{all[len(all)-1][1]}
}
