package object

import "testing"

// TestPeekVersionOfLargeRecords: what DecodeCBOR reads, PeekVersion reads too;
// a checkpoint of many sessions has long arrays.
func TestPeekVersionOfLargeRecords(t *testing.T) {
	type record struct {
		Version uint64   `cbor:"1,keyasint"`
		List    []uint64 `cbor:"2,keyasint"`
	}
	for _, n := range []int{1 << 17, 1<<17 + 1, 1 << 21} {
		data, err := EncodeCBOR(&record{Version: 3, List: make([]uint64, n)})
		if err != nil {
			t.Fatal(err)
		}
		var got record
		if err := DecodeCBOR(data, &got); err != nil {
			t.Errorf("%d elements: %v", n, err)
		}
		if version, err := PeekVersion(data); version != 3 || err != nil {
			t.Errorf("%d elements: version %d, %v", n, version, err)
		}
	}
}
