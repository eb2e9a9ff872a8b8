package cmd

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// A shape says which members a JSON object has, and of what type: string, count
// (a whole number), number, bool, time (RFC 3339), id (64 hex digits), strings,
// or another shape. "?" stands before those that may be missing. A null is
// allowed for strings, where restic prints it.
type shape map[string]any

// The shapes of restic's messages, as its manual has them ("Scripting"), and
// what bluesky adds. By command and message_type; "" is for all commands.
var shapes = map[string]shape{
	"exit_error": {"message_type": "string", "code": "count", "message": "string", "hint": "?string"},
	"warning":    {"message_type": "string", "message": "string"},
	"error":      {"message_type": "string", "error": shape{"message": "string"}, "during": "string", "item": "string"},

	"initialized": {"message_type": "string", "id": "string", "repository": "string"},
	"version": {"message_type": "string", "version": "string", "go_version": "string",
		"go_os": "string", "go_arch": "string"},

	"backup status": {"message_type": "string", "seconds_elapsed": "?count", "seconds_remaining": "?count",
		"percent_done": "number", "total_files": "?count", "files_done": "?count", "total_bytes": "?count",
		"bytes_done": "?count", "error_count": "?count", "current_files": "?strings"},
	"backup verbose_status": {"message_type": "string", "action": "string", "item": "string",
		"duration": "number", "data_size": "count"},
	"backup summary": with(summaryShape, shape{"message_type": "string", "dry_run": "?bool",
		"total_duration": "number", "snapshot_id": "?id"}),

	"restore status": {"message_type": "string", "seconds_elapsed": "?count", "percent_done": "number",
		"total_files": "?count", "files_restored": "?count", "total_bytes": "?count", "bytes_restored": "?count"},
	"restore verbose_status": {"message_type": "string", "action": "string", "item": "string", "size": "count"},
	"restore summary": {"message_type": "string", "seconds_elapsed": "count", "total_files": "count",
		"files_restored": "count", "files_skipped": "?count", "total_bytes": "count", "bytes_restored": "count",
		"bytes_skipped": "?count"},

	"check error": {"message_type": "string", "message": "string", "severity": "string",
		"files": "?strings", "snapshots": "?strings"},
	"check summary": {"message_type": "string", "num_errors": "count", "broken_packs": "strings",
		"suggest_repair_index": "bool", "suggest_prune": "bool", "suggest_recount": "bool",
		"level": "string", "unseen": "?strings", "num_warnings": "count"},

	"repair error": {"message_type": "string", "message": "string", "severity": "string"},
	"repair run": {"message_type": "string", "id": "string", "generation": "count", "problem": "string",
		"repaired": "bool", "source": "?string", "segments": "?count", "error": "?string"},
	"repair table": {"message_type": "string", "id": "string", "holds": "string", "problem": "string",
		"repaired": "bool", "error": "?string"},
	"repair summary": {"message_type": "string", "dry_run": "?bool", "runs": "count", "runs_wrong": "count",
		"runs_repaired": "count", "headers_read": "count", "runs_equal": "?count", "runs_partly_compared": "?count", "damaged_segments": "?count",
		"identity_verified": "bool"},
	"repair log":    {"message_type": "string", "garbage_generation": "?count"},
	"policy policy": {"message_type": "string", "quarantine": "count", "identity_verified": "bool"},
	// Not in the manual of restic 0.18.1, whose prune prints no JSON.
	"prune summary": {"message_type": "string", "dry_run": "?bool",
		"unused_blobs": "count", "duplicate_blobs": "count", "used_size": "count", "unused_size": "count",
		"total_size": "count", "repack_blobs": "count", "repack_size": "count", "remaining_size": "count",
		"unused_size_after_prune": "count", "unused_percent_after_prune": "number",
		"snapshots_collected": "count", "snapshots_kept": "count", "sessions_expired": "count", "segments_condemned": "count", "segments_condemned_size": "count",
		"orphans_condemned": "count", "files_deleted": "count", "files_waiting": "count", "snapshots_waiting": "count",
		"sessions_unfinished": "count", "bytes_read": "count", "bytes_written": "count",
		"earliest_delete": "?time", "damaged_segments": "?strings"},
	"prune error":     {"message_type": "string", "message": "string", "severity": "string"},
	"key key_added":   {"message_type": "string", "id": "string"},
	"key key_changed": {"message_type": "string", "id": "string"},
	"key key_removed": {"message_type": "string", "id": "string"},

	"ls snapshot": with(snapshotMembers, shape{"message_type": "string", "struct_type": "string"}),
	"ls node": {"message_type": "string", "struct_type": "string", "name": "string", "type": "string",
		"path": "string", "uid": "count", "gid": "count", "size": "?count", "mode": "count",
		"permissions": "string", "mtime": "time", "atime": "?time", "ctime": "time", "inode": "?count",
		"links": "?count", "linktarget": "?string"},
	"snapshots": snapshotMembers,
}

var summaryShape = shape{
	"backup_start": "time", "backup_end": "time",
	"files_new": "count", "files_changed": "count", "files_unmodified": "count",
	"dirs_new": "count", "dirs_changed": "count", "dirs_unmodified": "count",
	"data_blobs": "count", "tree_blobs": "count", "data_added": "count", "data_added_packed": "count",
	"total_files_processed": "count", "total_bytes_processed": "count",
}

var snapshotMembers = shape{
	"time": "time", "parent": "?id", "tree": "id", "paths": "strings", "hostname": "?string",
	"username": "?string", "uid": "?count", "gid": "?count", "excludes": "?strings", "tags": "?strings",
	"description": "?string", "program_version": "?string", "summary": summaryShape, "id": "id", "short_id": "string",
}

func with(a, b shape) shape {
	c := maps.Clone(a)
	maps.Copy(c, b)
	return c
}

// fits returns what is wrong with value as something of the given type.
func fits(value any, kind any) error {
	if members, ok := kind.(shape); ok {
		object, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("%v is no object", value)
		}
		return members.fits(object)
	}
	name := strings.TrimPrefix(kind.(string), "?")
	ok := false
	switch v := value.(type) {
	case string:
		switch name {
		case "time":
			_, err := time.Parse(time.RFC3339Nano, v)
			ok = err == nil
		case "id":
			ok = regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(v)
		default:
			ok = name == "string"
		}
	case bool:
		ok = name == "bool"
	case json.Number:
		_, err := strconv.ParseUint(v.String(), 10, 64)
		ok = name == "number" || name == "count" && err == nil
	case nil:
		ok = name == "strings" && kind == "strings"
	case []any:
		ok = name == "strings" && !slices.ContainsFunc(v, func(item any) bool { _, is := item.(string); return !is })
	}
	if !ok {
		return fmt.Errorf("%v is no %s", value, name)
	}
	return nil
}

func (s shape) fits(object map[string]any) error {
	for member, value := range object {
		if s[member] == nil {
			return fmt.Errorf("member %q is not in the manual", member)
		}
		if err := fits(value, s[member]); err != nil {
			return fmt.Errorf("%s: %w", member, err)
		}
	}
	for member, kind := range s {
		text, _ := kind.(string)
		if _, given := object[member]; !given && !strings.HasPrefix(text, "?") {
			return fmt.Errorf("member %q is missing", member)
		}
	}
	return nil
}

func decodeJSON(text string) (value any, err error) {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&value); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, fmt.Errorf("something follows the value")
	}
	if !isPrintable(text) {
		return nil, fmt.Errorf("it has characters that act on a terminal")
	}
	return value, nil
}

// messages reads one JSON message in each line of text and holds it to its
// shape.
func messages(command, text string) ([]map[string]any, error) {
	var list []map[string]any
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		value, err := decodeJSON(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", lines.Text(), err)
		}
		message, ok := value.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("%s: it is no object", lines.Text())
		}
		name, _ := message["message_type"].(string)
		want := shapes[command+" "+name]
		if want == nil {
			want = shapes[name]
		}
		if want == nil {
			return nil, fmt.Errorf("%s: a message of unknown type", lines.Text())
		}
		if err := want.fits(message); err != nil {
			return nil, fmt.Errorf("%s: %w", lines.Text(), err)
		}
		list = append(list, message)
	}
	return list, nil
}

// scriptMessages is the script command "messages stdout|stderr COMMAND
// TYPE...": every line is a message of that command in restic's shape, and the
// types of message are these, in the order of the first of each. Status
// messages depend on time: they may come or not.
func scriptMessages(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: messages stdout|stderr COMMAND TYPE...")
	}
	list, err := messages(args[1], ts.ReadFile(args[0]))
	ts.Check(err)
	var types []string
	for _, message := range list {
		if name := message["message_type"].(string); name != "status" && !slices.Contains(types, name) {
			types = append(types, name)
		}
	}
	if !slices.Equal(types, args[2:]) {
		ts.Fatalf("got messages of types %q, want %q", types, args[2:])
	}
}

// scriptMember is the script command "member stdout|stderr TYPE NAME REGEXP":
// some message of the type has a member whose JSON value matches.
func scriptMember(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: member stdout|stderr TYPE NAME REGEXP")
	}
	want := regexp.MustCompile("^(?:" + args[3] + ")$")
	var seen []string
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		var message map[string]json.RawMessage
		ts.Check(json.Unmarshal([]byte(line), &message))
		if string(message["message_type"]) == strconv.Quote(args[1]) {
			seen = append(seen, string(message[args[2]]))
		}
	}
	if found := slices.ContainsFunc(seen, want.MatchString); found == neg {
		ts.Fatalf("%s of %s is %q", args[2], args[1], seen)
	}
}

// scriptDocument is the script command "document N": stdout is an array of N
// snapshots in restic's shape.
func scriptDocument(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: document N")
	}
	value, err := decodeJSON(strings.TrimSuffix(ts.ReadFile("stdout"), "\n"))
	ts.Check(err)
	list, ok := value.([]any)
	if !ok || fmt.Sprint(len(list)) != args[0] {
		ts.Fatalf("got %d elements, want %s", len(list), args[0])
	}
	for _, item := range list {
		ts.Check(fits(item, shapes["snapshots"]))
	}
}

// What a JSON document holds cannot act on a terminal, and still means the same.
func TestEscapeJSON(t *testing.T) {
	in := map[string]string{"name": "\x1b[31m\u009b31m\u202e\u2028\xff\n ä \U000E0001 ☃"}
	line, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	got := escapeJSON(line)
	if !isPrintable(string(got)) {
		t.Errorf("%q is not printable", got)
	}
	var a, b map[string]string
	if err := json.Unmarshal(line, &a); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(got, &b); err != nil || a["name"] != b["name"] {
		t.Errorf("%q, %v; want %q", b["name"], err, a["name"])
	}
	if plain := []byte(`{"a":"ä☃"}`); !bytes.Equal(escapeJSON(plain), plain) {
		t.Errorf("%s became %s", plain, escapeJSON(plain))
	}
}
