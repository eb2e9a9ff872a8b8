package cmd

import (
	"bytes"
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// decodeText returns text without a byte order mark. Text whose mark says
// UTF-16 becomes UTF-8: some editors write files that way, and a password or a
// pattern means the same in either. Without a mark text stays as it is.
func decodeText(text []byte) []byte {
	if rest, ok := bytes.CutPrefix(text, []byte("\xef\xbb\xbf")); ok {
		return rest
	}
	if rest, ok := bytes.CutPrefix(text, []byte("\xff\xfe")); ok {
		return fromUTF16(rest, binary.LittleEndian)
	}
	if rest, ok := bytes.CutPrefix(text, []byte("\xfe\xff")); ok {
		return fromUTF16(rest, binary.BigEndian)
	}
	return text
}

func fromUTF16(text []byte, order binary.ByteOrder) []byte {
	units := make([]uint16, 0, len(text)/2)
	for ; len(text) >= 2; text = text[2:] {
		units = append(units, order.Uint16(text))
	}
	out := make([]byte, 0, len(units)*3)
	for _, r := range utf16.Decode(units) {
		out = utf8.AppendRune(out, r)
	}
	return out
}
