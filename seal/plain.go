package seal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"bluesky/object"
)

// The plaintext of a sealed object, docs/format.md, "Objects":
//
//	0    u8   codec
//	1    u32  n
//	5    n    the payload, or its zstd frame
//	5+n       zeros to the padded length
const (
	plainHead = 5
	codecRaw  = 0
	codecZstd = 1
)

// padme returns the smallest length that Padmé allows for l bytes (Nikitin et
// al., PoPETs 2019): at most 12 % more, and of the bits of a length only about
// log log l are left to see.
func padme(l int) int {
	if l < 2 {
		return l
	}
	exponent := bits.Len(uint(l)) - 1
	shown := bits.Len(uint(exponent))
	mask := 1<<(exponent-shown) - 1
	return (l + mask) &^ mask
}

func (p Padding) padded(l int) int {
	if p == PaddingPadme {
		return padme(l)
	}
	return l
}

// finishPlain turns plain, plainHead free bytes and then the data, into the
// plaintext of a sealed object: it fills in the head and appends the padding.
func finishPlain(plain []byte, codec byte, padding Padding) []byte {
	plain[0] = codec
	binary.LittleEndian.PutUint32(plain[1:], uint32(len(plain)-plainHead))
	return appendZeros(plain, padding.padded(len(plain))-len(plain))
}

func appendZeros(b []byte, n int) []byte {
	b = slices.Grow(b, n)
	end := len(b) + n
	clear(b[len(b):end])
	return b[:end]
}

// parsePlain returns the codec and data of a plaintext. data aliases plain.
func parsePlain(plain []byte, padding Padding) (codec byte, data []byte, err error) {
	if len(plain) < plainHead {
		return 0, nil, fmt.Errorf("plaintext of %d bytes: %w", len(plain), object.ErrCorrupt)
	}
	codec = plain[0]
	if codec > codecZstd {
		return 0, nil, fmt.Errorf("codec %d: %w", codec, object.ErrCorrupt)
	}
	n := uint64(binary.LittleEndian.Uint32(plain[1:]))
	if n == 0 || n > object.MaxPayload || n > uint64(len(plain)-plainHead) {
		return 0, nil, fmt.Errorf("%d bytes of data in a plaintext of %d: %w", n, len(plain), object.ErrCorrupt)
	}
	end := plainHead + int(n)
	if err := checkPadding(plain, end, padding); err != nil {
		return 0, nil, err
	}
	return codec, plain[plainHead:end], nil
}

// checkPadding checks that plain is what padding makes of its first end bytes.
func checkPadding(plain []byte, end int, padding Padding) error {
	if want := padding.padded(end); len(plain) != want {
		return fmt.Errorf("padded to %d bytes, want %d: %w", len(plain), want, object.ErrCorrupt)
	}
	if !isZero(plain[end:]) {
		return fmt.Errorf("padding that is not zero: %w", object.ErrCorrupt)
	}
	return nil
}

func isZero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// checkPayload refuses what no object holds.
func checkPayload(payload []byte) error {
	switch {
	case len(payload) == 0:
		return errors.New("empty payload")
	case len(payload) > object.MaxPayload:
		return fmt.Errorf("payload of %d bytes, more than %d", len(payload), object.MaxPayload)
	}
	return nil
}
