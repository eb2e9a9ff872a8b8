package cmd

import "path/filepath"

// userDirs are the folders of one user, after the XDG base directory
// specification. One that cannot be told is empty: without HOME, as under some
// crons, there is no such folder, and what needs it is done without.
type userDirs struct {
	config string // config.toml, default-password
	data   string // the default repository
	state  string // what must survive: trust in a repository's newest generation
	cache  string // what can be fetched again
}

// findDirs reads XDG_*_HOME and HOME. The specification says to ignore relative
// values.
func findDirs(getenv func(string) string) userDirs {
	home := getenv("HOME")
	find := func(variable, fallback string) string {
		if base := getenv(variable); filepath.IsAbs(base) {
			return filepath.Join(base, "bluesky")
		}
		if filepath.IsAbs(home) {
			return filepath.Join(home, fallback, "bluesky")
		}
		return ""
	}
	return userDirs{
		config: find("XDG_CONFIG_HOME", ".config"),
		data:   find("XDG_DATA_HOME", ".local/share"),
		state:  find("XDG_STATE_HOME", ".local/state"),
		cache:  find("XDG_CACHE_HOME", ".cache"),
	}
}

func (d userDirs) configFile() string          { return within(d.config, "config.toml") }
func (d userDirs) defaultPasswordFile() string { return within(d.config, "default-password") }
func (d userDirs) defaultRepository() string   { return within(d.data, "default") }

func within(dir, name string) string {
	if dir == "" {
		return ""
	}
	return filepath.Join(dir, name)
}

// cacheDir returns the folder for caches, or "" for none: then everything is
// fetched again each time. The first call warns if that was nobody's wish.
func (e *env) cacheDir() string {
	switch {
	case e.settings.NoCache:
		return ""
	case e.settings.CacheDir != "":
		return e.settings.CacheDir
	case e.dirs.cache == "":
		e.warnedCache.Do(func() {
			e.warn("neither XDG_CACHE_HOME nor HOME is set: working without a cache; --cache-dir names one")
		})
	}
	return e.dirs.cache
}

// stateDir returns the folder for what this machine remembers of repositories,
// or "" for none: then it cannot notice that a repository was rolled back, and
// an interrupted backup starts over. The first call warns in that case.
func (e *env) stateDir() string {
	if e.dirs.state == "" {
		e.warnedState.Do(func() {
			e.warn("neither XDG_STATE_HOME nor HOME is set: nothing is remembered of the repository, so a rolled back one would go unnoticed")
		})
	}
	return e.dirs.state
}
