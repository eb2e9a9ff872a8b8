package cmd

import (
	"bytes"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bluesky/restore/treetest"
)

// What is promised about how much a backup adds: the sizes of all files in the
// repository, before and after.
func TestBackupAddsLittle(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 3000 {
		m.write(fmt.Sprintf("src/%02d/%d/file %d", i%30, i%7, i), treetest.Bytes(uint64(i), random.IntN(4000)))
	}
	m.must("backup", "-q", "src", "--host", "one")
	adds := func(what string, limit int64, args ...string) {
		t.Helper()
		before := size(t, m.repo)
		m.must(append([]string{"backup", "-q", "src"}, args...)...)
		added := size(t, m.repo) - before
		t.Logf("%s adds %d bytes", what, added)
		if added >= limit {
			t.Errorf("%s adds %d bytes, want less than %d", what, added, limit)
		}
	}
	// The first backup may be so fresh that files are read once more (the racy
	// rule); that adds nothing either.
	adds("an unchanged tree", 4<<10, "--host", "one")
	adds("an unchanged tree, again", 4<<10, "--host", "one")
	m.write("src/07/3/file 157", []byte("edited"))
	adds("one edited file of 3,000", 100<<10, "--host", "one")
	adds("the same tree of another host", 64<<10, "--host", "two")
	adds("an unchanged tree, read again", 4<<10, "--host", "one", "--force")
	m.mustCheck()
}

// Nothing that a user has named or written stands in the clear anywhere: not in
// the repository, not in what this machine keeps beside it.
func TestNothingInTheClear(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	var markers []string
	marker := func(what string) string {
		text := fmt.Sprintf("%-6.6s%010d", what, rand.Uint64N(1e10)) // 16 bytes
		text = strings.ReplaceAll(text, " ", "_")
		markers = append(markers, text)
		return text
	}
	m.env = append(m.env, "BLUESKY_PASSWORD="+marker("passwd"))
	m.repo = m.path("marked")
	m.must("init", "-q")
	password := m.env[0]

	dir := "src/" + marker("dir")
	file := m.write(dir+"/"+marker("name"), []byte(marker("text")+strings.Repeat(".", 5000)+marker("text")))
	m.write(dir+"/raw", append(make([]byte, 3<<20), marker("raw")...))
	m.write(dir+"/small", []byte(marker("small")))
	if err := unix.Setxattr(file, "user."+marker("attr"), []byte(marker("value")), 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setxattr(file, "user.long", []byte(strings.Repeat("-", 300)+marker("value")), 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(marker("target"), m.path(dir+"/link")); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"backup", "-q", "src", "--tag", marker("tag"), "--host", marker("host"), "--description", marker("about"),
		"--exclude", marker("exclud"), "--series", marker("series"),
	}
	m.must(args...)
	m.write(dir+"/more", []byte(marker("more")))
	m.must(args...)
	m.must("restore", "-q", "latest", "-t", "out")
	m.must("ls", "-q", "latest")
	m.must("check", "-q", "--read-data")

	// The markers are where they belong: what looks for them works.
	if out := m.must("snapshots", "--json"); !strings.Contains(out, markers[len(markers)-6]) {
		t.Fatalf("a marker is not in the list of snapshots: %s", out)
	}
	if found := leaks(t, m.path("out"), markers); len(found) == 0 {
		t.Fatal("no marker is in the restored files")
	}
	for _, dir := range []string{m.repo, m.home} {
		if size(t, dir) == 0 {
			t.Fatalf("%s is empty", dir)
		}
		for _, leak := range leaks(t, dir, markers) {
			t.Errorf("%s (password %s)", leak, password)
		}
	}
	if host, err := os.Hostname(); err == nil && len(host) > 5 {
		for _, leak := range leaks(t, m.repo, []string{host}) {
			t.Error(leak)
		}
	}
}

// leaks says which files below dir hold a marker, as it is or in a usual
// encoding, or have it in their names.
func leaks(t testing.TB, dir string, markers []string) []string {
	t.Helper()
	forms := map[string]string{}
	for _, text := range markers {
		forms[text] = text
		forms[hex.EncodeToString([]byte(text))] = text + " in hex"
		forms[strings.ToUpper(hex.EncodeToString([]byte(text)))] = text + " in hex"
		forms[base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString([]byte(text))[:24]] = text + " in base32"
		for shift := range 3 { // where it stands in a longer text
			for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				encoded := encoding.EncodeToString(append(make([]byte, shift), text...))
				forms[encoded[shift*8/6+1:len(encoded)-1]] = text + " in base64"
			}
		}
	}
	var found []string
	eachFile(t, dir, func(path string, _ fs.FileInfo) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, path[len(dir):]...)
		for form, what := range forms {
			if bytes.Contains(data, []byte(form)) {
				found = append(found, fmt.Sprintf("%s: %s", path, what))
			}
		}
	})
	return found
}

// The search itself finds what it should.
func TestLeaks(t *testing.T) {
	marker := "marker0123456789"
	for name, data := range map[string][]byte{
		"raw":    []byte("x" + marker + "x"),
		"hex":    []byte(hex.EncodeToString([]byte(marker))),
		"base64": []byte(base64.StdEncoding.EncodeToString([]byte("a" + marker + "b"))),
		"url":    []byte(base64.URLEncoding.EncodeToString([]byte("ab" + marker))),
		"base32": []byte(base32.StdEncoding.EncodeToString([]byte(marker))),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/file", data, 0o600); err != nil {
			t.Fatal(err)
		}
		if len(leaks(t, dir, []string{marker})) == 0 {
			t.Errorf("%s: not found in %s", name, data)
		}
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/"+marker, []byte("marker012345678"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := leaks(t, dir, []string{marker}); len(got) != 1 {
		t.Errorf("a name: found %q", got)
	}
}
