package main

import (
	"bufio"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// goList runs go list with a format over patterns and returns its lines.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// TestImportsAreThoseOfTheDocument makes a new arrow between packages a line in
// somebody's commit.
func TestImportsAreThoseOfTheDocument(t *testing.T) {
	want := documentedImports(t)
	got := map[string]string{}
	for _, line := range goList(t, "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, "./...") {
		fields := strings.Fields(line)
		name := packageName(fields[0])
		var imports []string
		for _, path := range fields[1:] {
			if path == "bluesky" || strings.HasPrefix(path, "bluesky/") {
				imports = append(imports, packageName(path))
			}
		}
		slices.Sort(imports)
		got[name] = strings.Join(imports, " ")
	}
	for name, imports := range got {
		// What tests alone use is not part of the program.
		if strings.HasSuffix(name, "test") {
			continue
		}
		if documented, ok := want[name]; !ok {
			t.Errorf("package %s, which imports %q, is not in docs/architecture.md", name, imports)
		} else if documented != imports {
			t.Errorf("package %s imports %q; docs/architecture.md says %q", name, imports, documented)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("docs/architecture.md has a package %s that is not there", name)
	}
}

func packageName(path string) string {
	if path == "bluesky" {
		return "main"
	}
	return strings.TrimPrefix(path, "bluesky/")
}

// documentedImports reads the table of packages in docs/architecture.md.
func documentedImports(t *testing.T) map[string]string {
	t.Helper()
	f, err := os.Open("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	row := regexp.MustCompile(`^\| ([a-z/]+) \| ([a-z/ ]*)\| .* \|$`)
	found := map[string]string{}
	inTable := false
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		inTable = line == "|---|---|---|" || inTable && strings.HasPrefix(line, "|")
		if m := row.FindStringSubmatch(line); m != nil && inTable {
			found[m[1]] = strings.TrimSpace(m[2])
		}
	}
	if len(found) < 10 {
		t.Fatalf("read %d packages from docs/architecture.md, the table has changed its form", len(found))
	}
	return found
}

// TestKeylessPackagesDoNotReachSeal: whoever cleans or verifies without the
// key is built from packages that could not decrypt if they wanted to.
func TestKeylessPackagesDoNotReachSeal(t *testing.T) {
	deps := goList(t, append([]string{"-deps"}, "./object", "./store/...", "./pack", "./index", "./refcount", "./repo", "./forget", "./prune")...)
	if !slices.Contains(deps, "bluesky/pack") {
		t.Fatal("go list -deps shows no bluesky/pack: this test has lost its grip")
	}
	if slices.Contains(deps, "bluesky/seal") {
		t.Error("a keyless package imports bluesky/seal")
	}
}
