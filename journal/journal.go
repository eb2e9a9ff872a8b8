// Package journal keeps files of records on this machine, to which one process
// at a time appends: what a run would have to do again after a crash.
//
//	header  magic 8 ‖ u32 version ‖ u32 zero ‖ scope 32
//	record  u32 length ‖ body ‖ tag
//
// Integers are little-endian. The tag is a signature or a MAC over the header,
// the record's offset, its length and its body, so no record counts that was
// edited, moved, or copied from another file. The first record that is not
// whole ends the file: a crash, a full disk or a power cut leaves such a tail.
//
// Nothing is synced. What a journal says is a hint, which its reader compares
// with the repository; a hint that is lost costs time alone.
package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"bluesky/object"
)

// ErrForeign: a journal of another scope, which its owner may still want.
var ErrForeign = errors.New("a journal of somebody else")

// A Tagger vouches for records. It is safe for concurrent use.
type Tagger interface {
	TagSize() int
	Tag(message []byte) ([]byte, error)
	Verify(message, tag []byte) bool
}

// A Format says what files of one kind look like.
type Format struct {
	Magic  [8]byte
	Scope  object.Hash // whose file it is
	Max    int         // bytes of a body
	Tagger Tagger
}

const (
	version    = 1
	headerSize = 48
	lengthSize = 4
)

func (f *Format) header() []byte {
	b := append(make([]byte, 0, headerSize), f.Magic[:]...)
	b = binary.LittleEndian.AppendUint32(b, version)
	b = append(b, 0, 0, 0, 0)
	return append(b, f.Scope[:]...)
}

// checkHeader returns [io.EOF] for what is no header of this format, torn or
// damaged, and another error for what somebody else has written.
func (f *Format) checkHeader(b []byte) error {
	switch {
	case [8]byte(b) != f.Magic:
		return io.EOF
	case binary.LittleEndian.Uint32(b[8:]) > version:
		return object.ErrVersion
	case binary.LittleEndian.Uint32(b[8:]) != version || binary.LittleEndian.Uint32(b[12:]) != 0:
		return io.EOF
	case object.Hash(b[16:]) != f.Scope:
		return ErrForeign
	}
	return nil
}

// message returns what the tag of the record at offset covers.
func (f *Format) message(offset int64, body []byte) []byte {
	b := append([]byte(object.Label("journal")), f.header()...)
	b = binary.LittleEndian.AppendUint64(b, uint64(offset))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(body)))
	return append(b, body...)
}

// encode returns the record of body, to stand at offset.
func (f *Format) encode(offset int64, body []byte) ([]byte, error) {
	if len(body) > f.Max {
		return nil, fmt.Errorf("a record of %d bytes, more than %d", len(body), f.Max)
	}
	tag, err := f.Tagger.Tag(f.message(offset, body))
	if err != nil {
		return nil, err
	}
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, lengthSize+len(body)+len(tag)), uint32(len(body)))
	return append(append(b, body...), tag...), nil
}

// decode reads the record at offset from r, which has room bytes from there on.
// It returns [io.EOF] for one that does not count.
func (f *Format) decode(r io.Reader, offset, room int64) (body []byte, err error) {
	var head [lengthSize]byte
	if room < lengthSize {
		return nil, io.EOF
	}
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, ended(err)
	}
	n := int64(binary.LittleEndian.Uint32(head[:]))
	size := n + int64(f.Tagger.TagSize())
	if n > int64(f.Max) || size > room-lengthSize {
		return nil, io.EOF
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, ended(err)
	}
	if body = b[:n:n]; !f.Tagger.Verify(f.message(offset, body), b[n:]) {
		return nil, io.EOF
	}
	return body, nil
}

// ended makes one error of the two by which a reader says that there is no more.
func ended(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// scan calls fn with each record of the size bytes that r has, which keeps the
// body, and returns where the last one ends; 0 if not even the header counts.
func (f *Format) scan(r io.Reader, size int64, fn func(offset int64, body []byte)) (end int64, err error) {
	in := bufio.NewReaderSize(r, 64<<10)
	head := make([]byte, headerSize)
	if _, err = io.ReadFull(in, head); err == nil {
		err = f.checkHeader(head)
	}
	for err == nil {
		end = max(end, headerSize)
		var body []byte
		if body, err = f.decode(in, end, size-end); err == nil {
			fn(end, body)
			end += lengthSize + int64(len(body)+f.Tagger.TagSize())
		}
	}
	if err = ended(err); errors.Is(err, io.EOF) {
		err = nil
	}
	return end, err
}
