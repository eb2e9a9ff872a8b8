package cmd

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// load parses args over an environment in which HOME is empty but for files.
func load(t *testing.T, args []string, environment, files map[string]string) (settings, error) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), text)
	}
	replace := strings.NewReplacer("DIR", dir)
	getenv := func(name string) string { return replace.Replace(environment[name]) }
	expanded := make([]string, len(args))
	for i, arg := range args {
		expanded[i] = replace.Replace(arg)
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	addGlobalFlags(flags)
	if err := flags.Parse(expanded); err != nil {
		t.Fatal(err)
	}
	return loadSettings(flags, getenv, userDirs{config: dir})
}

func TestSettingsPrecedence(t *testing.T) {
	file := map[string]string{"config.toml": `repository = "/file"`}
	env := map[string]string{"BLUESKY_REPOSITORY": "/env"}
	flag := []string{"--repo", "/flag"}
	tests := []struct {
		name  string
		args  []string
		env   map[string]string
		files map[string]string
		want  string
		from  layer
	}{
		{"nothing", nil, nil, nil, "", layerDefault},
		{"file", nil, nil, file, "/file", layerFile},
		{"environment", nil, env, nil, "/env", layerEnv},
		{"flag", flag, nil, nil, "/flag", layerFlag},
		{"environment over file", nil, env, file, "/env", layerEnv},
		{"flag over file", flag, nil, file, "/flag", layerFlag},
		{"flag over environment over file", flag, env, file, "/flag", layerFlag},
		{"empty environment is none", nil, map[string]string{"BLUESKY_REPOSITORY": ""}, file, "/file", layerFile},
		{"empty in the file is none", nil, nil, map[string]string{"config.toml": `repository = ""`}, "", layerDefault},
		{"named file", []string{"--config", "DIR/x.yaml"}, nil, map[string]string{"x.yaml": "repository: /x", "config.toml": `repository = "/file"`}, "/x", layerFile},
		{"file named by the environment", nil, map[string]string{"BLUESKY_CONFIG": "DIR/x.yml"}, map[string]string{"x.yml": "repository: /x"}, "/x", layerFile},
		{"capital letters in a key", nil, nil, map[string]string{"config.toml": `Repository = "/file"`}, "/file", layerFile},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := load(t, tt.args, tt.env, tt.files)
			if err != nil {
				t.Fatal(err)
			}
			if s.Repository != tt.want || s.from["repository"].layer != tt.from {
				t.Errorf("got %q from %+v, want %q from layer %d", s.Repository, s.from["repository"], tt.want, tt.from)
			}
		})
	}
}

// Every key works in every layer.
func TestSettingsKeys(t *testing.T) {
	value := func(s settings, key string) any {
		return map[string]any{
			"repository":       s.Repository,
			"repository_file":  s.RepositoryFile,
			"password_file":    s.PasswordFile,
			"password_command": s.PasswordCommand,
			"cleaner_key":      s.CleanerKey,
			"cache_dir":        s.CacheDir,
			"no_cache":         s.NoCache,
			"compression":      s.Compression,
		}[key]
	}
	for _, k := range settingKeys() {
		text, quoted, want := "text", `"text"`, any("text")
		switch {
		case k.bool:
			text, quoted, want = "true", "true", true
		case k.key == "compression":
			text, quoted, want = "max", `"max"`, "max"
		}
		for name, got := range map[string]func() (settings, error){
			"flag": func() (settings, error) { return load(t, []string{"--" + k.flag + "=" + text}, nil, nil) },
			"env":  func() (settings, error) { return load(t, nil, map[string]string{k.env: text}, nil) },
			"file": func() (settings, error) {
				return load(t, nil, nil, map[string]string{"config.toml": k.key + " = " + quoted})
			},
		} {
			s, err := got()
			if err != nil {
				t.Errorf("%s by %s: %v", k.key, name, err)
			} else if value(s, k.key) != want {
				t.Errorf("%s by %s: got %v, want %v", k.key, name, value(s, k.key), want)
			}
		}
	}
}

func TestSettingsRefuse(t *testing.T) {
	tests := []struct {
		name  string
		args  []string
		env   map[string]string
		files map[string]string
		want  string // part of the error
	}{
		{"unknown key", nil, nil, map[string]string{"config.toml": `repositroy = "/x"`}, `config.toml: unknown key "repositroy"; known are repository, `},
		{"unknown table", nil, nil, map[string]string{"config.toml": "[repository]\nurl = \"/x\""}, `unknown key "repository.url"`},
		{"password", nil, nil, map[string]string{"config.toml": `password = "secret"`}, "no password belongs here"},
		{"flags only", nil, nil, map[string]string{"config.toml": `accept_rollback = true`}, `unknown key "accept_rollback"`},
		{"text for a number", nil, nil, map[string]string{"config.toml": `repository = 5`}, "repository has to be a text"},
		{"list for a text", nil, nil, map[string]string{"config.toml": `repository = ["a"]`}, "repository has to be a text"},
		{"text for true", nil, nil, map[string]string{"config.toml": `no_cache = "yes"`}, "no_cache has to be true or false"},
		{"text for true, environment", nil, map[string]string{"BLUESKY_NO_CACHE": "perhaps"}, nil, `BLUESKY_NO_CACHE="perhaps" is neither true nor false`},
		{"no level of compression, flag", []string{"--compression", "ultra"}, nil, nil, `--compression: compression "ultra": want one of auto, off, fastest, better, max`},
		{"no level of compression, environment", nil, map[string]string{"BLUESKY_COMPRESSION": "9"}, nil, `BLUESKY_COMPRESSION: compression "9": want one of `},
		{"no level of compression, file", nil, nil, map[string]string{"config.toml": `compression = "MAX"`}, `config.toml: compression "MAX": want one of `},
		{"not TOML", nil, nil, map[string]string{"config.toml": "repository: /x"}, "config.toml: "},
		{"other format", []string{"--config", "DIR/x.json"}, nil, map[string]string{"x.json": `{"repository":"/x"}`}, "has to end in .toml, .yaml or .yml"},
		{"named file is missing", []string{"--config", "DIR/none.toml"}, nil, nil, "no such file"},
		{"named by the environment, missing", nil, map[string]string{"BLUESKY_CONFIG": "DIR/none.toml"}, nil, "no such file"},
		{"empty name of the file", []string{"--config="}, nil, nil, "--config is empty"},
		{"empty flag", []string{"--repo", ""}, map[string]string{"BLUESKY_REPOSITORY": "/env"}, nil, "--repo is empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.args, tt.env, tt.files)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestFindDirs(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		want userDirs
	}{
		{"home", map[string]string{"HOME": "/h"},
			userDirs{"/h/.config/bluesky", "/h/.local/share/bluesky", "/h/.local/state/bluesky", "/h/.cache/bluesky"}},
		{"all set", map[string]string{"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_DATA_HOME": "/d", "XDG_STATE_HOME": "/s", "XDG_CACHE_HOME": "/k"},
			userDirs{"/c/bluesky", "/d/bluesky", "/s/bluesky", "/k/bluesky"}},
		{"no home", nil, userDirs{}},
		{"no home, one set", map[string]string{"XDG_CACHE_HOME": "/k"}, userDirs{cache: "/k/bluesky"}},
		{"relative is ignored", map[string]string{"HOME": "h", "XDG_CACHE_HOME": "k"}, userDirs{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := findDirs(func(name string) string { return tt.env[name] }); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	var none userDirs
	if none.configFile()+none.defaultPasswordFile()+none.defaultRepository() != "" {
		t.Error("no folder, but files in it")
	}
}

// Without HOME there is no cache and no state, and one warning for each.
func TestDirsWithoutHome(t *testing.T) {
	h := newTestHost(nil)
	e := newEnv(h.host)
	for range 2 {
		if e.cacheDir() != "" || e.stateDir() != "" {
			t.Errorf("got %q, %q", e.cacheDir(), e.stateDir())
		}
	}
	if got := h.err.String(); strings.Count(got, "warning: ") != 2 {
		t.Errorf("stderr %q, want two warnings", got)
	}

	h = newTestHost(nil)
	e = newEnv(h.host)
	e.settings.NoCache = true
	if got := e.cacheDir(); got != "" || h.err.Len() > 0 {
		t.Errorf("--no-cache: %q, stderr %q", got, h.err.String())
	}
	e.settings = settings{CacheDir: "/c"}
	if got := e.cacheDir(); got != "/c" || h.err.Len() > 0 {
		t.Errorf("--cache-dir: %q, stderr %q", got, h.err.String())
	}
}
