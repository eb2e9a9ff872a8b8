// Package forget decides which snapshots a retention policy keeps. It needs no
// key, does no I/O and has no clock: the same snapshots and the same policy
// give the same answer on every machine, so that a cleaner can compute again
// what somebody else has forgotten.
//
// The rules of a policy are restic's. What is added to them:
//
//   - The time of a snapshot is its effective time, in UTC: what its writer
//     claims, within the bounds that the store and the snapshot before it set.
//   - A snapshot whose claim differs much from that is dated: it never takes
//     the place of one that is not. See [Apply].
//   - Pinned snapshots are kept.
//
// docs/decisions.md, "Forget", has the reasons.
package forget

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Span is a rule's unit of time: it keeps the newest snapshot in each.
type Span int

// The spans, in the order in which rules are applied. Last takes each snapshot
// by itself.
const (
	Last Span = iota
	Hourly
	Daily
	Weekly // from Monday, as ISO 8601 has them
	Monthly
	Yearly
)

// Spans are all spans, in their order.
var Spans = [...]Span{Last, Hourly, Daily, Weekly, Monthly, Yearly}

var spanNames = [...]string{"last", "hourly", "daily", "weekly", "monthly", "yearly"}

func (s Span) String() string { return spanNames[s] }

// A Count is how many spans keep a snapshot: 0 is no rule, and -1, [Unlimited],
// is all.
type Count int64

// Unlimited is the count of all.
const Unlimited Count = -1

// maxCount is the highest count that the record of a policy holds, one above
// it being all.
const maxCount = 1<<32 - 2

func (c Count) String() string {
	if c == Unlimited {
		return "unlimited"
	}
	return strconv.FormatInt(int64(c), 10)
}

// ParseCount reads a number or "unlimited".
func ParseCount(text string) (Count, error) {
	if text == "unlimited" {
		return Unlimited, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%q is no number; \"unlimited\" keeps all", text)
	case n < 0:
		return 0, errors.New("negative values not allowed, use 'unlimited' instead")
	case n > maxCount:
		return 0, fmt.Errorf("%d is more than %d; \"unlimited\" keeps all", n, maxCount)
	}
	return Count(n), nil
}

// A TagList is tags that a snapshot must have all of. The empty tag stands for
// having none.
type TagList []string

// ParseTagList reads tags with commas between them.
func ParseTagList(text string) TagList {
	list := strings.Split(text, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func (l TagList) String() string { return "[" + strings.Join(l, ", ") + "]" }

// matches reports whether a snapshot with these tags has all of l.
func (l TagList) matches(tags []string) bool {
	for _, tag := range l {
		if !slices.Contains(tags, tag) && (tag != "" || len(tags) > 0) {
			return false
		}
	}
	return true
}

// A Policy says what to keep; a snapshot that no rule keeps is forgotten. The
// zero value has no rule.
type Policy struct {
	// Keep keeps the newest snapshot in each of the last n spans that have
	// one, and while there are fewer, the oldest snapshot.
	Keep [len(Spans)]Count
	// Within keeps the newest snapshot in each span, for snapshots newer than
	// this long before the newest of the group; at Last, all of them. nil is
	// not given, which is no rule, as is no length.
	Within [len(Spans)]*Duration
	// Tags keeps what matches one of the lists. It needs the key.
	Tags []TagList
}

// Empty reports whether p has no rule, so that it would keep nothing.
func (p *Policy) Empty() bool {
	for _, span := range Spans {
		if p.Keep[span] != 0 || p.within(span) {
			return false
		}
	}
	return len(p.Tags) == 0
}

// within reports whether p has a rule in Within for span.
func (p *Policy) within(span Span) bool {
	return p.Within[span] != nil && !p.Within[span].IsZero()
}

// DefaultFloor is what a policy without a key keeps at least, if it is not
// told otherwise: whoever adds snapshots to a series for less than that long
// pushes none out of it.
var DefaultFloor = Duration{Days: 7}

// WithFloor returns p with the rule to keep everything within floor, unless p
// says itself within what: a length of its own, or "0s" for none.
func (p Policy) WithFloor(floor Duration) Policy {
	if p.Within[Last] == nil {
		p.Within[Last] = &floor
	}
	return p
}

// String says in words what p keeps.
func (p *Policy) String() string {
	var counted, within []string
	for _, span := range Spans {
		name := span.String()
		if span == Last {
			name = "latest"
		}
		switch count := p.Keep[span]; {
		case count == Unlimited:
			counted = append(counted, "all "+name)
		case count > 0:
			counted = append(counted, fmt.Sprintf("%d %s", count, name))
		}
		if span != Last && p.within(span) {
			within = append(within, fmt.Sprintf("%s snapshots within %v", name, p.Within[span]))
		}
	}
	var parts []string
	if len(counted) > 0 {
		within = append([]string{strings.Join(counted, ", ") + " snapshots"}, within...)
	}
	if len(within) > 0 {
		parts = append(parts, strings.Join(within, ", "))
	}
	if len(p.Tags) > 0 {
		parts = append(parts, fmt.Sprintf("all snapshots with tags %v", p.Tags))
	}
	if p.within(Last) {
		parts = append(parts, fmt.Sprintf("all snapshots within %v of the newest", p.Within[Last]))
	}
	if len(parts) == 0 {
		return "remove"
	}
	return "keep " + strings.Join(parts, " and ")
}
