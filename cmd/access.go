package cmd

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// An access says which repository a command works on and where its password
// comes from.
type access struct {
	// location is the repository as somebody gave it, a folder or a URL; if it
	// is empty, it stands in locationFile.
	location     string
	locationFile string
	isDefault    bool // nobody named it: say so before working on it
	password     passwordSource
}

// A passwordSource says how to get a password. The zero value asks for it.
type passwordSource struct {
	kind    passwordKind
	file    string // of passwordFile
	command string // of passwordCommand
}

type passwordKind int

const (
	passwordAsk passwordKind = iota
	passwordFile
	passwordCommand
	passwordEnvironment
	passwordEmpty
)

// resolveAccess decides between the settings. The highest layer that says
// something wins, so that --repo works whatever BLUESKY_REPOSITORY_FILE says; two
// answers on one layer are an error. Without any, the default repository is
// taken if it exists, and with it, if nothing names a password, the
// default password. exists says whether there is something at a path.
func resolveAccess(s settings, dirs userDirs, exists func(string) bool) (access, error) {
	var a access
	key, err := s.choose("repository", "repository_file")
	if err != nil {
		return access{}, err
	}
	switch key {
	case "repository":
		a.location = s.Repository
	case "repository_file":
		a.locationFile = s.RepositoryFile
	default:
		a.location = dirs.defaultRepository()
		if a.location == "" || !exists(a.location) {
			return access{}, noRepositoryGiven(dirs)
		}
		a.isDefault = true
	}
	a.password, err = s.passwordSource()
	if err != nil {
		return access{}, err
	}
	if file := dirs.defaultPasswordFile(); a.isDefault && a.password.kind == passwordAsk && file != "" && exists(file) {
		a.password = passwordSource{kind: passwordFile, file: file}
	}
	return a, nil
}

// choose returns which of two keys is set on the higher layer, "" for neither.
func (s settings) choose(first, second string) (string, error) {
	a, b := s.from[first], s.from[second]
	switch {
	case a.layer == layerDefault && b.layer == layerDefault:
		return "", nil
	case a.layer == b.layer:
		return "", fmt.Errorf("%s and %s exclude each other", a.name, b.name)
	case a.layer > b.layer:
		return first, nil
	}
	return second, nil
}

// passwordSource decides where the password comes from. As in restic, a file or
// a command comes before BLUESKY_PASSWORD; but a config file does not.
func (s settings) passwordSource() (passwordSource, error) {
	key, err := s.choose("password_file", "password_command")
	if err != nil {
		return passwordSource{}, err
	}
	if s.InsecureNoPassword {
		switch {
		case key != "":
			return passwordSource{}, fmt.Errorf("--insecure-no-password and %s exclude each other", s.from[key].name)
		case s.passwordGiven:
			return passwordSource{}, fmt.Errorf("--insecure-no-password and %s exclude each other", passwordVariable)
		}
		return passwordSource{kind: passwordEmpty}, nil
	}
	switch {
	case s.passwordGiven && s.from[key].layer < layerEnv:
		return passwordSource{kind: passwordEnvironment}, nil
	case key == "password_file":
		return passwordSource{kind: passwordFile, file: s.PasswordFile}, nil
	case key == "password_command":
		return passwordSource{kind: passwordCommand, command: s.PasswordCommand}, nil
	}
	return passwordSource{}, nil
}

func noRepositoryGiven(dirs userDirs) error {
	hint := "give one with -r or BLUESKY_REPOSITORY"
	if file := dirs.configFile(); file != "" {
		hint += `, or with the line repository = "…" in ` + quote(file)
	}
	if dirs.defaultRepository() != "" {
		hint += "; for a first try, bluesky quickstart DIR makes one"
	}
	return withHint(errors.New("no repository is given"), "%s", hint)
}

// access resolves the settings. Commands that need a repository start here.
func (e *env) access() (access, error) { return e.accessBy(e.settings) }

// keylessAccess is access for commands that have no use for a password, and
// care for nothing that is said about one.
func (e *env) keylessAccess() (access, error) { return e.accessBy(e.settings.withoutPassword()) }

func (e *env) accessBy(s settings) (access, error) {
	return resolveAccess(s, e.dirs, func(path string) bool {
		_, err := os.Lstat(path)
		return !errors.Is(err, os.ErrNotExist) // any other error shows when it is opened
	})
}

// repository returns where the repository of a is: a path or a URL.
func (a access) repository() (string, error) {
	if a.location != "" {
		return a.location, nil
	}
	text, err := readSmallFile(a.locationFile)
	if err != nil {
		return "", fmt.Errorf("repository file: %w", err)
	}
	location := strings.TrimSpace(string(text))
	switch {
	case location == "":
		return "", fmt.Errorf("repository file %s is empty", quote(a.locationFile))
	case strings.Contains(location, "\n"):
		return "", fmt.Errorf("repository file %s has more than one line", quote(a.locationFile))
	}
	return location, nil
}

// maxSmallFile bounds files that hold one line, in bytes.
const maxSmallFile = 64 << 10

// readSmallFile reads a short text file as restic does: see decodeText.
func readSmallFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxSmallFile+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxSmallFile {
		return nil, fmt.Errorf("%s is larger than %d KiB", quote(name), maxSmallFile>>10)
	}
	return decodeText(text), nil
}
