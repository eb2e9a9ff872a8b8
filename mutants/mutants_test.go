package main

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// TestTable holds the table to the tree as it is: each text to be replaced is
// there once, the result is Go, and the tests that it names exist. Whether they
// notice is what the command is for.
func TestTable(t *testing.T) {
	t.Chdir("..")
	seen := map[string]bool{}
	for _, m := range all() {
		if seen[m.name] {
			t.Errorf("%s: two mutations have this name", m.name)
		}
		seen[m.name] = true
		data, err := m.apply()
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if _, err := parser.ParseFile(token.NewFileSet(), m.file, data, 0); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
		for _, name := range m.tests {
			if !hasTest(t, m.pkg, name) {
				t.Errorf("%s: package %s has no test %s", m.name, m.pkg, name)
			}
		}
		if len(m.tests) == 0 {
			t.Errorf("%s: no tests", m.name)
		}
	}
	if len(seen) < 30 {
		t.Errorf("%d mutations", len(seen))
	}
}

func hasTest(t *testing.T, pkg, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(pkg, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(t \*testing\.T\)`)
	return slices.ContainsFunc(files, func(file string) bool {
		data, err := os.ReadFile(file)
		return err == nil && want.Match(data)
	})
}

// TestResults reads what tests print.
func TestResults(t *testing.T) {
	const out = "=== RUN   TestA\n=== RUN   TestA/part\n    --- FAIL: TestA/part (0.00s)\n--- FAIL: TestA (0.00s)\n" +
		"=== RUN   TestB\n--- PASS: TestB (0.01s)\n--- SKIP: TestC (0.00s)\n=== RUN   TestD\npanic: x\n"
	if got := results(out, "FAIL"); !slices.Equal(got, []string{"TestA"}) {
		t.Errorf("failed: %q", got)
	}
	if got := results(out, "PASS"); !slices.Equal(got, []string{"TestB"}) {
		t.Errorf("passed: %q", got)
	}
	if got := lastRun(out); !slices.Equal(got, []string{"TestD"}) {
		t.Errorf("last: %q", got)
	}
}
