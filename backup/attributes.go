package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bluesky/object"
	"bluesky/tree"

	"golang.org/x/sys/unix"
)

// attributes says where the extended attributes of a file are read: from an
// open file, or from the entry name of an open directory, which may be a link.
type attributes struct {
	fd   int
	name string // "" for fd itself
}

// path leads to the entry through /proc, since there is no lgetxattrat(2)
// before Linux 6.13, and works for paths beyond PATH_MAX.
func (a attributes) path() string { return fmt.Sprintf("/proc/self/fd/%d/%s", a.fd, a.name) }

func (a attributes) list(buffer []byte) (int, error) {
	if a.name == "" {
		return unix.Flistxattr(a.fd, buffer)
	}
	return unix.Llistxattr(a.path(), buffer)
}

func (a attributes) get(name string, buffer []byte) (int, error) {
	if a.name == "" {
		return unix.Fgetxattr(a.fd, name, buffer)
	}
	return unix.Lgetxattr(a.path(), name, buffer)
}

// readAttributes fills in the extended attributes and the flags of in. Values
// too long for the inode go into blocks.
//
// What cannot be read is reported, with the path of the file, and missing from
// in. Then in has no ctime: else the next backup would take the file for
// unchanged, and be silent about what is missing.
func (b *backup) readAttributes(ctx context.Context, in *tree.Inode, from attributes, path func() string) error {
	if from.name == "" {
		in.Flags = readFlags(from.fd)
	}
	failed := func(err error) {
		in.CTime = object.Time{}
		b.fail(path(), err)
	}
	names, err := listNames(from)
	if err != nil {
		failed(fmt.Errorf("extended attributes: %w", err))
		return nil
	}
	for _, name := range names {
		value, err := readAll(func(buffer []byte) (int, error) { return from.get(name, buffer) })
		switch {
		case errors.Is(err, unix.ENODATA):
			continue // removed meanwhile
		case err == nil && (len(value) > tree.MaxXattr || len(name) > tree.MaxName):
			err = errors.New("it is too long")
		}
		if err != nil {
			failed(fmt.Errorf("extended attribute %q: %w", name, err))
			continue
		}
		x, err := tree.StoreXattr(ctx, b.sink, b.params, name, value)
		if err != nil {
			return err
		}
		in.Xattrs = append(in.Xattrs, x)
	}
	return nil
}

// listNames returns the sorted names of all attributes.
func listNames(from attributes) ([]string, error) {
	list, err := readAll(from.list)
	if errors.Is(err, unix.ENOTSUP) || len(list) == 0 && err == nil {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	names := strings.Split(string(bytes.TrimSuffix(list, []byte{0})), "\x00")
	slices.Sort(names)
	return names, nil
}

// readAll calls get with a buffer that is large enough. Most files have no
// attributes at all, which takes one call.
func readAll(get func(buffer []byte) (int, error)) ([]byte, error) {
	for {
		n, err := get(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		buffer := make([]byte, n)
		n, err = get(buffer)
		if errors.Is(err, unix.ERANGE) {
			continue // it has grown
		}
		return buffer[:max(n, 0)], err
	}
}
