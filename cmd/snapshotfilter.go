package cmd

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A snapshotFilter chooses snapshots by host, tags and paths. The zero value
// chooses all.
type snapshotFilter struct {
	hosts []string   // one of them; empty ones do not count
	tags  [][]string // all of one of the lists
	paths []string   // all of them; cleaned
}

// empty reports whether f chooses all.
func (f *snapshotFilter) empty() bool {
	return len(f.tags) == 0 && len(f.paths) == 0 && !slices.ContainsFunc(f.hosts, func(h string) bool { return h != "" })
}

// match reports whether a snapshot with these properties is chosen.
func (f *snapshotFilter) match(host string, tags, paths []string) bool {
	return f.matchHost(host) && f.matchTags(tags) && f.matchPaths(paths)
}

func (f *snapshotFilter) matchHost(host string) bool {
	every := true
	for _, h := range f.hosts {
		if h == "" {
			continue // as restic: takes the default away
		}
		if h == host {
			return true
		}
		every = false
	}
	return every
}

func (f *snapshotFilter) matchTags(tags []string) bool {
	if len(f.tags) == 0 {
		return true
	}
	return slices.ContainsFunc(f.tags, func(list []string) bool { return hasTags(tags, list) })
}

// hasTags reports whether tags holds all of list. The empty tag stands for
// having none.
func hasTags(tags, list []string) bool {
	for _, tag := range list {
		if tag == "" && len(tags) == 0 {
			continue
		}
		if !slices.Contains(tags, tag) {
			return false
		}
	}
	return true
}

func (f *snapshotFilter) matchPaths(paths []string) bool {
	for _, wanted := range f.paths {
		if !slices.Contains(paths, wanted) {
			return false
		}
	}
	return true
}

// addSnapshotFilter defines --host (-H), --tag and --path, and returns the filter
// that they fill. BLUESKY_HOST is the default of --host.
func addSnapshotFilter(flags *pflag.FlagSet, getenv func(string) string) *snapshotFilter {
	return addSnapshotFilterAs(flags, getenv, "H")
}

// addSnapshotFilterAs is addSnapshotFilter with another letter for --host, ""
// for none.
func addSnapshotFilterAs(flags *pflag.FlagSet, getenv func(string) string, letter string) *snapshotFilter {
	f := new(snapshotFilter)
	var hosts []string
	if host := getenv("BLUESKY_HOST"); host != "" {
		hosts = []string{host}
	}
	flags.StringArrayVarP(&f.hosts, "host", letter, hosts, "only consider snapshots of this `host`; may be given more than once, an empty one takes the default away (default: $BLUESKY_HOST)")
	flags.Lookup("host").DefValue = "[]" // the help says where it comes from
	flags.Var((*tagLists)(&f.tags), "tag", "only consider snapshots that have all tags of this `tag[,tag,...]`; may be given more than once, one has to match")
	flags.Var((*pathList)(&f.paths), "path", "only consider snapshots of this `path`; may be given more than once, all have to match")
	return f
}

// tagLists is the value of --tag: each use is a list.
type tagLists [][]string

func (l *tagLists) Set(value string) error {
	list := strings.Split(value, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	*l = append(*l, list)
	return nil
}

func (l *tagLists) String() string {
	if l == nil || len(*l) == 0 {
		return ""
	}
	lists := make([]string, len(*l))
	for i, list := range *l {
		lists[i] = strings.Join(list, ",")
	}
	return "[" + strings.Join(lists, "] [") + "]"
}

func (l *tagLists) Type() string { return "tags" }

// pathList is the value of --path: absolute paths, as snapshots have them.
type pathList []string

func (l *pathList) Set(value string) error {
	if value == "" {
		return errors.New("the path is empty")
	}
	path, err := filepath.Abs(value)
	if err != nil {
		return err
	}
	*l = append(*l, path)
	return nil
}

func (l *pathList) String() string {
	if l == nil {
		return ""
	}
	return strings.Join(*l, " ")
}

func (l *pathList) Type() string { return "path" }
