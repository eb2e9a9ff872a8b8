package index

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestVectorsTakeLittleMemory: whatever the counts and lengths of a vector
// claim, the decoder allocates in proportion to its bytes.
func TestVectorsTakeLittleMemory(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(vectors, "*.hex"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for _, path := range files {
		data := readVector(t, path)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := Decode(data, repository, vectorName)
		runtime.ReadMemStats(&after)
		if valid := strings.HasPrefix(filepath.Base(path), "valid-"); valid != (err == nil) {
			t.Errorf("%s: %v", path, err)
		}
		if took, most := after.TotalAlloc-before.TotalAlloc, uint64(8*len(data)+32<<10); took > most {
			t.Errorf("%s: %d bytes take %d of memory, more than %d", path, len(data), took, most)
		}
	}
}
