package cmd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/viper"

	"bluesky/restore/treetest"
)

// operations returns the examples of docs/operations.md in a language.
func operations(t *testing.T, language string) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, match := range regexp.MustCompile("(?s)\n```"+language+"\n(.*?)\n```\n").FindAllSubmatch(text, -1) {
		found = append(found, string(match[1]))
	}
	if len(found) == 0 {
		t.Fatalf("there is no example in %s", language)
	}
	return found
}

// A cleaning is a repository with three snapshots that differ, of which a policy forgets
// some, and a user who has its cleaner key and nothing else.
type cleaning struct {
	*machine
	key string
}

func newCleaning(t *testing.T) *cleaning {
	t.Helper()
	m := newMachine(t)
	for i := range 3 {
		m.write("src/file", bytes.Repeat([]byte{byte(i)}, 10))
		m.write(fmt.Sprintf("src/%d", i), treetest.Bytes(uint64(i), 100_000))
		if i > 0 {
			os.Remove(m.path(fmt.Sprintf("src/%d", i-1)))
		}
		m.must("backup", "-q", "--time", fmt.Sprintf("202%d-01-01 00:00:00", i), "src")
	}
	keys, err := filepath.Glob(m.home + "/.config/bluesky/cleaner/*.json")
	if err != nil || len(keys) != 1 {
		t.Fatalf("cleaner keys: %q, %v", keys, err)
	}
	return &cleaning{m, keys[0]}
}

// shell runs a line with sh, with bluesky in the PATH and nothing else than these
// variables. What the document calls /srv/backups is the repository.
func (c *cleaning) shell(line string, env ...string) string {
	c.t.Helper()
	command := exec.CommandContext(c.t.Context(), "sh", "-c", strings.ReplaceAll(line, "/usr/local/bin/", ""))
	command.Dir = c.dir
	for _, setting := range env {
		command.Env = append(command.Env, strings.ReplaceAll(setting, "/srv/backups", c.repo))
	}
	command.Env = append(command.Env, "PATH="+os.Getenv("PATH"))
	out, err := command.CombinedOutput()
	if err != nil {
		c.t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// snapshots is how many there are, and what is stored of them.
func (c *cleaning) snapshots() int {
	c.t.Helper()
	return strings.Count(c.must("snapshots", "--json"), `"short_id"`)
}

// wantClean fails the test unless the space of what was forgotten is back.
func (c *cleaning) wantClean(before int64, kept int) {
	c.t.Helper()
	if got := c.snapshots(); got != kept {
		c.t.Errorf("%d snapshots, want %d", got, kept)
	}
	if after := size(c.t, c.repo+"/seg"); after > before-50_000 {
		c.t.Errorf("segments took %d bytes and take %d", before, after)
	}
	c.mustCheck()
}

// TestCrontab runs what stands in the crontab.
func TestCrontab(t *testing.T) {
	t.Parallel()
	c := newCleaning(t)
	env := []string{"HOME=" + c.home}
	ran := 0
	for line := range strings.Lines(operations(t, "crontab")[0]) {
		line = strings.TrimSpace(line)
		if regexp.MustCompile(`^\w+=`).MatchString(line) {
			env = append(env, line)
			continue
		}
		match := regexp.MustCompile(`^(\d+) (\d+) \* \* \*  (.*[^\\%]+)$`).FindStringSubmatch(line)
		if line == "" {
			continue
		}
		if match == nil {
			t.Fatalf("%q is no line of a crontab", line)
		}
		before := size(t, c.repo+"/seg")
		// The snapshots of the test are years old, and few.
		command := strings.Replace(match[3], "--keep-daily 14 --keep-weekly 8 --keep-monthly 24", "--keep-daily 1 --keep-within 0s", 1)
		if command == match[3] {
			t.Fatalf("%q names no policy", line)
		}
		if out := c.shell(match[3], env...); out != "" {
			t.Errorf("it prints: %s", out)
		}
		c.wantCount(3)
		if out := c.shell(strings.Replace(command, "prune", "prune --allow-mass-delete", 1), env...); out != "" {
			t.Errorf("it prints: %s", out)
		}
		c.wantClean(before, 1)
		ran++
	}
	if ran != 1 {
		t.Errorf("%d lines were run", ran)
	}
}

func (c *cleaning) wantCount(n int) {
	c.t.Helper()
	if got := c.snapshots(); got != n {
		c.t.Fatalf("%d snapshots, want %d", got, n)
	}
}

// unit reads a unit of systemd: section, key, values in order.
func unit(t *testing.T, text string) map[string]map[string][]string {
	t.Helper()
	sections := map[string]map[string][]string{}
	var section map[string][]string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, assigned := strings.Cut(line, "=")
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]"):
			section = map[string][]string{}
			sections[line] = section
		case !assigned || section == nil || key != strings.TrimSpace(key):
			t.Fatalf("%q is no line of a unit", line)
		default:
			section[key] = append(section[key], value)
		}
	}
	return sections
}

// TestUnits runs the lines of the service, with its environment.
func TestUnits(t *testing.T) {
	t.Parallel()
	examples := operations(t, "ini")
	if len(examples) != 2 {
		t.Fatalf("%d units", len(examples))
	}
	service, timer := unit(t, examples[0]), unit(t, examples[1])
	known := map[string][]string{
		"[Unit]": {"Description", "RequiresMountsFor"},
		"[Service]": {"Type", "User", "Environment", "LoadCredential", "StateDirectory", "CacheDirectory", "ExecStart", "Nice",
			"IOSchedulingClass", "NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp", "ReadWritePaths"},
		"[Timer]":   {"OnCalendar", "RandomizedDelaySec", "Persistent"},
		"[Install]": {"WantedBy"},
	}
	for _, sections := range []map[string]map[string][]string{service, timer} {
		for section, keys := range sections {
			for key := range keys {
				if !slices.Contains(known[section], key) {
					t.Errorf("%s has %s, which nobody has looked up in systemd.directives(7)", section, key)
				}
			}
		}
	}
	if got := service["[Service]"]["Type"]; !slices.Equal(got, []string{"oneshot"}) {
		t.Errorf("several ExecStart need the type oneshot, not %q", got)
	}
	if timer["[Timer]"]["OnCalendar"] == nil || timer["[Install]"]["WantedBy"] == nil {
		t.Errorf("the timer never starts: %v", timer)
	}

	c := newCleaning(t)
	credentials := c.mkdir("credentials")
	id, from, _ := strings.Cut(service["[Service]"]["LoadCredential"][0], ":")
	if !strings.HasPrefix(from, "/etc/bluesky/") {
		t.Errorf("the credential comes from %q", from)
	}
	if err := os.Rename(c.key, filepath.Join(credentials, id)); err != nil {
		t.Fatal(err)
	}
	var env []string
	for _, line := range service["[Service]"]["Environment"] {
		line = strings.NewReplacer("%d", credentials, "/var/", c.dir+"/var/").Replace(line)
		env = append(env, strings.Fields(line)...)
	}
	before := size(t, c.repo+"/seg")
	lines := service["[Service]"]["ExecStart"]
	for _, line := range lines {
		c.shell(line, env...)
	}
	c.wantCount(3)
	for _, line := range lines {
		line = strings.Replace(line, "--keep-daily 14 --keep-weekly 8 --keep-monthly 24", "--keep-daily 1 --keep-within 0s", 1)
		c.shell(strings.Replace(line, "prune", "prune --allow-mass-delete", 1), env...)
	}
	c.wantClean(before, 1)
	for _, dir := range []string{"lib", "cache"} {
		if size(t, c.path("var/"+dir+"/"+service["[Service]"]["StateDirectory"][0])) == 0 {
			t.Errorf("nothing is in the %s folder of the unit", dir)
		}
	}
}

// TestCronJob parses the manifest, and finds in it what the program needs.
func TestCronJob(t *testing.T) {
	v := viper.New()
	v.SetConfigType("yaml")
	if err := v.ReadConfig(strings.NewReader(operations(t, "yaml")[0])); err != nil {
		t.Fatal(err)
	}
	if v.GetString("apiVersion") != "batch/v1" || v.GetString("kind") != "CronJob" || v.GetString("spec.schedule") != "17 3 * * *" {
		t.Errorf("%v", v.AllSettings())
	}
	pod := v.Sub("spec.jobTemplate.spec.template.spec")
	var containers []struct {
		Command      []string
		Env          []struct{ Name, Value string }
		VolumeMounts []struct{ Name, MountPath string }
	}
	var volumes []struct{ Name string }
	if err := pod.UnmarshalKey("containers", &containers); err != nil || len(containers) != 1 {
		t.Fatalf("%d containers, %v", len(containers), err)
	}
	if err := pod.UnmarshalKey("volumes", &volumes); err != nil {
		t.Fatal(err)
	}
	mounts := map[string]bool{}
	for _, mount := range containers[0].VolumeMounts {
		mounts[mount.MountPath] = true
		if !slices.ContainsFunc(volumes, func(v struct{ Name string }) bool { return v.Name == mount.Name }) {
			t.Errorf("there is no volume %s", mount.Name)
		}
	}
	for _, variable := range containers[0].Env {
		if !mounts[variable.Value] && !mounts[filepath.Dir(variable.Value)] {
			t.Errorf("%s=%s is nowhere mounted", variable.Name, variable.Value)
		}
	}
	// A secret belongs to root, so 0440 can be read by its group only.
	if user := pod.GetInt("securityContext.runAsUser"); user == 0 || pod.GetInt("securityContext.fsGroup") != user {
		t.Errorf("user %d and group %d: the key cannot be read", user, pod.GetInt("securityContext.fsGroup"))
	}
	if command := containers[0].Command; len(command) != 3 || !strings.Contains(command[2], "bluesky prune") {
		t.Errorf("command %q", command)
	}
}
