// Command mutants breaks the program on purpose, one rule at a time, and sees
// whether a test says so. Run it from the root of the module:
//
//	go run ./mutants                all of them
//	go run ./mutants -run aad       those whose names match
//	go run ./mutants -list          what there is
//
// The tree is not touched: each mutation is an overlay of the compiler. Nobody
// is to be fooled, so
//
//   - the text that a mutation replaces stands in its file exactly once;
//   - a mutation that does not compile is a mistake of the table;
//   - before any of them, the named tests pass without a mutation, each of them
//     by its own line, so a test that is gone or skipped is noticed;
//   - a mutant is killed by a line of one of its tests that says FAIL, or by a
//     panic in it, and not by running into the time limit.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

func main() {
	run := flag.String("run", "", "only mutations whose names match this `pattern`")
	list := flag.Bool("list", false, "print the table and run nothing")
	flag.Parse()
	if err := mutate(os.Stdout, *run, *list); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// errAlive says that the work is done and some mutants survived.
var errAlive = errors.New("not every mutant was killed")

func mutate(w io.Writer, pattern string, list bool) error {
	chosen, err := choose(pattern)
	if err != nil {
		return err
	}
	if list {
		for _, m := range chosen {
			fmt.Fprintf(w, "%s: %s: %s %s\n", m.name, m.file, m.pkg, strings.Join(m.tests, " "))
		}
		return nil
	}
	r, err := newRunner()
	if err != nil {
		return err
	}
	defer r.close()
	if err := r.control(chosen); err != nil {
		return err
	}
	fmt.Fprintf(w, "control: the tests pass without a mutation\n")
	alive := 0
	var mistakes []error
	for _, m := range chosen {
		failed, err := r.kill(m)
		verdict := strings.Join(failed, ", ")
		switch {
		case err != nil:
			mistakes = append(mistakes, fmt.Errorf("%s: %w", m.name, err))
			verdict = "MISTAKE, see below"
		case len(failed) == 0:
			alive++
			verdict = "SURVIVED " + strings.Join(m.tests, ", ")
		}
		fmt.Fprintf(w, "| %s | %s | %s |\n", m.name, m.file, verdict)
	}
	fmt.Fprintf(w, "%d mutants, %d survived, %d mistakes of the table\n", len(chosen), alive, len(mistakes))
	if alive > 0 {
		mistakes = append(mistakes, errAlive)
	}
	return errors.Join(mistakes...)
}

func choose(pattern string) ([]mutation, error) {
	match, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	var chosen []mutation
	for _, m := range all() {
		if match.MatchString(m.name) {
			chosen = append(chosen, m)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no mutation is called like %q", pattern)
	}
	return chosen, nil
}
