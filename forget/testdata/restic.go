// Restic makes restic.json, the answers of restic itself to random policies on
// random histories, which TestAgreesWithRestic compares with those of this
// package:
//
//	go run forget/testdata/restic.go -restic restic -dir /tmp/r -out forget/testdata/restic.json
//
// It makes one repository in an empty folder, with backdated snapshots of a
// host for each history, and asks "restic forget --dry-run --json" about each
// policy: one call answers for all hosts. Snapshots of one host differ in their
// time, because restic's answer depends on chance otherwise. The file was made
// with restic 0.18.1, whose days are UTC here.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

type golden struct {
	Restic    string
	Seed      uint64
	Histories [][]snap
	Cases     []result
}

type snap struct {
	Time time.Time
	Tags []string `json:",omitempty"`
}

// A result is what a policy keeps of each history: numbers of snapshots, with
// the reasons.
type result struct {
	Flags []string
	Kept  []map[int][]string
}

func main() {
	restic := flag.String("restic", "restic", "the program")
	dir := flag.String("dir", "", "an empty folder for the repository")
	out := flag.String("out", "restic.json", "the file to write")
	seed := flag.Uint64("seed", 1, "of all choices")
	histories := flag.Int("histories", 30, "how many hosts")
	longest := flag.Int("longest", 24, "the most snapshots of a host")
	cases := flag.Int("cases", 40, "how many policies")
	flag.Parse()
	if *dir == "" {
		log.Fatal("-dir is missing")
	}
	r := rand.New(rand.NewPCG(*seed, 0))
	run := func(args ...string) []byte {
		cmd := exec.Command(*restic, append([]string{"--repo", filepath.Join(*dir, "repo"), "--insecure-no-password", "--no-cache"}, args...)...)
		cmd.Env = append(os.Environ(), "TZ=UTC")
		cmd.Stderr = os.Stderr
		output, err := cmd.Output()
		if err != nil {
			log.Fatalf("restic %q: %v", args, err)
		}
		return output
	}
	file := filepath.Join(*dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		log.Fatal(err)
	}
	run("init")
	g := golden{Restic: strings.TrimSpace(string(run("version"))), Seed: *seed}
	for h := range *histories {
		list := history(r, 1+r.IntN(*longest))
		for _, s := range list {
			run("backup", "-q", "--force", "--host", fmt.Sprintf("h%03d", h), "--time", s.Time.Format(time.DateTime), "--tag", strings.Join(s.Tags, ","), file)
		}
		g.Histories = append(g.Histories, list)
	}
	for range *cases {
		flags := policy(r)
		g.Cases = append(g.Cases, result{flags, parse(g.Histories, run(append([]string{"forget", "--dry-run", "--json"}, flags...)...))})
	}
	data, err := json.Marshal(g)
	if err != nil {
		log.Fatal(err)
	}
	// A line for each history and case, so that changes can be read.
	text := strings.NewReplacer("],[{", "],\n[{", `,{"Flags"`, ",\n"+`{"Flags"`).Replace(string(data))
	if err := os.WriteFile(*out, []byte(text+"\n"), 0o600); err != nil {
		log.Fatal(err)
	}
}

// history returns n snapshots of different times, oldest first.
func history(r *rand.Rand, n int) []snap {
	starts := []string{"2019-12-28", "2020-02-27", "2021-01-01", "2023-03-29", "2024-02-28", "2015-06-30", "1999-12-31"}
	steps := []time.Duration{time.Minute, 20 * time.Minute, time.Hour, 7 * time.Hour, 24 * time.Hour, 60 * time.Hour, 168 * time.Hour, 700 * time.Hour, 4000 * time.Hour}
	at, err := time.Parse(time.DateOnly, starts[r.IntN(len(starts))])
	if err != nil {
		log.Fatal(err)
	}
	step := steps[r.IntN(len(steps))]
	var list []snap
	for range n {
		if r.IntN(6) == 0 {
			step = steps[r.IntN(len(steps))]
		}
		add := step
		if r.IntN(2) == 0 {
			add = time.Duration(r.Int64N(int64(2 * step)))
		}
		at = at.Add(add + time.Second).Truncate(time.Second)
		if at.Year() > 2025 {
			break // restic looks at times in the future with other eyes
		}
		s := snap{Time: at}
		for _, tag := range []string{"a", "b", "c"} {
			if r.IntN(5) == 0 {
				s.Tags = append(s.Tags, tag)
			}
		}
		list = append(list, s)
	}
	return list
}

// policy returns the flags of a policy with at least one rule that keeps the
// newest snapshot: restic refuses to remove the last one of a group.
func policy(r *rand.Rand) []string {
	spans := []string{"hourly", "daily", "weekly", "monthly", "yearly"}
	for {
		var flags []string
		for _, span := range append([]string{"last"}, spans...) {
			if r.IntN(4) == 0 {
				count := strconv.Itoa(1 + r.IntN(6))
				if r.IntN(12) == 0 {
					count = "unlimited"
				}
				flags = append(flags, "--keep-"+span+"="+count)
			}
		}
		for _, span := range append([]string{""}, spans...) {
			if r.IntN(8) == 0 {
				flags = append(flags, strings.TrimSuffix("--keep-within-"+span, "-")+"="+duration(r))
			}
		}
		if len(flags) == 0 {
			continue
		}
		if r.IntN(6) == 0 {
			flags = append(flags, "--keep-tag="+[]string{"a", "b", "a,b", "c", ""}[r.IntN(5)])
		}
		return flags
	}
}

func duration(r *rand.Rand) string {
	for {
		text := ""
		for _, unit := range []struct {
			name string
			most int
		}{{"y", 4}, {"m", 14}, {"d", 40}, {"h", 50}} {
			if r.IntN(3) == 0 {
				text += fmt.Sprintf("%d%s", 1+r.IntN(unit.most), unit.name)
			}
		}
		if text != "" {
			return text
		}
	}
}

// parse reads what restic says about all hosts.
func parse(histories [][]snap, output []byte) []map[int][]string {
	var groups []struct {
		Host    string
		Keep    []struct{ Time time.Time }
		Remove  []struct{ Time time.Time }
		Reasons []struct {
			Snapshot struct{ Time time.Time }
			Matches  []string
		}
	}
	if err := json.Unmarshal(output, &groups); err != nil {
		log.Fatal(err)
	}
	kept := make([]map[int][]string, len(histories))
	for _, g := range groups {
		h, err := strconv.Atoi(strings.TrimPrefix(g.Host, "h"))
		if err != nil || len(g.Keep) != len(g.Reasons) || len(g.Keep)+len(g.Remove) != len(histories[h]) {
			log.Fatalf("strange group of host %q", g.Host)
		}
		kept[h] = map[int][]string{}
		for _, reason := range g.Reasons {
			at := slices.IndexFunc(histories[h], func(s snap) bool { return s.Time.Equal(reason.Snapshot.Time) })
			if at < 0 {
				log.Fatalf("restic has a snapshot of %v", reason.Snapshot.Time)
			}
			kept[h][at] = reason.Matches
		}
	}
	return kept
}
