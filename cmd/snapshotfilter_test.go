package cmd

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/spf13/pflag"
)

func TestSnapshotFilter(t *testing.T) {
	const host = "vm"
	tags, paths := []string{"daily", "db"}, []string{"/etc", "/home"}
	tests := []struct {
		name string
		args []string
		env  string
		tags []string // of the snapshot, instead of tags
		want bool
	}{
		{"no filter", nil, "", nil, true},
		{"host", []string{"--host", "vm"}, "", nil, true},
		{"other host", []string{"-H", "other"}, "", nil, false},
		{"one of two hosts", []string{"-H", "other", "-H", "vm"}, "", nil, true},
		{"a host is not a list", []string{"-H", "other,vm"}, "", nil, false},
		{"host of the environment", nil, "other", nil, false},
		{"the flag replaces the environment", []string{"-H", "vm"}, "other", nil, true},
		{"an empty flag takes the environment away", []string{"-H", ""}, "other", nil, true},
		{"tag", []string{"--tag", "db"}, "", nil, true},
		{"other tag", []string{"--tag", "web"}, "", nil, false},
		{"both tags", []string{"--tag", "db,daily"}, "", nil, true},
		{"one of both tags", []string{"--tag", "db,web"}, "", nil, false},
		{"one of two lists", []string{"--tag", "db,web", "--tag", "daily"}, "", nil, true},
		{"blanks around tags", []string{"--tag", " db , daily "}, "", nil, true},
		{"no tags", []string{"--tag", ""}, "", nil, false},
		{"no tags, and there are none", []string{"--tag", ""}, "", []string{}, true},
		{"a tag, and there are none", []string{"--tag", "db"}, "", []string{}, false},
		{"no tags or db", []string{"--tag", "", "--tag", "db"}, "", nil, true},
		{"path", []string{"--path", "/etc"}, "", nil, true},
		{"path, not clean", []string{"--path", "/home/../etc/"}, "", nil, true},
		{"both paths", []string{"--path", "/home", "--path", "/etc"}, "", nil, true},
		{"one of both paths", []string{"--path", "/home", "--path", "/var"}, "", nil, false},
		{"path below", []string{"--path", "/etc/ssh"}, "", nil, false},
		{"all", []string{"-H", "vm", "--tag", "db", "--path", "/etc"}, "", nil, true},
		{"all but one", []string{"-H", "vm", "--tag", "web", "--path", "/etc"}, "", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
			f := addSnapshotFilter(flags, func(string) string { return tt.env })
			if err := flags.Parse(tt.args); err != nil {
				t.Fatal(err)
			}
			of := tags
			if tt.tags != nil {
				of = tt.tags
			}
			if got := f.match(host, of, paths); got != tt.want {
				t.Errorf("%q: got %v, want %v", tt.args, got, tt.want)
			}
		})
	}
}

func TestSnapshotFilterRelativePath(t *testing.T) {
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f := addSnapshotFilter(flags, func(string) string { return "" })
	if err := flags.Parse([]string{"--path", "sub"}); err != nil {
		t.Fatal(err)
	}
	if !f.match("vm", nil, []string{filepath.Join(here, "sub")}) {
		t.Errorf("got %q", f.paths)
	}
}

func TestPatternFlags(t *testing.T) {
	dir := t.TempDir()
	file := writeFile(t, filepath.Join(dir, "patterns"), "\xef\xbb\xbf# objects\n*.o\n!keep.o\n$BASE/tmp\n")
	folded := writeFile(t, filepath.Join(dir, "folded"), "*.JPG\n")
	bad := writeFile(t, filepath.Join(dir, "bad"), "[\n")
	parse := func(args ...string) (*patternFlags, error) {
		flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
		p := addPatternFlags(flags, "exclude", "e")
		return p, flags.Parse(args)
	}
	getenv := func(name string) string { return map[string]string{"BASE": "/base"}[name] }

	p, err := parse("-e", "keep.*", "--exclude", "a,b", "--exclude-file", file, "--iexclude", "*.Gif", "--iexclude-file", folded)
	if err != nil {
		t.Fatal(err)
	}
	set, err := p.compile(getenv)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"/x.o": true, "/keep.o": false, "/keep.c": true, "/base/tmp": true, "/tmp": false,
		"/a,b": true, "/a": false, "/x.GIF": true, "/x.jpg": true, "/x.O": false,
	} {
		if got := set.Match(name); got != want {
			t.Errorf("Match(%q) = %v, want %v", name, got, want)
		}
	}

	for name, args := range map[string][]string{
		`--exclude: pattern "[": syntax error in pattern`:                   {"-e", "["},
		`--iexclude: pattern "[": syntax error in pattern`:                  {"--iexclude", "["},
		`--exclude-file ` + bad + `: pattern "[": syntax error in pattern`:  {"--exclude-file", bad},
		`--iexclude-file: open ` + dir + `/none: no such file or directory`: {"--iexclude-file", dir + "/none"},
	} {
		p, err := parse(args...)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.compile(getenv); errorText(err) != name {
			t.Errorf("got %v, want %s", err, name)
		}
	}

	p, err = parse()
	if err != nil {
		t.Fatal(err)
	}
	if set, err := p.compile(getenv); err != nil || len(set) != 0 {
		t.Errorf("without patterns: got %v, %v", set, err)
	}
}
