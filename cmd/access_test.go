package cmd

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestResolveAccess(t *testing.T) {
	dirs := userDirs{config: "/c", data: "/d"}
	flag := func(name string) origin { return origin{layerFlag, "--" + name} }
	env := origin{layerEnv, "ENV"}
	file := origin{layerFile, "FILE"}
	both := []string{"/d/default", "/c/default-password"}
	tests := []struct {
		name   string
		in     settings
		exists []string
		want   access
		err    string
	}{
		{"a flag", settings{Repository: "/r", from: map[string]origin{"repository": flag("repo")}}, both,
			access{location: "/r"}, ""},
		{"a file that names it", settings{RepositoryFile: "/f", from: map[string]origin{"repository_file": env}}, nil,
			access{locationFile: "/f"}, ""},
		{"flag before another key of the environment",
			settings{Repository: "/r", RepositoryFile: "/f", from: map[string]origin{"repository": flag("repo"), "repository_file": env}}, nil,
			access{location: "/r"}, ""},
		{"environment before another key of the file",
			settings{Repository: "/r", RepositoryFile: "/f", from: map[string]origin{"repository": file, "repository_file": env}}, nil,
			access{locationFile: "/f"}, ""},
		{"two on one layer",
			settings{Repository: "/r", RepositoryFile: "/f", from: map[string]origin{"repository": flag("repo"), "repository_file": flag("repository-file")}}, nil,
			access{}, "--repo and --repository-file exclude each other"},
		{"nothing", settings{}, nil, access{}, "no repository is given"},

		{"default", settings{}, both,
			access{location: "/d/default", isDefault: true, password: passwordSource{kind: passwordFile, file: "/c/default-password"}}, ""},
		{"default without its password", settings{}, both[:1],
			access{location: "/d/default", isDefault: true}, ""},
		{"default with another password", settings{passwordGiven: true}, both,
			access{location: "/d/default", isDefault: true, password: passwordSource{kind: passwordEnvironment}}, ""},
		{"default password alone", settings{}, both[1:], access{}, "no repository is given"},
		{"default password is for the default only", settings{Repository: "/d/default", from: map[string]origin{"repository": flag("repo")}}, both,
			access{location: "/d/default"}, ""},

		{"password file", settings{Repository: "/r", PasswordFile: "/p", from: map[string]origin{"repository": file, "password_file": file}}, nil,
			access{location: "/r", password: passwordSource{kind: passwordFile, file: "/p"}}, ""},
		{"password command before the config file's password file",
			settings{Repository: "/r", PasswordFile: "/p", PasswordCommand: "c", from: map[string]origin{"repository": file, "password_file": file, "password_command": flag("password-command")}}, nil,
			access{location: "/r", password: passwordSource{kind: passwordCommand, command: "c"}}, ""},
		{"password file and command on one layer",
			settings{Repository: "/r", PasswordFile: "/p", PasswordCommand: "c", from: map[string]origin{"repository": file, "password_file": flag("password-file"), "password_command": flag("password-command")}}, nil,
			access{}, "--password-file and --password-command exclude each other"},
		{"password file before a password, in the environment",
			settings{Repository: "/r", PasswordFile: "/p", passwordGiven: true, from: map[string]origin{"repository": file, "password_file": env}}, nil,
			access{location: "/r", password: passwordSource{kind: passwordFile, file: "/p"}}, ""},
		{"password of the environment before the config file",
			settings{Repository: "/r", PasswordFile: "/p", passwordGiven: true, from: map[string]origin{"repository": file, "password_file": file}}, nil,
			access{location: "/r", password: passwordSource{kind: passwordEnvironment}}, ""},
		{"no password", settings{Repository: "/r", InsecureNoPassword: true, from: map[string]origin{"repository": file}}, nil,
			access{location: "/r", password: passwordSource{kind: passwordEmpty}}, ""},
		{"no password, yet a file", settings{Repository: "/r", PasswordFile: "/p", InsecureNoPassword: true, from: map[string]origin{"repository": file, "password_file": file}}, nil,
			access{}, "--insecure-no-password and FILE exclude each other"},
		{"no password, yet one", settings{Repository: "/r", passwordGiven: true, InsecureNoPassword: true, from: map[string]origin{"repository": file}}, nil,
			access{}, "--insecure-no-password and BLUESKY_PASSWORD exclude each other"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := resolveAccess(tt.in, dirs, func(path string) bool {
				for _, p := range tt.exists {
					if p == path {
						return true
					}
				}
				return false
			})
			if message := errorText(err); message != tt.err {
				t.Fatalf("error %q, want %q", message, tt.err)
			}
			if got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestNoRepositoryHint(t *testing.T) {
	never := func(string) bool { return false }
	_, err := resolveAccess(settings{}, userDirs{config: "/c"}, never)
	if got, want := classify(err, nil).hint, `give one with -r or BLUESKY_REPOSITORY, or with the line repository = "…" in /c/config.toml`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	_, err = resolveAccess(settings{}, userDirs{data: "/d"}, never)
	if got, want := classify(err, nil).hint, "give one with -r or BLUESKY_REPOSITORY; for a first try, bluesky quickstart DIR makes one"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	_, err = resolveAccess(settings{}, userDirs{}, func(string) bool { return true })
	if got, want := classify(err, nil).hint, "give one with -r or BLUESKY_REPOSITORY"; got != want {
		t.Errorf("without HOME: got %s, want %s", got, want)
	}
}

func TestRepositoryFile(t *testing.T) {
	dir := t.TempDir()
	tests := []struct {
		name, text string
		want, err  string
	}{
		{"a line", "s3://bucket\n", "s3://bucket", ""},
		{"blanks around", "\n  /a b \r\n", "/a b", ""},
		{"with a mark", "\xef\xbb\xbf/a", "/a", ""},
		{"empty", " \n", "", "is empty"},
		{"two lines", "/a\n/b\n", "", "has more than one line"},
		{"endless", strings.Repeat("x", maxSmallFile+1), "", "is larger than 64 KiB"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := access{locationFile: writeFile(t, filepath.Join(dir, "f"), tt.text)}.repository()
			if got != tt.want || !strings.Contains(errorText(err), tt.err) || (err == nil) != (tt.err == "") {
				t.Errorf("got %q, %v; want %q, %q", got, err, tt.want, tt.err)
			}
		})
	}
	if _, err := (access{locationFile: filepath.Join(dir, "none")}).repository(); err == nil {
		t.Error("a missing file is no error")
	}
	if got, err := (access{location: " as it is "}).repository(); got != " as it is " || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
