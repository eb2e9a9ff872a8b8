package filter

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// The cases up to "the tree of the manual" are the documented examples of
// restic's manual, "Excluding files".
func TestMatch(t *testing.T) {
	tests := []struct {
		name     string
		patterns string // separated by blanks
		path     string
		want     bool
	}{
		{"component at any depth", "foo", "/dir1/foo/dir2/file", true},
		{"last component", "foo", "/dir/foo", true},
		{"not the start of one", "foo", "/dir/foobar", false},
		{"not the end of one", "foo", "/barfoo", false},
		{"anchored", "/bin", "/bin/bash", true},
		{"anchored is not below", "/bin", "/usr/bin/restic", false},
		{"star stays in a component", "b*ash", "/bin/bash", true},
		{"star does not cross", "b*ash", "/bin/ash", false},
		{"depth, one between", "foo/**/bar", "/dir1/foo/dir2/bar/file", true},
		{"depth, none between", "foo/**/bar", "/foo/bar/file", true},
		{"depth, at the end", "foo/**/bar", "/tmp/foo/bar", true},
		{"depth, many between", "foo/**/bar", "/foo/x/y/z/bar", true},
		{"depth, the end is missing", "foo/**/bar", "/foo/x/y/z", false},
		{"the tree of the manual, 1", "/home/user/repos/**/target", "/home/user/repos/repo1/target", true},
		{"the tree of the manual, 2", "/home/user/repos/**/target", "/home/user/repos/repo2/project1/target", true},
		{"the tree of the manual, 3", "/home/user/repos/**/target", "/home/user/repos/repo1/src", false},

		{"trailing slash", "foo/", "/foo", true},
		{"trailing slash of an anchored one", "/foo/", "/foo/x", true},
		{"doubled slashes", "foo//bar", "/foo/bar", true},
		{"dots are cleaned", "./foo/../bar", "/bar", true},
		{"a dot is no name", ".", "/foo", false},
		{"two components anywhere", "b/c", "/a/b/c/d", true},
		{"two components, not apart", "a/c", "/a/b/c", false},
		{"later occurrence", "a/c", "/a/b/a/c", true},
		{"leading depth", "**/foo", "/x/y/foo", true},
		{"leading depth, none", "**/foo", "/foo", true},
		{"anchored depth", "/**/foo", "/x/y/foo", true},
		{"trailing depth is the directory too", "foo/**", "/foo", true},
		{"trailing depth", "/foo/**", "/foo/x/y", true},
		{"depth alone", "**", "/x", true},
		{"depth in a name is a star", "foo**", "/foobar", true},
		{"depth in a name does not cross", "foo**bar", "/foo/bar", false},
		{"three depths", "/a/**/b/**/c/**/d", "/a/x/b/y/b/c/z/z/d", true},
		{"three depths, out of order", "/a/**/b/**/c/**/d", "/a/x/c/y/b/z/d", false},
		{"everything", "/", "/x", true},
		{"everything, by a star", "*", "/x/y", true},
		{"a star is not the root", "*", "/", false},

		{"question mark", "f?o", "/fxo", true},
		{"question mark is one character", "f?o", "/fäo", true},
		{"question mark is one odd byte", "f?o", "/f\xffo", true},
		{"class", "[a-c]x", "/bx", true},
		{"class, other", "[a-c]x", "/dx", false},
		{"negated class", "[^a]x", "/bx", true},
		{"escaped star", `\*`, "/*", true},
		{"escaped star is no star", `\*`, "/x", false},
		{"odd bytes", "\xff\xfe", "/a/\xff\xfe/b", true},
		{"odd bytes, others", "\xff\xfe", "/a/\xfe\xff/b", false},
		{"case counts", "FOO", "/foo", false},

		{"relative path", "foo", "foo/bar", true},
		{"relative path, anchored pattern", "/foo", "foo/bar", false},
		{"empty path", "*", "", false},
		{"no pattern", "", "/x", false},

		{"one of several", "a b c", "/x/b", true},
		{"taken back", "*.go !main.go", "/src/main.go", false},
		{"not taken back", "*.go !main.go", "/src/other.go", true},
		{"taken back, and matched again", "*.go !main.go main.*", "/src/main.go", true},
		{"taken back before it matched", "!main.go *.go", "/src/main.go", true},
		{"taken back below", "/home/u/* !/home/u/code", "/home/u/code/x", false},
		{"matched below what was taken back", "/home/u/* !/home/u/code *.o", "/home/u/code/x.o", true},
		{"escaped exclamation mark", `\!foo`, "/!foo", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := Parse(strings.Split(tt.patterns, " "))
			if err != nil {
				t.Fatal(err)
			}
			if got := list.Match(tt.path); got != tt.want {
				t.Errorf("%q.Match(%q) = %v, want %v", tt.patterns, tt.path, got, tt.want)
			}
		})
	}
}

func TestMatchFold(t *testing.T) {
	list, err := ParseFold([]string{"*.JPG", "!Keep.jpg", "\xffÄ"})
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]bool{
		"/a/x.jpg":    true,
		"/a/x.JpG":    true,
		"/a/KEEP.JPG": false,
		"/a/\xffä":    true,
		"/a/\xfeä":    false, // another byte that is not UTF-8
	}
	for name, want := range tests {
		if got := list.Match(name); got != want {
			t.Errorf("Match(%q) = %v, want %v", name, got, want)
		}
	}
}

func TestChildMayMatch(t *testing.T) {
	tests := []struct {
		name     string
		patterns string
		path     string
		want     bool
	}{
		{"unanchored", "foo", "/any/where", true},
		{"on the way", "/a/b/c", "/a", true},
		{"on the way, further", "/a/b/c", "/a/b", true},
		{"from the root", "/a/b/c", "/", true},
		{"at the match", "/a/b/c", "/a/b/c", true},
		{"below the match", "/a/b/c", "/a/b/c/d", true},
		{"beside", "/a/b/c", "/a/x", false},
		{"beside, deeper", "/a/b/c", "/a/x/c", false},
		{"with a star", "/a/*/c", "/a/x", true},
		{"before a depth", "/a/**/c", "/a", true},
		{"beside a depth", "/a/**/c", "/b", false},
		{"below a depth", "/a/**/c", "/a/x/y/z", true},
		{"one of two", "/a/b /c/d", "/c", true},
		{"taken back", "/a/b !/a/b/c", "/a/b/c", false},
		{"taken back, and more", "/a/b !/a/b/c /a/b/c/d", "/a/b/c", true},
		{"taken back elsewhere", "/a/b !/a/b/c", "/a/b", true},
		{"relative", "/a", "a", false},
		{"no pattern", "", "/a", false},
		{"empty path", "*", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list, err := Parse(strings.Split(tt.patterns, " "))
			if err != nil {
				t.Fatal(err)
			}
			if got := list.ChildMayMatch(tt.path); got != tt.want {
				t.Errorf("%q.ChildMayMatch(%q) = %v, want %v", tt.patterns, tt.path, got, tt.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	_, err := Parse([]string{"ok", "[a", "", "[b/c]", `x\`, "!", "!["})
	if err == nil {
		t.Fatal("malformed patterns were accepted")
	}
	want := `pattern "[a": syntax error in pattern; ` +
		`pattern "[b/c]": syntax error in pattern; ` +
		`pattern "x\\": syntax error in pattern; ` +
		`pattern "!": nothing follows the exclamation mark; ` +
		`pattern "![": syntax error in pattern`
	if err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// Lists of a set do not take back what another one matched.
func TestSet(t *testing.T) {
	first, err1 := Parse([]string{"/a/*.o"})
	second, err2 := ParseFold([]string{"!x.o", "/b/*.TMP"})
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	set := Set{first, second}
	for name, want := range map[string]bool{"/a/x.o": true, "/b/y.tmp": true, "/c": false} {
		if got := set.Match(name); got != want {
			t.Errorf("Match(%q) = %v, want %v", name, got, want)
		}
	}
	for name, want := range map[string]bool{"/a": true, "/B": true, "/c": false} {
		if got := set.ChildMayMatch(name); got != want {
			t.Errorf("ChildMayMatch(%q) = %v, want %v", name, got, want)
		}
	}
	if (Set{}).Match("/a") || (Set{}).ChildMayMatch("/a") {
		t.Error("the empty set matches")
	}
}

func TestReadPatterns(t *testing.T) {
	env := map[string]string{"HOME": "/home/bob", "EMPTY": ""}
	text := "# comment\n\n  $HOME/* \r\n!${HOME}/code\n\t# indented comment\n$$cash\n$EMPTY$MISSING\na b.txt\nlast"
	got := ReadPatterns(text, func(name string) string { return env[name] })
	want := []string{"/home/bob/*", "!/home/bob/code", "$cash", "", "a b.txt", "last"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// reference is the definition, without any care for its cost.
func reference(parts []string, components []string) bool {
	switch {
	case len(parts) == 0:
		return true
	case parts[0] == "**":
		return reference(parts[1:], components) ||
			len(components) > 0 && reference(parts, components[1:])
	case len(components) == 0:
		return false
	}
	ok, err := path.Match(parts[0], components[0])
	return err == nil && ok && reference(parts[1:], components[1:])
}

func FuzzMatch(f *testing.F) {
	f.Add("foo/**/bar", "/dir1/foo/dir2/bar/file")
	f.Add("/a/**/b/**/c", "/a/x/b/y/b/c")
	f.Add("!**/[^a-c]*\\?", "/x/y?")
	f.Add("**/a/**/a/**/a/**/b", "/a/a/a/a/a/a/a/a/a/a")
	f.Add("\xff*", "/\xff\xfe")
	f.Add("/B0", "/B0")
	f.Fuzz(func(t *testing.T, text, name string) {
		list, err := Parse([]string{text})
		if err != nil || list.Empty() || name == "" {
			return
		}
		folded, err := ParseFold([]string{text})
		if err == nil {
			folded.Match(name)
			folded.ChildMayMatch(name)
		}
		if list.Match(name) && list.patterns[0].negated {
			t.Errorf("%q alone matches %q", text, name)
		}
		list.patterns[0].negated = false

		components := strings.FieldsFunc(name, func(r rune) bool { return r == '/' })
		parts := strings.FieldsFunc(path.Clean(strings.TrimPrefix(text, "!")), func(r rune) bool { return r == '/' })
		if strings.Count(text, "**") > 3 || len(components) > 12 {
			list.Match(name) // the reference would not come back
			return
		}
		if !list.patterns[0].anchored {
			parts = append([]string{"**"}, parts...)
		}
		want := reference(parts, components) && (name[0] == '/' || !list.patterns[0].anchored)
		if got := list.Match(name); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", text, name, got, want)
		}
		// Whatever matches is reachable, and takes all below it along.
		if want {
			for i := range name {
				if above := name[:i]; (name[i] == '/' && i > 0 || above == "/") && !list.ChildMayMatch(above) {
					t.Errorf("%q matches %q, but not below %q", text, name, above)
				}
			}
			if !list.Match(name + "/below") {
				t.Errorf("%q matches %q, but nothing below", text, name)
			}
		}
	})
}

// A pattern of many "**" is where a matcher that tries them all never returns.
func TestMatchIsNotExponential(t *testing.T) {
	list, err := Parse([]string{strings.Repeat("**/a/", 200) + "b", strings.Repeat("a*", 100) + "b"})
	if err != nil {
		t.Fatal(err)
	}
	if name := strings.Repeat("/a", 2000); list.Match(name) {
		t.Error("matches a path without the last component")
	}
	if name := "/" + strings.Repeat("a", 255); list.Match(name) {
		t.Error("matches a name without the last letter")
	}
}

func BenchmarkMatch(b *testing.B) {
	list, err := Parse([]string{"*.o", "*~", "node_modules", "/home/*/.cache", "foo/**/bar", "!keep.o"})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		list.Match("/home/user/src/project/package/file.go")
	}
}
