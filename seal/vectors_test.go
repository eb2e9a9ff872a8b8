package seal

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bluesky/object"
)

var update = flag.Bool("update", false, "write testdata/vectors anew: a change of format")

const vectorDir = "testdata/vectors"

// vectorFiles returns the names of the vectors of one record: <class>-<record>
// or <class>-<record>-<case>, with suffix. There being none is a failure.
func vectorFiles(t testing.TB, record, suffix string) []string {
	t.Helper()
	var names []string
	for _, class := range []string{"valid", "corrupt", "version"} {
		for _, pattern := range []string{class + "-" + record + suffix, class + "-" + record + "-*" + suffix} {
			found, err := filepath.Glob(filepath.Join(vectorDir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, found...)
		}
	}
	if len(names) == 0 {
		t.Fatalf("no vectors of record %q in %s", record, vectorDir)
	}
	return names
}

// vectorClass returns the error that a vector of that name must give.
func vectorClass(t testing.TB, name string) error {
	t.Helper()
	class, _, _ := strings.Cut(filepath.Base(name), "-")
	switch class {
	case "valid":
		return nil
	case "corrupt":
		return object.ErrCorrupt
	case "version":
		return object.ErrVersion
	}
	t.Fatalf("%s: no class of error", name)
	return nil
}

func checkClass(t testing.TB, name string, err error) {
	t.Helper()
	if want := vectorClass(t, name); !errors.Is(err, want) {
		t.Errorf("%s: got %v, want %v", filepath.Base(name), err, want)
	}
}

func readHex(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return b
}

func readJSON(t testing.TB, name string, v any) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func writeVector(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(vectorDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(vectorDir, name), data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func writeHex(t testing.TB, name string, data []byte) {
	writeVector(t, name+".hex", []byte(hex.EncodeToString(data)+"\n"))
}

func writeJSON(t testing.TB, name string, v any) {
	t.Helper()
	text, err := json.MarshalIndent(v, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	writeVector(t, name+".json", append(text, '\n'))
}

// hexBytes is a byte string that stands in JSON as hex.
type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

func (b *hexBytes) UnmarshalText(text []byte) error {
	var err error
	*b, err = hex.DecodeString(string(text))
	return err
}

// runHexVectors holds every vector of record to its class of error.
func runHexVectors(t *testing.T, record string, decode func([]byte) error) {
	for _, name := range vectorFiles(t, record, ".hex") {
		t.Run(filepath.Base(name), func(t *testing.T) {
			checkClass(t, name, decode(readHex(t, name)))
		})
	}
}

func seedHex(f *testing.F, record string) {
	for _, name := range vectorFiles(f, record, ".hex") {
		f.Add(readHex(f, name))
	}
}
