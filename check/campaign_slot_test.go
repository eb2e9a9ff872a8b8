package check

import (
	"bytes"
	"fmt"
	"slices"

	"bluesky/keyring"
	"bluesky/object"
	"bluesky/repo"
)

// A slotPart is a part of a key slot, by who sees a change of it.
type slotPart uint

const (
	slotForm     slotPart = 1 << iota // check
	slotCost                          // check if it is out of range, else who opens it
	slotPassword                      // who opens it
	slotInfo                          // check with the key: as a warning
	slotGone                          // nobody: there is no list of slots
)

// slotParts returns what of a slot was changed.
func (c *campaign) slotParts(before, after []byte) (parts slotPart) {
	c.t.Helper()
	var a, b map[uint64]any
	if err := object.DecodeCBOR(before, &a); err != nil {
		c.t.Fatal(err)
	}
	if after == nil {
		return slotGone
	}
	if object.DecodeCBOR(after, &b) != nil || len(a) != len(b) {
		return slotForm
	}
	for key, was := range a {
		switch now, ok := b[key]; {
		case !ok || fmt.Sprintf("%T", was) != fmt.Sprintf("%T", now):
			return slotForm
		case fmt.Sprint(was) == fmt.Sprint(now):
		default:
			parts |= map[uint64]slotPart{1: slotForm, 2: slotForm, 3: slotPassword, 4: slotCost, 5: slotCost, 6: slotCost, 7: slotPassword, 8: slotInfo}[key]
		}
	}
	return parts
}

// runSlot damages the one key slot of d.changes, of which there are two. No
// level can see all: the cost parameters, the salt and the wrap are what the
// password is tried on. Whatever it is, the slot opens no other keys than its
// own, and the other slot serves.
func (c *campaign) runSlot(d damage) {
	c.t.Helper()
	c.cases++
	for key, data := range d.changes {
		parts := c.slotParts(c.f.files[key], data)
		c.with(d.changes, func() {
			for _, l := range levels {
				r, err := c.check(l)
				if err != nil {
					c.t.Errorf("%s: %s: %v", d.name, l.name, err)
					continue
				}
				c.judgeSlot(d.name, l, r, key, parts)
			}
			c.openSlots(d.name, parts)
		})
	}
}

func (c *campaign) judgeSlot(name string, l level, r Report, key string, parts slotPart) {
	c.t.Helper()
	severity := Severity(-1)
	if at := slices.IndexFunc(r.Problems, func(p Problem) bool { return p.Subject == key }); at >= 0 {
		severity = r.Problems[at].Severity
	}
	want := []Severity{-1}
	switch {
	case parts&slotForm != 0:
		want = []Severity{Error, Note} // of a newer version
	case parts&slotInfo != 0 && l.keyed:
		want = []Severity{Warning}
	}
	if parts&slotCost != 0 {
		want = append(want, Error)
	}
	ok := slices.Contains(want, severity)
	if !ok || len(r.Problems) > 1 {
		c.t.Errorf("%s: %s: parts %05b of the slot: got\n%s", name, l.name, parts, describe(r))
	}
}

func (c *campaign) openSlots(name string, parts slotPart) {
	c.t.Helper()
	opened := 0
	for _, password := range c.f.passwords {
		r, err := repo.Open(c.t.Context(), c.store, repo.Options{})
		if err != nil {
			c.t.Fatal(err)
		}
		keys, err := keyring.Open(c.t.Context(), r, []byte(password))
		if err != nil {
			continue
		}
		opened++
		if !keys.Writer().Equal(c.f.keys.Writer()) {
			c.t.Errorf("%s: %q opens other keys", name, password)
		}
	}
	if want := map[bool]int{true: 2, false: 1}[parts == slotInfo]; opened != want {
		c.t.Errorf("%s: %d passwords open a slot, want %d", name, opened, want)
	}
}

// others returns files that may stand in the place of key, by a name of each:
// those of the repository itself and of others.
func (c *campaign) others(key string, foreign ...*rich) map[string][]byte {
	found := map[string][]byte{}
	for _, other := range c.f.fixture.names("") {
		if other != key {
			found[other] = c.f.files[other]
		}
	}
	for i, f := range foreign {
		for _, other := range f.fixture.names("") {
			if other != key && kindOf(other) == kindOf(key) && !bytes.Equal(f.files[other], c.f.files[key]) {
				found[fmt.Sprintf("%s of repository %d", other, i+1)] = f.files[other]
			}
		}
	}
	return found
}
