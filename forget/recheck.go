package forget

import "bluesky/object"

// Recheck applies the policies of all forgets that name one again, and returns
// the snapshots, of those that are forgotten, that their policy does not
// remove: whoever forgot them was wrong or lied, and no cleaner collects them.
// Both lists are in log order, with effective times as the store's times give
// them.
//
// A policy is applied to what there was of the line when the forget was made:
// what was added before its generation and not forgotten before it. Of that,
// the state still has what is live now, and what was forgotten in that
// generation or later and is not collected.
//
// For an honest forget the answer is none: it applied the policy to that very
// set, and no rule depends on a clock, on a pin or on snapshots of other lines.
// Two things change the set. What was forgotten before and is live again,
// undone, is in it here and was not there; more snapshots never save one that
// is in both. What was collected since is missing here; fewer snapshots may save
// one. Then a snapshot that was rightly forgotten stays as it is, uncollected,
// until somebody who has the key undoes that and forgets it by id. That is the
// side to err on.
//
// The exception to both is the calendar: a month before the 31st of March is the
// 3rd, and a month before the 1st of April is the 1st. So where the newest
// snapshot is what has changed, a duration in months or years may begin up to three days
// earlier or later.
func Recheck(live []Snapshot, forgotten []Forgotten) []Forgotten {
	lines := map[Line]*history{}
	line := func(l Line) *history {
		if lines[l] == nil {
			lines[l] = &history{removed: map[pass]map[object.ID]bool{}}
		}
		return lines[l]
	}
	for i := range live {
		h := line(live[i].Line)
		h.live = append(h.live, live[i])
	}
	for i := range forgotten {
		h := line(forgotten[i].Line)
		h.forgotten = append(h.forgotten, forgotten[i])
	}
	var wrong []Forgotten
	for i := range forgotten {
		f := &forgotten[i]
		if f.By != nil && !lines[f.Line].removes(f) {
			wrong = append(wrong, *f)
		}
	}
	return wrong
}

// A history is what there is of a line.
type history struct {
	live      []Snapshot
	forgotten []Forgotten
	removed   map[pass]map[object.ID]bool // what each pass of a policy removed
}

// A pass is a policy, in words, in the generation of its forget.
type pass struct {
	at     uint64
	policy string
}

// removes reports whether the policy of f, applied when f was forgotten,
// removes it. One without rules removes nothing: nobody applies it.
func (h *history) removes(f *Forgotten) bool {
	policy := PolicyOf(f.By)
	if policy.Empty() {
		return false
	}
	key := pass{f.At, policy.String()}
	removed, known := h.removed[key]
	if !known {
		removed = map[object.ID]bool{}
		for _, s := range Apply(h.before(f.At), &policy).Remove {
			removed[s.ID] = true
		}
		h.removed[key] = removed
	}
	return removed[f.ID]
}

// before returns what there was just before the given generation, as far as it
// is there yet, in log order.
func (h *history) before(generation uint64) []Snapshot {
	var list []Snapshot
	for i := range h.live {
		if h.live[i].Generation < generation {
			list = append(list, h.live[i])
		}
	}
	for i := range h.forgotten {
		if f := &h.forgotten[i]; f.Generation < generation && f.At >= generation {
			list = append(list, f.Snapshot)
		}
	}
	InLogOrder(list)
	return list
}
