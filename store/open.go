package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"
	"regexp"

	"bluesky/store/local"

	"gocloud.dev/blob"
)

// Open opens the bucket at location: a path, "local:" and a path, or a
// "file:///" URL. The folder must exist; the error wraps [ErrNotFound] when it
// does not.
func Open(ctx context.Context, location string) (*Store, error) {
	path, err := folderPath(ctx, location)
	if err != nil {
		return nil, &opError{op: "open", err: err}
	}
	bucket, err := local.Open(path)
	if err != nil {
		return nil, &opError{op: "open", key: path, kind: kindOfPath(err), err: err}
	}
	return New(blob.NewBucket(bucket), path), nil
}

// Create makes the folder at location, readable by its owner alone, with those
// above it that are missing, and opens it. A folder that exists is opened as it
// is. The forms of location are those of [Open].
func Create(ctx context.Context, location string) (*Store, error) {
	path, err := folderPath(ctx, location)
	if err != nil {
		return nil, &opError{op: "create", err: err}
	}
	if err := local.Create(path); err != nil {
		return nil, &opError{op: "create", key: path, kind: kindOfPath(err), err: err}
	}
	return Open(ctx, path)
}

func kindOfPath(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ErrNotFound
	case errors.Is(err, fs.ErrPermission):
		return ErrPermission
	}
	return nil
}

// scheme matches the scheme of a location. A single letter is a Windows drive.
var scheme = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]+):`)

// folderPath returns the absolute path that location names. Errors do not
// repeat it: what is not understood may hold a password.
func folderPath(ctx context.Context, location string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	path := location
	if m := scheme.FindStringSubmatch(location); m != nil {
		switch m[1] {
		case "local":
			path = location[len(m[0]):]
		case "file":
			var err error
			if path, err = filePath(location); err != nil {
				return "", err
			}
		default:
			return "", fmt.Errorf("this build has no %q buckets, only folders: give a path, local:PATH or file:///PATH (and ./PATH for a name with a colon)", m[1])
		}
	}
	if path == "" {
		return "", errors.New("the location is empty: give the path of a folder")
	}
	return filepath.Abs(path)
}

func filePath(location string) (string, error) {
	u, err := url.Parse(location)
	if err != nil {
		return "", errors.New("the file: URL cannot be parsed: write file:///PATH, with % and the hex digits for special characters")
	}
	if u.Host != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" || !filepath.IsAbs(u.Path) {
		return "", errors.New("a file: URL has an absolute path and nothing else: write file:///PATH")
	}
	return u.Path, nil
}
