// Package treetest makes directory trees that are hard to back up, and compares
// trees by the tools that everybody has: find, sha256sum, getfattr, getcap and
// lsattr. So a test of backup and restore does not depend on how bluesky itself
// reads files.
//
// The tools come with the Debian packages findutils, coreutils, attr, acl,
// libcap2-bin and e2fsprogs. A test that lacks one fails. Without root, what
// only root can make is left out of a tree, which is logged.
package treetest

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Root reports whether the tests may make what only root can.
func Root() bool { return unix.Geteuid() == 0 }

// Compare fails the test unless the trees below a and b are the same: contents,
// names, types, modes, owners, sizes, times of modification, targets of links,
// devices, hard links, holes, extended attributes, ACLs, capabilities and inode
// flags. The directories a and b themselves are not compared.
func Compare(t testing.TB, a, b string) {
	t.Helper()
	compare(t, a, b, reports(), Holes)
}

// CompareContent is [Compare] for names, types, contents and targets of links
// alone.
func CompareContent(t testing.TB, a, b string) {
	t.Helper()
	compare(t, a, b, []report{typesReport, linksReport, contentReport}, func(testing.TB, string) map[string]int64 { return nil })
}

func compare(t testing.TB, a, b string, reports []report, holes func(testing.TB, string) map[string]int64) {
	t.Helper()
	for _, r := range reports {
		got, want := r.run(t, b), r.run(t, a)
		if !slices.Equal(got, want) {
			t.Errorf("%s differs:\n%s", r.name, difference(want, got))
		}
	}
	got := holes(t, b)
	for path, want := range holes(t, a) {
		// Where the file system puts its own blocks is its affair.
		if got[path] > want+128<<10 {
			t.Errorf("holes of %q: it takes %d bytes on disk, not %d", path, got[path], want)
		}
	}
}

// A report is what one tool says about every file of a tree.
type report struct {
	name string
	args []string // of find
	// each says that the output is a path, a NUL byte and what a tool said of
	// that file; else it is records that end with a NUL byte.
	each bool
}

var (
	typesReport   = report{"types", []string{"-printf", `%y %P\0`}, false}
	linksReport   = report{"targets of links", []string{"-type", "l", "-printf", `%P -> %l\0`}, false}
	contentReport = report{"content", []string{"-type", "f", "-printf", `\0\0%P\0`, "-execdir", "sha256sum", "{}", ";"}, true}
)

func reports() []report {
	list := []report{
		typesReport, linksReport, contentReport,
		{"type, mode, owner, links, time", []string{"-printf", `%y %#m %U %G %n %T@ %P\0`}, false},
		{"sizes", []string{"-not", "-type", "d", "-printf", `%s %P\0`}, false},
		{"devices", []string{"(", "-type", "c", "-o", "-type", "b", ")", "-printf", `\0\0%P\0`, "-execdir", "stat", "-c", "%t %T", "{}", ";"}, true},
		{"extended attributes and ACLs", []string{"-printf", `\0\0%P\0`, "-execdir", "getfattr", "-h", "-d", "-m", "-", "-e", "hex", "--", "{}", ";"}, true},
		{"capabilities", []string{"-type", "f", "-printf", `\0\0%P\0`, "-execdir", "getcap", "{}", ";"}, true},
		{"inode flags", []string{"(", "-type", "f", "-o", "-type", "d", ")", "-printf", `\0\0%P\0`, "-execdir", "lsattr", "-d", "{}", ";"}, true},
		hardLinks,
	}
	return list
}

var hardLinks = report{"hard links", []string{"-links", "+1", "-not", "-type", "d", "-printf", `%i %P\0`}, false}

func (r report) run(t testing.TB, dir string) []string {
	t.Helper()
	out := find(t, dir, r.args...)
	var list []string
	switch {
	case r.each:
		// Names cannot hold a NUL byte, so two of them begin a record.
		for record := range bytes.SplitSeq(out, []byte("\x00\x00")) {
			path, said, ok := bytes.Cut(record, []byte{0})
			if ok {
				lines := strings.Split(string(said), "\n")
				slices.Sort(lines) // attributes come in no order
				list = append(list, fmt.Sprintf("%s: %s", path, strings.Join(lines, "\n")))
			}
		}
	default:
		for record := range bytes.SplitSeq(bytes.TrimSuffix(out, []byte{0}), []byte{0}) {
			list = append(list, string(record))
		}
	}
	if r.name == hardLinks.name {
		list = groups(list)
	}
	slices.Sort(list)
	return list
}

// groups turns "inode path" records into one record for each inode.
func groups(list []string) []string {
	names := map[string][]string{}
	for _, record := range list {
		inode, path, _ := strings.Cut(record, " ")
		names[inode] = append(names[inode], path)
	}
	var out []string
	for _, paths := range names {
		slices.Sort(paths)
		out = append(out, strings.Join(paths, " = "))
	}
	return out
}

// Holes returns, for each file below dir that has holes, the bytes that it
// takes on disk.
func Holes(t testing.TB, dir string) map[string]int64 {
	t.Helper()
	holes := map[string]int64{}
	for record := range strings.SplitSeq(string(find(t, dir, "-type", "f", "-printf", `%s %b %P\0`)), "\x00") {
		var size, blocks int64
		fields := strings.SplitN(record, " ", 3)
		if len(fields) < 3 {
			continue
		}
		fmt.Sscan(fields[0], &size)
		fmt.Sscan(fields[1], &blocks)
		if blocks*512 < size {
			holes[fields[2]] = blocks * 512
		}
	}
	return holes
}

// find runs find(1) on what is below dir.
func find(t testing.TB, dir string, args ...string) []byte {
	t.Helper()
	full, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("find", append([]string{".", "-mindepth", "1"}, args...)...)
	cmd.Dir = full
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || strings.Contains(stderr.String(), "No such file or directory") {
		t.Fatalf("find %q in %s: %v\n%s", args, dir, err, stderr.String())
	}
	return out
}

// difference shows what only one of two sorted lists has.
func difference(want, got []string) string {
	var b strings.Builder
	show := func(sign string, list, other []string) {
		shown := 0
		for _, record := range list {
			if _, ok := slices.BinarySearch(other, record); ok {
				continue
			}
			if shown++; shown > 10 {
				fmt.Fprintf(&b, "%s …\n", sign)
				return
			}
			if len(record) > 600 {
				record = record[:300] + "…" + record[len(record)-300:]
			}
			fmt.Fprintf(&b, "%s %q\n", sign, record)
		}
	}
	show("want", want, got)
	show("got ", got, want)
	return b.String()
}

// Run runs a command that has to succeed.
func Run(t testing.TB, dir, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
}
