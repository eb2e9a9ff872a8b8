package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A line is a command line: words with a space between them, of which REPO,
// SOURCE, TARGET and STATE stand for paths.
type line struct {
	args     string
	env      []string // besides that of the program
	inTarget bool     // the working folder is the target
	before   string   // words of a command that comes before, and is not measured
}

// A tool is a backup program.
type tool struct {
	Label string // kind and version; no two have the same
	kind  string
	path  string

	versionArgs string
	env         []string // with the names of paths as in a line
	init        []line
	commands    map[string]line // by the name of the phase
	options     []option
	restored    func(place) string // where the tree is after a restore
	packs       string             // pattern of the paths of its packs in a repository; "" is not known
}

// An option is one that not all versions of a program have.
type option struct {
	phase, flag string
	help        string // the command that tells
}

// The passwords are no secrets: they guard generated files for some minutes.
const password = "correct horse battery staple"

// below is where a program restores to that keeps the whole path.
func below(p place) string { return filepath.Join(p.target, p.source) }

// kinds are the programs as they are used here: each with encryption, with zstd
// at its default level, restoring holes as holes where it can, and with all
// else as it comes.
func kinds() []tool {
	return []tool{
		{
			kind: "bluesky", versionArgs: "version",
			env:  []string{"BLUESKY_REPOSITORY=REPO", "BLUESKY_PASSWORD=" + password},
			init: []line{{args: "init"}},
			commands: map[string]line{
				"first":     {args: "backup SOURCE"},
				"unchanged": {args: "backup SOURCE"},
				"changed":   {args: "backup SOURCE"},
				"restore":   {args: "restore latest --target TARGET"},
				"check":     {args: "check --read-data"},
				"keyless":   {args: "check --read-data", env: []string{"BLUESKY_PASSWORD="}},
				"forget":    {args: "forget --keep-last 1 --keep-within 0s", env: []string{"BLUESKY_PASSWORD="}},
				"prune":     {args: "prune --max-unused 5%", env: []string{"BLUESKY_PASSWORD="}},
			},
			restored: below,
			packs:    "seg/*/*",
		},
		{
			kind: "restic", versionArgs: "version",
			env:  []string{"RESTIC_REPOSITORY=REPO", "RESTIC_PASSWORD=" + password, "RESTIC_CACHE_DIR=STATE/cache"},
			init: []line{{args: "init --repository-version 2"}},
			commands: map[string]line{
				"first":     {args: "backup --compression auto SOURCE"},
				"unchanged": {args: "backup --compression auto SOURCE"},
				"changed":   {args: "backup --compression auto SOURCE"},
				"restore":   {args: "restore latest --target TARGET"},
				"check":     {args: "check --read-data"},
				"forget":    {args: "forget --keep-last 1"},
				"prune":     {args: "prune --max-unused 5%"},
			},
			options:  []option{{phase: "restore", flag: "--sparse", help: "help restore"}},
			restored: below,
			packs:    "data/*/*",
		},
		{
			kind: "kopia", versionArgs: "--version",
			env: []string{
				"KOPIA_PASSWORD=" + password, "KOPIA_CONFIG_PATH=STATE/kopia.config", "KOPIA_CACHE_DIRECTORY=STATE/cache",
				"KOPIA_LOG_DIR=STATE/log", "KOPIA_CHECK_FOR_UPDATES=false", "KOPIA_PERSIST_CREDENTIALS_ON_CONNECT=false",
			},
			init: []line{
				{args: "repository create filesystem --path REPO"},
				{args: "policy set --global --compression zstd"},
			},
			commands: map[string]line{
				"first":     {args: "snapshot create --no-progress SOURCE"},
				"unchanged": {args: "snapshot create --no-progress SOURCE"},
				"changed":   {args: "snapshot create --no-progress SOURCE"},
				"restore":   {args: "snapshot restore --no-progress --write-sparse-files SOURCE TARGET"},
				"check":     {args: "snapshot verify --no-progress --verify-files-percent=100"},
				"forget": {
					before: "policy set --global --keep-latest 1 --keep-hourly 0 --keep-daily 0 --keep-weekly 0 --keep-monthly 0 --keep-annual 0",
					args:   "snapshot expire --all --delete",
				},
				"prune": {args: "maintenance run --full --safety=none"},
			},
			restored: func(p place) string { return p.target },
		},
		{
			kind: "borg", versionArgs: "--version",
			env:  []string{"BORG_REPO=REPO", "BORG_PASSPHRASE=" + password, "BORG_BASE_DIR=STATE"},
			init: []line{{args: "init --encryption repokey-blake2"}},
			commands: map[string]line{
				"first":     {args: "create --compression zstd,3 ::first SOURCE"},
				"unchanged": {args: "create --compression zstd,3 ::unchanged SOURCE"},
				"changed":   {args: "create --compression zstd,3 ::changed SOURCE"},
				"restore":   {args: "extract --sparse ::changed", inTarget: true},
				"check":     {args: "check --verify-data"},
				"forget":    {args: "prune --keep-last 1"},
				"prune":     {args: "compact"},
			},
			restored: below,
		},
	}
}

// findTools returns the programs that list names. One that is named without a
// path and is not there is left out, with a word on log; bluesky is built.
func findTools(ctx context.Context, list, scratch string, log io.Writer) ([]*tool, error) {
	var found []*tool
	for _, named := range strings.Split(list, ",") {
		kind, path, given := strings.Cut(named, "=")
		all := kinds()
		i := slices.IndexFunc(all, func(t tool) bool { return t.kind == kind })
		if i < 0 {
			return nil, fmt.Errorf("there is nothing known of a program %q", kind)
		}
		t := &all[i]
		var err error
		switch {
		case given:
			t.path, err = filepath.Abs(path)
		case kind == "bluesky":
			t.path, err = buildBluesky(ctx, scratch)
		default:
			t.path, err = exec.LookPath(kind)
		}
		if errors.Is(err, exec.ErrNotFound) {
			fmt.Fprintf(log, "%s: not found, and left out\n", kind)
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := t.learn(ctx, scratch); err != nil {
			return nil, err
		}
		label := t.Label
		for n := 2; slices.ContainsFunc(found, func(o *tool) bool { return o.Label == t.Label }); n++ {
			t.Label = fmt.Sprintf("%s (%d)", label, n)
		}
		found = append(found, t)
	}
	if len(found) == 0 {
		return nil, errors.New("none of the programs is there")
	}
	return found, nil
}

// buildBluesky builds the program of the module that the working folder is in.
func buildBluesky(ctx context.Context, scratch string) (string, error) {
	binary := filepath.Join(scratch, "bluesky")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "bluesky")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build bluesky: %w\n%s", err, out)
	}
	return binary, nil
}

// learn asks the program for its version and for what it can do.
func (t *tool) learn(ctx context.Context, scratch string) error {
	said, err := t.ask(ctx, scratch, t.versionArgs)
	if err != nil {
		return err
	}
	words := strings.Fields(strings.TrimPrefix(said, t.kind+" "))
	if len(words) == 0 {
		return fmt.Errorf("%s %s says nothing", t.kind, t.versionArgs)
	}
	t.Label = t.kind + " " + words[0]
	for _, o := range t.options {
		help, err := t.ask(ctx, scratch, o.help)
		if err != nil {
			return err
		}
		if strings.Contains(help, " "+o.flag+" ") {
			c := t.commands[o.phase]
			c.args += " " + o.flag
			t.commands[o.phase] = c
		}
	}
	return nil
}

// ask returns what the program prints.
func (t *tool) ask(ctx context.Context, scratch, args string) (string, error) {
	cmd := exec.CommandContext(ctx, t.path, strings.Fields(args)...)
	cmd.Env = t.environment(place{state: scratch}, line{})
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", t.kind, args, err, out)
	}
	return string(out), nil
}

// environment returns the variables that the program gets: those of this
// process, but none that says where it finds or puts things.
func (t *tool) environment(p place, c line) []string {
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		for _, prefix := range []string{"HOME=", "TMPDIR=", "XDG_", "BLUESKY_", "RESTIC_", "KOPIA_", "BORG_"} {
			if strings.HasPrefix(v, prefix) {
				return true
			}
		}
		return false
	})
	env = append(env, "HOME="+p.state, "TMPDIR="+filepath.Join(p.state, "tmp"))
	for _, v := range slices.Concat(t.env, c.env) {
		name, value, _ := strings.Cut(v, "=")
		env = append(env, name+"="+p.names().Replace(value))
	}
	return env
}
