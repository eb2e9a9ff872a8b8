package repo

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bluesky/object"
)

// localVersion is the version of the JSON files that stand on this machine.
const localVersion = 1

// encodeLocal returns the one form of a local file.
func encodeLocal(record any) ([]byte, error) {
	data, err := json.MarshalIndent(record, "", "  ")
	return append(data, '\n'), err
}

// decodeLocal reads a local file of the given format into record, a pointer.
// Bytes other than encodeLocal makes of it are refused. No error shows what is
// in the file, which may be a key.
func decodeLocal(data []byte, format string, record any) error {
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if json.Unmarshal(data, &head) != nil || head.Format != format || head.Version < localVersion {
		return fmt.Errorf("%w: not a file of format %q", object.ErrCorrupt, format)
	}
	if head.Version > localVersion {
		return fmt.Errorf("version %d: %w", head.Version, object.ErrVersion)
	}
	if json.Unmarshal(data, record) != nil {
		return fmt.Errorf("%w: not a file of format %q", object.ErrCorrupt, format)
	}
	if again, err := encodeLocal(record); err != nil || !bytes.Equal(again, data) {
		return fmt.Errorf("%w: not as bluesky writes it", object.ErrCorrupt)
	}
	return nil
}

// writePrivate replaces the file at path atomically, readable by its owner
// only. It is durable on return.
//
// One caller at a time: it goes by one more name, path with ".new" behind it,
// and not by a random one, so that what a crash leaves there is gone with the
// next call.
func writePrivate(path string, data []byte) error {
	if err := os.Remove(path + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already after the rename
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync())
	err = errors.Join(err, f.Close())
	if err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// hexField decodes exactly len(dst) bytes.
func hexField(dst []byte, s string) error {
	if len(s) != 2*len(dst) {
		return fmt.Errorf("%w: want %d hex digits", object.ErrCorrupt, 2*len(dst))
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil || hex.EncodeToString(dst) != s {
		return fmt.Errorf("%w: want %d lower-case hex digits", object.ErrCorrupt, 2*len(dst))
	}
	return nil
}
