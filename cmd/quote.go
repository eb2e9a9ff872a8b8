package cmd

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// quote returns name as it may be shown to a person: unchanged if it consists
// of printable UTF-8, else in double quotes with Go's escapes. Printable is
// what [strconv.IsPrint] says, so control characters, escape sequences, bytes
// that are not UTF-8, characters that turn the direction of writing, and spaces
// other than " " are escaped. Names that begin with a double quote, or that
// blanks at an end would hide, are quoted too: no two names look the same.
//
// It is for names: paths, hosts, tags. Whole messages go through [printable].
func quote(name string) string {
	if name == "" || name[0] == '"' || name[0] == ' ' || name[len(name)-1] == ' ' || !isPrintable(name) {
		return strconv.Quote(name)
	}
	return name
}

// printable returns text on one line with everything escaped that is not
// printable, and nothing else changed. It is what every message passes last.
func printable(text string) string {
	if isPrintable(text) {
		return text
	}
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		if (r != utf8.RuneError || n > 1) && strconv.IsPrint(r) {
			b.WriteString(text[:n])
		} else {
			quoted := strconv.Quote(text[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		text = text[n:]
	}
	return b.String()
}

// shellWord returns name as a word for a POSIX shell, for commands that a person
// is to copy. What is not printable is shown as quote does.
func shellWord(name string) string {
	special := func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+:@%,=", r)
	}
	switch {
	case !isPrintable(name):
		return quote(name)
	case name == "" || strings.ContainsFunc(name, special):
		return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
	}
	return name
}

func isPrintable(text string) bool {
	for i, r := range text {
		if !strconv.IsPrint(r) {
			return false
		}
		if r == utf8.RuneError && !strings.HasPrefix(text[i:], "\uFFFD") {
			return false
		}
	}
	return true
}
