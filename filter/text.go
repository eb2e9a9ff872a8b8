package filter

import (
	"os"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ReadPatterns returns the patterns of an exclude or include file, one a line.
//
// White space around a line is dropped, empty lines and lines that start with
// "#" are left out, and $NAME and ${NAME} are replaced by what getenv returns;
// "$$" stands for a dollar sign.
func ReadPatterns(text string, getenv func(string) string) []string {
	expand := func(name string) string {
		if name == "$" {
			return "$"
		}
		return getenv(name)
	}
	var patterns []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		patterns = append(patterns, os.Expand(line, expand))
	}
	return patterns
}

// lower is strings.ToLower that leaves bytes which are not UTF-8 as they are:
// strings.ToLower would make all of them the same character, and so let one
// odd name match another.
func lower(s string) string {
	if utf8.ValidString(s) {
		return strings.ToLower(s)
	}
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			b.WriteByte(s[0])
		} else {
			b.WriteRune(unicode.ToLower(r))
		}
		s = s[n:]
	}
	return b.String()
}
