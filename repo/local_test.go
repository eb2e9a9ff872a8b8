package repo

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bluesky/object"
)

func testTrust() trust {
	return trust{
		Identity:   Identity{object.RepositoryID{1}, PublicKey{2}, object.Hash{3}},
		Generation: 7, Hash: object.Hash{4},
		Checkpoint: &CheckpointRef{Number: 5, Name: CheckpointName{6}, Hash: object.Hash{7}},
	}
}

func testCleanerKey() CleanerKey {
	return CleanerKey{Identity: testTrust().Identity, Seed: [32]byte{0xfe, 0xdc}}
}

// localCodecs decode and encode again each kind of local file.
var localCodecs = map[string]func([]byte) ([]byte, error){
	"trust": func(data []byte) ([]byte, error) {
		t, err := decodeTrust(data)
		if err != nil {
			return nil, err
		}
		return encodeTrust(t)
	},
	"cleaner": func(data []byte) ([]byte, error) {
		k, err := decodeCleanerKey(data)
		if err != nil {
			return nil, err
		}
		return encodeCleanerKey(k)
	},
}

// localFiles returns a good file of each kind.
func localFiles(t testing.TB) map[string][]byte {
	t.Helper()
	whole, err := encodeTrust(testTrust())
	if err != nil {
		t.Fatal(err)
	}
	key, err := encodeCleanerKey(testCleanerKey())
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"trust": whole, "cleaner": key}
}

func TestLocalFiles(t *testing.T) {
	tests := []struct {
		name     string
		old, new string
		want     error
	}{
		{"good", "", "", nil},
		{"of the future", `"version": 1`, `"version": 2`, object.ErrVersion},
		{"version 0", `"version": 1`, `"version": 0`, object.ErrCorrupt},
		{"another format", `"bluesky `, `"azure `, object.ErrCorrupt},
		{"short hex", `"admin": "02`, `"admin": "`, object.ErrCorrupt},
		{"upper case hex", `"admin": "02`, `"admin": "0A`, object.ErrCorrupt},
		{"no hex", `"admin": "02`, `"admin": "zz`, object.ErrCorrupt},
		{"unknown member", `"version": 1,`, `"version": 1, "more": 1,`, object.ErrCorrupt},
		{"member twice", `"version": 1,`, "\"version\": 1,\n  \"version\": 1,", object.ErrCorrupt},
		{"bytes behind", "\n}\n", "\n}\n ", object.ErrCorrupt},
		{"cut short", "\n}\n", "", object.ErrCorrupt},
	}
	for kind, good := range localFiles(t) {
		for _, tt := range tests {
			t.Run(kind+" "+tt.name, func(t *testing.T) {
				data := []byte(strings.Replace(string(good), tt.old, tt.new, 1))
				if tt.old != tt.new && bytes.Equal(data, good) {
					t.Fatal("the case changes nothing")
				}
				again, err := localCodecs[kind](data)
				if !errors.Is(err, tt.want) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
				if err == nil && !bytes.Equal(again, data) {
					t.Errorf("it encodes to %s", again)
				}
				if err != nil && strings.Contains(err.Error(), "fedc") {
					t.Errorf("the error shows the seed: %v", err)
				}
			})
		}
	}
}

// FuzzLocalFiles: what decodes encodes to the same bytes.
func FuzzLocalFiles(f *testing.F) {
	for name, data := range readVectors(f) {
		if localCodecs[strings.Split(name, "-")[1]] != nil {
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for kind, recode := range localCodecs {
			again, err := recode(data)
			if err == nil && !bytes.Equal(again, data) {
				t.Errorf("%s: %s decodes and encodes to %s", kind, data, again)
			}
		}
	})
}

// What crashes leave behind of a file that they were replacing does not pile up.
func TestWritePrivateLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "trust.json")
	if err := os.WriteFile(path+".new", []byte("cut sho"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"first", "second, longer", "third"} {
		if err := writePrivate(path, []byte(text)); err != nil {
			t.Fatal(err)
		}
		data, err := os.ReadFile(path)
		if err != nil || string(data) != text {
			t.Errorf("got %q, %v; want %q", data, err, text)
		}
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) != 1 {
			t.Errorf("beside the file stand %v, %v", entries, err)
		}
	}
}
