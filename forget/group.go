package forget

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"bluesky/repo"
)

// A GroupBy says what the snapshots of a group have in common, besides their
// writer: a policy is applied to each group by itself. It takes the key.
type GroupBy struct {
	Host, Paths, Tags bool
}

// ParseGroupBy reads "host", "paths" and "tags", with commas between them; the
// empty text is none.
func ParseGroupBy(text string) (GroupBy, error) {
	var by GroupBy
	for word := range strings.SplitSeq(text, ",") {
		switch word {
		case "host", "hosts":
			by.Host = true
		case "path", "paths":
			by.Paths = true
		case "tag", "tags":
			by.Tags = true
		case "":
		default:
			return GroupBy{}, fmt.Errorf("unknown grouping option: %q; there are host, paths and tags", word)
		}
	}
	return by, nil
}

func (by GroupBy) String() string {
	var words []string
	if by.Host {
		words = append(words, "host")
	}
	if by.Paths {
		words = append(words, "paths")
	}
	if by.Tags {
		words = append(words, "tags")
	}
	return strings.Join(words, ",")
}

// A Key is what the snapshots of a group have in common. Its JSON is restic's;
// what does not count for the group is empty, and lists null.
type Key struct {
	Tags  []string `json:"tags"`
	Host  string   `json:"host"`
	Paths []string `json:"paths"`

	Signer repo.PublicKey `json:"-"`
	Series repo.Series    `json:"-"` // zero where groups are made with the key
}

func (k Key) String() string {
	var parts []string
	if k.Host != "" {
		parts = append(parts, "host "+k.Host)
	}
	if len(k.Paths) > 0 {
		parts = append(parts, fmt.Sprintf("path %v", k.Paths))
	}
	if len(k.Tags) > 0 {
		parts = append(parts, fmt.Sprintf("tags %v", k.Tags))
	}
	if k.Series != (repo.Series{}) {
		parts = append(parts, fmt.Sprintf("series %v", k.Series))
	}
	return strings.Join(parts, ", ")
}

func (k Key) compare(other Key) int {
	return cmp.Or(
		cmp.Compare(k.Host, other.Host),
		slices.Compare(k.Paths, other.Paths),
		slices.Compare(k.Tags, other.Tags),
		Line{k.Signer, k.Series}.compare(Line{other.Signer, other.Series}),
	)
}

// key returns that of the group of s.
func (by GroupBy) key(s *Snapshot) Key {
	k := Key{Signer: s.Signer}
	if by.Host {
		k.Host = s.Host
	}
	if by.Paths {
		k.Paths = s.Paths
	}
	if by.Tags {
		k.Tags = s.Tags
	}
	return k
}

// A Group is snapshots that a policy is applied to, in log order.
type Group struct {
	Key
	Snapshots []Snapshot
}

// Groups divides snapshots, in log order, by what by says, and always by their
// writer: else one could push out the snapshots of another by claiming to be
// the same host. Groups are in the order of their keys.
func Groups(list []Snapshot, by GroupBy) []Group { return groups(list, by.key) }

// Lines divides snapshots, in log order, as it can be done without the key.
func Lines(list []Snapshot) []Group {
	return groups(list, func(s *Snapshot) Key { return Key{Signer: s.Signer, Series: s.Series} })
}

func groups(list []Snapshot, key func(*Snapshot) Key) []Group {
	keys := make([]Key, len(list))
	order := make([]int, len(list))
	for i := range list {
		keys[i], order[i] = key(&list[i]), i
	}
	slices.SortStableFunc(order, func(a, b int) int { return keys[a].compare(keys[b]) })
	var all []Group
	for n, i := range order {
		if n == 0 || keys[i].compare(keys[order[n-1]]) != 0 {
			all = append(all, Group{Key: keys[i]})
		}
		g := &all[len(all)-1]
		g.Snapshots = append(g.Snapshots, list[i])
	}
	return all
}

// OneEach counts the groups and those that hold one snapshot only. It reports
// whether these are most of several: a policy that is applied to each group then
// keeps nearly everything, for good, which is hardly what was meant. Paths that
// have a date in them do this, and hosts that get a new name each time.
func OneEach(groups []Group) (single int, most bool) {
	for _, g := range groups {
		if len(g.Snapshots) == 1 {
			single++
		}
	}
	return single, len(groups) > 2 && 2*single > len(groups)
}
