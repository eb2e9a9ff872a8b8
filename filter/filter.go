// Package filter matches paths against exclude and include patterns, with the
// semantics that restic documents under "Excluding files":
//
//   - A pattern is a path of components in the syntax of [path.Match]. The
//     component "**" stands for any number of components, none included.
//   - A leading "/" anchors the pattern at the root; without one it matches at
//     any depth. A trailing "/" means nothing.
//   - A pattern that matches a directory matches everything below it.
//   - Patterns are judged in order. One that starts with "!" takes back what
//     earlier ones matched.
//
// Paths are bytes with "/" between the components, not text: a name that is not
// UTF-8 matches like any other. Patterns are compiled and checked once;
// matching cannot fail, and takes at most as many comparisons of components as
// the pattern and the path have components, multiplied.
package filter

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// A List is patterns in the order in which they are judged. The zero List
// matches nothing. A List never changes, so goroutines may share one.
type List struct {
	patterns []pattern
	fold     bool // paths are lower-cased before they are compared
}

// Parse compiles patterns. Empty ones are left out. The error names every
// pattern that is not well formed.
func Parse(patterns []string) (List, error) { return parse(patterns, false) }

// ParseFold is [Parse] for patterns that ignore the case of letters.
func ParseFold(patterns []string) (List, error) { return parse(patterns, true) }

func parse(patterns []string, fold bool) (List, error) {
	list := List{fold: fold}
	var bad []error
	for _, text := range patterns {
		if text == "" {
			continue
		}
		p, err := compile(text, fold)
		if err != nil {
			bad = append(bad, fmt.Errorf("pattern %q: %w", text, err))
			continue
		}
		list.patterns = append(list.patterns, p)
	}
	if len(bad) > 0 {
		return List{}, joined(bad)
	}
	return list, nil
}

// Empty reports whether l has no patterns.
func (l List) Empty() bool { return len(l.patterns) == 0 }

// Match reports whether l matches name, an absolute path. Anchored patterns
// never match a path without a leading "/".
//
// A caller that walks a tree and skips what matches gets what gitignore gives:
// below a matched directory nothing can be taken back.
func (l List) Match(name string) bool {
	if l.Empty() || name == "" {
		return false
	}
	var buffer [24]string
	at := l.split(buffer[:0], name)
	matched := false
	for i := range l.patterns {
		// A pattern is only asked where its answer would change something.
		if p := &l.patterns[i]; matched == p.negated && p.match(at) {
			matched = !matched
		}
	}
	return matched
}

// ChildMayMatch reports whether l could match a path below name, an absolute
// path of a directory. False is certain, true is not.
func (l List) ChildMayMatch(name string) bool {
	if l.Empty() || name == "" {
		return false
	}
	var buffer [24]string
	at := l.split(buffer[:0], name)
	may := false
	for i := range l.patterns {
		p := &l.patterns[i]
		switch {
		case !p.negated:
			may = may || p.childMayMatch(at)
		case may && p.match(at): // and so everything below
			may = false
		}
	}
	return may
}

func (l List) split(into []string, name string) location {
	if l.fold {
		name = lower(name)
	}
	at := location{absolute: name[0] == '/'}
	for component := range strings.SplitSeq(name, "/") {
		if component != "" {
			into = append(into, component)
		}
	}
	at.components = into
	return at
}

// A Set is lists that are judged apart: it matches what any of them matches.
type Set []List

// Match reports whether a list of s matches name; see [List.Match].
func (s Set) Match(name string) bool {
	for _, l := range s {
		if l.Match(name) {
			return true
		}
	}
	return false
}

// ChildMayMatch reports whether a list of s could match a path below name; see
// [List.ChildMayMatch].
func (s Set) ChildMayMatch(name string) bool {
	for _, l := range s {
		if l.ChildMayMatch(name) {
			return true
		}
	}
	return false
}

// A location is a path in its components.
type location struct {
	absolute   bool
	components []string
}

// A pattern is one compiled pattern.
type pattern struct {
	negated  bool
	anchored bool
	// parts begins with a "**" unless the pattern is anchored. It ends where
	// the pattern ends: what follows in a path is below the match.
	parts []part
}

// A part compares one component; the part "**" stands for any number of them.
type part struct {
	text  string
	glob  bool // text has meta characters
	depth bool // text is "**"
}

var errNoPattern = errors.New("nothing follows the exclamation mark")

func compile(text string, fold bool) (pattern, error) {
	var p pattern
	text, p.negated = strings.CutPrefix(text, "!")
	if text == "" {
		return pattern{}, errNoPattern
	}
	if fold {
		text = lower(text)
	}
	text = path.Clean(text)
	text, p.anchored = strings.CutPrefix(text, "/")
	if !p.anchored {
		p.parts = append(p.parts, part{depth: true})
	}
	for component := range strings.SplitSeq(text, "/") {
		if component == "" { // of "/", the whole tree
			continue
		}
		c := part{
			text:  component,
			glob:  strings.ContainsAny(component, `\[]*?`),
			depth: component == "**",
		}
		if c.depth && len(p.parts) > 0 && p.parts[len(p.parts)-1].depth {
			continue // one "**" after another adds nothing
		}
		// path.Match finds a mistake whatever the name it is asked about.
		if _, err := path.Match(component, ""); err != nil {
			return pattern{}, err
		}
		p.parts = append(p.parts, c)
	}
	return p, nil
}

// match reports whether p matches at or a directory above it.
//
// Only the last "**" is ever tried again, one component further on: what stands
// before it matched as early as it could, so to move an earlier one would only
// leave less for the rest.
func (p *pattern) match(at location) bool {
	if p.anchored && !at.absolute {
		return false
	}
	i, j := 0, 0           // the next part, the next component
	again, resume := -1, 0 // after the last "**", and the component to try it from
	for i < len(p.parts) {
		switch {
		case p.parts[i].depth:
			i++
			again, resume = i, j
		case j < len(at.components) && p.parts[i].match(at.components[j]):
			i++
			j++
		case again >= 0 && j < len(at.components):
			resume++
			i, j = again, resume
		default:
			return false
		}
	}
	return true
}

// childMayMatch reports whether p, which is not negated, could match below at.
func (p *pattern) childMayMatch(at location) bool {
	if p.anchored && !at.absolute {
		return false
	}
	for i, component := range at.components {
		if i == len(p.parts) || p.parts[i].depth {
			return true
		}
		if !p.parts[i].match(component) {
			return false
		}
	}
	return true
}

func (c *part) match(component string) bool {
	if !c.glob {
		return c.text == component
	}
	ok, err := path.Match(c.text, component)
	return ok && err == nil // compile has seen the pattern: err is nil
}

// joined puts several errors into one sentence.
func joined(errs []error) error {
	texts := make([]string, len(errs))
	for i, err := range errs {
		texts[i] = err.Error()
	}
	return errors.New(strings.Join(texts, "; "))
}
