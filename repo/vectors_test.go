package repo

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bluesky/index"
	"bluesky/object"
	"bluesky/pack"
)

var update = flag.Bool("update", false, "write the vectors anew, which changes the format")

// codecs decode a record and encode it again, by the name of its kind.
var codecs = map[string]func([]byte) ([]byte, error){
	"config": func(b []byte) ([]byte, error) {
		c, err := DecodeConfig(b)
		if err != nil {
			return nil, err
		}
		return EncodeConfig(c)
	},
	"generation": func(b []byte) ([]byte, error) {
		g, err := DecodeGeneration(b)
		if err != nil {
			return nil, err
		}
		return object.EncodeCBOR(g)
	},
	"checkpoint": func(b []byte) ([]byte, error) {
		s, err := DecodeState(b)
		if err != nil {
			return nil, err
		}
		return EncodeState(s)
	},
	"statement": recode[Statement],
	"addrun":    recode[AddRun], "addsnapshot": recode[AddSnapshot], "sessionend": recode[SessionEnd],
	"role": recode[RoleChange], "checkpointref": recode[CheckpointRef],
	"forget": recode[Forget], "forgetpolicy": recode[ForgetPolicy], "snapshots": recode[SnapshotList],
	"clean": recode[Clean], "deleted": recode[Deleted], "policy": recode[Policy], "floor": recode[Floor], "void": recode[Void],
}

func recode[T any](b []byte) ([]byte, error) {
	var record T
	if err := object.DecodeCBOR(b, &record); err != nil {
		return nil, err
	}
	return object.EncodeCBOR(&record)
}

// vectorState is a state with something in every field that it had before there
// were cleans.
func vectorState(t testing.TB) *State {
	l := begun(t)
	l.add(admin, statement(t, admin, 9, 1, OpRole, &RoleChange{Key: pub(stranger), Role: RoleWriter}))
	ref := &CheckpointRef{Number: 2, Name: CheckpointName{2}, Hash: object.Hash{2}}
	s, err := l.state.next(l.encode(cleaner, func(g *Generation) { g.Checkpoint = ref },
		plainOp(t, OpCheckpoint, ref)))
	if err != nil {
		t.Fatal(err)
	}
	s.Floor = 1
	s.Condemned[Name{ID: [16]byte{1}}], s.Condemned[Name{ID: [16]byte{2}}] = 1, 2
	s.Unknown = []Entry{{3, Op{12, 1, []byte{1}}}, {3, Op{16, 1, []byte{}}}}
	return s
}

// makeVectors returns the vectors by file name without its suffix.
func makeVectors(t testing.TB) map[string][]byte {
	cbor := func(v any) []byte {
		b, err := object.EncodeCBOR(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	config, err := EncodeConfig(testConfig())
	if err != nil {
		t.Fatal(err)
	}
	text := string(config)
	edit := func(old, new string) []byte {
		if !strings.Contains(text, old) {
			t.Fatalf("no %s in the config", old)
		}
		return []byte(strings.Replace(text, old, new, 1))
	}
	l := begun(t)
	gen0 := func() []byte {
		c := &Creation{Config: testConfig(), raw: config}
		if err := c.Genesis(fixed(1), admin, pub(writer), pub(cleaner)); err != nil {
			t.Fatal(err)
		}
		return c.first
	}()
	gen := l.encode(writer, nil, statement(t, writer, 1, 2, OpAddSnapshot, snap(4)), Op{10, 1, []byte("?")})
	state := encodeState(t, vectorState(t))
	// In all of these records the version is 1 and stands first: a map, key 1, 1.
	version := func(b []byte, v byte) []byte { c := bytes.Clone(b); c[2] = v; return c }
	st := statement(t, writer, 1, 1, OpAddRun, run(1)).Body
	longTime := binary.BigEndian.AppendUint64(nil, 0)

	return withDefects(t, map[string][]byte{
		"valid-config-default":            config,
		"corrupt-config-empty":            {},
		"corrupt-config-format":           edit("bluesky repository", "another repository"),
		"version-config-version":          edit(`"version": 1`, `"version": 2`),
		"version-config-suite":            edit(`"suite": 1`, `"suite": 2`),
		"version-config-padding":          edit(`"padme"`, `"other"`),
		"version-config-chunker":          edit(`"chunker": {`+"\n    \"id\": 1", `"chunker": {`+"\n    \"id\": 2"),
		"version-config-unknown-member":   edit(`"suite"`, `"extra": 1, "suite"`),
		"version-config-unknown-inside":   edit(`"leaf_bits"`, `"extra": 1, "leaf_bits"`),
		"corrupt-config-member-twice":     edit(`"suite": 1`, `"suite": 1, "suite": 1`),
		"corrupt-config-twice-by-case":    edit(`"suite": 1`, `"suite": 1, "SUITE": 1`),
		"corrupt-config-twice-inside":     edit(`"dir_bits": 4`, `"dir_bits": 4, "dir_bits": 4`),
		"corrupt-config-id-upper-case":    edit(`"ab00`, `"AB00`),
		"corrupt-config-id-short":         edit(`"ab00`, `"ab`),
		"corrupt-config-created":          edit("2026-01-02T", "yesterday T"),
		"corrupt-config-created-offset":   edit("03:04:05Z", "03:04:05+01:00"),
		"corrupt-config-created-fraction": edit("03:04:05Z", "03:04:05.5Z"),
		"corrupt-config-behind":           append(bytes.Clone(config), "{}"...),
		"corrupt-config-dir-bits":         edit(`"dir_bits": 4`, `"dir_bits": 5`),
		"corrupt-config-chunker-min":      edit(`"min": 786432`, `"min": 63`),
		"corrupt-config-min-at-max":       edit(`"min": 786432`, `"min": 8388608`),
		"corrupt-config-target":           edit(`"data_target": 65536`, `"data_target": 65535`),
		"corrupt-config-negative":         edit(`"limit": 0`, `"limit": -1`),
		"corrupt-config-type":             edit(`"limit": 0`, `"limit": "0"`),

		"valid-generation-0":           gen0,
		"valid-generation-ops":         gen,
		"version-generation-2":         version(gen, 2),
		"corrupt-generation-version-0": version(gen, 0),
		"corrupt-generation-cut":       gen[:len(gen)-1],
		"corrupt-generation-behind":    append(bytes.Clone(gen), 0),
		"corrupt-generation-empty":     {},
		"corrupt-generation-array":     append([]byte{0x80}, gen...),

		"valid-checkpoint-full":        state,
		"valid-checkpoint-new":         encodeState(t, newLog(t).state),
		"version-checkpoint-2":         version(state, 2),
		"corrupt-checkpoint-version-0": version(state, 0),
		"corrupt-checkpoint-cut":       state[:len(state)-1],
		"corrupt-checkpoint-behind":    append(bytes.Clone(state), longTime...),

		"valid-statement-addrun":  st,
		"corrupt-statement-cut":   st[:len(st)-1],
		"valid-addrun-1":          cbor(run(1)),
		"valid-addsnapshot-1":     cbor(snap(1)),
		"valid-addsnapshot-full":  cbor(&AddSnapshot{object.ID{1}, object.ID{2}, object.Time{Sec: -1, Nsec: 1}, Series{3}, true, []byte("sealed")}),
		"valid-sessionend-1":      cbor(&SessionEnd{object.SessionID{1}}),
		"valid-role-granted":      cbor(&RoleChange{Key: pub(stranger), Role: RoleCleaner}),
		"valid-role-removed":      cbor(&RoleChange{Key: pub(stranger), Role: RoleWriter, Removed: true}),
		"valid-checkpointref-1":   cbor(&CheckpointRef{64, CheckpointName{1}, object.Hash{2}}),
		"corrupt-addrun-short":    cbor(&SessionEnd{}),
		"corrupt-role-indefinite": {0xbf, 0xff},

		"valid-checkpoint-cleaned":     encodeState(t, vectorCleaned(t)),
		"valid-forget-by-id":           cbor(&Forget{Snapshots: ids(1, 2)}),
		"valid-forget-policy":          cbor(&Forget{ids(1), vectorPolicy()}),
		"valid-forget-empty-policy":    cbor(&Forget{ids(1), &ForgetPolicy{}}),
		"valid-forgetpolicy-full":      cbor(vectorPolicy()),
		"valid-forgetpolicy-none":      cbor(&ForgetPolicy{}),
		"valid-forgetpolicy-unlimited": cbor(&ForgetPolicy{Yearly: Unlimited}),
		"valid-snapshots-2":            cbor(&SnapshotList{ids(1, 2)}),
		"valid-snapshots-none":         cbor(&SnapshotList{}),
		"valid-clean-full":             cbor(vectorClean()),
		"valid-clean-nothing":          cbor(&Clean{}),
		"valid-deleted-each-folder":    cbor(&Deleted{[]Name{name(0, 1), name(1, 1), name(2, 1), name(3, 1)}}),
		"valid-policy-quarantine":      cbor(&Policy{86400}),
		"valid-policy-none":            cbor(&Policy{}),
		"valid-floor-0":                cbor(&Floor{}),
		"valid-floor-64":               cbor(&Floor{64}),
		"valid-void-7":                 cbor(&Void{7, object.Hash{7}}),
	})
}

func vectorFile(name string) string {
	suffix := ".hex"
	if kind := strings.Split(name, "-")[1]; kind == "config" || localCodecs[kind] != nil {
		suffix = ".bin" // it is text
	}
	return filepath.Join("testdata", "vectors", name+suffix)
}

// readVectors returns the vectors that were frozen.
func readVectors(t testing.TB) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("testdata", "vectors"))
	if err != nil || len(entries) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	vectors := map[string][]byte{}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join("testdata", "vectors", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		name, suffix, _ := strings.Cut(e.Name(), ".")
		if suffix == "hex" {
			if data, err = hex.DecodeString(strings.TrimSpace(string(data))); err != nil {
				t.Fatal(err)
			}
		}
		vectors[name] = data
	}
	return vectors
}

// codecOf returns the class and the codec of a vector.
func codecOf(t testing.TB, name string) (class string, codec func([]byte) ([]byte, error)) {
	t.Helper()
	parts := strings.SplitN(name, "-", 3)
	if len(parts) == 3 {
		if codec = codecs[parts[1]]; codec == nil {
			codec = localCodecs[parts[1]]
		}
	}
	if codec == nil {
		t.Fatalf("vector %s: want class-kind-case", name)
	}
	return parts[0], codec
}

func TestVectors(t *testing.T) {
	if *update {
		if err := os.MkdirAll(filepath.Join("testdata", "vectors"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, data := range makeVectors(t) {
			if strings.HasSuffix(vectorFile(name), ".hex") {
				data = []byte(hex.EncodeToString(data) + "\n")
			}
			if err := os.WriteFile(vectorFile(name), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	frozen := readVectors(t)
	for name, data := range makeVectors(t) {
		if old, ok := frozen[name]; !ok || !bytes.Equal(old, data) {
			t.Errorf("%s is not what was frozen", name)
		}
	}
	want := map[string]error{"valid": nil, "corrupt": object.ErrCorrupt, "version": object.ErrVersion}
	for name, data := range frozen {
		t.Run(name, func(t *testing.T) {
			class, codec := codecOf(t, name)
			again, err := codec(data)
			if !errors.Is(err, want[class]) {
				t.Fatalf("got %v, want %v", err, want[class])
			}
			if class == "valid" && !bytes.Equal(again, data) {
				t.Errorf("encodes to other bytes\n%x\n%x", again, data)
			}
		})
	}
}

// fuzz feeds a codec with its vectors and asks that what decodes encodes to
// the same bytes.
func fuzz(f *testing.F, kind string) {
	seeds := 0
	for name, data := range readVectors(f) {
		if strings.SplitN(name, "-", 3)[1] == kind {
			f.Add(data)
			seeds++
		}
	}
	if seeds == 0 {
		f.Fatalf("no vectors of a %s", kind)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		again, err := codecs[kind](data)
		if err != nil {
			if !errors.Is(err, object.ErrCorrupt) && !errors.Is(err, object.ErrVersion) {
				t.Fatalf("neither corrupt nor of another version: %v", err)
			}
			return
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("encodes to other bytes\n%x\n%x", again, data)
		}
	})
}

func FuzzGeneration(f *testing.F)   { fuzz(f, "generation") }
func FuzzForget(f *testing.F)       { fuzz(f, "forget") }
func FuzzForgetPolicy(f *testing.F) { fuzz(f, "forgetpolicy") }
func FuzzClean(f *testing.F)        { fuzz(f, "clean") }
func FuzzDeleted(f *testing.F)      { fuzz(f, "deleted") }
func FuzzStatement(f *testing.F)    { fuzz(f, "statement") }
func FuzzAddSnapshot(f *testing.F) {
	fuzz(f, "addsnapshot")
}

// FuzzCheckpoint signs nothing, so it reaches the checks before signatures;
// TestCheckpointsThatLie has those behind.
func FuzzCheckpoint(f *testing.F) { fuzz(f, "checkpoint") }

func FuzzConfig(f *testing.F) { fuzz(f, "config") }

// seedOps adds the vectors of all bodies of ops, with their types.
func seedOps(f *testing.F) {
	types := map[string]OpType{
		"statement": OpAddRun, "addrun": OpAddRun, "addsnapshot": OpAddSnapshot,
		"sessionend": OpSessionEnd, "role": OpRole, "checkpointref": OpCheckpoint,
		"forget": OpForget, "snapshots": OpUndoForget, "clean": OpClean, "deleted": OpDeleted,
		"policy": OpPolicy, "floor": OpFloor, "void": OpVoid,
	}
	for name, data := range readVectors(f) {
		if typ, ok := types[strings.Split(name, "-")[1]]; ok {
			f.Add(uint16(typ), data)
		}
	}
}

// FuzzOp decodes the body of an op of any type: what decodes, statement and
// record, encodes to the same bytes.
func FuzzOp(f *testing.F) {
	seedOps(f)
	f.Fuzz(func(t *testing.T, typ uint16, data []byte) {
		op := Op{OpType(typ), opVersion, data}
		st, body, err := op.Decode()
		if err != nil {
			if !errors.Is(err, object.ErrCorrupt) && !errors.Is(err, object.ErrVersion) {
				t.Fatalf("neither corrupt nor of another version: %v", err)
			}
			return
		}
		again, err := object.EncodeCBOR(body)
		if st != nil && err == nil {
			if !bytes.Equal(again, st.Body) {
				t.Fatalf("the body encodes to %x", again)
			}
			again, err = object.EncodeCBOR(st)
		}
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("encodes to %x, %v", again, err)
		}
	})
}

// FuzzNames: a name in the bucket is taken for what it names in one form only.
func FuzzNames(f *testing.F) {
	for _, name := range []string{
		GenerationKey(0), GenerationKey(1 << 47), "gen/000000000000000A", pack.Name{1}.Key(), index.RunName{2}.Key(),
		"seg/00/01000000000000000000000000000000", "idx/", "state/x", "gen/ffffffffffffffff",
		name(FolderSegments, 1).Key(), name(FolderTables, 2).Key(), name(FolderCheckpoints, 3).Key(), name(4, 3).Key(),
	} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if n, ok := ParseGenerationKey(key); ok && GenerationKey(n) != key {
			t.Errorf("generation %d", n)
		}
		if name, err := pack.ParseKey(key); err == nil && name.Key() != key {
			t.Errorf("segment %s", name)
		}
		if name, err := index.ParseKey(key); err == nil && name.Key() != key {
			t.Errorf("run %s", name)
		}
		if name, err := ParseName(key); err == nil && (name.Key() != key || !name.Folder.Valid()) {
			t.Errorf("name %s", name)
		}
	})
}

// TestCheckpointsThatLie have statements whose signatures are right, in places
// that no log leads to.
func TestCheckpointsThatLie(t *testing.T) {
	grant := func(session byte, removed bool) Entry {
		return Entry{1, statement(t, admin, session, 1, OpRole, &RoleChange{Key: pub(stranger), Role: RoleWriter, Removed: removed})}
	}
	addRun := func(generation uint64, signer byte) Entry {
		return Entry{generation, statement(t, testKey(signer), 1, 1, OpAddRun, run(9))}
	}
	tests := []struct {
		name string
		edit func(*checkpoint)
	}{
		{"role that is removed", func(c *checkpoint) { c.Roles = append(c.Roles, grant(8, true)) }},
		{"role of a key twice", func(c *checkpoint) { c.Roles = append(c.Roles, grant(8, false), grant(9, false)) }},
		{"role signed by a writer", func(c *checkpoint) {
			c.Roles = append(c.Roles, Entry{1, statement(t, writer, 9, 1, OpRole, &RoleChange{Key: pub(stranger), Role: RoleWriter})})
		}},
		{"run twice", func(c *checkpoint) { c.Runs = append(c.Runs, addRun(2, 2), addRun(2, 2)) }},
		{"run of a later generation", func(c *checkpoint) { c.Runs = append(c.Runs, addRun(c.Number+1, 2)) }},
		{"runs out of order", func(c *checkpoint) { c.Runs = append([]Entry{addRun(2, 2)}, c.Runs...) }},
		{"run among the snapshots", func(c *checkpoint) { c.Snapshots = append(c.Snapshots, addRun(2, 2)) }},
		{"known op among the unknown", func(c *checkpoint) { c.Unknown = []Entry{addRun(2, 2)} }},
		{"unknown op of a later generation", func(c *checkpoint) { c.Unknown = []Entry{{c.Number + 1, Op{12, 1, nil}}} }},
		{"sessions out of order", func(c *checkpoint) { c.Sessions[0], c.Sessions[1] = c.Sessions[1], c.Sessions[0] }},
		{"session twice", func(c *checkpoint) { c.Sessions = append(c.Sessions[:1:1], c.Sessions...) }},
		{"condemned twice", func(c *checkpoint) {
			c.Condemned = []condemnedName{{Name: [16]byte{1}, Generation: 1}, {Name: [16]byte{1}, Generation: 1}}
		}},
		{"checkpoint at its own number", func(c *checkpoint) { c.Checkpoint = &CheckpointRef{Number: c.Number} }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var c checkpoint
			if err := object.DecodeCBOR(encodeState(t, begun(t).state), &c); err != nil {
				t.Fatal(err)
			}
			tt.edit(&c)
			data, err := object.EncodeCBOR(&c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := DecodeState(data); !errors.Is(err, object.ErrCorrupt) {
				t.Errorf("got %v, want corrupt", err)
			}
		})
	}
}
