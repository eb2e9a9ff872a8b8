package forget

import (
	"fmt"
	"slices"
	"time"

	"bluesky/object"
)

// A Decision is what a policy does with the snapshots of a group, each list
// newest first.
type Decision struct {
	Keep    []Snapshot
	Reasons [][]string // why, for each of Keep
	Remove  []Snapshot
}

// Apply decides which snapshots of a group p keeps. The list is in log order:
// of two snapshots of one time, the later in it is the newer. Apply leaves it
// as it is.
//
// Without dated snapshots (see [Snapshot.Dating]) these are restic's rules, by
// effective time. Otherwise:
//
//   - What is not dated is judged as if nothing that is dated were there. So
//     no lie about a time pushes it out.
//   - What is dated is judged among all, by the earlier of its two times. So an
//     old snapshot that was copied here later has the place that its claim gives
//     it, and one from the future is as old as the store says.
//   - What is dated into the future is also judged by its claims, among itself,
//     and kept if either keeps it. A store whose clock was wrong, or a copy
//     of it that has lost the times of files, makes honest snapshots look so,
//     all of one moment.
//
// A policy without rules keeps only what is pinned; callers ask [Policy.Empty].
func Apply(list []Snapshot, p *Policy) Decision {
	var honest, future []*entry
	entries := make([]*entry, len(list))
	for i := range list {
		e := &entry{snapshot: &list[i], at: list[i].Effective}
		switch list[i].Dating() {
		case Undated:
			honest = append(honest, e)
		case Past:
			e.at = list[i].Claimed
		case Future:
			future = append(future, &entry{snapshot: e.snapshot, at: list[i].Claimed})
		}
		entries[i] = e
	}
	for _, part := range [][]*entry{entries, honest, future} {
		newestFirst(part)
	}
	judge(entries, p)
	if len(honest) < len(entries) {
		judge(honest, p) // again, and this counts
	}
	judge(future, p)
	claims := make(map[*Snapshot][]string, len(future))
	for _, e := range future {
		claims[e.snapshot] = e.reasons
	}
	var d Decision
	for _, e := range entries {
		if len(e.reasons) == 0 {
			e.reasons = claims[e.snapshot]
		}
		if len(e.reasons) == 0 {
			d.Remove = append(d.Remove, *e.snapshot)
			continue
		}
		d.Keep = append(d.Keep, *e.snapshot)
		d.Reasons = append(d.Reasons, e.reasons)
	}
	return d
}

// newestFirst sorts entries that are in log order: of those with one time, the
// last in the log is the first.
func newestFirst(entries []*entry) {
	slices.Reverse(entries)
	slices.SortStableFunc(entries, func(a, b *entry) int { return compareTimes(b.at, a.at) })
}

// An entry is a snapshot with the time that it is judged by, and the reasons to
// keep it.
type entry struct {
	snapshot *Snapshot
	at       object.Time
	reasons  []string
}

// A rule keeps the newest snapshot in each span, while its count lasts and
// within its bound.
type rule struct {
	span  Span
	left  Count                // Unlimited, or how many it keeps yet
	since func(time.Time) bool // nil for no bound
	name  string
	of    string // " 7d", behind the name
	seen  bool
	value int64 // of the span that it has kept one of, if seen
}

// rules are those of p, for a group whose newest snapshot has the given time.
func (p *Policy) rules(newest time.Time) []rule {
	var rules []rule
	for _, span := range Spans {
		if p.Keep[span] != 0 {
			rules = append(rules, rule{span: span, left: p.Keep[span], name: span.String() + " snapshot"})
		}
	}
	for _, span := range Spans[Hourly:] {
		if p.within(span) {
			rules = append(rules, rule{
				span: span, left: Unlimited, since: p.Within[span].since(newest),
				name: span.String() + " within", of: " " + p.Within[span].String(),
			})
		}
	}
	return rules
}

// since returns whether a time is later than d before newest.
func (d Duration) since(newest time.Time) func(time.Time) bool {
	limit := d.before(newest)
	return func(t time.Time) bool { return t.After(limit) }
}

// judge sets the reasons to keep each of entries, newest first.
func judge(entries []*entry, p *Policy) {
	if len(entries) == 0 {
		return
	}
	newest := calendar(entries[0].at)
	rules := p.rules(newest)
	for i, e := range entries {
		at := calendar(e.at)
		e.reasons = p.always(e.snapshot, at, newest)
		for r := range rules {
			if reason := rules[r].judge(at, int64(i), i == len(entries)-1); reason != "" {
				e.reasons = append(e.reasons, reason)
			}
		}
	}
}

// always returns the reasons to keep s that do not depend on others, but for
// the newest.
func (p *Policy) always(s *Snapshot, at, newest time.Time) []string {
	var reasons []string
	if s.Pinned {
		reasons = append(reasons, "pinned")
	}
	for _, list := range p.Tags {
		if list.matches(s.Tags) {
			reasons = append(reasons, fmt.Sprintf("has tags %v", list))
		}
	}
	if p.within(Last) && p.Within[Last].since(newest)(at) {
		reasons = append(reasons, fmt.Sprintf("within %v", p.Within[Last]))
	}
	return reasons
}

// judge returns the reason by which r keeps a snapshot, "" if it does not. The
// snapshots of a group come newest first, each with its number.
func (r *rule) judge(at time.Time, number int64, oldest bool) string {
	if r.left == 0 || r.since != nil && !r.since(at) {
		return ""
	}
	value := r.span.value(at, number)
	again := r.seen && value == r.value
	if again && !oldest {
		return ""
	}
	r.seen, r.value = true, value
	if r.left > 0 {
		r.left--
	}
	if again {
		return "oldest " + r.name + r.of
	}
	return r.name + r.of
}

// value returns a number that two times have in common if they lie in the same
// span.
func (s Span) value(t time.Time, number int64) int64 {
	switch s {
	case Hourly:
		return floorDiv(t.Unix(), 3600)
	case Daily:
		return day(t)
	case Weekly:
		return floorDiv(day(t)+3, 7) // day 0 was a Thursday
	case Monthly:
		return int64(t.Year())*12 + int64(t.Month())
	case Yearly:
		return int64(t.Year())
	}
	return number
}

// day returns the number of t's day since 1970.
func day(t time.Time) int64 { return floorDiv(t.Unix(), 86400) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
