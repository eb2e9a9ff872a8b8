package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"bluesky/store/fault"
	"bluesky/store/local"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"
)

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%")
	s, err := Create(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutNew(t.Context(), "key", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(dir))
	for _, location := range []string{dir, "a b%", "./a b%", "local:" + dir, "local:a b%", "file://" + strings.NewReplacer("%", "%25", " ", "%20").Replace(dir)} {
		s, err := Open(t.Context(), location)
		if err != nil {
			t.Errorf("%q: %v", location, err)
			continue
		}
		if _, err := s.Stat(t.Context(), "key"); err != nil || s.Location() != dir {
			t.Errorf("%q: location %q, error %v", location, s.Location(), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("got mode %v, error %v, want 0700", info.Mode(), err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ location, want string }{
		{filepath.Join(dir, "missing"), "open " + filepath.Join(dir, "missing") + ": not found"},
		{file, "not a directory"},
		{"", "the location is empty"},
		{"local:", "the location is empty"},
		{"s3://key:secret@bucket/path?token=secret", `this build has no "s3" buckets, only folders`},
		{"sftp:secret@host:/x", `this build has no "sftp" buckets`},
		{"file://host/secret", "write file:///PATH"},
		{"file:relative", "write file:///PATH"},
		{"file:///x?secret=1", "write file:///PATH"},
		{"file:///%zz", "cannot be parsed"},
	}
	for _, tt := range tests {
		s, err := Open(t.Context(), tt.location)
		if err == nil {
			s.Close()
			t.Errorf("%q was opened", tt.location)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: got %q, want %q", tt.location, err, tt.want)
		}
	}
	if _, err := Open(t.Context(), filepath.Join(dir, "missing")); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if _, err := Create(t.Context(), file); err == nil {
		t.Error("a folder was created over a file")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, dir); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want Canceled", err)
	}
}

// inFolder returns a Store of a folder with the object "key" of 10 bytes, and
// its bucket.
func inFolder(t *testing.T) (*Store, *fault.Bucket) {
	t.Helper()
	folder, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := fault.Wrap(folder)
	s := New(blob.NewBucket(b), "somewhere")
	t.Cleanup(func() { s.Close() })
	if err := s.PutNew(t.Context(), "key", []byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	return s, b
}

func TestErrorsOfTheSystem(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, syscall.EROFS, syscall.EIO} {
		s, b := inFolder(t)
		b.Inject(fault.Rules(fault.Rule{Effect: fault.Fail.With(os.NewSyscallError("write", errno))}))
		err := s.PutNew(t.Context(), "new", nil)
		if !errors.Is(err, errno) || errors.Is(err, ErrExists) || MayPass(err) {
			t.Errorf("%v: got %v", errno, err)
		}
		if want := "create new: write: " + errno.Error(); !strings.HasSuffix(err.Error(), errno.Error()) {
			t.Errorf("got %q, want %q", err, want)
		}
		denied := errno == syscall.EACCES || errno == syscall.EROFS
		if errors.Is(err, ErrPermission) != denied {
			t.Errorf("%v: errors.Is(ErrPermission) is %v", errno, !denied)
		}
	}
}

func TestMessages(t *testing.T) {
	s, b := inFolder(t)
	_, err := s.Get(t.Context(), "gen/0", 1)
	if want := "get gen/0: not found"; err.Error() != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %q, want %q with its cause", err, want)
	}
	err = s.PutNew(t.Context(), "key", nil)
	if want := "create key: exists already"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	_, err = s.Get(t.Context(), "key", 9)
	if want := "get key: larger than expected: it has 10 bytes, at most 9 are expected"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	_, err = s.Get(t.Context(), "No Key", 9)
	if want := `get: not a valid key: "No Key": it has other characters than a-z, 0-9, dot, underscore, hyphen and slash`; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	b.Inject(fault.Rules(fault.Rule{Effect: fault.Refuse}))
	_, err = s.Stat(t.Context(), "key")
	if want := "stat key: permission denied: refused by the test"; err.Error() != want || !errors.Is(err, ErrPermission) {
		t.Errorf("got %q, want %q", err, want)
	}
	// FailedPrecondition means a lost race only to a create.
	b.Inject(fault.Rules(fault.Rule{Effect: fault.Fail.With(fault.Coded(gcerrors.FailedPrecondition))}))
	if err := s.Put(t.Context(), "key", nil); errors.Is(err, ErrExists) || err == nil {
		t.Errorf("put: got %v", err)
	}
}
