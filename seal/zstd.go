package seal

import (
	"fmt"
	"slices"
	"strings"

	"bluesky/object"

	"github.com/klauspost/compress/zstd"
)

// maxWindow is the largest zstd window, in bytes, that a reader accepts. A
// frame of one segment has its content size for a window.
const maxWindow = 8 << 20

// encoderWindow is how far back, in bytes, an encoder looks for a match. It
// keeps that much history, which must fit beside the payload in a core's cache
// and into the memory of every sealer; most objects are shorter anyway.
const encoderWindow = 2 << 20

// Compression is how hard a [Sealer] compresses. Readers do not care.
type Compression uint8

// The levels of compression. Of each but CompressionOff, what does not get
// shorter is stored as it is.
const (
	CompressionAuto Compression = iota
	CompressionOff
	CompressionFastest
	CompressionBetter
	CompressionMax
)

var compressionNames = [...]string{"auto", "off", "fastest", "better", "max"}

func (c Compression) String() string {
	if int(c) >= len(compressionNames) {
		return fmt.Sprintf("compression(%d)", uint8(c))
	}
	return compressionNames[c]
}

// ParseCompression reads the name of a level.
func ParseCompression(name string) (Compression, error) {
	for i, n := range compressionNames {
		if n == name {
			return Compression(i), nil
		}
	}
	return 0, fmt.Errorf("compression %q: want one of %s", name, strings.Join(compressionNames[:], ", "))
}

var encoderLevels = map[Compression]zstd.EncoderLevel{
	CompressionAuto:    zstd.SpeedDefault,
	CompressionFastest: zstd.SpeedFastest,
	CompressionBetter:  zstd.SpeedBetterCompression,
	CompressionMax:     zstd.SpeedBestCompression,
}

// newEncoder returns an encoder that makes frames as docs/format.md wants them:
// content size, no checksum (the tag covers it), a window that readers accept.
// One segment per frame makes the library write the content size of short
// payloads too, which it leaves out otherwise.
func newEncoder(level Compression, singleSegment bool) (*zstd.Encoder, error) {
	l, ok := encoderLevels[level]
	if !ok {
		return nil, fmt.Errorf("%s is no level of compression", level)
	}
	return zstd.NewWriter(nil,
		zstd.WithEncoderLevel(l),
		zstd.WithWindowSize(encoderWindow),
		zstd.WithLowerEncoderMem(true),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(singleSegment))
}

func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(object.MaxPayload),
		zstd.WithDecoderMaxWindow(maxWindow))
}

// decompress appends the content of frame to dst. It checks the frame's own
// claims before it allocates for them, and that frame is exactly one frame.
func decompress(decoder *zstd.Decoder, dst, frame []byte) ([]byte, error) {
	size, err := contentSize(frame)
	if err != nil {
		return nil, err
	}
	// The decoder counts what stands in front of its output against its limit,
	// so it gets the free part of dst alone.
	start := len(dst)
	room := slices.Grow(dst, size+decoderSlack)
	out, err := decoder.DecodeAll(frame, room[start:start])
	if err != nil {
		return nil, fmt.Errorf("zstd frame: %w: %w", err, object.ErrCorrupt)
	}
	if len(out) != size {
		return nil, fmt.Errorf("zstd frame holds %d bytes and says %d: %w", len(out), size, object.ErrCorrupt)
	}
	if &out[0] != &room[:start+1][start] {
		return append(dst, out...), nil // it took a buffer of its own
	}
	return room[:start+size], nil
}

// decoderSlack is the room behind its output that lets the decoder copy in
// whole words.
const decoderSlack = 16

// contentSize checks everything about frame that can be checked without
// decoding it, and returns the length of its content.
func contentSize(frame []byte) (int, error) {
	var h zstd.Header
	if err := h.Decode(frame); err != nil {
		return 0, fmt.Errorf("zstd frame: %w: %w", err, object.ErrCorrupt)
	}
	window := h.WindowSize
	if h.SingleSegment {
		window = h.FrameContentSize
	}
	switch {
	case h.Skippable || h.HasCheckSum || h.DictionaryID != 0 || !h.HasFCS:
		return 0, fmt.Errorf("zstd frame of a kind that is not used here: %w", object.ErrCorrupt)
	case h.FrameContentSize > object.MaxPayload:
		return 0, fmt.Errorf("zstd frame of %d bytes of content: %w", h.FrameContentSize, object.ErrCorrupt)
	case window > maxWindow:
		return 0, fmt.Errorf("zstd window of %d bytes: %w", window, object.ErrCorrupt)
	case h.FrameContentSize <= uint64(len(frame)):
		return 0, fmt.Errorf("zstd frame no shorter than its content: %w", object.ErrCorrupt)
	case !endsWithFrame(frame, h.HeaderSize):
		return 0, fmt.Errorf("not exactly one zstd frame: %w", object.ErrCorrupt)
	}
	return int(h.FrameContentSize), nil
}

// endsWithFrame reports whether the last block of the frame ends where frame
// ends. The decoder would go on with further frames, and skip some silently.
// RFC 8878, section 3.1.1.2.
func endsWithFrame(frame []byte, at int) bool {
	const blockHead, typeRLE = 3, 1
	for at+blockHead <= len(frame) {
		head := uint32(frame[at]) | uint32(frame[at+1])<<8 | uint32(frame[at+2])<<16
		size := int(head >> 3)
		if head>>1&3 == typeRLE {
			size = 1
		}
		at += blockHead + size
		if head&1 != 0 {
			return at == len(frame)
		}
	}
	return false
}
