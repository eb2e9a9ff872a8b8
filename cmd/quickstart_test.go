package cmd

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"bluesky/filter"
	"bluesky/seal"
)

// 25 of 32 signs are 125 bits: all signs occur at all places, and none twice as
// often as it should.
func TestNewPasswordText(t *testing.T) {
	const draws = 10000
	form := regexp.MustCompile(`^([0-9a-hjkmnp-tv-z]{5}-){4}[0-9a-hjkmnp-tv-z]{5}$`)
	seen := map[string]bool{}
	var counts [29]map[byte]int
	for range draws {
		text := newPasswordText()
		if !form.MatchString(text) {
			t.Fatalf("%q has another form", text)
		}
		if seen[text] {
			t.Fatalf("%q came twice", text)
		}
		seen[text] = true
		for i := range len(text) {
			if counts[i] == nil {
				counts[i] = map[byte]int{}
			}
			counts[i][text[i]]++
		}
	}
	for i, signs := range counts {
		if i%6 == 5 {
			continue // the dashes
		}
		// 10,000/32 are 312.5 on average, with a standard deviation of 17.4.
		for sign, n := range signs {
			if n < 312-8*18 || n > 313+8*18 {
				t.Errorf("%q stands %d times at place %d, want about 312", sign, n, i)
			}
		}
		if len(signs) != 32 {
			t.Errorf("%d signs at place %d, want 32", len(signs), i)
		}
	}
}

func TestWritePasswordFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a", "b", "password")
	if err := writePasswordFile(file, "first"); err != nil {
		t.Fatal(err)
	}
	// One that is there belongs to a repository, maybe.
	if err := writePasswordFile(file, "second"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || string(text) != "first\n" {
		t.Errorf("got %q, %v", text, err)
	}
	for path, want := range map[string]os.FileMode{file: 0o600, filepath.Dir(file): 0o700 | os.ModeDir} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want mode %v", path, info.Mode(), err, want)
		}
	}
	entries, err := os.ReadDir(filepath.Dir(file))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// A quickstart removes what one that was killed has left of its password file a day
// ago, also where the repository is complete, and nothing else.
func TestQuickstartRemovesStrayPasswords(t *testing.T) {
	dir := t.TempDir()
	h := newTestHost(map[string]string{
		"XDG_CONFIG_HOME": dir + "/config", "XDG_DATA_HOME": dir + "/data", "XDG_STATE_HOME": dir + "/state", "XDG_CACHE_HOME": dir + "/cache",
	})
	h.slot = seal.SlotParams{Time: 1, Memory: 8, Lanes: 1}
	config := filepath.Join(dir, "config", "bluesky")
	for _, folder := range []string{config, filepath.Join(dir, "src"), filepath.Join(config, strayPassword+"folder")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{strayPassword + "folder", strayPassword + "young", "default-password", "default-password-2"}
	for range 2 {
		old := time.Now().Add(-25 * time.Hour)
		for _, name := range []string{strayPassword + "old", "default-password-2", strayPassword + "young"} {
			path := writeFile(t, filepath.Join(config, name), "x\n")
			if strings.HasSuffix(name, "young") {
				continue
			}
			if err := os.Chtimes(path, old, old); err != nil {
				t.Fatal(err)
			}
		}
		if code := h.execute(t.Context(), []string{"quickstart", filepath.Join(dir, "src")}, nil); code != 0 {
			t.Fatalf("exit code %d: %s", code, h.err.String())
		}
		entries, err := os.ReadDir(config)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, entry := range entries {
			got = append(got, entry.Name())
		}
		if got = slices.DeleteFunc(got, func(name string) bool { return !strings.Contains(name, "password") }); !slices.Equal(got, want) {
			t.Errorf("left are %q, want %q", got, want)
		}
	}
}

// A quickstart that was interrupted between the password file and the
// repository goes on with that password, wherever it was.
func TestQuickstartResumes(t *testing.T) {
	for name, interrupt := range map[string]func(t *testing.T, data string){
		"before the repository": func(t *testing.T, data string) {},
		"within init": func(t *testing.T, data string) {
			repository := filepath.Join(data, "bluesky", "default")
			if err := os.RemoveAll(filepath.Join(repository, "gen")); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(repository, "keys")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			environment := map[string]string{
				"XDG_CONFIG_HOME": dir + "/config", "XDG_DATA_HOME": dir + "/data", "XDG_STATE_HOME": dir + "/state", "XDG_CACHE_HOME": dir + "/cache",
			}
			h := newTestHost(environment)
			h.slot = seal.SlotParams{Time: 1, Memory: 8, Lanes: 1}
			for _, folder := range []string{"config/bluesky", "src"} {
				if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			file := writeFile(t, filepath.Join(dir, "config", "bluesky", "default-password"), "the-first-password\n")
			if name == "within init" {
				if err := newEnv(h.host).makeDefault(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			interrupt(t, dir+"/data")
			source := filepath.Dir(writeFile(t, filepath.Join(dir, "src", "file"), "x"))
			if code := h.execute(t.Context(), []string{"quickstart", source}, nil); code != 0 {
				t.Fatalf("exit code %d: %s", code, h.err.String())
			}
			if text, err := os.ReadFile(file); err != nil || string(text) != "the-first-password\n" {
				t.Errorf("the password file holds %q, %v", text, err)
			}
			environment["BLUESKY_PASSWORD"] = "the-first-password"
			if code := h.execute(t.Context(), []string{"check", "--read-data"}, nil); code != 0 {
				t.Errorf("check: exit code %d: %s", code, h.err.String())
			}
		})
	}
}

func TestShellWord(t *testing.T) {
	for in, want := range map[string]string{
		"/home/a-b_c.d": "/home/a-b_c.d",
		"/home/bö":      "/home/bö",
		"":              "''",
		"a b":           "'a b'",
		"it's":          `'it'\''s'`,
		"$(x)":          "'$(x)'",
		"~/x":           "'~/x'",
		"*":             "'*'",
		"a\nb":          `"a\nb"`,
	} {
		if got := shellWord(in); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

// What quickstart excludes is its own folders and nothing that looks like them.
func TestEscapePattern(t *testing.T) {
	path := `/a/[x]*?\y`
	list, err := filter.Parse([]string{escapePattern(path)})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, name := range []string{path, path + "/below", `/a/x*?\y`, `/a/[x]zz\y`, "/a", `/b` + path} {
		if list.Match(name) {
			got = append(got, name)
		}
	}
	if want := []string{path, path + "/below"}; !slices.Equal(got, want) {
		t.Errorf("matches %s, want %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
}

// Only tests make key slots that are cheap to open.
func TestProcessHostHasNoCheapSlots(t *testing.T) {
	if got := processHost().slot; got != (seal.SlotParams{}) {
		t.Errorf("got %+v, want none: the default", got)
	}
}

// TestProgramName: what quickstart says comes next works where it is typed.
func TestProgramName(t *testing.T) {
	for executable, want := range map[string]string{
		"":                    "bluesky",
		"/home/a/bin/bluesky": "bluesky",
		"/tmp/go-build3051743811/b001/exe/bluesky":    "go run .",
		"/home/a/.cache/go-build/ab/abcdef-d/bluesky": "go run .",
	} {
		if got := programName(executable); got != want {
			t.Errorf("programName(%q) = %q, want %q", executable, got, want)
		}
	}
}
