package tree

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"bluesky/object"
)

var update = flag.Bool("update", false, "write testdata/vectors again; a change of one is a change of format")

const vectorFolder = "testdata/vectors"

// A vector is refs(r) ‖ payload of one object, or 0 u32 ‖ record of a summary.
// Its name is <class>-<kind>-<case>.
func splitVector(b []byte) (refs []object.ID, payload []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(b))
	b = b[4:]
	if n > uint64(len(b)/32) {
		return nil, nil, false
	}
	for range n {
		refs = append(refs, object.ID(b[:32]))
		b = b[32:]
	}
	return refs, b, true
}

// recode decodes an object and encodes it again.
func recode(kind string, refs []object.ID, payload []byte) ([]object.ID, []byte, error) {
	p := DefaultParams()
	switch kind {
	case "inodes":
		inodes, err := DecodeLeaf(refs, payload, p)
		if err != nil {
			return nil, nil, err
		}
		return must(EncodeLeaf(inodes, p))
	case "dir":
		node, err := decodeDir(refs, payload, &p)
		if err != nil {
			return nil, nil, err
		}
		refs, payload = node.encode()
	case "list":
		node, err := decodeList(refs, payload, &p)
		if err != nil {
			return nil, nil, err
		}
		refs, payload = node.encode()
	case "imap":
		node, err := decodeImap(refs, payload)
		if err != nil {
			return nil, nil, err
		}
		refs, payload = node.encode()
	case "snapshot":
		s, err := DecodeSnapshot(refs, payload)
		if err != nil {
			return nil, nil, err
		}
		return must(EncodeSnapshot(s))
	case "summary":
		s, err := DecodeSummary(payload)
		if err != nil {
			return nil, nil, err
		}
		record, err := EncodeSummary(s)
		return must(refs, record, err)
	default:
		panic("no such kind: " + kind)
	}
	return refs, payload, nil
}

// must panics if what was decoded cannot be encoded.
func must(refs []object.ID, payload []byte, err error) ([]object.ID, []byte, error) {
	if err != nil {
		panic(fmt.Sprintf("decoded, but not to be encoded: %v", err))
	}
	return refs, payload, nil
}

func readVectors(t testing.TB, pattern string) map[string][]byte {
	files, err := filepath.Glob(filepath.Join(vectorFolder, pattern))
	if err != nil {
		t.Fatal(err)
	}
	vectors := make(map[string][]byte)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		b, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		vectors[strings.TrimSuffix(filepath.Base(file), ".hex")] = b
	}
	if len(vectors) == 0 {
		t.Fatalf("no vectors %s", pattern)
	}
	return vectors
}

// The vectors are what this code makes, so a change of format cannot pass
// unseen.
func TestVectorsAreFrozen(t *testing.T) {
	made := makeVectors(t)
	if *update {
		if err := os.RemoveAll(vectorFolder); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(vectorFolder, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, b := range made {
			text := hex.EncodeToString(b)
			var lines strings.Builder
			for len(text) > 0 {
				n := min(64, len(text))
				lines.WriteString(text[:n] + "\n")
				text = text[n:]
			}
			if err := os.WriteFile(filepath.Join(vectorFolder, name+".hex"), []byte(lines.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	stored := readVectors(t, "*.hex")
	for name, b := range made {
		if !bytes.Equal(stored[name], b) {
			t.Errorf("%s is %x, stored is %x", name, b, stored[name])
		}
	}
	for name := range stored {
		if made[name] == nil {
			t.Errorf("%s is stored and not made", name)
		}
	}
}

func TestVectors(t *testing.T) {
	for name, b := range readVectors(t, "*.hex") {
		t.Run(name, func(t *testing.T) {
			class, rest, _ := strings.Cut(name, "-")
			kind, _, _ := strings.Cut(rest, "-")
			refs, payload, ok := splitVector(b)
			if !ok {
				t.Fatal("not a vector")
			}
			gotRefs, got, err := recode(kind, refs, payload)
			switch want := map[string]error{"corrupt": ErrCorrupt, "version": ErrVersion}[class]; {
			case want != nil && !errors.Is(err, want):
				t.Errorf("got %v, want %v", err, want)
			case want == nil && err != nil:
				t.Error(err)
			case want == nil && !bytes.Equal(join(gotRefs, got), b):
				t.Errorf("encodes to %x, want %x", join(gotRefs, got), b)
			case errors.Is(err, ErrCorrupt) && errors.Is(err, ErrVersion):
				t.Errorf("%v is of two classes", err)
			}
		})
	}
}

func join(refs []object.ID, payload []byte) []byte {
	return append(object.AppendRefs(nil, refs), payload...)
}

// A count that the bytes at hand cannot hold costs no memory.
func TestCountsAreJudgedBeforeAllocating(t *testing.T) {
	for name, text := range map[string]string{
		"inodes xattrs":  "81 a5 0102 0204 0a820000 0b820000 10997fff",
		"inodes holes":   "81 a5 0102 0201 0a820000 0b820000 139a00020000",
		"inodes inodes":  "9a00ffffff",
		"inodes target":  "81 a5 0102 0203 0a820000 0b820000 0f59ffff",
		"dir entries":    "a101991000",
		"list entries":   "a102990400",
		"imap children":  "a20101029a00010000",
		"snapshot paths": "a10101089a00ffffff",
	} {
		kind, _, _ := strings.Cut(name, " ")
		payload, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err = recode(kind, nil, payload)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: got %v, want %v", name, err, ErrCorrupt)
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 24<<10 {
			t.Errorf("%s: %d bytes of payload take %d of memory", name, len(payload), took)
		}
	}
}
