package cmd

import (
	"encoding/json"
	"io/fs"
	"testing"
	"time"

	"bluesky/object"
	"bluesky/tree"
)

func TestLister(t *testing.T) {
	type answer struct{ wants, descends bool }
	none, both := answer{}, answer{true, true}
	show, enter := answer{wants: true}, answer{descends: true}
	tests := []struct {
		name      string
		dirs      []string
		recursive bool
		want      map[string]answer
	}{
		{"everything", nil, false, map[string]answer{"/": both, "/a": both, "/a/b/c": both}},
		{"the root", []string{"/"}, false, map[string]answer{"/": both, "/a": show, "/a/b": none}},
		{"the root and below", []string{"/"}, true, map[string]answer{"/": both, "/a": both, "/a/b/c": both}},
		{"a directory", []string{"/a/b"}, false, map[string]answer{
			"/": enter, "/a": enter, "/a/b": both, "/a/b/c": show, "/a/b/c/d": none,
			"/a/bc": none, "/a/c": none, "/ab": none, "/b": none,
		}},
		{"a directory and below", []string{"/a/b"}, true, map[string]answer{
			"/": enter, "/a": enter, "/a/b": both, "/a/b/c": both, "/a/b/c/d": both, "/a/bc": none, "/b": none,
		}},
		{"two", []string{"/a", "/b/c"}, false, map[string]answer{
			"/": enter, "/a": both, "/a/x": show, "/b": enter, "/b/c": both, "/b/d": none, "/c": none,
		}},
		{"one in the other", []string{"/a", "/a/b"}, false, map[string]answer{
			"/a": both, "/a/b": both, "/a/b/c": show, "/a/c": show, "/a/c/d": none,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := lister{dirs: tt.dirs, recursive: tt.recursive}
			for path, want := range tt.want {
				if got := (answer{l.wants(path), l.descends(path)}); got != want {
					t.Errorf("%s: got %+v, want %+v", path, got, want)
				}
			}
		})
	}
}

func TestFileMode(t *testing.T) {
	for want, in := range map[string]tree.Inode{
		"-rw-r--r--":  {Type: tree.TypeFile, Mode: 0o644},
		"drwxr-x---":  {Type: tree.TypeDir, Mode: 0o750},
		"dtrwxrwxrwx": {Type: tree.TypeDir, Mode: 0o1777},
		"ugrwxr-xr-x": {Type: tree.TypeFile, Mode: 0o6755},
		"Lrwxrwxrwx":  {Type: tree.TypeSymlink, Mode: 0o777},
		"prw-------":  {Type: tree.TypeFIFO, Mode: 0o600},
		"Srw-------":  {Type: tree.TypeSocket, Mode: 0o600},
		"Dcrw-rw-rw-": {Type: tree.TypeCharDevice, Mode: 0o666},
		"Drw-rw----":  {Type: tree.TypeBlockDevice, Mode: 0o660},
	} {
		if got := fileMode(&in); got.String() != want {
			t.Errorf("%+v: got %s, want %s", in, got, want)
		}
	}
}

func TestNodeOf(t *testing.T) {
	at := object.Time{Sec: 1, Nsec: 5}
	in := tree.Inode{
		Type: tree.TypeFile, Mode: 0o4755, UID: 1, GID: 2, Size: 0, Links: 3, Source: 42,
		MTime: object.Time{Sec: -1}, CTime: object.Time{Sec: 2}, ATime: &at,
	}
	got, err := json.Marshal(nodeOf("/a/b", &in))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"b","type":"file","path":"/a/b","uid":1,"gid":2,"size":0,"mode":8389101,"permissions":"urwxr-xr-x",` +
		`"mtime":"1969-12-31T23:59:59Z","atime":"1970-01-01T00:00:01.000000005Z","ctime":"1970-01-01T00:00:02Z",` +
		`"inode":42,"links":3,"message_type":"node","struct_type":"node"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	waypoint := nodeOf("/", &tree.Inode{Type: tree.TypeDir, Marks: tree.MarkWaypoint})
	if !waypoint.ModTime.IsZero() || !waypoint.ChangeTime.IsZero() || waypoint.Mode != fs.ModeDir || waypoint.Size != nil {
		t.Errorf("waypoint: got %+v", waypoint)
	}
}

// The names are restic's.
func TestNodeType(t *testing.T) {
	for in, want := range map[tree.Type]string{
		tree.TypeFile: "file", tree.TypeDir: "dir", tree.TypeSymlink: "symlink", tree.TypeFIFO: "fifo",
		tree.TypeSocket: "socket", tree.TypeCharDevice: "chardev", tree.TypeBlockDevice: "dev",
	} {
		if got := nodeType(in); got != want {
			t.Errorf("%v: got %s, want %s", in, got, want)
		}
	}
}

func TestShapeOf(t *testing.T) {
	record := tree.Snapshot{
		Time: object.TimeOf(time.Date(2026, 11, 8, 9, 30, 0, 123456789, time.UTC)),
		Host: "h", User: "u", UID: 1, GID: 2, Paths: []string{"/a"}, Tags: []string{"t"}, Excludes: []string{"*.o"},
		Description: "d", Program: "bluesky 1", Counts: tree.Counts{FilesNew: 3, DataAddedPacked: 7},
	}
	id, root := object.ID{1}, object.ID{2}
	got, err := json.Marshal(shapeOf(id, root, &record))
	if err != nil {
		t.Fatal(err)
	}
	value, err := decodeJSON(string(got))
	if err != nil {
		t.Fatal(err)
	}
	if err := fits(value, shapes["snapshots"]); err != nil {
		t.Error(err)
	}
	members := value.(map[string]any)
	for name, want := range map[string]string{
		"time": "2026-11-08T09:30:00.123456789Z", "hostname": "h", "username": "u", "description": "d",
		"program_version": "bluesky 1", "id": id.String(), "short_id": id.Short(), "tree": root.String(),
	} {
		if members[name] != want {
			t.Errorf("%s: got %v, want %s", name, members[name], want)
		}
	}
	if _, given := members["parent"]; given {
		t.Errorf("a parent where there is none: %s", got)
	}
	if counts := members["summary"].(map[string]any); counts["files_new"] != json.Number("3") || counts["data_added_packed"] != json.Number("7") {
		t.Errorf("summary: got %v", counts)
	}
}
