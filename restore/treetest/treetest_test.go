package treetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A failing is a test that notes its failures.
type failing struct {
	testing.TB
	messages []string
}

func (f *failing) Helper() {}
func (f *failing) Errorf(format string, args ...any) {
	said, _, _ := strings.Cut(fmt.Sprintf(format, args...), ":")
	f.messages = append(f.messages, said)
}

// TestCompare changes one thing at a time in the second of two equal trees:
// Compare has to tell.
func TestCompare(t *testing.T) {
	a := filepath.Join(t.TempDir(), "a")
	if err := os.Mkdir(a, 0o755); err != nil {
		t.Fatal(err)
	}
	m := maker{t, a}
	m.shallow() // cp(1) cannot copy what is too deep
	tests := []struct {
		name string
		root bool
		edit func(dir string) error
		want string
	}{
		{"nothing", false, func(string) error { return nil }, ""},
		{"content", false, func(d string) error { return overwrite(d+"/names/new\nline", "NEW") }, "content"},
		{"mode", false, func(d string) error { return os.Chmod(d+"/content/text", 0o640) }, "type, mode"},
		{"owner", true, func(d string) error { return os.Lchown(d+"/links/dangling", 1, 1) }, "type, mode"},
		{"time", false, func(d string) error {
			return unix.UtimesNanoAt(unix.AT_FDCWD, d+"/times/link 1901", []unix.Timespec{{}, {Sec: 1, Nsec: 1}}, unix.AT_SYMLINK_NOFOLLOW)
		}, "type, mode"},
		{"target", false, func(d string) error {
			os.Remove(d + "/links/dangling")
			return os.Symlink("no such fold", d+"/links/dangling")
		}, "targets"},
		{"attribute", false, func(d string) error {
			return unix.Setxattr(d+"/attributes/dir", "user.dir", []byte("2"), 0)
		}, "extended"},
		{"attribute of a link", true, func(d string) error {
			return unix.Lsetxattr(d+"/attributes/link", "trusted.link", []byte("2"), 0)
		}, "extended"},
		{"acl", false, func(d string) error {
			Run(t, d, "setfacl", "-d", "-m", "u:1234:r--", "acl/dir")
			return nil
		}, "extended"},
		{"capability", true, func(d string) error {
			Run(t, d, "setcap", "-r", "attributes/capable")
			return nil
		}, "capabilities"},
		{"device", true, func(d string) error {
			os.Remove(d + "/special/null")
			return unix.Mknod(d+"/special/null", unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5)))
		}, "devices"},
		{"hard link", false, func(d string) error {
			os.Remove(d + "/links/empty too")
			return os.WriteFile(d+"/links/empty too", nil, 0o644)
		}, "hard links"},
		{"flags", false, func(d string) error {
			Run(t, d, "chattr", "+A", "flags/nodump")
			return nil
		}, "inode flags"},
		{"hole", false, func(d string) error {
			Run(t, d, "sh", "-c", `dd if=/dev/zero of="content/all hole" bs=1M count=1 conv=notrunc status=none`)
			return nil
		}, "holes"},
		{"one more", false, func(d string) error { return os.Mkdir(d+"/content/more", 0o755) }, "types"},
	}
	b := filepath.Join(t.TempDir(), "b")
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.root && !Root() {
				t.Skip("NOT TESTED without root")
			}
			if err := os.RemoveAll(b); err != nil {
				t.Fatal(err)
			}
			Run(t, "/", "cp", "-a", "--sparse=always", a, b)
			Run(t, b, "chattr", "+d", "flags/nodump") // cp does not copy flags
			Run(t, b, "chattr", "+A", "flags/dir")
			Run(t, b, "chattr", "+dA", "flags/dir/noatime")
			if err := tt.edit(b); err != nil {
				t.Fatal(err)
			}
			f := &failing{TB: t}
			Compare(f, a, b)
			said := strings.Join(f.messages, "; ")
			if tt.want == "" && said != "" || !strings.Contains(said, tt.want) {
				t.Errorf("Compare says %q, want %q", said, tt.want)
			}
		})
	}
}

// TestCompareFarDown is for what is too far down for a path.
func TestCompareFarDown(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	maker{t, a}.deep()
	maker{t, b}.deep()
	f := &failing{TB: t}
	CompareContent(f, a, b)
	if len(f.messages) != 0 {
		t.Fatalf("CompareContent says %q of equal trees", f.messages)
	}
	Run(t, b, "find", ".", "-mindepth", "18", "-name", "file", "-execdir", "sh", "-c", "echo > file", ";")
	CompareContent(f, a, b)
	if len(f.messages) != 1 || f.messages[0] != "content differs" {
		t.Errorf("CompareContent says %q, want content", f.messages)
	}
}

func overwrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}
