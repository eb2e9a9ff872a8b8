package object

import (
	"bytes"
	"fmt"
	"math"

	"github.com/fxamacker/cbor/v2"
)

var (
	encMode = must(cbor.EncOptions{
		Sort:          cbor.SortCoreDeterministic,
		ShortestFloat: cbor.ShortestFloat16,
		IndefLength:   cbor.IndefLengthForbidden,
		TagsMd:        cbor.TagsForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncMode())
	decMode = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		MaxNestedLevels:   16,
		MaxArrayElements:  1 << 24,
		MaxMapPairs:       1 << 10,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecMode())
)

func must[T any](mode T, err error) T {
	if err != nil {
		panic(err) // the options above are constants
	}
	return mode
}

// EncodeCBOR returns the one canonical encoding of record: RFC 8949 §4.2.1,
// integer keys, defaults omitted by the record's own tags.
func EncodeCBOR(record any) ([]byte, error) { return encMode.Marshal(record) }

// DecodeCBOR decodes data into record, a pointer. Bytes that are not exactly
// what [EncodeCBOR] makes of the result are refused, so one value has one
// encoding. record owns what it decodes and does not alias data.
//
// The error wraps [ErrCorrupt].
func DecodeCBOR(data []byte, record any) error {
	if err := decMode.Unmarshal(data, record); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	again, err := encMode.Marshal(record)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if !bytes.Equal(again, data) {
		return fmt.Errorf("%w: not the canonical encoding", ErrCorrupt)
	}
	return nil
}

// PeekVersion reads the version under integer key 1 of an encoded record
// without judging the rest, so that a record from the future is told from a
// damaged one.
func PeekVersion(data []byte) (uint64, error) {
	var head struct {
		Version uint64 `cbor:"1,keyasint"`
	}
	if err := peekMode.Unmarshal(data, &head); err != nil {
		return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return head.Version, nil
}

// peekMode refuses no record that decMode reads; the bounds are of counts, which
// the bytes at hand must bear out before anything is allocated.
var peekMode = must(cbor.DecOptions{
	IndefLength:      cbor.IndefLengthForbidden,
	MaxNestedLevels:  16,
	MaxArrayElements: math.MaxInt32,
	MaxMapPairs:      math.MaxInt32,
}.DecMode())
