package cmd

import (
	"testing"

	"github.com/spf13/viper"
)

// FuzzConfigFile: a config file is read or refused, and nothing else.
func FuzzConfigFile(f *testing.F) {
	f.Add(true, []byte("repository = \"/backup\"\n"))
	f.Add(false, []byte("repository: /backup\nquiet: true\n"))
	f.Add(true, []byte("quiet = 1\n"))
	f.Add(false, []byte("a: &a [*a, *a]\n"))
	f.Add(false, []byte("? {x: y}\n: - 1\n"))
	f.Fuzz(func(t *testing.T, toml bool, text []byte) {
		name := "config.yaml"
		if toml {
			name = "config.toml"
		}
		v := viper.New()
		if parseConfig(v, name, text) != nil {
			return
		}
		var s settings
		if err := v.Unmarshal(&s); err != nil {
			t.Errorf("it is taken, and no settings come of it: %v", err)
		}
	})
}
