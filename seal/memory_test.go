package seal

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestVectorsTakeLittleMemory: whatever the lengths and costs of a vector claim,
// its decoder allocates in proportion to its bytes. A slot costs the memory of
// Argon2id besides, once all else about it is right, so that is not granted.
func TestVectorsTakeLittleMemory(t *testing.T) {
	k := testKeys(t)
	decoders := map[string]func(data []byte){
		"slot":         func(b []byte) { OpenSlot(SlotID{}, b, testRepo, []byte("password"), 0) },
		"bundle":       func(b []byte) { decodeBundle(b) },
		"info":         func(b []byte) { decodeInfo(b) },
		"plaintext":    func(b []byte) { parsePlain(b, PaddingPadme) },
		"summaryplain": func(b []byte) { parseSummary(b) },
	}
	for record, decode := range decoders {
		for _, name := range vectorFiles(t, record, ".hex") {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			data, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
			if err != nil {
				t.Fatal(err)
			}
			wantLittle(t, name, len(data), func() { decode(data) })
		}
	}
	for _, name := range vectorFiles(t, "object", ".json") {
		var v objectVector
		readJSON(t, name, &v)
		session, o := v.object()
		open := func() { k.Open(nil, session, &o) }
		open() // makes a decoder, which is kept
		wantLittle(t, name, len(o.Bytes)+len(v.Payload), open)
	}
}

// wantLittle fails where decode takes more than some multiple of the size.
func wantLittle(t *testing.T, name string, size int, decode func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	decode()
	runtime.ReadMemStats(&after)
	if took, most := after.TotalAlloc-before.TotalAlloc, uint64(32*size+64<<10); took > most {
		t.Errorf("%s: %d bytes take %d of memory, more than %d", filepath.Base(name), size, took, most)
	}
}

// TestHugeFrame: a frame of few bytes that says it holds 16 MiB takes no more
// than these, which is the limit of a payload.
func TestHugeFrame(t *testing.T) {
	decoder, err := newDecoder()
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	frame := hugeWindowFrame(8 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	decompress(decoder, nil, frame)
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 40<<20 {
		t.Errorf("%d bytes take %d of memory", len(frame), took)
	}
}
