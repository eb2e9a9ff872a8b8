package backup

import (
	"flag"
	"os"
	"strconv"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if !isSet("rapid.checks") {
		flag.Set("rapid.checks", strconv.Itoa(scaled(40))) // each makes some twenty backups
	}
	if !isSet("rapid.nofailfile") {
		flag.Set("rapid.nofailfile", "true")
	}
	code := m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

func isSet(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}
