package local

import (
	"encoding/hex"
	"strings"
)

// tempPrefix begins the names of temporary files. No key maps to such a name.
const tempPrefix = ".tmp-"

// Keys map to paths element by element. The bytes a–z, 0–9, ".", "_" and "-"
// stand for themselves, so the keys that package store accepts are their own
// paths; any other byte is "%" and two hex digits, an empty element is "%", and
// the first dot of ".", ".." and of what looks like a temporary file is escaped.
// Upper case is escaped too: some file systems fold it.

// splitKey returns the folder and the file name of key.
func splitKey(key string) (folder, name string) {
	i := strings.LastIndexByte(key, '/')
	if i < 0 {
		return ".", encodeElement(key)
	}
	return folderOf(key[:i]), encodeElement(key[i+1:])
}

// folderOf returns the folder of the keys that begin with prefix and a slash.
func folderOf(prefix string) string {
	elements := strings.Split(prefix, "/")
	for i, e := range elements {
		elements[i] = encodeElement(e)
	}
	return strings.Join(elements, "/")
}

func encodeElement(e string) string {
	if e == "" {
		return "%"
	}
	escapeDot := e == "." || e == ".." || strings.HasPrefix(e, tempPrefix)
	if !escapeDot && isPlain(e) {
		return e
	}
	var b strings.Builder
	for i := range len(e) {
		if isPlainByte(e[i]) && (i > 0 || !escapeDot) {
			b.WriteByte(e[i])
			continue
		}
		b.WriteByte('%')
		b.WriteString(hex.EncodeToString([]byte{e[i]}))
	}
	return b.String()
}

// decodeElement reverses encodeElement. It reports false for a name that
// encodeElement never makes: such a file belongs to no key.
func decodeElement(name string) (string, bool) {
	if isPlain(name) {
		return name, encodeElement(name) == name
	}
	if name == "%" {
		return "", true
	}
	var b []byte
	for i := 0; i < len(name); i++ {
		if name[i] != '%' {
			b = append(b, name[i])
			continue
		}
		if len(name) < i+3 {
			return "", false
		}
		raw, err := hex.DecodeString(name[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b = append(b, raw...)
		i += 2
	}
	e := string(b)
	return e, !strings.Contains(e, "/") && encodeElement(e) == name
}

func isPlain(s string) bool {
	for i := range len(s) {
		if !isPlainByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func isPlainByte(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-'
}
