//go:build !unix

package index

import "os"

// mapFile reads the file at path: this system has no mapping that we use.
func mapFile(path string, size int64) ([]byte, func([]byte), error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	if int64(len(data)) != size {
		return nil, nil, corruptf("%q has %d bytes, not %d", path, len(data), size)
	}
	return data, func([]byte) {}, nil
}
