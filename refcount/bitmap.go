package refcount

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/RoaringBitmap/roaring/v2"
)

// A bitmap is stored in the portable format of Roaring bitmaps
// (github.com/RoaringBitmap/RoaringFormatSpec), each container of 2^16 values in
// the form that takes the fewest bytes. The library's own choice between them
// depends on the sizes of its structs, and its reader believes what it reads, so
// both the encoder and the judge of foreign bytes stand here.
const (
	cookieBare      = 12346 // no container of runs
	cookieRuns      = 12347 // some, in the low half; the high half counts containers
	offsetThreshold = 4     // fewer containers have no offsets when there are runs
	maxArray        = 4096  // values of an array; more take a bitset
	bitsetSize      = 1 << 16 / 8
)

// runsAreSmallest reports whether runs are the form of a container of so many
// values, which make so many runs.
func runsAreSmallest(values, runs int) bool { return 2+4*runs < min(2*values, bitsetSize) }

// container is the part of a bitmap whose values share their high half.
type container struct {
	key    uint16
	values int
	runs   bool
	data   []byte
}

// appendBitmap appends the encoding of b. It takes memory for the encoding once
// more, and at most 0.3 MB.
func appendBitmap(dst []byte, b *roaring.Bitmap) []byte {
	var all []container
	var low []uint16 // of the values of one container
	it := b.ManyIterator()
	buf := make([]uint32, min(4096, b.GetCardinality()))
	key := uint16(0)
	flush := func() {
		if len(low) > 0 {
			all = append(all, newContainer(key, low))
		}
		low = low[:0]
	}
	for n := it.NextMany(buf); n > 0; n = it.NextMany(buf) {
		for _, v := range buf[:n] {
			if k := uint16(v >> 16); k != key {
				flush()
				key = k
			}
			low = append(low, uint16(v))
		}
	}
	flush()
	return appendContainers(dst, all)
}

// newContainer encodes the ascending values low, of which there is one at least.
func newContainer(key uint16, low []uint16) container {
	runs := 1
	for i := 1; i < len(low); i++ {
		if low[i] != low[i-1]+1 {
			runs++
		}
	}
	c := container{key: key, values: len(low), runs: runsAreSmallest(len(low), runs)}
	switch {
	case c.runs:
		c.data = binary.LittleEndian.AppendUint16(make([]byte, 0, 2+4*runs), uint16(runs))
		start := low[0]
		for i, v := range low {
			if i+1 == len(low) || low[i+1] != v+1 {
				c.data = binary.LittleEndian.AppendUint16(c.data, start)
				c.data = binary.LittleEndian.AppendUint16(c.data, v-start)
				if i+1 < len(low) {
					start = low[i+1]
				}
			}
		}
	case len(low) <= maxArray:
		c.data = make([]byte, 0, 2*len(low))
		for _, v := range low {
			c.data = binary.LittleEndian.AppendUint16(c.data, v)
		}
	default:
		c.data = make([]byte, bitsetSize)
		for _, v := range low {
			c.data[v/8] |= 1 << (v % 8)
		}
	}
	return c
}

func appendContainers(dst []byte, all []container) []byte {
	runs := make([]byte, (len(all)+7)/8)
	for i := range all {
		if all[i].runs {
			runs[i/8] |= 1 << (i % 8)
		}
	}
	anyRuns := len(bytes.Trim(runs, "\x00")) > 0
	start := len(dst)
	if anyRuns {
		dst = binary.LittleEndian.AppendUint32(dst, cookieRuns|uint32(len(all)-1)<<16)
		dst = append(dst, runs...)
	} else {
		dst = binary.LittleEndian.AppendUint32(dst, cookieBare)
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(all)))
	}
	for i := range all {
		dst = binary.LittleEndian.AppendUint16(dst, all[i].key)
		dst = binary.LittleEndian.AppendUint16(dst, uint16(all[i].values-1))
	}
	if !anyRuns || len(all) >= offsetThreshold {
		offset := len(dst) - start + 4*len(all)
		for i := range all {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(offset))
			offset += len(all[i].data)
		}
	}
	for i := range all {
		dst = append(dst, all[i].data...)
	}
	return dst
}

// decodeBitmap decodes data, all of which must be what [appendBitmap] makes of
// values below limit. The library sees nothing that is not; what it makes holds
// no part of data, and takes at most 6 times as many bytes.
func decodeBitmap(data []byte, limit uint64) (*roaring.Bitmap, error) {
	if err := checkBitmap(data, limit); err != nil {
		return nil, err
	}
	b := roaring.New()
	if n, err := b.ReadFrom(bytes.NewReader(data)); err != nil || n != int64(len(data)) {
		return nil, corruptf("bitmap: %d of %d bytes read, %v", n, len(data), err)
	}
	return b, nil
}

// checkBitmap is decodeBitmap that allocates nothing.
func checkBitmap(data []byte, limit uint64) error {
	rest, whole := data, len(data)
	take := func(n int) []byte {
		if n > len(rest) {
			return nil
		}
		b := rest[:n]
		rest = rest[n:]
		return b
	}
	head := take(4)
	if head == nil {
		return corruptf("bitmap: %d bytes", len(data))
	}
	var n int
	var runs []byte // which containers are runs, by bit
	switch cookie := binary.LittleEndian.Uint32(head); {
	case cookie == cookieBare:
		count := take(4)
		if count == nil || binary.LittleEndian.Uint32(count) > 1<<16 {
			return corruptf("bitmap: no number of containers")
		}
		n = int(binary.LittleEndian.Uint32(count))
	case cookie&0xffff == cookieRuns:
		n = int(cookie>>16) + 1
		runs = take((n + 7) / 8)
		if len(bytes.Trim(runs, "\x00")) == 0 {
			return corruptf("bitmap: runs are announced, and there are none")
		}
		if n%8 != 0 && runs[len(runs)-1]>>(n%8) != 0 {
			return corruptf("bitmap: padding is not zero")
		}
	default:
		return corruptf("bitmap: cookie %#x", cookie)
	}
	keys := take(4 * n)
	var offsets []byte
	if runs == nil || n >= offsetThreshold {
		offsets = take(4 * n)
	}
	if n > 0 && (keys == nil || offsets == nil && (runs == nil || n >= offsetThreshold)) {
		return corruptf("bitmap: %d containers in %d bytes", n, whole)
	}
	for i := range n {
		if offsets != nil && binary.LittleEndian.Uint32(offsets[4*i:]) != uint32(whole-len(rest)) {
			return corruptf("bitmap: container %d does not stand behind the one before", i)
		}
		key := binary.LittleEndian.Uint16(keys[4*i:])
		if i > 0 && binary.LittleEndian.Uint16(keys[4*i-4:]) >= key {
			return corruptf("bitmap: container %d is out of order", i)
		}
		values := int(binary.LittleEndian.Uint16(keys[4*i+2:])) + 1
		isRuns := runs != nil && runs[i/8]>>(i%8)&1 != 0
		last, size, err := checkContainer(rest, values, isRuns)
		if err != nil {
			return err
		}
		if uint64(key)<<16|uint64(last) >= limit {
			return corruptf("bitmap: a value of %d, and %d is the limit", uint64(key)<<16|uint64(last), limit)
		}
		rest = rest[size:]
	}
	if len(rest) > 0 {
		return corruptf("bitmap: %d bytes behind its end", len(rest))
	}
	return nil
}

// checkContainer checks the container that b begins with, and returns its
// highest value and its length in bytes.
func checkContainer(b []byte, values int, isRuns bool) (last uint16, size int, err error) {
	var runs, found int
	size = bitsetSize
	if isRuns {
		if len(b) < 2 {
			return 0, 0, corruptf("bitmap: it ends inside of a container")
		}
		size = 2 + 4*int(binary.LittleEndian.Uint16(b))
	} else if values <= maxArray {
		size = 2 * values
	}
	if size > len(b) {
		return 0, 0, corruptf("bitmap: it ends inside of a container")
	}
	switch b = b[:size]; {
	case isRuns:
		last, found, runs, err = scanRuns(b[2:])
	case values <= maxArray:
		found = values
		last, runs, err = scanArray(b)
	default:
		last, found, runs = scanBitset(b)
	}
	switch {
	case err != nil:
		return 0, 0, err
	case found != values:
		return 0, 0, corruptf("bitmap: %d values in a container of %d", found, values)
	case runsAreSmallest(values, runs) != isRuns:
		return 0, 0, corruptf("bitmap: %d values in %d runs are not in their shortest form", values, runs)
	}
	return last, size, nil
}

func scanRuns(b []byte) (last uint16, values, runs int, err error) {
	next := 0 // the least start that does not touch the run before
	for ; len(b) > 0; b = b[4:] {
		start, more := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
		if start < next || start+more > 0xffff {
			return 0, 0, 0, corruptf("bitmap: runs are out of order")
		}
		last, next = uint16(start+more), start+more+2
		values += more + 1
		runs++
	}
	return last, values, runs, nil
}

func scanArray(b []byte) (last uint16, runs int, err error) {
	for i := 0; i < len(b); i += 2 {
		v := binary.LittleEndian.Uint16(b[i:])
		if i > 0 && v <= last {
			return 0, 0, corruptf("bitmap: values are out of order")
		}
		if i == 0 || v != last+1 {
			runs++
		}
		last = v
	}
	return last, runs, nil
}

func scanBitset(b []byte) (last uint16, values, runs int) {
	carry := uint64(0) // the highest bit of the word before
	for i := 0; i < len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		values += bits.OnesCount64(w)
		runs += bits.OnesCount64(w &^ (w<<1 | carry))
		carry = w >> 63
		if w != 0 {
			last = uint16(8*i + bits.Len64(w) - 1)
		}
	}
	return last, values, runs
}
