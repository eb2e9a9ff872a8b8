package cmd

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"bluesky/filter"
)

// patternFlags are the four flags that give patterns, to exclude or to include.
type patternFlags struct {
	name               string // "exclude" or "include"
	patterns, folded   []string
	files, foldedFiles []string
}

// addPatternFlags defines --NAME, --iNAME, --NAME-file and --iNAME-file.
func addPatternFlags(flags *pflag.FlagSet, name, short string) *patternFlags {
	p := &patternFlags{name: name}
	flags.StringArrayVarP(&p.patterns, name, short, nil, name+" a `pattern`; may be given more than once")
	flags.StringArrayVar(&p.folded, "i"+name, nil, "same as --"+name+" `pattern`, but ignores the case of names")
	flags.StringArrayVar(&p.files, name+"-file", nil, "read "+name+" patterns from a `file`; may be given more than once")
	flags.StringArrayVar(&p.foldedFiles, "i"+name+"-file", nil, "same as --"+name+"-file, but ignores the case of names in the `file`")
	return p
}

// compile reads the files and compiles all patterns: those of flags come before
// those of files. With no pattern the set is empty.
func (p *patternFlags) compile(getenv func(string) string) (filter.Set, error) {
	var set filter.Set
	for _, kind := range []struct {
		flag            string
		patterns, files []string
		parse           func([]string) (filter.List, error)
	}{
		{p.name, p.patterns, p.files, filter.Parse},
		{"i" + p.name, p.folded, p.foldedFiles, filter.ParseFold},
	} {
		list, err := kind.parse(kind.patterns)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", kind.flag, err)
		}
		all := kind.patterns
		for _, name := range kind.files {
			patterns, err := readPatterns(name, getenv)
			if err != nil {
				return nil, fmt.Errorf("--%s-file: %w", kind.flag, err)
			}
			all = append(all[:len(all):len(all)], patterns...)
			if list, err = kind.parse(all); err != nil {
				return nil, fmt.Errorf("--%s-file %s: %w", kind.flag, quote(name), err)
			}
		}
		if !list.Empty() {
			set = append(set, list)
		}
	}
	return set, nil
}

// escapePattern returns a pattern that matches path and nothing else.
func escapePattern(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func readPatterns(name string, getenv func(string) string) ([]string, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return filter.ReadPatterns(string(decodeText(text)), getenv), nil
}
