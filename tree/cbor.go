package tree

import (
	"encoding/binary"
	"fmt"
	"math"

	"bluesky/object"
)

// The records of this package are hot, so they have a codec of their own for
// the part of CBOR that they use: integers, byte strings, arrays and maps of
// definite length (RFC 8949 §3). A test holds it to what the library makes of
// the same values.

const (
	majorUint  = 0 << 5
	majorNeg   = 1 << 5
	majorBytes = 2 << 5
	majorArray = 4 << 5
	majorMap   = 5 << 5
)

// appendHead appends the head of an item in its shortest form.
func appendHead(b []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(b, major|byte(n))
	case n <= math.MaxUint8:
		return append(b, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(n))
	}
	return binary.BigEndian.AppendUint64(append(b, major|27), n)
}

// headSize is the length of what appendHead appends.
func headSize(n uint64) int {
	switch {
	case n < 24:
		return 1
	case n <= math.MaxUint8:
		return 2
	case n <= math.MaxUint16:
		return 3
	case n <= math.MaxUint32:
		return 5
	}
	return 9
}

func appendUint(b []byte, n uint64) []byte { return appendHead(b, majorUint, n) }

func appendBytes[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(appendHead(b, majorBytes, uint64(len(s))), s...)
}

func appendTime(b []byte, t object.Time) []byte {
	b = appendHead(b, majorArray, 2)
	if t.Sec < 0 {
		b = appendHead(b, majorNeg, uint64(^t.Sec))
	} else {
		b = appendUint(b, uint64(t.Sec))
	}
	return appendUint(b, uint64(t.Nsec))
}

// A reader takes items off the front of b. The first thing that is not as
// asked for stays in err; from then on every method returns zero values, so
// callers look at err once per loop and at the end.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
	r.b = nil
}

// head takes the head of an item of one major type and returns its argument.
func (r *reader) head(major byte) uint64 {
	if len(r.b) == 0 {
		r.fail("it ends early")
		return 0
	}
	first := r.b[0]
	if first&0xe0 != major {
		r.fail("a CBOR item of major type %d where %d belongs", first>>5, major>>5)
		return 0
	}
	if short := first & 0x1f; short < 24 {
		r.b = r.b[1:]
		return uint64(short)
	}
	return r.longHead(first & 0x1f)
}

func (r *reader) longHead(info byte) uint64 {
	if info > 27 {
		r.fail("a CBOR item without a definite length")
		return 0
	}
	size := 1 << (info - 24)
	if len(r.b) < 1+size {
		r.fail("it ends early")
		return 0
	}
	var n uint64
	for _, c := range r.b[1 : 1+size] {
		n = n<<8 | uint64(c)
	}
	if headSize(n) != 1+size {
		r.fail("a CBOR number in a longer form than it needs")
		return 0
	}
	r.b = r.b[1+size:]
	return n
}

// uint takes an unsigned integer of at most limit.
func (r *reader) uint(limit uint64) uint64 {
	n := r.head(majorUint)
	if n > limit {
		r.fail("the number %d, more than %d", n, limit)
		return 0
	}
	return n
}

// nonzero takes an unsigned integer that would be omitted if it were 0.
func (r *reader) nonzero(limit uint64) uint64 {
	n := r.uint(limit)
	if n == 0 {
		r.fail("a zero that should be left out")
	}
	return n
}

func (r *reader) int64() int64 {
	if len(r.b) > 0 && r.b[0]&0xe0 == majorNeg {
		n := r.head(majorNeg)
		if n > math.MaxInt64 {
			r.fail("the number -1-%d, which does not fit 64 bits", n)
			return 0
		}
		return ^int64(n)
	}
	return int64(r.uint(math.MaxInt64))
}

// bytes takes a byte string of at most limit bytes. It shares r's memory.
func (r *reader) bytes(limit int) []byte {
	n := r.head(majorBytes)
	if n > uint64(limit) {
		r.fail("a string of %d bytes, more than %d", n, limit)
		return nil
	}
	if n > uint64(len(r.b)) {
		r.fail("it ends early")
		return nil
	}
	s := r.b[:n:n]
	r.b = r.b[n:]
	return s
}

// array takes the head of an array of low to high items of at least itemSize
// bytes each, which do fit into what is left.
func (r *reader) array(low, high, itemSize int) int {
	n := r.head(majorArray)
	if r.err != nil {
		return 0
	}
	if n < uint64(low) || n > uint64(high) {
		r.fail("an array of %d items, not within %d and %d", n, low, high)
		return 0
	}
	if n > uint64(len(r.b)/itemSize) {
		r.fail("it ends early")
		return 0
	}
	return int(n)
}

func (r *reader) time() object.Time {
	r.array(2, 2, 1)
	return object.Time{Sec: r.int64(), Nsec: uint32(r.uint(1e9 - 1))}
}

// fields takes a map with ascending keys of at most max and calls field for
// each, which takes the value.
func (r *reader) fields(max uint64, field func(key uint64)) {
	n := r.head(majorMap)
	if n > max {
		r.fail("a map of %d fields, more than %d", n, max)
	}
	last := uint64(0)
	for i := uint64(0); i < n && r.err == nil; i++ {
		key := r.uint(max)
		if r.err == nil && key <= last {
			r.fail("field %d after field %d", key, last)
		}
		if r.err == nil {
			field(key)
		}
		last = key
	}
}

// end returns the first error, or one if anything is left.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail("%d bytes after the end", len(r.b))
	}
	return r.err
}

// A refTable turns ids into ordinals: their positions among the distinct ids
// in the order of their first use.
type refTable struct {
	ids []object.ID
	at  map[object.ID]uint32
}

func (t *refTable) ordinal(id object.ID) uint64 {
	n, ok := t.at[id]
	if !ok {
		if t.at == nil {
			t.at = make(map[object.ID]uint32)
		}
		n = uint32(len(t.ids))
		t.at[id] = n
		t.ids = append(t.ids, id)
	}
	return uint64(n)
}

// truncate forgets all but the first n ids.
func (t *refTable) truncate(n int) {
	if n == 0 {
		clear(t.at)
	} else {
		for _, id := range t.ids[n:] {
			delete(t.at, id)
		}
	}
	t.ids = t.ids[:n]
}

// A refReader turns ordinals back into ids and checks that they come in the
// order of their first use.
type refReader struct {
	ids  []object.ID
	used int
}

// newRefReader checks that the refs are distinct and that none is zero, which
// in memory stands for no object.
func newRefReader(refs []object.ID) (refReader, error) {
	seen := make(map[object.ID]struct{}, len(refs))
	for _, id := range refs {
		seen[id] = struct{}{}
	}
	if len(seen) != len(refs) {
		return refReader{}, fmt.Errorf("a ref is listed twice")
	}
	if _, zero := seen[object.ID{}]; zero {
		return refReader{}, fmt.Errorf("a ref is zero")
	}
	return refReader{ids: refs}, nil
}

// take takes an ordinal plus base.
func (t *refReader) take(r *reader, base uint64) object.ID {
	n := r.uint(math.MaxUint32)
	if r.err != nil {
		return object.ID{}
	}
	if n < base || n-base > uint64(t.used) || n-base >= uint64(len(t.ids)) {
		r.fail("the ref %d, when %d of %d are used", n, t.used, len(t.ids))
		return object.ID{}
	}
	n -= base
	t.used = max(t.used, int(n)+1)
	return t.ids[n]
}

func (t *refReader) end() error {
	if t.used != len(t.ids) {
		return fmt.Errorf("%d of %d refs are used", t.used, len(t.ids))
	}
	return nil
}
