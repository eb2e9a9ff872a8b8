package cmd

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"

	"bluesky/seal"
)

// settings are the global options, from flags, environment, config file and
// defaults, in this order of precedence.
type settings struct {
	Repository      string `mapstructure:"repository"`
	RepositoryFile  string `mapstructure:"repository_file"`
	PasswordFile    string `mapstructure:"password_file"`
	PasswordCommand string `mapstructure:"password_command"`
	CleanerKey      string `mapstructure:"cleaner_key"`
	CacheDir        string `mapstructure:"cache_dir"`
	NoCache         bool   `mapstructure:"no_cache"`
	Compression     string `mapstructure:"compression"` // a name that seal knows, or ""

	// Only flags set these: they say how to answer once, or lift a protection
	// once.
	Quiet              bool `mapstructure:"-"`
	Verbose            int  `mapstructure:"-"` // times -v
	JSON               bool `mapstructure:"-"`
	InsecureNoPassword bool `mapstructure:"-"`
	AcceptRollback     bool `mapstructure:"-"`

	// passwordGiven says that BLUESKY_PASSWORD holds one.
	passwordGiven bool
	// from says where each setting that has a value comes from, by key.
	from map[string]origin
}

// A settingKey is a setting under its three names.
type settingKey struct {
	key  string // in the config file
	flag string
	env  string
	bool bool // true or false; all else is text
}

func settingKeys() []settingKey {
	return []settingKey{
		{"repository", "repo", "BLUESKY_REPOSITORY", false},
		{"repository_file", "repository-file", "BLUESKY_REPOSITORY_FILE", false},
		{"password_file", "password-file", "BLUESKY_PASSWORD_FILE", false},
		{"password_command", "password-command", "BLUESKY_PASSWORD_COMMAND", false},
		{"cleaner_key", "cleaner-key", "BLUESKY_CLEANER_KEY", false},
		{"cache_dir", "cache-dir", "BLUESKY_CACHE_DIR", false},
		{"no_cache", "no-cache", "BLUESKY_NO_CACHE", true},
		{"compression", "compression", "BLUESKY_COMPRESSION", false},
	}
}

const (
	passwordVariable = "BLUESKY_PASSWORD"
	configVariable   = "BLUESKY_CONFIG"
)

// A layer is one of the places that settings come from; a higher one wins.
type layer int

const (
	layerDefault layer = iota
	layerFile
	layerEnv
	layerFlag
)

// An origin is the layer of a value and the name that it has there.
type origin struct {
	layer layer
	name  string // "--repo", "BLUESKY_REPOSITORY", "repository in /…/config.toml"
}

// addGlobalFlags defines the flags that every command has.
func addGlobalFlags(flags *pflag.FlagSet) {
	flags.StringP("repo", "r", "", "`repository` to back up to or restore from: a folder (default: $BLUESKY_REPOSITORY)")
	flags.String("repository-file", "", "`file` to read the repository location from (default: $BLUESKY_REPOSITORY_FILE)")
	flags.StringP("password-file", "p", "", "`file` to read the repository password from (default: $BLUESKY_PASSWORD_FILE)")
	flags.String("password-command", "", "`command` that prints the repository password (default: $BLUESKY_PASSWORD_COMMAND)")
	flags.String("cleaner-key", "", "`file` with the cleaner key of the repository (default: $BLUESKY_CLEANER_KEY, then where init put it)")
	flags.Bool("insecure-no-password", false, "use an empty password for the repository; every command needs the flag then (insecure)")
	flags.BoolP("quiet", "q", false, "print no progress and no messages, only the answer, warnings and errors")
	flags.CountP("verbose", "v", "be verbose (more than once, or --verbose=n``; there are 2 levels)")
	flags.Bool("json", false, "print the answer as JSON")
	flags.String("cache-dir", "", "cache `directory` (default: $BLUESKY_CACHE_DIR, then $XDG_CACHE_HOME/bluesky)")
	flags.Bool("no-cache", false, "use no local cache")
	flags.String("compression", "", "`level` at which a backup compresses: auto, off, fastest, better or max (default: $BLUESKY_COMPRESSION, then auto)")
	flags.String("config", "", "config `file`, TOML or YAML (default: $BLUESKY_CONFIG, then $XDG_CONFIG_HOME/bluesky/config.toml)")
	flags.Bool("accept-rollback", false, "go on with a repository that is older than what this machine has seen of it")
}

// flagSettings returns what the flags alone say. It works on flags of which
// only some were parsed.
func flagSettings(flags *pflag.FlagSet) settings {
	var s settings
	// The flags are those of addGlobalFlags: they exist and have these types.
	s.Quiet, _ = flags.GetBool("quiet")
	s.Verbose, _ = flags.GetCount("verbose")
	s.JSON, _ = flags.GetBool("json")
	s.InsecureNoPassword, _ = flags.GetBool("insecure-no-password")
	s.AcceptRollback, _ = flags.GetBool("accept-rollback")
	return s
}

// loadSettings reads the config file and puts the layers together. A flag that
// is given but empty is an error: it is mostly a script's unset variable, and
// to go on with the next layer would work on another repository.
func loadSettings(flags *pflag.FlagSet, getenv func(string) string, dirs userDirs) (settings, error) {
	s := flagSettings(flags)
	if s.Quiet && s.Verbose > 0 {
		return settings{}, errors.New("--quiet and --verbose exclude each other")
	}
	v := viper.New()
	file, err := readConfig(v, flags, getenv, dirs)
	if err != nil {
		return settings{}, err
	}
	s.from = make(map[string]origin)
	environment := make(map[string]any)
	for _, k := range settingKeys() {
		flag := flags.Lookup(k.flag)
		switch {
		case flag.Changed && flag.Value.String() == "":
			return settings{}, fmt.Errorf("--%s is empty", k.flag)
		case flag.Changed:
			s.from[k.key] = origin{layerFlag, "--" + k.flag}
		case getenv(k.env) != "":
			s.from[k.key] = origin{layerEnv, k.env}
		case v.GetString(k.key) != "":
			s.from[k.key] = origin{layerFile, k.key + " in " + file}
		}
		if value := getenv(k.env); value != "" {
			if _, err := strconv.ParseBool(value); err != nil && k.bool {
				return settings{}, fmt.Errorf("%s=%q is neither true nor false", k.env, value)
			}
			environment[k.key] = value
		}
		if err := v.BindPFlag(k.key, flag); err != nil {
			return settings{}, err
		}
	}
	// Above the config file, below the flags: viper's own environment would be
	// the process's, and not the one that the command was given.
	if err := v.MergeConfigMap(environment); err != nil {
		return settings{}, err
	}
	if err := v.Unmarshal(&s); err != nil {
		return settings{}, fmt.Errorf("settings: %w", err) // no value is left that could do this
	}
	if _, err := s.compression(); err != nil {
		return settings{}, err
	}
	s.passwordGiven = getenv(passwordVariable) != ""
	return s, nil
}

// withoutPassword returns s without all that says where a password is.
func (s settings) withoutPassword() settings {
	s.InsecureNoPassword, s.passwordGiven, s.from = false, false, maps.Clone(s.from)
	delete(s.from, "password_file")
	delete(s.from, "password_command")
	return s
}

// compression returns the level at which a backup compresses.
func (s settings) compression() (seal.Compression, error) {
	if s.Compression == "" {
		return seal.CompressionAuto, nil
	}
	level, err := seal.ParseCompression(s.Compression)
	return level, wrap(s.from["compression"].name, err)
}

// readConfig reads the config file into v and returns its name, or "" if there
// is none. Only a file that somebody named has to exist.
func readConfig(v *viper.Viper, flags *pflag.FlagSet, getenv func(string) string, dirs userDirs) (string, error) {
	name, named := dirs.configFile(), false
	if flag := flags.Lookup("config"); flag.Changed {
		name, named = flag.Value.String(), true
	} else if value := getenv(configVariable); value != "" {
		name, named = value, true
	}
	if name == "" {
		if named {
			return "", errors.New("--config is empty")
		}
		return "", nil
	}
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) && !named {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("config file: %w", err)
	}
	if err := parseConfig(v, name, text); err != nil {
		return "", fmt.Errorf("config file %s: %w", quote(name), err)
	}
	return name, nil
}

func parseConfig(v *viper.Viper, name string, text []byte) error {
	switch format := strings.TrimPrefix(filepath.Ext(name), "."); format {
	case "toml", "yaml", "yml":
		v.SetConfigType(format)
	default:
		return errors.New("the name has to end in .toml, .yaml or .yml")
	}
	if err := v.ReadConfig(bytes.NewReader(text)); err != nil {
		return err
	}
	keys := v.AllKeys()
	slices.Sort(keys) // one file, one error
	for _, key := range keys {
		if err := checkConfigKey(key, v.Get(key)); err != nil {
			return err
		}
	}
	return nil
}

func checkConfigKey(key string, value any) error {
	var known []string
	for _, k := range settingKeys() {
		if known = append(known, k.key); k.key != key {
			continue
		}
		if _, ok := value.(bool); k.bool && !ok {
			return fmt.Errorf("%s has to be true or false", key)
		}
		if _, ok := value.(string); !k.bool && !ok {
			return fmt.Errorf("%s has to be a text in quotation marks", key)
		}
		return nil
	}
	if key == "password" {
		return errors.New("no password belongs here; name it with password_file or password_command")
	}
	return fmt.Errorf("unknown key %q; known are %s", key, strings.Join(known, ", "))
}
