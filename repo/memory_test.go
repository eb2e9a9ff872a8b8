package repo

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"testing"

	"bluesky/object"
)

// TestHostileCounts: what a count or length claims is not allocated, and what
// the bytes at hand can claim takes memory in proportion to them: the library
// makes room for as many records as there are bytes, and a record that is empty
// is encoded again as one of zeros.
func TestHostileCounts(t *testing.T) {
	array := func(key byte, count uint32, element []byte, n int) []byte {
		b := []byte{0xa2, 0x01, 0x01, key, 0x9a}
		return append(binary.BigEndian.AppendUint32(b, count), bytes.Repeat(element, n)...)
	}
	body := func(key byte, count uint32, element []byte, n int) []byte {
		b := array(key, count, element, n)
		return append([]byte{0xa1}, b[3:]...)
	}
	const many = 1 << 15
	tests := []struct {
		name string
		kind string
		data []byte
	}{
		{"no ops", "generation", array(8, 1<<31, nil, 0)},
		{"ops that are none", "generation", array(8, many, []byte{0}, many)},
		{"ops that are empty", "generation", array(8, many, []byte{0xa0}, many)},
		{"no runs", "checkpoint", array(10, 1<<31, nil, 0)},
		{"runs that are none", "checkpoint", array(10, many, []byte{0}, many)},
		{"sessions that are empty", "checkpoint", array(12, many, []byte{0xa0}, many)},
		{"unknown ops that are empty", "checkpoint", array(14, many, []byte{0xa0}, many)},
		{"forgotten that are none", "checkpoint", array(17, many, []byte{0}, many)},
		{"forgotten that are empty", "checkpoint", array(17, many, []byte{0xa0}, many)},
		{"times that are none", "checkpoint", array(18, many, []byte{0x80}, many)},
		{"pins that are none", "checkpoint", array(19, many, []byte{0x80}, many)},
		{"tables that are empty", "checkpoint", array(20, many, []byte{0xa0}, many)},
		{"a body that is not there", "statement", []byte{0xa1, 0x05, 0x5b, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}},
		{"a summary that is not there", "addsnapshot", []byte{0xa1, 0x06, 0x5a, 0x7f, 0xff, 0xff, 0xff}},
		{"ids that are not there", "forget", []byte{0xa1, 0x01, 0x9a, 0x7f, 0xff, 0xff, 0xff}},
		{"ids that are none", "snapshots", body(1, many, []byte{0x40}, many)},
		{"names that are not there", "clean", []byte{0xa1, 0x06, 0x9a, 0x7f, 0xff, 0xff, 0xff}},
		{"names that are empty", "clean", body(6, many, []byte{0x80}, many)},
		{"names that are none", "deleted", body(1, many, []byte{0}, many)},
		{"times that are empty", "clean", body(5, many, []byte{0x80}, many)},
		{"runs that are empty", "clean", body(7, many, []byte{0xa0}, many)},
		{"tables that are empty", "clean", body(10, many, []byte{0xa0}, many)},
		{"nested", "generation", bytes.Repeat([]byte{0x81}, many)},
		{"text", "config", bytes.Repeat([]byte("["), 64<<10)},
	}
	for _, tt := range tests {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := codecs[tt.kind](tt.data)
		runtime.ReadMemStats(&after)
		if !errors.Is(err, object.ErrCorrupt) {
			t.Errorf("%s of %s: got %v, want %v", tt.name, tt.kind, err, object.ErrCorrupt)
		}
		took := after.TotalAlloc - before.TotalAlloc
		t.Logf("%s, %s: %d bytes take %d", tt.kind, tt.name, len(tt.data), took)
		if most := uint64(512*len(tt.data) + 64<<10); took > most {
			t.Errorf("%s of %s: %d bytes take %d of memory, more than %d", tt.name, tt.kind, len(tt.data), took, most)
		}
	}
}
