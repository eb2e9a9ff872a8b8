package cmd

import (
	"errors"
	"strings"
	"unicode"
)

// splitCommand splits a command line at white space. Single quotes keep
// everything, double quotes everything but \" and \\; outside of quotes a
// backslash keeps the next character. There is no expansion of any kind and no
// shell: who wants one says sh -c '…'.
func splitCommand(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	begun := false // a word, maybe an empty one in quotes
	var quoted, previous rune
	for _, r := range line {
		escaped := previous == '\\'
		previous = 0
		switch {
		case escaped:
			if quoted == '"' && r != '"' && r != '\\' {
				word.WriteByte('\\')
			}
			word.WriteRune(r)
		case r == '\\' && quoted != '\'':
			previous, begun = r, true
		case quoted != 0 && r == quoted:
			quoted = 0
		case quoted == 0 && (r == '"' || r == '\''):
			quoted, begun = r, true
		case quoted == 0 && unicode.IsSpace(r):
			if begun {
				words = append(words, word.String())
				word.Reset()
				begun = false
			}
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	switch {
	case quoted != 0:
		return nil, errors.New("a quotation mark has no second one")
	case previous == '\\':
		return nil, errors.New("nothing follows the last backslash")
	}
	if begun {
		words = append(words, word.String())
	}
	if len(words) == 0 || words[0] == "" {
		return nil, errors.New("there is no command")
	}
	return words, nil
}
