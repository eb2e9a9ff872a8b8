package cmd

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is that of the next release, until it is tagged.
const version = "0.1.0-dev"

func newVersionCommand(e *env) *cobra.Command {
	return withoutSettings(&cobra.Command{
		Use:   "version",
		Short: "Print version information",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if e.json() {
				return e.printJSON(versionMessage{
					MessageType: "version",
					Version:     version,
					GoVersion:   runtime.Version(),
					GoOS:        runtime.GOOS,
					GoArch:      runtime.GOARCH,
				})
			}
			info, _ := debug.ReadBuildInfo()
			fmt.Fprintf(e.stdout, "bluesky %s%s compiled with %s on %s/%s\n",
				version, revision(info), runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return nil
		},
	})
}

type versionMessage struct {
	MessageType string `json:"message_type"`
	Version     string `json:"version"`
	GoVersion   string `json:"go_version"`
	GoOS        string `json:"go_os"`
	GoArch      string `json:"go_arch"`
}

// revision returns the commit that the program was built from as " (1234abcd)",
// or nothing if the build does not know. info may be nil.
func revision(info *debug.BuildInfo) string {
	if info == nil {
		return ""
	}
	settings := make(map[string]string)
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	commit := settings["vcs.revision"]
	if len(commit) < 8 {
		return ""
	}
	if settings["vcs.modified"] == "true" {
		return " (" + commit[:8] + ", modified)"
	}
	return " (" + commit[:8] + ")"
}
