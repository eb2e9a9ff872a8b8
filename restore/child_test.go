package restore

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"bluesky/object"
	"bluesky/repo"
	"bluesky/restore/treetest"
	"bluesky/seal"
	"bluesky/snapshot"
	"bluesky/store"
)

// childTarget is set in a copy of the test program that restores as a user
// who is not root.
const childTarget = "BLUESKY_RESTORE_CHILD"

// nobody is the user that it runs as.
const nobody = 65534

type childReport struct {
	Result   Result
	Errors   []string
	Warnings []string
}

// childMain restores what the environment says and reports on stdout.
func childMain(target string) int {
	report, err := childRestore(context.Background(), target)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func childRestore(ctx context.Context, target string) (report childReport, err error) {
	st, err := store.Open(ctx, os.Getenv("REPOSITORY"))
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	r, err := repo.Open(ctx, st, repo.Options{})
	if err != nil {
		return report, err
	}
	state, err := r.Refresh(ctx)
	if err != nil {
		return report, err
	}
	root, err := object.ParseID(os.Getenv("ROOT"))
	if err != nil {
		return report, err
	}
	keys, err := seal.NewKeys(root, r.Config().ID, seal.Padding(r.Config().Padding))
	if err != nil {
		return report, err
	}
	rec := &record{}
	options := Options{Target: target}
	report.Result, err = Run(ctx, r, keys, snapshot.Snapshot{Snapshot: state.Snapshots[0]}, options, rec)
	report.Errors, report.Warnings = rec.errors, rec.warnings
	return report, err
}

// TestNotRoot restores what root has backed up as somebody else, twice: owners
// are not, and are no error; all else is that can be.
func TestNotRoot(t *testing.T) {
	if !treetest.Root() {
		t.Skip("NOT TESTED: this has to begin as root")
	}
	source := t.TempDir()
	must(t, os.Chown(writeFile(t, source+"/of another", []byte("x")), 123456, 123456))
	must(t, os.Chmod(writeFile(t, source+"/read-only/file", []byte("x")), 0o400))
	treetest.Run(t, source, "setfattr", "-n", "user.a", "-v", "1", "read-only/file")
	treetest.Run(t, source, "setfacl", "-m", "u:1234:r", "read-only/file")
	must(t, os.Chmod(writeFile(t, source+"/closed", []byte("x")), 0))
	must(t, os.Link(source+"/closed", source+"/read-only/link"))
	must(t, os.Chmod(source+"/read-only", 0o500))
	must(t, os.Symlink("x", source+"/link"))
	must(t, syscall.Mkfifo(source+"/fifo", 0o640))
	must(t, syscall.Mknod(source+"/null", syscall.S_IFCHR|0o666, 0x103))
	must(t, os.Chmod(writeFile(t, source+"/setuid", nil), os.ModeSetuid|0o755))
	treetest.Run(t, source, "setcap", "cap_net_raw=ep", writeFile(t, source+"/capable", nil))
	treetest.Run(t, source, "setfattr", "-n", "trusted.a", "-v", "1", "setuid")

	b, folder := newFolderBed(t)
	b.backup(t, source)
	dir := filepath.Dir(folder)
	target := filepath.Join(dir, "target")
	must(t, os.Mkdir(target, 0o755))
	program := filepath.Join(dir, "test program")
	binary, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(program, binary, 0o755))
	must(t, os.Chmod(filepath.Dir(dir), 0o755))
	treetest.Run(t, dir, "chown", "-R", fmt.Sprint(nobody), ".")

	for range 2 {
		report := b.restoreAs(t, program, folder, target)
		if len(report.Errors) != 0 || report.Result.Errors != 0 {
			t.Errorf("errors %q, want none", report.Errors)
		}
		warned := paths(report.Warnings)
		for i := range warned {
			warned[i] = strings.TrimPrefix(warned[i], source)
		}
		if want := []string{"/capable", "/null", "/setuid", "/setuid"}; !slices.Equal(warned, want) {
			t.Errorf("warnings %q, want of %q", report.Warnings, want)
		}
		restored := target + source
		treetest.Run(t, source, "rm", "-f", "null") // is left out
		treetest.CompareContent(t, source, restored)
		for name, want := range map[string]os.FileMode{
			"of another": 0o644, "read-only/file": 0o440, "closed": 0, "read-only": os.ModeDir | 0o500, "setuid": 0o755,
		} {
			info, err := os.Lstat(restored + "/" + name)
			must(t, err)
			was, err := os.Lstat(source + "/" + name)
			must(t, err)
			if info.Mode() != want || info.Sys().(*syscall.Stat_t).Uid != nobody || !info.ModTime().Equal(was.ModTime()) && name != "read-only" {
				t.Errorf("%s: got %v, want %v of user %d", name, info.Mode(), want, nobody)
			}
		}
		if inodeOf(t, restored+"/closed") != inodeOf(t, restored+"/read-only/link") {
			t.Error("the hard link is none")
		}
		for _, name := range []string{"user.a", "system.posix_acl_access"} {
			if n, err := syscall.Getxattr(restored+"/read-only/file", name, make([]byte, 100)); err != nil || n == 0 {
				t.Errorf("attribute %s: %v", name, err)
			}
		}
	}
}

// restoreAs runs the child.
func (b *bed) restoreAs(t *testing.T, program, folder, target string) childReport {
	t.Helper()
	cmd := exec.Command(program)
	cmd.Dir = "/"
	cmd.Env = []string{childTarget + "=" + target, "REPOSITORY=" + folder, "ROOT=" + hex.EncodeToString(b.root[:])}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, stderr.String())
	}
	var report childReport
	must(t, json.Unmarshal(out, &report))
	return report
}
