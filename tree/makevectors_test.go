package tree

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"bluesky/object"
)

// fixedID is an id that a reader of the hex recognises.
func fixedID(n byte) object.ID {
	var id object.ID
	for i := range id {
		id[i] = n
	}
	return id
}

func ids(n ...byte) []object.ID {
	var out []object.ID
	for _, n := range n {
		out = append(out, fixedID(n))
	}
	return out
}

type vectorMaker struct {
	t    *testing.T
	made map[string][]byte
}

func (v *vectorMaker) add(name string, refs []object.ID, payload []byte) {
	v.t.Helper()
	if v.made[name] != nil {
		v.t.Fatalf("two vectors %s", name)
	}
	v.made[name] = join(refs, payload)
}

// raw adds a payload that is written in hex.
func (v *vectorMaker) raw(name string, refs []object.ID, text string) {
	v.t.Helper()
	payload, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		v.t.Fatalf("%s: %v", name, err)
	}
	v.add(name, refs, payload)
}

// record adds a payload that the CBOR library makes of record.
func (v *vectorMaker) record(name string, refs []object.ID, record any) {
	v.t.Helper()
	payload, err := object.EncodeCBOR(record)
	if err != nil {
		v.t.Fatalf("%s: %v", name, err)
	}
	v.add(name, refs, payload)
}

func makeVectors(t *testing.T) map[string][]byte {
	v := &vectorMaker{t, make(map[string][]byte)}
	v.inodes()
	v.corruptInodes()
	v.dirs()
	v.lists()
	v.imaps()
	v.snapshots()
	return v.made
}

func (v *vectorMaker) inodes() {
	at := func(sec int64, nsec uint32) object.Time { return object.Time{Sec: sec, Nsec: nsec} }
	before := at(-1, 999_999_999)
	valid := map[string][]Inode{
		"waypoint": {{Number: 1, Type: TypeDir, Mode: 0o755, Root: fixedID(1), Marks: MarkWaypoint}},
		"directory": {{
			Number: 2, Type: TypeDir, Mode: 0o1777, UID: 1, GID: 2, User: "u", Group: "g",
			MTime: at(1_700_000_000, 1), CTime: at(1_700_000_001, 2), Source: 77, Flags: FlagNoCOW, Root: fixedID(1),
		}},
		"file-empty": {{Number: 3, Type: TypeFile, Mode: 0o600, Links: 1, MTime: at(0, 0), CTime: at(0, 1)}},
		"file-extents": {{
			Number: 1 << 33, Type: TypeFile, Mode: 0o644, UID: 1000, GID: 1000, User: "user", Group: "group",
			Size: 3000, Links: 2, MTime: at(1_700_000_000, 5), CTime: at(1<<33, 999_999_999), ATime: &before, BTime: &object.Time{},
			Xattrs:  []Xattr{{Name: "security.capability", Value: []byte{1, 0, 0, 2}}, {Name: "user.empty"}, {Name: "user.long", Block: fixedID(9)}},
			Flags:   FlagImmutable | FlagAppend | FlagNoDump | FlagNoAtime | FlagCompressed,
			Source:  1 << 40,
			Holes:   []Hole{{0, 500}, {1000, 500}},
			Extents: []Extent{{fixedID(3), 0, 1000}, {fixedID(9), 0, 500}, {fixedID(3), 0, 500}},
		}},
		"file-inside-blocks": {{
			Number: 4, Type: TypeFile, Size: 20, Links: 1, ContentHash: [16]byte(slices.Repeat([]byte{0xcc}, 16)),
			Extents: []Extent{{fixedID(3), 100, 20}},
		}},
		"file-list":   {{Number: 5, Type: TypeFile, Size: 1 << 40, Links: 1, Root: fixedID(4)}},
		"file-hole":   {{Number: 6, Type: TypeFile, Size: 1<<64 - 1, Links: 1, Holes: []Hole{{0, 1<<64 - 1}}}},
		"symlink":     {{Number: 7, Type: TypeSymlink, Mode: 0o777, Links: 1, Target: "../\xff"}},
		"char-device": {{Number: 8, Type: TypeCharDevice, Links: 1, Device: Device{5, 1}}},
		"all-types": {
			{Number: 1, Type: TypeDir, Root: fixedID(7)}, {Number: 2, Type: TypeFile}, {Number: 3, Type: TypeSymlink, Target: "x"},
			{Number: 4, Type: TypeFIFO}, {Number: 5, Type: TypeSocket}, {Number: 6, Type: TypeCharDevice},
			{Number: 300, Type: TypeBlockDevice, Device: Device{8, 0}}, {Number: 301, Type: TypeDir, Root: fixedID(6)},
			{Number: 1<<64 - 1, Type: TypeFile, Size: 1, Extents: []Extent{{fixedID(7), 0, 1}}},
		},
	}
	for name, inodes := range valid {
		refs, payload, err := EncodeLeaf(inodes, DefaultParams())
		if err != nil {
			v.t.Fatalf("%s: %v", name, err)
		}
		v.add("valid-inodes-"+name, refs, payload)
	}
}

// fifo is the shortest inode but a waypoint, written by hand:
// {1: 2, 2: 4, 10: [0, 0], 11: [0, 0]}.
const fifo = "a4 0102 0204 0a820000 0b820000"

func (v *vectorMaker) corruptInodes() {
	raw := map[string]string{
		"nothing":               "",
		"no-inodes":             "80",
		"a-map":                 "a0",
		"indefinite":            "9f " + fifo + " ff",
		"long-count":            "9801 " + fifo,
		"count-past-end":        "82 " + fifo,
		"huge-count":            "9b7fffffffffffffff",
		"bytes-after-end":       "81 " + fifo + " 00",
		"ends-early":            "81 a4 0102 0204 0a820000 0b8200",
		"long-number":           "81 a4 011802 0204 0a820000 0b820000",
		"negative-number":       "81 a4 0121 0204 0a820000 0b820000",
		"number-0":              "81 a4 0100 0204 0a820000 0b820000",
		"no-number":             "81 a3 0204 0a820000 0b820000",
		"no-type":               "81 a3 0102 0a820000 0b820000",
		"type-8":                "81 a4 0102 0208 0a820000 0b820000",
		"keys-out-of-order":     "81 a4 0204 0102 0a820000 0b820000",
		"key-twice":             "81 a5 0102 0102 0204 0a820000 0b820000",
		"key-0":                 "81 a5 0000 0102 0204 0a820000 0b820000",
		"key-25":                "81 a5 0102 0204 0a820000 0b820000 181901",
		"key-text":              "81 a4 613102 0204 0a820000 0b820000",
		"default-written":       "81 a5 0102 0204 0300 0a820000 0b820000",
		"empty-user-written":    "81 a5 0102 0204 0640 0a820000 0b820000",
		"empty-xattrs-written":  "81 a5 0102 0204 0a820000 0b820000 1080",
		"null":                  "81 a5 0102 0204 03f6 0a820000 0b820000",
		"float":                 "81 a5 0102 0204 03f93c00 0a820000 0b820000",
		"tag":                   "81 a5 0102 0204 03c101 0a820000 0b820000",
		"user-as-text":          "81 a5 0102 0204 066175 0a820000 0b820000",
		"mode-13-bits":          "81 a5 0102 0204 03191000 0a820000 0b820000",
		"uid-33-bits":           "81 a5 0102 0204 041b0000000100000000 0a820000 0b820000",
		"no-mtime":              "81 a5 0102 0203 0304 0b820000 0f4178",
		"time-of-3":             "81 a4 0102 0204 0a83000000 0b820000",
		"time-1e9-ns":           "81 a4 0102 0204 0a82001a3b9aca00 0b820000",
		"time-below-64-bits":    "81 a4 0102 0204 0a823b800000000000000000 0b820000",
		"numbers-descend":       "82 a4 0103 0204 0a820000 0b820000 " + fifo,
		"number-twice":          "82 " + fifo + " " + fifo,
		"fifo-with-size":        "81 a5 0102 0204 0801 0a820000 0b820000",
		"directory-with-links":  "81 a6 0102 0202 0901 0a820000 0b820000 1701",
		"device-0-written":      "81 a5 0102 0206 0a820000 0b820000 0e820000",
		"hash-of-15":            "81 a5 0102 0201 0a820000 0b820000 144f" + strings.Repeat("01", 15),
		"hash-of-zero":          "81 a5 0102 0201 0a820000 0b820000 1450" + strings.Repeat("00", 16),
		"inline-over-limit":     "81 a6 0102 0201 0801 0a820000 0b820000 1541aa",
		"hole-empty":            "81 a6 0102 0201 0801 0a820000 0b820000 1381820000",
		"hole-overflows":        "81 a6 0102 0201 0801 0a820000 0b820000 13818201 1bffffffffffffffff",
		"huge-xattr-count":      "81 a5 0102 0204 0a820000 0b820000 109a00010000",
		"xattr-over-inline":     "81 a5 0102 0204 0a820000 0b820000 1081834161590101" + strings.Repeat("00", 257) + "80",
		"unknown-mark":          "81 a6 0102 0202 0a820000 0b820000 1701 181802",
		"unknown-flag":          "81 a5 0102 0201 0a820000 0b820000 1101",
		"directory-no-root":     "81 a4 0102 0202 0a820000 0b820000",
		"waypoint-with-time":    "81 a5 0102 0202 0a820000 1701 181801",
		"content-nowhere":       "81 a5 0102 0201 0801 0a820000 0b820000",
		"ref-past-end":          "81 a5 0102 0202 0a820000 0b820000 1702",
		"root-0":                "81 a5 0102 0202 0a820000 0b820000 1700",
		"extent-past-block":     "81 a6 0102 0201 081a01000001 0a820000 0b820000 168183 00 00 1a01000001",
		"offset-without-hash":   "81 a6 0102 0201 0801 0a820000 0b820000 168183 00 01 01",
		"extents-short-of-size": "81 a6 0102 0201 0802 0a820000 0b820000 168183 00 00 01",
	}
	for name, text := range raw {
		var refs []object.ID
		if strings.Contains(text, "17") && !strings.Contains(name, "no-root") || strings.Contains(text, "168183") {
			refs = ids(1)
		}
		v.raw("corrupt-inodes-"+name, refs, text)
	}
	two := "82 a5 0102 0202 0a820000 0b820000 1701 a5 0103 0202 0a820000 0b820000 1702"
	v.raw("corrupt-inodes-ref-unused", ids(1, 2, 3), two)
	v.raw("corrupt-inodes-ref-twice", ids(1, 1), two)
	v.raw("corrupt-inodes-ref-zero", ids(1, 0), two)
	v.raw("corrupt-inodes-refs-out-of-order", ids(1, 2),
		"82 a5 0102 0202 0a820000 0b820000 1702 a5 0103 0202 0a820000 0b820000 1701")
}

func (v *vectorMaker) dirs() {
	v.add("valid-dir-empty", nil, encodeEntries(nil))
	v.add("valid-dir-entries", nil, encodeEntries([]Entry{
		{"\x01", 2, TypeFile}, {"A", 1 << 40, TypeDir}, {"a", 2, TypeFile}, {"a.b", 23, TypeSymlink}, {"\xff", 24, TypeSocket},
	}))
	var children [dirFanout]object.ID
	children[0], children[7], children[15] = fixedID(3), fixedID(2), fixedID(1)
	refs, payload := encodeSplit(&children, 0)
	v.add("valid-dir-split", refs, payload)
	refs, payload = encodeSplit(&children, 31)
	v.add("valid-dir-split-31", refs, payload)

	zeros := strings.Repeat("00", 15)
	raw := map[string]string{
		"nothing":          "",
		"an-array":         "80",
		"no-entries":       "a10180",
		"entry-of-2":       "a1018182416102",
		"empty-name":       "a10181834002 01",
		"name-dot":         "a1018183412e02 01",
		"name-dot-dot":     "a1018183422e2e02 01",
		"name-slash":       "a101818343612f6202 01",
		"name-nul":         "a1018183426100 0201",
		"name-256":         "a1018183590100" + strings.Repeat("61", 256) + "0201",
		"name-as-text":     "a10181836161 0201",
		"number-1":         "a1018183416101 02",
		"type-0":           "a1018183416102 00",
		"type-8":           "a1018183416102 08",
		"name-twice":       "a10182 83416102 01 83416103 01",
		"names-descend":    "a10182 83416202 01 83416103 01",
		"count-past-end":   "a10183 83416102 01",
		"more-than-4096":   "a10199" + "1001",
		"level-alone":      "a10301",
		"after-end":        "a000",
		"split-of-15":      "a10290 01" + strings.Repeat("00", 14),
		"split-of-none":    "a10290 00" + zeros,
		"split-level-0":    "a20290 01" + zeros + "0300",
		"split-level-32":   "a20290 01" + zeros + "031820",
		"split-and-more":   "a20181 83416102 01 0290 01" + zeros,
		"split-same-ref":   "a10290 0101" + strings.Repeat("00", 14),
		"split-ref-2-of-1": "a10290 02" + zeros,
		"key-4":            "a10401",
	}
	for name, text := range raw {
		var refs []object.ID
		if strings.HasPrefix(name, "split") && name != "split-of-none" {
			refs = ids(1)
		}
		v.raw("corrupt-dir-"+name, refs, text)
	}
	v.raw("corrupt-dir-split-out-of-order", ids(1, 2), "a10290 0201"+strings.Repeat("00", 14))
	v.raw("corrupt-dir-entries-with-refs", ids(1), "a1018183416102 01")
}

func (v *vectorMaker) lists() {
	for name, node := range map[string]listNode{
		"blocks":  {0, []listEntry{{fixedID(0x80), 1}, {fixedID(3), 8 << 20}, {fixedID(1), 1 << 20}, {fixedID(3), 8 << 20}, {fixedID(0x40), 5}}},
		"one":     {0, []listEntry{{fixedID(1), 1}}},
		"lists":   {1, []listEntry{{fixedID(1), 100 << 20}, {fixedID(2), 1}}},
		"level15": {15, []listEntry{{fixedID(1), 1 << 62}, {fixedID(1), 1 << 62}}},
	} {
		refs, payload := node.encode()
		v.add("valid-list-"+name, refs, payload)
	}
	raw := map[string]string{
		"nothing":           "",
		"empty-entries":     "a10280",
		"level-0-written":   "a20100 0281820001",
		"level-16":          "a20110 0281820001",
		"length-0":          "a10281820000",
		"long-block":        "a1028182001a01000001",
		"lengths-overflow":  "a20101 028282001bffffffffffffffff820001",
		"more-than-1024":    "a102990401",
		"count-past-end":    "a10282820001",
		"entry-of-3":        "a1028183000100",
		"ordinal-1-first":   "a10282820101820001",
		"ordinal-past-refs": "a10282820001820101",
		"after-end":         "a1028182000100",
		"key-3":             "a202818200010301",
	}
	for name, text := range raw {
		v.raw("corrupt-list-"+name, ids(1), text)
	}
	v.raw("corrupt-list-no-entries", nil, "a0")
	v.raw("corrupt-list-ref-unused", ids(1, 2), "a10281820001")
	v.raw("corrupt-list-should-have-ended", ids(1, 0x40, 2), "a10283820001820101820201")
}

func (v *vectorMaker) imaps() {
	for name, node := range map[string]imapNode{
		"leaf":    {1, []imapChild{{1, fixedID(1)}}},
		"leaves":  {1, []imapChild{{1, fixedID(3)}, {40, fixedID(1)}, {1<<64 - 1, fixedID(2)}}},
		"level15": {15, []imapChild{{1, fixedID(1)}, {1 << 20, fixedID(2)}}},
	} {
		refs, payload := node.encode()
		v.add("valid-imap-"+name, refs, payload)
	}
	raw := map[string]string{
		"nothing":            "",
		"no-level":           "a10281820100",
		"level-0":            "a20100 0281820100",
		"level-16":           "a20110 0281820100",
		"empty-children":     "a20101 0280",
		"first-0":            "a20101 0281820000",
		"more-than-65536":    "a20101 029a00010001",
		"count-past-end":     "a20101 0282820100",
		"ordinal-past-refs":  "a20101 0281820101",
		"same-child-twice":   "a20101 0282820100820200",
		"keys-out-of-order":  "a20281820100 0101",
		"after-end":          "a20101 028182010000",
		"level-of-nine-bits": "a201190101 0281820100",
	}
	for name, text := range raw {
		v.raw("corrupt-imap-"+name, ids(1), text)
	}
	v.raw("corrupt-imap-empty", nil, "a0")
	v.raw("corrupt-imap-no-children", nil, "a10101")
	v.raw("corrupt-imap-firsts-equal", ids(1, 2), "a20101 0282820100820101")
	v.raw("corrupt-imap-firsts-descend", ids(1, 2), "a20101 0282820200820101")
	v.raw("corrupt-imap-ref-unused", ids(1, 2), "a20101 0281820100")
}

func fullSnapshot() Snapshot {
	return Snapshot{
		Root:    fixedID(1),
		Session: object.SessionID(slices.Repeat([]byte{5}, 16)),
		Time:    object.Time{Sec: 1_790_000_000, Nsec: 123_456_789},
		Host:    "host", User: "user\xff", UID: 1000, GID: 100,
		Paths:       []string{"/", "/etc", "/home/\xfe"},
		Tags:        []string{"daily", "x"},
		Description: "before the move",
		Parent:      fixedID(9),
		Program:     "bluesky 1.0 ☁",
		Excludes:    []string{"*.o", ".cache"},
		Counts: Counts{
			1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12,
			object.Time{Sec: 1_789_999_999}, object.Time{Sec: 1_790_000_001, Nsec: 1},
		},
		Next: 1 << 20,
	}
}

func (v *vectorMaker) snapshots() {
	full := fullSnapshot()
	small := Snapshot{Root: fixedID(1), Session: full.Session, Next: 2}
	for name, s := range map[string]Snapshot{"full": full, "small": small} {
		refs, payload, err := EncodeSnapshot(&s)
		if err != nil {
			v.t.Fatal(err)
		}
		v.add("valid-snapshot-"+name, refs, payload)
		record, err := EncodeSummary(&s)
		if err != nil {
			v.t.Fatal(err)
		}
		v.add("valid-summary-"+name, nil, record)
	}
	// fields is the smallest record, for editing.
	fields := func(edit func(m map[int]any)) map[int]any {
		zero := []int{0, 0}
		m := map[int]any{1: 1, 2: full.Session[:], 3: zero, 14: map[int]any{13: zero, 14: zero}, 15: 2}
		edit(m)
		return m
	}
	set := func(key int, value any) map[int]any {
		return fields(func(m map[int]any) { m[key] = value })
	}
	list := func(s ...string) (out []cbor.ByteString) {
		for _, s := range s {
			out = append(out, cbor.ByteString(s))
		}
		return out
	}
	corrupt := map[string]any{
		"no-version":         fields(func(m map[int]any) { delete(m, 1) }),
		"version-0":          set(1, 0),
		"no-session":         fields(func(m map[int]any) { delete(m, 2) }),
		"session-of-15":      set(2, full.Session[:15]),
		"session-of-17":      set(2, append(full.Session[:], 1)),
		"session-of-zeros":   set(2, make([]byte, 16)),
		"no-time":            fields(func(m map[int]any) { delete(m, 3) }),
		"time-1e9-ns":        set(3, []int{0, 1e9}),
		"empty-host-written": set(4, []byte{}),
		"host-as-text":       set(4, "host"),
		"uid-33-bits":        set(6, 1<<32),
		"relative-path":      set(8, list("etc")),
		"path-with-dots":     set(8, list("/a/../b")),
		"path-with-slash":    set(8, list("/a/")),
		"paths-unsorted":     set(8, list("/b", "/a")),
		"path-twice":         set(8, list("/b", "/b")),
		"tags-unsorted":      set(9, list("b", "a")),
		"parent-of-31":       set(11, make([]byte, 31)),
		"parent-of-zeros":    set(11, make([]byte, 32)),
		"program-as-bytes":   set(12, []byte("x")),
		"no-counts":          fields(func(m map[int]any) { delete(m, 14) }),
		"counts-without-end": set(14, map[int]any{13: []int{0, 0}}),
		"no-next":            fields(func(m map[int]any) { delete(m, 15) }),
		"next-1":             set(15, 1),
		"key-16":             set(16, 1),
	}
	for name, record := range corrupt {
		v.record("corrupt-snapshot-"+name, ids(1), record)
	}
	v.raw("corrupt-snapshot-nothing", ids(1), "")
	v.record("corrupt-snapshot-no-ref", nil, fields(func(map[int]any) {}))
	v.record("corrupt-snapshot-two-refs", ids(1, 2), fields(func(map[int]any) {}))
	v.record("corrupt-snapshot-zero-ref", ids(0), fields(func(map[int]any) {}))
	v.record("corrupt-summary-with-excludes", nil, set(13, list("*.o")))
	v.record("version-snapshot-2", ids(1), set(1, 2))
	v.record("version-snapshot-with-more", ids(1, 2), fields(func(m map[int]any) { m[1], m[99], m[3] = 7, 1, "later" }))
	v.record("version-summary-2", nil, set(1, 2))
}
