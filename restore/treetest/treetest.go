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
	"strconv"
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
			t.Errorf("holes: %q takes %d bytes on disk, not %d", path, got[path], want)
		}
	}
}

// A report is what one tool says about every file of a tree.
type report struct {
	name string
	// match are the arguments by which find chooses files.
	match []string
	// print is a format of find that ends each record with a NUL byte.
	print string
	// tool is run on the files instead, with their paths as last arguments, and
	// end is what ends a record of its output.
	tool []string
	end  string
}

var (
	typesReport   = report{name: "types", print: `%y %P\0`}
	linksReport   = report{name: "targets of links", match: []string{"-type", "l"}, print: `%P -> %l\0`}
	contentReport = report{name: "content", match: []string{"-type", "f"}, tool: []string{"sha256sum"}, end: "\n"}
	hardLinks     = report{name: "hard links", match: []string{"-links", "+1", "-not", "-type", "d"}, print: `%i %P\0`}
)

func reports() []report {
	return []report{
		typesReport, linksReport, contentReport, hardLinks,
		{name: "type, mode, owner, links, time", print: `%y %#m %U %G %n %T@ %P\0`},
		{name: "sizes", match: []string{"-not", "-type", "d"}, print: `%s %P\0`},
		{name: "devices", match: []string{"(", "-type", "c", "-o", "-type", "b", ")"}, tool: []string{"stat", "-c", "%t %T %n"}, end: "\n"},
		{name: "extended attributes and ACLs", tool: []string{"getfattr", "-h", "-d", "-m", "-", "-e", "hex", "--"}, end: "\n\n"},
		{name: "capabilities", match: []string{"-type", "f"}, tool: []string{"getcap"}, end: "\n"},
		{name: "inode flags", match: []string{"(", "-type", "f", "-o", "-type", "d", ")"}, tool: []string{"lsattr", "-d"}, end: "\n"},
	}
}

// shallow is how many names a path has at most whose length a tool can take,
// whatever its names are. Files further down are given to it by their name in
// their directory, one by one.
const shallow = "12"

func (r report) run(t testing.TB, dir string) []string {
	t.Helper()
	var list []string
	if r.tool == nil {
		out := find(t, dir, append(r.match, "-printf", r.print)...)
		list = strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
	} else {
		list = append(r.records(r.near(t, dir)), r.far(t, dir)...)
	}
	if r.name == hardLinks.name {
		list = groups(list)
	}
	slices.Sort(list)
	return list
}

func (r report) near(t testing.TB, dir string) []byte {
	t.Helper()
	args := append([]string{"-maxdepth", shallow}, r.match...)
	args = append(append(args, "-exec"), r.tool...)
	return find(t, dir, append(args, "{}", "+")...)
}

func (r report) far(t testing.TB, dir string) []string {
	t.Helper()
	depth, err := strconv.Atoi(shallow)
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-mindepth", strconv.Itoa(depth + 1)}, r.match...)
	args = append(append(args, "-printf", `\0\0%P\0:`, "-execdir"), r.tool...)
	var list []string
	// Names hold no NUL byte, so two of them begin what belongs to one file. The
	// colon keeps them apart from those of the next where the tool says nothing.
	for one := range bytes.SplitSeq(find(t, dir, append(args, "{}", ";")...), []byte("\x00\x00")) {
		if path, said, ok := bytes.Cut(one, []byte("\x00:")); ok {
			list = append(list, fmt.Sprintf("%s: %q", path, r.records(said)))
		}
	}
	return list
}

// records cuts the output of a tool. The lines of a record are sorted:
// attributes come in no order.
func (r report) records(out []byte) []string {
	var list []string
	for record := range strings.SplitSeq(strings.TrimSuffix(string(out), r.end), r.end) {
		lines := strings.Split(record, "\n")
		slices.Sort(lines)
		list = append(list, strings.Join(lines, "\n"))
	}
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
	if !slices.Contains(args, "-mindepth") {
		args = append([]string{"-mindepth", "1"}, args...)
	}
	cmd := exec.Command("find", append([]string{"."}, args...)...)
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
